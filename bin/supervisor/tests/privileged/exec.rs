//! Programs added to a running container.

use carrack_runtime::plan::TerminalSize;
use carrack_supervision::{Event, Request, Target};

use crate::harness::{self, Setup, can_run, eventually, read_until, say};
use crate::leaf::Leaf;

#[test]
fn an_exec_is_inside_of_everything() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("sleep 100");
    setup.leaf = Leaf::new();
    let mut container = setup.start();
    let namespaces = ["mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let own: Vec<String> = namespaces.iter().map(|n| link(container.pid, n)).collect();
    for (name, own) in namespaces.iter().zip(&own) {
        let inside = container.sh(&format!("readlink /proc/self/ns/{name}"));
        assert_eq!(inside.trim(), own);
    }
    let host: Vec<String> = namespaces[..5]
        .iter()
        .map(|n| link(std::process::id(), n))
        .collect();
    assert!(
        host.iter().zip(&own).all(|(host, own)| host != own),
        "{host:?} {own:?}"
    );
    let status = container.sh("grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status");
    let first = container.sh("grep -E '^(Cap|Seccomp:|NoNew)' /proc/1/status");
    assert_eq!(status, first);
    if let Some(leaf) = &container.setup.leaf {
        assert!(leaf.processes().contains(&container.pid.to_string()));
        let plan = container.exec_plan(&["sh", "-c", "echo here; sleep 100"]);
        let mut client = container.start_exec("member", plan, false);
        read_until(&mut client, "here\n");
        let pid = container.wait_for(|e| match e {
            Event::ExecStarted { exec, pid } if exec == "member" => Some(*pid),
            _ => None,
        });
        let leaf = container.setup.leaf.as_ref().expect("leaf");
        for directory in &leaf.directories {
            let members = crate::rootfs::read(directory.join("cgroup.procs"));
            assert!(members.lines().any(|l| l == pid.to_string()), "{members}");
        }
        let kill = Request::Signal {
            target: Target::Exec("member".to_owned()),
            signal: 15,
        };
        container.send(&kill, &[]);
        assert_eq!(container.exec_code("member"), 143);
    }
}

fn link(pid: u32, name: &str) -> String {
    let path = format!("/proc/{pid}/ns/{name}");
    std::fs::read_link(path)
        .expect("namespace")
        .display()
        .to_string()
}

#[test]
fn codes_and_sentences_of_execs() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    let ended = container
        .exec("a", &["sh", "-c", "echo x; echo y >&2; exit 5"])
        .expect("runs");
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (5, "x\n", "y\n")
    );
    let ended = container
        .exec("b", &["sh", "-c", "kill -9 $$"])
        .expect("runs");
    assert_eq!(ended.code, 137);
    let (failure, stream) = container.exec("c", &["nothing"]).err().expect("fails");
    assert_eq!(failure.exit_code, 127);
    assert_eq!(
        stream,
        "OCI runtime exec failed: exec failed: unable to start container process: \
         exec: \"nothing\": executable file not found in $PATH\r\n"
    );
    let (failure, _) = container.exec("d", &["/etc/passwd"]).err().expect("fails");
    assert_eq!(failure.exit_code, 126);
}

#[test]
fn an_exec_with_a_terminal() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    let mut plan = container.exec_plan(&["sh", "-c", "tty; stty size; read x; echo got $x"]);
    plan.terminal = Some(TerminalSize {
        rows: 10,
        columns: 20,
    });
    let mut client = container.start_exec("t", plan, true);
    let said = read_until(&mut client, "10 20");
    assert!(said.starts_with("/dev/pts/"), "{said:?}");
    say(&mut client, "word\r");
    read_until(&mut client, "got word");
    assert_eq!(container.exec_code("t"), 0);
}

#[test]
fn input_of_an_exec_ends_with_its_client() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    let plan = container.exec_plan(&["wc", "-c"]);
    let mut client = container.start_exec("w", plan, true);
    say(&mut client, &"z".repeat(200_000));
    client
        .shutdown(std::net::Shutdown::Write)
        .expect("shutdown");
    assert_eq!(harness::read_frames(client).0, "200000\n");
    assert_eq!(container.exec_code("w"), 0);
}

#[test]
fn a_hundred_execs_leave_nothing() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    container.sh("true");
    let count = || {
        std::fs::read_dir(format!("/proc/{}/fd", container.child.id()))
            .expect("fds")
            .count()
    };
    let before = count();
    let mut ids = Vec::new();
    for number in 0..100 {
        let id = format!("many-{number}");
        let plan = container.exec_plan(&["true"]);
        drop(container.start_exec(&id, plan, false));
        ids.push(id);
    }
    for id in &ids {
        assert_eq!(container.exec_code(id), 0);
    }
    eventually("descriptors are closed", || {
        let now = std::fs::read_dir(format!("/proc/{}/fd", container.child.id()));
        now.expect("fds").count() <= before
    });
    let children =
        crate::rootfs::read(format!("/proc/{0}/task/{0}/children", container.child.id()));
    assert_eq!(children.trim(), container.pid.to_string());
}

/// An exec into a container that is paused meanwhile waits without keeping the
/// supervisor from anything.
#[test]
fn a_paused_container_does_not_stop_its_supervisor() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("sleep 100");
    setup.leaf = Leaf::new();
    let Some(leaf) = &setup.leaf else {
        return;
    };
    let state = leaf.directories.iter().map(|d| d.join("freezer.state"));
    let state = state.into_iter().find(|f| f.exists());
    let Some(state) = state else {
        println!("SKIP: no freezer of version 1");
        return;
    };
    let mut container = setup.start();
    std::fs::write(&state, "FROZEN").expect("freeze");
    let plan = container.exec_plan(&["echo", "thawed"]);
    let client = container.start_exec("frozen", plan, false);
    // It still answers.
    let socket = container.setup.rootfs.path("socket");
    let hello = std::os::unix::net::UnixStream::connect(socket).expect("connect");
    hello
        .set_read_timeout(Some(harness::BOUND))
        .expect("time-out");
    let mut reader = carrack_supervision::FrameReader::default();
    assert!(reader.fill(&hello).expect("the supervisor answers"));
    std::fs::write(&state, "THAWED").expect("thaw");
    assert_eq!(harness::read_frames(client).0, "thawed\n");
    assert_eq!(container.exec_code("frozen"), 0);
}
