//! Clients that go back to the daemon, or that are held until it lets them go.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use carrack_supervision::{AwaitExit, Event, LogFile, Request, Target};

use crate::harness::{Container, Setup, attach, can_run, eventually, read_frames};
use crate::rootfs::read;

#[test]
fn who_waits_for_a_removal_that_does_not_come_is_given_back() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("exit 7").park().expect("parked");
    let mut client = container.await_request(true);
    container.start().expect("started");
    assert_eq!(container.await_exit(), 7);
    container.send(&Request::HandBack, &[]);
    container.release();
    let reply = container.wait_for(|event| match event {
        Event::HandedBack(reply) => Some(reply.clone()),
        _ => None,
    });
    let expected = AwaitExit {
        removed: true,
        before: b"<".to_vec(),
        after: b">".to_vec(),
    };
    assert_eq!(reply, expected);
    // Nobody answered it, and the socket is the same.
    let mut socket = UnixStream::from(container.passed.pop().expect("the socket"));
    socket.write_all(b"later").expect("write");
    drop(socket);
    let mut text = String::new();
    client.read_to_string(&mut text).expect("read");
    assert_eq!(text, "later");
}

#[test]
fn who_waits_for_a_removal_after_the_release_is_answered() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("echo much; exit 7").park().expect("parked");
    // Keeps the supervisor, which wants to get rid of its output.
    let slow = container.attach(Target::Container, false);
    let filler = [0_u8; 4096];
    slow.set_nonblocking(true).expect("socket");
    while (&slow).write(&filler).is_ok() {}
    container.start().expect("started");
    assert_eq!(container.await_exit(), 7);
    container.send(&Request::ExitRecorded, &[]);
    container.send(&Request::Release, &[]);
    let mut client = container.await_request(true);
    let mut text = String::new();
    client.read_to_string(&mut text).expect("read");
    assert!(text.is_empty() || text.contains("<7>"), "{text}");
}

/// A container that writes a line, waits for a file, and goes on.
fn talker() -> Container {
    let mut setup = Setup::new(
        "echo one; printf two; while [ ! -e /tmp/go ]; do sleep 0.01; done; echo; echo three",
    );
    setup.log = Some(LogFile {
        name: "log".to_owned(),
        max_size_bytes: u64::MAX,
        max_files: 1,
    });
    setup.start()
}

fn hold(container: &mut Container, number: u64) -> (UnixStream, u64) {
    let mut held = attach(Target::Container, false, true);
    held.held = Some(number);
    let client = container.client(held);
    let at_ns = container.wait_for(|event| match event {
        Event::Held { number: n, at_ns } if *n == number => Some(*at_ns),
        _ => None,
    });
    (client, at_ns)
}

#[test]
fn a_client_that_is_held_gets_what_the_log_had_not() {
    if !can_run() {
        return;
    }
    let mut container = talker();
    let log = container.setup.rootfs.path("container/log");
    eventually("the first line is in the log", || {
        read(&log).contains("one")
    });
    // The second is begun: whoever attaches now would not see its beginning.
    container.sh("true");
    let (client, _) = hold(&mut container, 3);
    container.sh("touch /tmp/go");
    assert_eq!(container.await_exit(), 0);
    client.set_nonblocking(true).expect("socket");
    assert!((&client).read(&mut [0; 1]).is_err(), "it is held back");
    client.set_nonblocking(false).expect("socket");
    container.send(&Request::LetGo(9), &[]);
    container.send(&Request::LetGo(3), &[]);
    assert_eq!(read_frames(client).0, "two\nthree\n");
    container.release();
}

#[test]
fn a_client_that_nobody_will_let_go_of_is_cut_off() {
    if !can_run() {
        return;
    }
    let mut container = talker();
    let (client, _) = hold(&mut container, 1);
    drop(container.control.take());
    assert_eq!(read_frames(client).0, "");
    container.reconnect();
    container.sh("touch /tmp/go");
    assert_eq!(container.await_exit(), 0);
    container.release();
}
