//! Attached clients and terminals.

use std::io::Read;
use std::net::Shutdown;

use carrack_supervision::{Event, Request, Streams, Target};
use serde_json::json;

use crate::harness::{self, Setup, attach, can_run, eventually, read_frames, read_until, say};

fn interactive(script: &str) -> Setup {
    let mut setup = Setup::new(script);
    setup.null_stdin = false;
    setup.streams = Streams {
        terminal: false,
        open_stdin: true,
        stdin_once: true,
    };
    setup
}

fn terminal(script: &str) -> Setup {
    let mut setup = Setup::new(script);
    setup.null_stdin = false;
    setup.spec["process"]["terminal"] = json!(true);
    setup.spec["process"]["consoleSize"] = json!({"height": 31, "width": 97});
    setup.streams = Streams {
        terminal: true,
        open_stdin: true,
        stdin_once: false,
    };
    setup
}

#[test]
fn half_close_is_the_end_of_input_while_output_goes_on() {
    if !can_run() {
        return;
    }
    let mut container = interactive("cat; echo the end").park().expect("parked");
    let mut early = attach(Target::Container, true, true);
    early.read_ahead = b"read ahead, ".to_vec();
    let mut client = container.client(early);
    container.start().expect("started");
    say(&mut client, "then this");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let (stdout, _) = read_frames(client);
    assert_eq!(stdout, "read ahead, then thisthe end\n");
    assert_eq!(container.await_exit(), 0);
    container.release();
}

#[test]
fn two_clients_see_the_same_and_one_that_leaves_does_not_end_it() {
    if !can_run() {
        return;
    }
    let mut setup = interactive("read a; echo one $a; read b; echo two $b");
    setup.streams.stdin_once = false;
    let mut container = setup.park().expect("parked");
    let mut first = container.attach(Target::Container, true);
    let second = container.attach(Target::Container, false);
    container.start().expect("started");
    say(&mut first, "x\n");
    read_until(&mut first, "one x\n");
    drop(first);
    let mut third = container.attach(Target::Container, true);
    say(&mut third, "y\n");
    assert_eq!(read_frames(second).0, "one x\ntwo y\n");
    assert_eq!(container.await_exit(), 0);
    container.release();
}

#[test]
fn a_terminal_has_size_name_and_job_control() {
    if !can_run() {
        return;
    }
    let script = "tty; stty size; ls -l /dev/console | grep -c ^c; readlink /dev/ptmx; \
                  trap 'stty size' WINCH; echo ready; until read x && test $x; do :; done; stty size; echo got $x; read y; echo late";
    let mut container = terminal(script).park().expect("parked");
    let mut client = container.attach(Target::Container, true);
    container.start().expect("started");
    let said = read_until(&mut client, "ready");
    assert!(
        said.starts_with("/dev/pts/0\r\n31 97\r\n1\r\npts/ptmx\r\n"),
        "{said:?}"
    );
    let resize = Request::Resize {
        target: Target::Container,
        rows: 50,
        columns: 120,
    };
    container.send(&resize, &[]);
    read_until(&mut client, "50 120");
    say(&mut client, "hello\r");
    read_until(&mut client, "got hello");
    // The detach keys leave the program alone.
    say(&mut client, "abc\x10\x11");
    container.wait_for(|e| (*e == Event::Detached(Target::Container)).then_some(()));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).expect("closed");
    let mut again = container.attach(Target::Container, true);
    // Ctrl-C reaches the foreground process group.
    say(&mut again, "\x03");
    assert_eq!(container.await_exit(), 130);
    container.release();
}

#[test]
fn a_terminal_loses_nothing_at_the_end() {
    if !can_run() {
        return;
    }
    for _ in 0..5 {
        let mut container = terminal("seq 1 3000").park().expect("parked");
        let mut client = container.attach(Target::Container, true);
        container.start().expect("started");
        let mut all = String::new();
        client.read_to_string(&mut all).expect("to the end");
        assert!(
            all.ends_with("2999\r\n3000\r\n"),
            "{:?}",
            all.get(all.len().saturating_sub(30)..)
        );
        container.await_exit();
        container.release();
    }
}

#[test]
fn a_client_that_does_not_read_slows_the_program_and_costs_no_memory() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("yes | head -c 30000000; echo end >&2")
        .park()
        .expect("parked");
    let slow = container.attach(Target::Container, false);
    container.start().expect("started");
    let before = own_kib(container.child.id());
    // The pipe is full once the supervisor no longer reads it.
    eventually("the program waits", || {
        container.proc_file("wchan").contains("pipe") || children_wait(container.pid)
    });
    let after = own_kib(container.child.id());
    assert!(after < before + 512, "{before} KiB to {after} KiB");
    let (stdout, stderr) = read_frames(slow);
    assert_eq!((stdout.len(), stderr.as_str()), (30_000_000, "end\n"));
    assert_eq!(container.await_exit(), 0);
    container.release();
}

/// Whether some process of the container waits for room in a pipe and none
/// runs.
pub(crate) fn children_wait(init: u32) -> bool {
    let list = crate::rootfs::read(format!("/proc/{init}/task/{init}/children"));
    let children: Vec<&str> = list.split_whitespace().collect();
    let state = |pid: &&str| {
        let stat = crate::rootfs::read(format!("/proc/{pid}/stat"));
        stat.rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next())
    };
    let settled = |pid: &&str| state(pid) == Some('S');
    // Twice in a row, or it was between two writes.
    !children.is_empty()
        && (0..5).all(|_| {
            std::thread::sleep(std::time::Duration::from_millis(4));
            children.iter().all(settled)
        })
}

pub(crate) fn private_kib(pid: u32) -> u64 {
    kib(pid, "Private_")
}

/// What grows with use. The program's own pages count as private as soon as no
/// other test runs it, which says nothing.
pub(crate) fn own_kib(pid: u32) -> u64 {
    kib(pid, "Anonymous:")
}

fn kib(pid: u32, rows: &str) -> u64 {
    let text = crate::rootfs::read(format!("/proc/{pid}/smaps_rollup"));
    text.lines()
        .filter(|l| l.starts_with(rows))
        .filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

#[test]
fn a_client_that_is_gone_frees_the_program() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("yes | head -c 3000000; exit 4")
        .park()
        .expect("parked");
    let slow = container.attach(Target::Container, false);
    container.start().expect("started");
    drop(slow);
    assert_eq!(container.await_exit(), 4);
    container.release();
}

#[test]
fn waiting_clients_are_told_after_the_daemon_wrote_it_down() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("exit 42").park().expect("parked");
    let mut ended = container.await_request(false);
    let mut removed = container.await_request(true);
    container.start().expect("started");
    assert_eq!(container.await_exit(), 42);
    ended.set_nonblocking(true).expect("socket");
    assert!(
        ended.read(&mut [0; 1]).is_err(),
        "told before it was on record"
    );
    ended.set_nonblocking(false).expect("socket");
    container.send(&Request::ExitRecorded, &[]);
    let mut text = String::new();
    ended.read_to_string(&mut text).expect("answer");
    assert_eq!(text, "4\r\n<42>\r\n0\r\n\r\n");
    container.send(&Request::Release, &[]);
    let mut text = String::new();
    removed.read_to_string(&mut text).expect("answer");
    assert_eq!(text, "4\r\n<42>\r\n0\r\n\r\n");
    container.wait_for(|e| matches!(e, Event::Released).then_some(()));
    assert_eq!(container.child.wait(), 0);
}

/// Somebody who holds an output open and never stops writing must not keep
/// the supervisor from anything.
#[test]
fn an_exec_that_leaves_a_writer_behind_ends_all_the_same() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    let ended = container
        .exec("e", &["sh", "-c", "yes & exit 6"])
        .expect("runs");
    assert_eq!(ended.code, 6);
    assert!(ended.stdout.is_empty() || ended.stdout.starts_with("y\n"));
    container.sh("true");
    let kill = Request::Signal {
        target: Target::Container,
        signal: 9,
    };
    container.send(&kill, &[]);
    assert_eq!(container.await_exit(), 137);
    container.release();
}

#[test]
fn relays_carry_both_ways_and_end() {
    use std::os::fd::AsFd;
    if !can_run() {
        return;
    }
    let target = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let front = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = front.local_addr().expect("address");
    let mut container = Setup::new("sleep 100").park().expect("parked");
    let relays = carrack_supervision::Relays {
        entries: vec![carrack_supervision::RelayEntry {
            protocol: carrack_supervision::RelayProtocol::Tcp,
            target: target.local_addr().expect("address"),
        }],
    };
    container.send(&Request::Relay(relays), &[front.as_fd()]);
    drop(front);
    container.start().expect("started");
    let echo = std::thread::spawn(move || {
        let (mut peer, _) = target.accept().expect("accept");
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("read");
        std::io::Write::write_all(&mut peer, &all).expect("write");
        all.len()
    });
    let mut client = std::net::TcpStream::connect(address).expect("connect");
    client
        .set_read_timeout(Some(harness::BOUND))
        .expect("time-out");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    std::io::Write::write_all(&mut client, &bytes).expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut back = Vec::new();
    client.read_to_end(&mut back).expect("read");
    assert_eq!(echo.join().expect("echo"), bytes.len());
    assert!(back == bytes);
    let kill = Request::Signal {
        target: Target::Container,
        signal: 9,
    };
    container.send(&kill, &[]);
    container.await_exit();
    eventually("the port is free", || {
        std::net::TcpListener::bind(address).is_ok()
    });
    container.release();
}
