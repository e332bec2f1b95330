//! A supervisor is killed: its container is dead with a reason, and cleaned.

use std::time::Duration;

use carrack_tests::{Inventory, Options, Own, own, until};
use rustix::process::Signal;

use super::promised;

/// Longest time until the death is noticed.
const BOUND: Duration = Duration::from_secs(10);

#[test]
fn a_container_whose_supervisor_is_killed() {
    if !promised("crash/a_container_whose_supervisor_is_killed") {
        return;
    }
    let mut engine = own(Options::default());
    engine.image("busybox");
    let before = Inventory::at_rest(&engine);
    engine
        .sh("docker run -d --name orphan -p 48080:80 busybox sleep 1000")
        .ok();
    engine
        .sh("docker run -d --name other busybox sleep 1000")
        .ok();
    kill_supervisor_of(&engine, "orphan");
    is_told(&engine);
    assert_eq!(
        engine
            .sh("docker inspect -f '{{.State.Running}}' other")
            .ok(),
        "true"
    );
    engine.sweep();
    let left = Inventory::settled(&engine, &before);
    assert!(
        left.is_empty(),
        "left behind: {left:?}\n{}",
        engine.log_tail()
    );
}

#[test]
fn a_supervisor_that_dies_while_no_daemon_looks() {
    if !promised("crash/a_supervisor_that_dies_while_no_daemon_looks") {
        return;
    }
    let mut engine = own(Options::default());
    engine.image("busybox");
    let before = Inventory::at_rest(&engine);
    engine
        .sh("docker run -d --name orphan -p 48080:80 busybox sleep 1000")
        .ok();
    let supervisor = supervisor_of(&engine, "orphan");
    engine.signal(Signal::KILL);
    engine.sh(&format!("kill -9 {supervisor}")).ok();
    engine.boot().unwrap();
    is_told(&engine);
    // The port is free again: another container may have it.
    engine
        .sh("docker rm orphan && docker run -d --name orphan -p 48080:80 busybox sleep 1000")
        .ok();
    engine.sweep();
    let left = Inventory::settled(&engine, &before);
    assert!(
        left.is_empty(),
        "left behind: {left:?}\n{}",
        engine.log_tail()
    );
}

/// The parent of the container's first process, as the world numbers it.
pub(super) fn supervisor_of(engine: &Own, name: &str) -> String {
    let pid = engine
        .sh(&format!("docker inspect -f '{{{{.State.Pid}}}}' {name}"))
        .ok()
        .to_owned();
    let parent = engine
        .sh(&format!(
            "sed -n 's/^PPid:[[:space:]]*//p' /proc/{pid}/status"
        ))
        .ok()
        .to_owned();
    assert!(
        parent.parse::<u32>().is_ok_and(|p| p > 1),
        "the parent of {pid} is {parent:?}"
    );
    parent
}

fn kill_supervisor_of(engine: &Own, name: &str) {
    let supervisor = supervisor_of(engine, name);
    engine.sh(&format!("kill -9 {supervisor}")).ok();
}

/// The container is dead, says why, and can be started again.
fn is_told(engine: &Own) {
    until("the death is noticed", BOUND, || {
        let state = engine.sh("docker inspect -f '{{.State.Running}} {{.State.Error}}' orphan");
        match state.stdout.trim().strip_prefix("false") {
            Some(reason) if !reason.trim().is_empty() => Ok(()),
            _ => Err(state.stdout),
        }
    });
    assert_ne!(
        engine
            .sh("docker inspect -f '{{.State.ExitCode}}' orphan")
            .ok(),
        "0"
    );
    engine.sh("docker start orphan").ok();
    assert_eq!(engine.sh("docker exec orphan echo again").ok(), "again");
    engine.sh("docker stop -t 0 orphan").ok();
}
