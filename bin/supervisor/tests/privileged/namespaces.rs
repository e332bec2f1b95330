//! Namespaces: new, joined, the host's; users mapped, clocks shifted.

use std::os::fd::OwnedFd;

use carrack_runtime::plan::CgroupNamespace;
use carrack_runtime::planner::CgroupView;
use serde_json::json;

use crate::harness::{
    self, BASE_ID, Container, NEWCGROUP, NEWIPC, NEWNET, NEWNS, NEWPID, NEWTIME, NEWUSER, NEWUTS,
    Setup, USUAL, can_run,
};
use crate::leaf::Leaf;

fn namespace(container: &Container, name: &str) -> OwnedFd {
    let path = format!("/proc/{}/ns/{name}", container.pid);
    std::fs::File::open(path).expect("namespace").into()
}

fn in_user_namespace(script: &str) -> Setup {
    let mut setup = Setup::new(script);
    setup.made = USUAL | NEWUSER;
    setup.maps = harness::maps();
    setup.rootfs.give_to(BASE_ID);
    setup
}

#[test]
fn root_of_a_user_namespace_is_nobody_outside() {
    if !can_run() {
        return;
    }
    let mut setup = in_user_namespace(
        "id -u; cat /proc/self/uid_map | tr -s ' '; touch /made; stat -c '%u %g' /made /dev/null /etc/passwd; \
         echo x > /dev/null && ls -l /dev/zero /dev/tty | grep -c ^c; cat /proc/self/oom_score_adj; \
         wc -c < /proc/kcore; ls /sys/firmware | wc -l; mknod /x c 1 3 2>&1; sleep 100",
    );
    setup.spec["process"]["oomScoreAdj"] = json!(77);
    let made = setup.rootfs.path("upper/made");
    let mut container = setup.park().expect("parked");
    let mut client = container.attach(carrack_supervision::Target::Container, false);
    container.start().expect("started");
    let said = harness::read_until(&mut client, "not permitted");
    let said = said.replace(|c: char| c < ' ' && c != '\n', "");
    for wanted in ["0 200000 65536", "0 0", "65534", "77"] {
        assert!(said.contains(wanted), "{wanted:?} in {said}");
    }
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(made).expect("made").uid(), BASE_ID);
    let status = container.proc_file("status");
    assert!(
        status.contains(&format!("Uid:\t{BASE_ID}\t{BASE_ID}")),
        "{status}"
    );
    // An exec is in it too.
    assert_eq!(
        container
            .sh("id -u; readlink /proc/self/ns/user")
            .lines()
            .next(),
        Some("0")
    );
    let of_exec = container.sh("readlink /proc/self/ns/user; readlink /proc/1/ns/user");
    let ends: Vec<&str> = of_exec.lines().collect();
    assert_eq!(ends[0], ends[1]);
    let status = container.sh("grep -E '^(CapInh|CapEff|Seccomp:)' /proc/self/status");
    assert_eq!(
        status,
        "CapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n"
    );
}

#[test]
fn a_device_of_the_host_must_be_the_one_that_was_asked_for() {
    if !can_run() {
        return;
    }
    let mut setup = in_user_namespace("true");
    setup.spec["linux"]["devices"] =
        json!([{"path": "/dev/zero", "type": "c", "major": 1, "minor": 3}]);
    assert!(setup.fails().sentence().contains("another one"));
}

#[test]
fn a_container_joins_every_namespace_of_another() {
    if !can_run() {
        return;
    }
    let mut other = Setup::new("sleep 100");
    other.made |= NEWTIME | NEWCGROUP;
    other.time_offsets = "monotonic 1000 0\n".to_owned();
    let other = other.start();
    let kinds = [
        (NEWPID, "pid"),
        (NEWNET, "net"),
        (NEWIPC, "ipc"),
        (NEWUTS, "uts"),
        (NEWCGROUP, "cgroup"),
        (NEWTIME, "time"),
    ];
    let mut setup = Setup::new("sleep 100");
    setup.made = NEWNS;
    setup.spec["hostname"] = json!("");
    setup.joined = kinds
        .iter()
        .map(|(bit, name)| (*bit, namespace(&other, name)))
        .collect();
    let mut container = setup.start();
    for (_, name) in kinds {
        let of = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("link");
        assert_eq!(of(container.pid), of(other.pid), "{name}");
        // The supervisor itself stays outside, and so does what it forks next.
        assert_ne!(of(container.child.id()), of(container.pid), "{name}");
        let inside = container.sh(&format!("readlink /proc/self/ns/{name}"));
        assert_eq!(inside.trim(), of(other.pid).display().to_string(), "{name}");
    }
    let children = format!("/proc/{}/ns/pid_for_children", container.child.id());
    assert_eq!(
        std::fs::read_link(children).expect("link"),
        std::fs::read_link("/proc/self/ns/pid").expect("link")
    );
    // It is not process 1 there, and its end does not end the other.
    assert!(container.sh("ps").lines().count() > 3);
}

#[test]
fn a_mount_namespace_is_joined_and_the_hosts_is_refused() {
    if !can_run() {
        return;
    }
    let other = Setup::new("sleep 100").park().expect("parked");
    let mut setup = Setup::new("readlink /proc/self/ns/mnt; ls /");
    setup.made = USUAL & !NEWNS;
    setup.joined = vec![(NEWNS, namespace(&other, "mnt"))];
    let wanted = std::fs::read_link(format!("/proc/{}/ns/mnt", other.pid)).expect("link");
    assert!(setup.run().ok().starts_with(&wanted.display().to_string()));

    let before = crate::rootfs::read("/proc/self/mountinfo");
    let mut setup = Setup::new("true");
    setup.made = USUAL & !NEWNS;
    assert!(
        setup
            .fails()
            .sentence()
            .contains("mount namespace of its own")
    );
    let mut setup = Setup::new("true");
    setup.made = USUAL & !NEWNS;
    let own = std::fs::File::open("/proc/self/ns/mnt").expect("namespace");
    setup.joined = vec![(NEWNS, own.into())];
    assert!(setup.fails().sentence().contains("is the host's"));
    assert_eq!(
        crate::rootfs::read("/proc/self/mountinfo").lines().next(),
        before.lines().next()
    );
}

#[test]
fn a_user_namespace_is_joined_with_what_belongs_to_it() {
    if !can_run() {
        return;
    }
    let other = in_user_namespace("sleep 100").start();
    let mut setup =
        Setup::new("id -u; readlink /proc/self/ns/user; readlink /proc/self/ns/net; sleep 100");
    setup.rootfs.give_to(BASE_ID);
    setup.made = NEWNS | NEWPID | NEWUTS;
    // The order that it is given in does not matter.
    setup.joined = vec![
        (NEWNET, namespace(&other, "net")),
        (NEWUSER, namespace(&other, "user")),
        (NEWIPC, namespace(&other, "ipc")),
    ];
    let mut container = setup.start();
    for name in ["user", "net", "ipc"] {
        let of = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("link");
        assert_eq!(of(container.pid), of(other.pid), "{name}");
        let inside = container.sh(&format!("readlink /proc/self/ns/{name}"));
        assert_eq!(inside.trim(), of(other.pid).display().to_string());
    }
    assert_eq!(container.sh("id -u"), "0\n");
}

#[test]
fn what_would_change_the_host_is_refused() {
    if !can_run() {
        return;
    }
    let host = rustix::system::uname().nodename().to_owned();
    let mut setup = Setup::new("true");
    setup.made = USUAL & !NEWUTS;
    assert!(setup.fails().sentence().contains("UTS namespace"));
    assert_eq!(rustix::system::uname().nodename(), host.as_c_str());
    let mut setup = Setup::new("true");
    setup.made = USUAL & !NEWNET;
    setup.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    assert!(setup.fails().sentence().contains("sysctl"));
    // The same by the way of another's namespace, which is the host's.
    for name in ["net", "ipc"] {
        let bit = if name == "net" { NEWNET } else { NEWIPC };
        let mut setup = Setup::new("true");
        setup.made = USUAL & !bit;
        let host = std::fs::File::open(format!("/proc/self/ns/{name}")).expect("namespace");
        setup.joined = vec![(bit, host.into())];
        setup.spec["linux"]["sysctl"] =
            json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"});
        assert!(setup.fails().sentence().contains("sysctl"), "{name}");
    }
    let mut setup = Setup::new("true");
    setup.spec["linux"]["sysctl"] = json!({"kernel.core_pattern": "|/evil"});
    assert!(setup.fails().sentence().contains("core_pattern"));
}

#[test]
fn clocks_are_shifted_in_a_time_namespace() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("cat /proc/uptime; sleep 100");
    setup.made |= NEWTIME;
    setup.time_offsets = "monotonic 86400 0\nboottime 864000 5\n".to_owned();
    let mut container = setup.park().expect("parked");
    let mut client = container.attach(carrack_supervision::Target::Container, false);
    container.start().expect("started");
    let said = harness::read_until(&mut client, "\n");
    let uptime = |text: &str| -> f64 {
        let number = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        number
            .split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .expect("uptime")
    };
    let body = said.get(8..).expect("frame");
    let host = uptime(&crate::rootfs::read("/proc/uptime"));
    let inside = uptime(body);
    assert!((inside - host - 864_000.0).abs() < 60.0, "{inside} {host}");
    let of_exec = uptime(&container.sh("cat /proc/uptime"));
    assert!(
        (of_exec - host - 864_000.0).abs() < 60.0,
        "{of_exec} {host}"
    );
    let own = std::fs::read_link(format!(
        "/proc/{}/ns/time_for_children",
        container.child.id()
    ));
    assert_eq!(
        own.expect("link"),
        std::fs::read_link("/proc/self/ns/time").expect("link")
    );
}

#[test]
fn sysctls_of_the_containers_own() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max",
    );
    setup.spec["linux"]["sysctl"] = json!({
        "net.ipv4.ip_unprivileged_port_start": "7",
        "kernel.msgmax": "12345",
        "fs/mqueue/msg_max": "17",
    });
    assert_eq!(setup.run().ok(), "7\n12345\n17\n");
}

#[test]
fn control_groups_are_seen_as_the_own_root() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "cat /proc/self/cgroup; grep cgroup /proc/self/mountinfo; ls /sys/fs/cgroup; \
         mkdir /sys/fs/cgroup/pids/x 2>&1; sleep 100",
    );
    setup.leaf = Leaf::new();
    let Some(leaf) = &setup.leaf else {
        return;
    };
    if leaf.directories.len() < 2 {
        println!("SKIP: no control groups of version 1");
        return;
    }
    let name = leaf.directories[0]
        .file_name()
        .expect("name")
        .to_str()
        .expect("text")
        .to_owned();
    setup.cgroup_namespace = CgroupNamespace::New;
    setup.cgroup = CgroupView::V1 {
        hierarchies: leaf
            .directories
            .iter()
            .zip(["pids", "freezer"])
            .map(|(d, name)| (name.to_owned(), d.display().to_string()))
            .collect(),
        links: vec![("alias".to_owned(), "pids".to_owned())],
    };
    setup.mount(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["ro", "nosuid", "noexec", "nodev"]}),
    );
    let mut container = setup.park().expect("parked");
    let mut client = container.attach(carrack_supervision::Target::Container, false);
    container.start().expect("started");
    let said = harness::read_until(&mut client, "Read-only");
    assert!(
        said.contains(":pids:/\n") && said.contains(":freezer:/\n"),
        "{said}"
    );
    assert!(!said.contains(&name), "the leaf's name shows: {said}");
    assert!(said.contains("alias"), "{said}");
    // The exec is in the same namespace.
    assert!(container.sh("cat /proc/self/cgroup").contains(":pids:/\n"));
}
