//! Every command of the book runs.
//!
//! Blocks marked `console` are run in order, a page on one engine, in a directory
//! with `busybox.tar`. Each command must end with 0 and print what the page shows,
//! numbers and ids aside; a line `…` stands for any others. Blocks marked `sh`
//! are commands that a test cannot run (building, starting the daemon, other tools); they are
//! allowed on three pages. With dockerd as the engine `docker` is put for `carrack`.

use std::fs;
use std::path::PathBuf;

use carrack_tests::harness::{images, inventory, tests_dir};
use carrack_tests::{Engine, Inventory, Kind, Options, own, skipped};

/// Pages that may have commands which no test runs.
const WITH_OTHERS: [&str; 3] = ["installing", "first-steps", "runtime"];

/// A command and the output that its page shows.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    command: String,
    output: Vec<String>,
}

fn book() -> PathBuf {
    tests_dir().parent().unwrap().join("docs/book/src")
}

fn page(name: &str) {
    let test = format!("book/{name}");
    if skipped(&test) {
        return;
    }
    let text = fs::read_to_string(book().join(format!("{name}.md"))).unwrap();
    // Of its own: a page lists all images there are.
    let mut engine = own(Options::default());
    engine.image("busybox");
    let before = Inventory::at_rest(&engine);
    fs::copy(
        images::path("busybox"),
        engine.scratch().join("busybox.tar"),
    )
    .unwrap();
    let wrong: Vec<String> = commands(&text)
        .iter()
        .filter_map(|shown| run(&engine, shown))
        .collect();
    engine.sweep();
    engine.clear_scratch().unwrap();
    engine.reset_images(&["busybox".to_owned()]);
    assert!(
        wrong.is_empty(),
        "docs/book/src/{name}.md\n{}\n{}",
        wrong.join("\n"),
        engine.log_tail()
    );
    let left = Inventory::settled(&engine, &before);
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// What is wrong with one command, or nothing.
fn run(engine: &Engine, shown: &Shown) -> Option<String> {
    let command = match engine.kind() {
        Kind::Carrack => shown.command.clone(),
        Kind::Dockerd => shown.command.replace("carrack ", "docker "),
    };
    let out = engine.sh(&format!("cd $W && {command}"));
    if out.code != 0 {
        return Some(format!(
            "$ {command}\n  ended with {}: {}{}",
            out.code, out.stdout, out.stderr
        ));
    }
    let printed: Vec<String> = out.stdout.lines().map(strike).collect();
    let wanted: Vec<String> = shown.output.iter().map(|l| strike(l)).collect();
    (!fits(&wanted, &printed)).then(|| {
        format!(
            "$ {command}\n  shows: {:?}\n  prints: {}{}",
            shown.output, out.stdout, out.stderr
        )
    })
}

/// Ids, numbers and the widths of columns differ from run to run.
fn strike(line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(inventory::class).collect();
    words.join(" ")
}

fn fits(wanted: &[String], printed: &[String]) -> bool {
    match (wanted.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "…" => {
            (0..=printed.len()).any(|skip| fits(rest, &printed[skip..]))
        }
        (Some((w, wanted)), Some((p, printed))) => w == p && fits(wanted, printed),
        _ => false,
    }
}

/// The commands of all `console` blocks, in order.
fn commands(page: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside {
            match (line.strip_prefix("$ "), shown.last_mut()) {
                (Some(command), _) => shown.push(Shown {
                    command: command.to_owned(),
                    output: Vec::new(),
                }),
                (None, Some(last)) => last.output.push(line.to_owned()),
                (None, None) => panic!("{line}: output before any command"),
            }
        }
    }
    shown
}

macro_rules! pages {
    ($($test:ident: $file:literal),+ $(,)?) => {
        $(
            #[test]
            fn $test() {
                page($file);
            }
        )+
        const PAGES: &[&str] = &[$($file),+];
    };
}

pages! {
    installing: "installing",
    first_steps: "first-steps",
    running: "running",
    limits: "limits",
    networks: "networks",
    runtime: "runtime",
    storage: "storage",
}

#[test]
fn every_page_is_run() {
    for entry in fs::read_dir(book()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            PAGES.contains(&name.as_str()) || commands(&text).is_empty(),
            "{name}.md has commands and is in no test"
        );
        assert!(
            !text.contains("```sh") || WITH_OTHERS.contains(&name.as_str()),
            "{name}.md has commands that no test runs"
        );
    }
}

#[test]
fn blocks_are_read() {
    let shown = commands("x\n```console\n$ a b\nout\n…\n$ c\n```\n```sh\nnot\n```\n");
    assert_eq!(shown.len(), 2);
    assert_eq!(
        shown[0],
        Shown {
            command: "a b".into(),
            output: vec!["out".into(), "…".into()]
        }
    );
    assert!(fits(
        &["a".into(), "…".into()],
        &["a".into(), "b".into(), "c".into()]
    ));
    assert!(!fits(&["a".into()], &["a".into(), "b".into()]));
}
