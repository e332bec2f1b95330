//! A newer daemon meets the supervisors that an older one started.
//!
//! `carrack-next` is this source with the next version of the supervisors'
//! protocol, in which resizing a terminal is what is new.

use std::time::Duration;

use carrack_tests::{Engine, Inventory, Options, carrack_bin, next_carrack_bin, own, until};
use rustix::process::Signal;

use super::promised;

/// Longest time for what should take milliseconds.
const BOUND: Duration = Duration::from_secs(20);

#[test]
fn the_next_version_takes_over() {
    if !promised("crash/the_next_version_takes_over") {
        return;
    }
    let mut engine = own(Options::default());
    engine.image("busybox");
    let before = Inventory::at_rest(&engine);
    let scratch = engine.scratch().display().to_string();
    engine
        .sh("docker run -d -t --name old -p 48081:80 busybox sh -c 'while :; do echo tick; sleep 0.1; done'")
        .ok();
    let mut attached = engine.terminal(&format!(
        "docker run --name ends -v {scratch}:/w busybox sh -c 'echo ready; until [ -e /w/now ]; do sleep 0.02; done; echo last words; exit 7'"
    ));
    attached.expect("ready", BOUND);
    let pid = pid_of(&engine, "old");

    engine.signal(Signal::KILL);
    engine.set_program(next_carrack_bin());
    engine.boot().unwrap();

    // All that there was goes on.
    assert_eq!(pid_of(&engine, "old"), pid);
    assert_eq!(engine.sh("docker exec old echo well").ok(), "well");
    assert_eq!(
        engine.sh("docker port old 80/tcp").ok().lines().next(),
        Some("0.0.0.0:48081")
    );
    engine.sh("docker pause old && docker unpause old").ok();
    engine.sh("docker logs --tail 1 old | grep -q tick").ok();
    // And what is new is said to be missing.
    let refused = resize(&engine, "old");
    assert!(refused.ends_with("501"), "{refused}");
    assert!(
        refused.contains("was started by an earlier version of Carrack")
            && refused.contains("restart it"),
        "{refused}"
    );
    until("the log tells of the old version", BOUND, || {
        let log = std::fs::read_to_string(engine.log_path()).map_err(|e| e.to_string())?;
        if log.contains("started by another version of Carrack") {
            Ok(())
        } else {
            Err(engine.log_tail())
        }
    });

    // An end under the new daemon, of a container of the old one.
    std::fs::write(engine.scratch().join("now"), "").unwrap();
    attached.expect("last words", BOUND);
    assert_eq!(attached.end(BOUND).code(), Some(7));
    assert_eq!(engine.sh("docker logs ends").ok(), "ready\nlast words");

    // Started again, it has what is new.
    engine.sh("docker restart -t 0 old").ok();
    let taken = resize(&engine, "old");
    assert!(taken.ends_with("200"), "{taken}");

    engine.sweep();
    engine.clear_scratch().unwrap();
    // The old daemon again, which the inventory knows.
    engine.signal(Signal::TERM);
    engine.set_program(carrack_bin());
    engine.boot().unwrap();
    let left = Inventory::settled(&engine, &before);
    assert!(
        left.is_empty(),
        "left behind: {left:?}\n{}",
        engine.log_tail()
    );
}

fn pid_of(engine: &Engine, name: &str) -> String {
    engine
        .sh(&format!("docker inspect -f '{{{{.State.Pid}}}}' {name}"))
        .ok()
        .to_owned()
}

/// Body and status of a request to resize a container's terminal.
fn resize(engine: &Engine, name: &str) -> String {
    engine
        .sh(&format!(
            "curl -s -X POST -w '%{{http_code}}' --unix-socket ${{DOCKER_HOST#unix://}} 'http://d/v1.41/containers/{name}/resize?h=30&w=90'"
        ))
        .ok()
        .to_owned()
}
