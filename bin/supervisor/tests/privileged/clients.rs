//! Clients and daemons that leave at the worst moment.

use std::io::Write;
use std::os::unix::net::UnixStream;

use carrack_supervision::{Request, Streams, Target};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::harness::{self, Container, Setup, attach, can_run, eventually, read_frames, say};
use crate::rootfs::read;
use crate::streams::children_wait;

/// More than a socket and the supervisor hold together.
const MUCH_BYTES: usize = 1 << 20;

fn fed(script: &str) -> Setup {
    let mut setup = Setup::new(script);
    setup.null_stdin = false;
    setup.streams = Streams {
        terminal: false,
        open_stdin: true,
        stdin_once: true,
    };
    setup
}

/// Feeds standard input and sees nothing, as `docker run -i -a stdin`.
fn feeder(container: &Container, target: Target) -> UnixStream {
    let mut feeding = attach(target, true, true);
    (feeding.stdout, feeding.stderr) = (false, false);
    container.client(feeding)
}

#[test]
fn a_client_that_dies_while_it_is_behind_frees_the_program() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("yes | head -c 3000000; exit 4")
        .park()
        .expect("parked");
    let slow = container.attach(Target::Container, false);
    container.start().expect("started");
    eventually("the program waits", || children_wait(container.pid));
    drop(slow);
    assert_eq!(container.await_exit(), 4);
    container.release();
}

#[test]
fn a_feeding_client_that_dies_while_it_is_behind_ends_the_input() {
    if !can_run() {
        return;
    }
    let mut container = fed("yes | head -c 3000000; cat; exit 4")
        .park()
        .expect("parked");
    let slow = container.attach(Target::Container, true);
    container.start().expect("started");
    eventually("the program waits", || children_wait(container.pid));
    drop(slow);
    assert_eq!(container.await_exit(), 4);
    container.release();
}

#[test]
fn what_a_client_sent_before_it_left_is_the_programs() {
    if !can_run() {
        return;
    }
    let mut container = fed("wc -c").park().expect("parked");
    let seen = container.attach(Target::Container, false);
    container.start().expect("started");
    let mut client = feeder(&container, Target::Container);
    client.write_all(&vec![b'x'; MUCH_BYTES]).expect("write");
    drop(client);
    assert_eq!(read_frames(seen).0, format!("{MUCH_BYTES}\n"));
    assert_eq!(container.await_exit(), 0);
    container.release();
}

#[test]
fn what_a_client_sent_before_the_start_is_the_programs_though_it_left() {
    if !can_run() {
        return;
    }
    let mut container = fed("wc -c").park().expect("parked");
    let seen = container.attach(Target::Container, false);
    let mut client = feeder(&container, Target::Container);
    // As much as a socket takes.
    client.write_all(&vec![b'x'; 100_000]).expect("write");
    drop(client);
    container.start().expect("started");
    assert_eq!(read_frames(seen).0, "100000\n");
    assert_eq!(container.await_exit(), 0);
    container.release();
}

#[test]
fn what_an_execs_client_sent_before_it_left_is_the_programs() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    let script = "wc -c > /tmp/count; mv /tmp/count /tmp/done";
    let plan = container.exec_plan(&["sh", "-c", script]);
    let mut client = container.start_exec("e", plan, true);
    client.write_all(&vec![b'x'; MUCH_BYTES]).expect("write");
    drop(client);
    assert_eq!(container.exec_code("e"), 0);
    assert_eq!(container.sh("cat /tmp/done"), format!("{MUCH_BYTES}\n"));
}

/// What is asked last counts, though its connection ended before it was read.
#[test]
fn a_release_counts_whose_daemon_is_gone_already() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("exit 3").start();
    assert_eq!(container.await_exit(), 3);
    let supervisor = Pid::from_raw(container.child.id().cast_signed()).expect("id");
    kill_process(supervisor, Signal::STOP).expect("stop");
    container.send(&Request::ExitRecorded, &[]);
    container.send(&Request::Release, &[]);
    drop(container.control.take());
    kill_process(supervisor, Signal::CONT).expect("go on");
    eventually("it ends", || is_over(container.child.id()));
    assert_eq!(container.child.wait(), 0);
}

/// The end is told to a daemon that is gone, whose release is not yet read.
#[test]
fn a_release_counts_behind_an_event_that_nobody_took() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    let supervisor = Pid::from_raw(container.child.id().cast_signed()).expect("id");
    kill_process(supervisor, Signal::STOP).expect("stop");
    let init = Pid::from_raw(container.pid.cast_signed()).expect("id");
    kill_process(init, Signal::KILL).expect("kill");
    eventually("the container ends", || is_over(container.pid));
    container.send(&Request::Sync(1), &[]);
    container.send(&Request::Release, &[]);
    drop(container.control.take());
    kill_process(supervisor, Signal::CONT).expect("go on");
    eventually("it ends", || is_over(container.child.id()));
    assert_eq!(container.child.wait(), 0);
}

#[test]
fn a_terminal_that_nobody_holds_for_a_while_goes_on() {
    if !can_run() {
        return;
    }
    let script = "exec </dev/null >/dev/null 2>&1; echo > /tmp/closed; \
                  while [ ! -e /tmp/go ]; do sleep 0.02; done; \
                  exec </dev/console >/dev/console 2>&1; echo again; read x; echo got $x; exit 5";
    let mut setup = fed(script);
    setup.spec["process"]["terminal"] = json!(true);
    setup.streams.terminal = true;
    setup.streams.stdin_once = false;
    let mut container = setup.park().expect("parked");
    let mut client = container.attach(Target::Container, true);
    container.start().expect("started");
    let closed = container.setup.rootfs.path("upper/tmp/closed");
    eventually("the terminal is closed", || closed.exists());
    // The supervisor has met the end of it once it has done this.
    container.sh("true");
    let before = user_time(container.child.id());
    container.sh("true; touch /tmp/go");
    harness::read_until(&mut client, "again");
    say(&mut client, "this\r");
    harness::read_until(&mut client, "got this");
    assert_eq!(container.await_exit(), 5);
    assert!(user_time(container.child.id()) < before + 50, "it was busy");
    container.release();
}

fn is_over(pid: u32) -> bool {
    read(format!("/proc/{pid}/stat")).contains(") Z ")
}

/// Processor time in hundredths of a second.
fn user_time(pid: u32) -> u64 {
    let stat = read(format!("/proc/{pid}/stat"));
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let field = |at: usize| fields.get(at).and_then(|f| f.parse().ok()).unwrap_or(0);
    field(11) + field(12)
}

/// A signal to the terminal or session of whoever started the daemon is not
/// the supervisors'.
#[test]
fn a_supervisor_leads_a_session_of_its_own() {
    if !can_run() {
        return;
    }
    let container = Setup::new("true").park().expect("parked");
    let id = container.child.id();
    let session = rustix::process::getsid(Pid::from_raw(id.cast_signed())).expect("session");
    assert_eq!(session.as_raw_nonzero().get().unsigned_abs(), id);
}
