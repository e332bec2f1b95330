//! Runs a `.case` file against the shared engine.

use std::fs;
use std::time::Instant;

use super::case::{Case, Step, parse};
use super::engine::{Engine, Kind, shared};
use super::expect::mismatch;
use super::inventory::Inventory;
use super::skips::skipped;
use super::tests_dir;

/// Runs `tests/<name>.case`: every step as it is written, and nothing left behind.
///
/// # Panics
/// When a step does not fit or the test leaves something; with the daemon's log.
pub fn run_case(name: &str) {
    if skipped(name) {
        return;
    }
    let path = tests_dir().join(format!("{name}.case"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let case = parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut engine = shared();
    if let (Kind::Dockerd, Some(why)) = (engine.kind(), &case.peer_skip) {
        println!("SKIP: {name}: not held against dockerd: {why}");
        return;
    }
    let is_missing = |program: &&String| engine.sh(&format!("command -v {program}")).code != 0;
    if let Some(missing) = case.needs.iter().find(is_missing) {
        println!("SKIP: {name}: {missing} is not installed");
        return;
    }
    if let Some(not_with) = &case.not_with {
        let version = engine.client_version();
        if not_with.versions.contains(&version) {
            println!("SKIP: {name}: docker's client {version}: {}", not_with.why);
            return;
        }
    }
    let failure = run(&mut engine, &case);
    assert!(
        failure.is_none(),
        "{}:{}",
        path.display(),
        failure.unwrap_or_default()
    );
}

fn run(engine: &mut Engine, case: &Case) -> Option<String> {
    for image in &case.images {
        engine.image(image);
    }
    let loaded = engine.loaded();
    let before = Inventory::at_rest(engine);
    // All steps run, so that one run shows all that is wrong.
    let failed: Vec<String> = case
        .steps
        .iter()
        .filter_map(|step| run_step(engine, step))
        .collect();
    engine.sweep();
    if let Err(e) = engine.clear_scratch() {
        return Some(format!("0: clearing the case's directory: {e:#}"));
    }
    if case.steps.iter().any(|s| changes_images(&s.command)) {
        engine.reset_images(&loaded);
    }
    if !failed.is_empty() {
        let log = engine.log_tail();
        return Some(format!(
            "{}\n  the daemon's log ends:\n{log}",
            failed.join("\n")
        ));
    }
    let left = Inventory::settled(engine, &before);
    (!left.is_empty()).then(|| format!("0: left behind:\n  {}", left.join("\n  ")))
}

/// Whether a command may leave the store of images in another state.
fn changes_images(command: &str) -> bool {
    [
        "load",
        "rmi",
        "image prune",
        "system prune",
        "import",
        "docker tag",
    ]
    .iter()
    .any(|verb| command.contains(verb))
}

/// What is wrong with the step, or nothing; tries again within its bound.
fn run_step(engine: &Engine, step: &Step) -> Option<String> {
    let end = Instant::now() + step.within;
    loop {
        let out = engine.sh_with(&step.command, &step.stdin);
        let mut wrong = Vec::new();
        if out.code != step.code {
            wrong.push(format!("exit code {}, expected {}", out.code, step.code));
        }
        for (name, lines, text) in [
            ("stdout", &step.stdout, &out.stdout),
            ("stderr", &step.stderr, &out.stderr),
        ] {
            if let Some(why) = mismatch(lines, text) {
                wrong.push(format!("{name}, {why}"));
            }
        }
        if wrong.is_empty() {
            return None;
        }
        if Instant::now() >= end {
            return Some(format!(
                "{}: $ {}\n  {}",
                step.line,
                step.command,
                wrong.join("\n  ")
            ));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
