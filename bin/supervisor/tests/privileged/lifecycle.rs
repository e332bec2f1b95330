//! Daemons come and go; a container stays.

use carrack_supervision::{Event, Request, RunState, Target};

use crate::harness::{Setup, can_run, eventually, read_until};
use crate::leaf::Leaf;

#[test]
fn a_container_survives_its_daemon_and_the_next_one_finds_it() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 12");
    setup.leaf = Leaf::new();
    let mut container = setup.park().expect("parked");
    let mut client = container.attach(Target::Container, false);
    container.start().expect("started");
    read_until(&mut client, "ready\n");
    let plan = container.exec_plan(&["sh", "-c", "echo up; sleep 100"]);
    let mut exec = container.start_exec("e", plan, false);
    read_until(&mut exec, "up\n");
    drop(container.control.take());
    let hello = container.reconnect();
    assert_eq!(hello.container, "container");
    assert_eq!(hello.sandbox, "sandbox");
    assert_eq!(hello.supervisor_pid, container.child.id());
    assert!(matches!(hello.state, RunState::Running { pid, .. } if pid == container.pid));
    assert_eq!(hello.execs.len(), 1);
    assert_eq!(hello.execs[0].0, "e");
    container.sh("touch /tmp/go");
    drop(container.control.take());
    // It ends while no daemon is there; whoever waits is told all the same.
    eventually("the container ends", || {
        !std::path::Path::new(&format!("/proc/{}", container.pid)).exists()
    });
    let hello = container.reconnect();
    assert!(
        matches!(hello.state, RunState::Exited { code: 12, .. }),
        "{hello:?}"
    );
    assert_eq!(container.await_exit(), 12);
    container.release();
}

#[test]
fn a_supervisor_without_container_ends_with_its_daemon() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("true").park().expect("parked");
    let init = container.pid;
    drop(container.control.take());
    assert_eq!(container.child.wait(), 0);
    eventually("the init is gone", || {
        !std::path::Path::new(&format!("/proc/{init}/exe")).exists()
    });
}

#[test]
fn killing_the_supervisor_kills_the_container() {
    if !can_run() {
        return;
    }
    // Whatever the death signal was lost by is the daemon's to find.
    let mut container = Setup::new("sleep 100").start();
    container.child.kill();
    container.child.wait();
    let init = container.pid;
    eventually("the container is gone", || {
        !std::path::Path::new(&format!("/proc/{init}")).exists()
    });
}

#[test]
fn a_release_ends_a_container_that_runs() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    container.send(&Request::Release, &[]);
    assert_eq!(container.child.wait(), 0);
    let init = container.pid;
    eventually("the container is gone", || {
        !std::path::Path::new(&format!("/proc/{init}/exe")).exists()
    });
}

#[test]
fn requests_out_of_order_are_refused_and_change_nothing() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("exit 3").park().expect("parked");
    let refused = |container: &mut crate::harness::Container, request: &str| {
        container.wait_for(|event| match event {
            Event::Refused { request: asked, .. } if asked == request => Some(()),
            _ => None,
        });
    };
    container.send(
        &Request::Resize {
            target: Target::Container,
            rows: 1,
            columns: 1,
        },
        &[],
    );
    refused(&mut container, "resize");
    container.send(
        &Request::Attach(crate::harness::attach(Target::Container, false, true)),
        &[],
    );
    refused(&mut container, "attach");
    let client = container.attach(Target::Container, false);
    container.start().expect("started");
    assert_eq!(crate::harness::read_frames(client).0, "");
    assert_eq!(container.await_exit(), 3);
    container.release();
}
