//! The log file: whole, in order, rotated, complete at the end.

use carrack_supervision::{LogFile, Target};

use crate::harness::{Setup, can_run, read_frames};
use crate::rootfs::read;

fn logged(script: &str, max_size_bytes: u64, max_files: u32) -> Setup {
    let mut setup = Setup::new(script);
    setup.log = Some(LogFile {
        name: "json.log".to_owned(),
        max_size_bytes,
        max_files,
    });
    setup
}

fn records(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("whole records");
            let field = |name: &str| record[name].as_str().expect("text").to_owned();
            assert!(field("time").ends_with('Z'));
            (field("stream"), field("log"))
        })
        .collect()
}

#[test]
fn records_are_there_once_the_end_was_told() {
    if !can_run() {
        return;
    }
    let script = "printf 'a\\nb\\n'; printf 'err <&>\\n' >&2; sleep 0.05; printf 'no line end'";
    let mut container = logged(script, u64::MAX, 1).start();
    container.await_exit();
    let log = container.setup.rootfs.path("container/json.log");
    let found = records(&read(&log));
    let of = |stream: &str| -> Vec<&str> {
        found
            .iter()
            .filter(|(s, _)| s == stream)
            .map(|(_, l)| l.as_str())
            .collect()
    };
    assert_eq!(of("stdout"), ["a\n", "b\n", "no line end"]);
    assert_eq!(of("stderr"), ["err <&>\n"]);
    container.release();
}

#[test]
fn long_lines_are_cut_and_bytes_that_are_no_text_are_marked() {
    if !can_run() {
        return;
    }
    let script = "head -c 40000 /dev/zero | tr '\\0' x; printf '\\n\\377\\376\\n'";
    let mut container = logged(script, u64::MAX, 1).start();
    container.await_exit();
    let found = records(&read(container.setup.rootfs.path("container/json.log")));
    let lengths: Vec<usize> = found.iter().map(|(_, l)| l.len()).collect();
    assert_eq!(lengths[..3], [16384, 16384, 40000 - 2 * 16384 + 1]);
    assert_eq!(found[3].1, "\u{fffd}\u{fffd}\n");
    container.release();
}

#[test]
fn rotation_keeps_the_newest_and_no_more_than_allowed() {
    if !can_run() {
        return;
    }
    let mut container = logged("seq 1 5000", 20_000, 3).start();
    container.await_exit();
    let directory = container.setup.rootfs.path("container");
    let names = ["json.log.2", "json.log.1", "json.log"];
    let mut numbers = Vec::new();
    for name in names {
        let text = read(directory.join(name));
        assert!(text.len() <= 40_000, "{name} has {} bytes", text.len());
        let kept = records(&text);
        numbers.extend(
            kept.into_iter()
                .map(|(_, l)| l.trim().parse::<u32>().expect("number")),
        );
    }
    assert!(!directory.join("json.log.3").exists());
    assert_eq!(numbers.last(), Some(&5000));
    assert!(
        numbers.windows(2).all(|w| w[1] == w[0] + 1),
        "in order, none lost"
    );
    container.release();
}

#[test]
fn a_flood_reaches_log_and_client_alike() {
    if !can_run() {
        return;
    }
    let mut container = logged("seq 1 200000", 64 << 20, 2).park().expect("parked");
    let client = container.attach(Target::Container, false);
    container.start().expect("started");
    let (stdout, _) = read_frames(client);
    container.await_exit();
    let log = read(container.setup.rootfs.path("container/json.log"));
    let logged: String = records(&log).into_iter().map(|(_, line)| line).collect();
    assert!(stdout.lines().eq((1..=200_000).map(|n| n.to_string())));
    assert!(logged == stdout);
    container.release();
}
