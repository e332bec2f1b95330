//! What was answered about restarts holds after the daemon died.

use std::time::Duration;

use carrack_tests::{Options, own, until};
use rustix::process::Signal;

use super::{promised, supervisor};

/// Longest time until a policy was followed.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn one_that_was_stopped_and_started_again_is_kept_running() {
    if !promised("crash/one_that_was_stopped_and_started_again_is_kept_running") {
        return;
    }
    let mut engine = own(Options::default());
    engine.image("busybox");
    for name in ["kept", "stopped"] {
        engine
            .sh(&format!(
                "docker run -d --name {name} --restart unless-stopped busybox sleep 100000 && docker stop -t 0 {name}"
            ))
            .ok();
    }
    engine.sh("docker start kept").ok();
    let supervisor = supervisor::supervisor_of(&engine, "kept");
    engine.signal(Signal::KILL);
    engine.sh(&format!("kill -9 {supervisor}")).ok();
    engine.boot().unwrap();
    let running = |name: &str| {
        let state = engine.sh(&format!(
            "docker inspect -f '{{{{.State.Running}}}}' {name}"
        ));
        state.stdout.trim().to_owned()
    };
    until("it is started by its policy", BOUND, || {
        match running("kept").as_str() {
            "true" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    assert_eq!(running("stopped"), "false");
    engine.sweep();
}
