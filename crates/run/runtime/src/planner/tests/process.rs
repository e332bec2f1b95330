//! The process and what surrounds it.

use carrack_oci::runtime::{IdMapping, Linux};
use expect_test::expect;
use serde_json::{Value, json};

use super::{check, context, propagation, try_plan};
use crate::planner::{Planned, id_map_lines, time_offset_lines};

#[test]
fn capabilities_are_bits_and_those_that_the_machine_lacks_are_left_out() {
    let show = |planned: &Planned| {
        let c = &planned.plan.process.capabilities;
        format!(
            "{:x} {:x} {:x} {:x} {:x}\n",
            c.bounding, c.effective, c.permitted, c.inheritable, c.ambient
        )
    };
    let of = |sets: Value| json!({"process": {"capabilities": sets}});
    check(
        &json!({}),
        show,
        expect![[r#"
        0 0 0 0 0
    "#]],
    );
    check(
        &of(
            json!({"bounding": ["CAP_CHOWN", "cap_sys_admin", "CAP_CHECKPOINT_RESTORE"],
            "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "inheritable": null, "ambient": ["CAP_KILL"]}),
        ),
        show,
        expect![[r#"
            10000200001 1 21 0 20
        "#]],
    );
    check(
        &of(json!({"bounding": ["CAP_NONSENSE"]})),
        show,
        expect![[r#"
        error: process.capabilities: unknown capability "CAP_NONSENSE"
    "#]],
    );
    check(
        &of(json!({"bounding": ["ALL"]})),
        show,
        expect![[r#"
        error: process.capabilities: unknown capability "ALL"
    "#]],
    );
    let mut context = context();
    context.available_capabilities = 0b1;
    let planned = try_plan(
        &of(json!({"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"]})),
        &context,
    );
    assert_eq!(
        planned.expect("a plan").plan.process.capabilities.bounding,
        1
    );
}

#[test]
fn limits_by_name() {
    let show = |planned: &Planned| format!("{:?}\n", planned.plan.process.limits);
    let of = |limits: Value| json!({"process": {"rlimits": limits}});
    check(
        &of(
            json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096},
            {"type": "RLIMIT_RTTIME", "soft": 0, "hard": u64::MAX}]),
        ),
        show,
        expect![[r#"
            [(7, 1024, 4096), (15, 0, 18446744073709551615)]
        "#]],
    );
    for (limits, expected) in [
        (
            json!([{"type": "NOFILE", "soft": 1, "hard": 1}]),
            expect![[r#"
            error: process.rlimits: unknown limit "NOFILE"
        "#]],
        ),
        (
            json!([{"type": "RLIMIT_nofile", "soft": 1, "hard": 1}]),
            expect![[r#"
            error: process.rlimits: unknown limit "RLIMIT_nofile"
        "#]],
        ),
        (
            json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]),
            expect![[r#"
            error: process.rlimits: RLIMIT_CORE: soft limit 2 is above hard limit 1
        "#]],
        ),
        (
            json!([{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}, {"type": "RLIMIT_CORE", "soft": 1, "hard": 1}]),
            expect![[r#"
            error: process.rlimits: RLIMIT_CORE is given twice
        "#]],
        ),
    ] {
        check(&of(limits), show, expected);
    }
}

#[test]
fn sysctls_by_either_separator_and_of_the_container_alone() {
    let show = |planned: &Planned| format!("{:?}\n", planned.plan.sysctls);
    let of = |name: &str, value: &str| json!({"linux": {"sysctl": {name: value}}});
    for (name, expected) in [
        (
            "net.ipv4.ip_forward",
            expect![[r#"
            [("net/ipv4/ip_forward", "1")]
        "#]],
        ),
        (
            "net/ipv4/conf/eth0.1/forwarding",
            expect![[r#"
            [("net/ipv4/conf/eth0.1/forwarding", "1")]
        "#]],
        ),
        (
            "net.ipv4.conf.eth0/1.forwarding",
            expect![[r#"
            [("net/ipv4/conf/eth0.1/forwarding", "1")]
        "#]],
        ),
        (
            "kernel.shm_rmid_forced",
            expect![[r#"
            [("kernel/shm_rmid_forced", "1")]
        "#]],
        ),
        (
            "fs.mqueue.msg_max",
            expect![[r#"
            [("fs/mqueue/msg_max", "1")]
        "#]],
        ),
        (
            "kernel.domainname",
            expect![[r#"
            [("kernel/domainname", "1")]
        "#]],
        ),
        (
            "kernel.core_pattern",
            expect![[r#"
            error: linux.sysctl: kernel.core_pattern is the machine's, not in a separate namespace
        "#]],
        ),
        (
            "kernel/core_pattern",
            expect![[r#"
            error: linux.sysctl: kernel/core_pattern is the machine's, not in a separate namespace
        "#]],
        ),
        (
            "vm.overcommit_memory",
            expect![[r#"
            error: linux.sysctl: vm.overcommit_memory is the machine's, not in a separate namespace
        "#]],
        ),
        (
            "net/../kernel/core_pattern",
            expect![[r#"
            error: linux.sysctl: "net/../kernel/core_pattern" is not a parameter's name
        "#]],
        ),
        (
            "net.....kernel.core_pattern",
            expect![[r#"
            error: linux.sysctl: "net.....kernel.core_pattern" is not a parameter's name
        "#]],
        ),
        (
            "net./..kernel",
            expect![[r#"
            error: linux.sysctl: "net./..kernel" is not a parameter's name
        "#]],
        ),
        (
            "/net/ipv4/ip_forward",
            expect![[r#"
            error: linux.sysctl: "/net/ipv4/ip_forward" is not a parameter's name
        "#]],
        ),
        (
            "net",
            expect![[r#"
            error: linux.sysctl: net is the machine's, not in a separate namespace
        "#]],
        ),
        (
            "",
            expect![[r#"
            error: linux.sysctl: "" is not a parameter's name
        "#]],
        ),
    ] {
        check(&of(name, "1"), show, expected);
    }
    check(
        &of("net.core.somaxconn", "1\0"),
        show,
        expect![[r#"
        error: linux.sysctl: the value of net.core.somaxconn holds a NUL byte
    "#]],
    );
    let mut listed = of("net.core.somaxconn", "1");
    listed["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
    check(
        &listed,
        show,
        expect![[r#"
        error: linux.sysctl: net.core.somaxconn needs a network namespace of the container's own
    "#]],
    );
}

#[test]
fn namespaces_that_are_listed_must_be_enough() {
    let show = |planned: &Planned| format!("{:?}\n", planned.plan.hostname);
    let of = |kinds: &[&str], hostname: &str| {
        let kinds: Vec<Value> = kinds.iter().map(|k| json!({"type": k})).collect();
        json!({"hostname": hostname, "linux": {"namespaces": kinds}})
    };
    check(
        &of(&["mount", "uts"], "h"),
        show,
        expect![[r#"
        Some("h")
    "#]],
    );
    check(
        &of(&["mount"], ""),
        show,
        expect![[r#"
        None
    "#]],
    );
    check(
        &of(&["mount"], "h"),
        show,
        expect![[r#"
        error: hostname: needs a uts namespace of the container's own
    "#]],
    );
    check(
        &of(&["uts"], ""),
        show,
        expect![[r#"
        error: linux.namespaces: needs a mount namespace of the container's own
    "#]],
    );
    check(
        &of(&[], &"h".repeat(64)),
        show,
        expect![[r#"
        Some("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh")
    "#]],
    );
    check(
        &of(&[], &"h".repeat(65)),
        show,
        expect![[r#"
        error: hostname: is longer than 64 bytes or holds a NUL byte
    "#]],
    );
}

#[test]
fn paths_are_masked_as_they_are() {
    let show = |planned: &Planned| {
        format!(
            "{:?} {:?}\n",
            planned.plan.masked_paths, planned.plan.readonly_paths
        )
    };
    check(
        &json!({"linux": {"maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]}}),
        show,
        expect![[r#"
            ["/proc/kcore"] ["/proc/sys"]
        "#]],
    );
    check(
        &json!({"linux": {"maskedPaths": ["proc/kcore"]}}),
        show,
        expect![[r#"
        error: linux.maskedPaths: "proc/kcore" is not an absolute path
    "#]],
    );
    check(
        &json!({"linux": {"readonlyPaths": ["/proc\0"]}}),
        show,
        expect![[r#"
        error: linux.readonlyPaths: "/proc\0" is not an absolute path
    "#]],
    );
}

#[test]
fn the_root_and_its_propagation() {
    let show = |planned: &Planned| {
        let root = &planned.plan.root;
        format!(
            "{} {} {:?}\n",
            root.readonly,
            propagation(root.propagation),
            root.staging
        )
    };
    for (word, expected) in [
        (
            "",
            expect![[r#"
            true - None
        "#]],
        ),
        (
            "private",
            expect![[r#"
            true private None
        "#]],
        ),
        (
            "rslave",
            expect![[r#"
            true slave+rec None
        "#]],
        ),
        (
            "rshared",
            expect![[r#"
            true shared+rec None
        "#]],
        ),
        (
            "unbindable",
            expect![[r#"
            true unbindable None
        "#]],
        ),
        (
            "loud",
            expect![[r#"
            error: linux.rootfsPropagation: loud is none of shared, slave, private, unbindable
        "#]],
        ),
    ] {
        let part = json!({"root": {"readonly": true}, "linux": {"rootfsPropagation": word}});
        check(&part, show, expected);
    }
    let hook = json!({"hooks": {"createContainer": [{"path": "/hook"}]}});
    check(
        &hook,
        show,
        expect![[r#"
        false - Some("/bundle/rootfs")
    "#]],
    );
}

#[test]
fn hooks_of_the_container() {
    let show = |planned: &Planned| {
        let one = |h: &crate::plan::HookPlan| {
            format!(
                "{} {:?} {:?} {}\n",
                h.path, h.arguments, h.environment, h.timeout_s
            )
        };
        let all = planned
            .plan
            .create_hooks
            .iter()
            .chain(&planned.plan.start_hooks);
        all.map(one).collect()
    };
    check(
        &json!({"hooks": {
            "prestart": [{"path": "/host"}],
            "createContainer": [{"path": "/c", "args": ["c", "x"], "env": ["A=b"], "timeout": 7}],
            "startContainer": [{"path": "/s"}],
        }}),
        show,
        expect![[r#"
            /c ["c", "x"] ["A=b"] 7
            /s ["/s"] [] 0
        "#]],
    );
    for (hook, expected) in [
        (
            json!({"path": "relative"}),
            expect![[r#"
            error: hooks.startContainer: path "relative" is not absolute
        "#]],
        ),
        (
            json!({"path": "/h", "timeout": 0}),
            expect![[r#"
            error: hooks.startContainer: timeout 0 is not above zero
        "#]],
        ),
        (
            json!({"path": "/h", "timeout": -1}),
            expect![[r#"
            error: hooks.startContainer: timeout -1 is not above zero
        "#]],
        ),
        (
            json!({"path": "/h", "args": ["a\0"]}),
            expect![[r#"
            error: hooks.startContainer: a string holds a NUL byte
        "#]],
        ),
    ] {
        check(
            &json!({"hooks": {"startContainer": [hook]}}),
            show,
            expected,
        );
    }
}

#[test]
fn the_process() {
    let show = |planned: &Planned| {
        let p = &planned.plan.process;
        format!(
            "{:?} {:?} umask {:?} terminal {:?} personality {:?} io {:?} oom {:?} scheduling {:?}\n",
            p.arguments,
            p.user,
            p.umask,
            p.terminal,
            p.personality,
            p.io_priority,
            p.oom_score_adj,
            p.scheduling
        )
    };
    check(
        &json!({
            "process": {
                "user": {"uid": 1, "gid": 2, "additionalGids": [3], "umask": 18},
                "terminal": true, "consoleSize": {"height": 24, "width": 80},
                "oomScoreAdj": -5, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7},
                "scheduler": {"policy": "SCHED_FIFO", "priority": 10, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
            },
            "linux": {"personality": {"domain": "LINUX32"}}
        }),
        show,
        expect![[r#"
            ["/bin/sh"] Ids { uid: 1, gid: 2, groups: [3] } umask Some(18) terminal Some(TerminalSize { rows: 24, columns: 80 }) personality Some(8) io Some((2, 7)) oom Some(-5) scheduling Some(SchedulingPlan { policy: 1, flags: 1, nice: 0, priority: 10, runtime_ns: 0, deadline_ns: 0, period_ns: 0 })
        "#]],
    );
    for (process, expected) in [
        (
            json!({"args": []}),
            expect![[r#"
            error: process.args: no command specified
        "#]],
        ),
        (
            json!({"args": [""]}),
            expect![[r#"
            error: process.args: no command specified
        "#]],
        ),
        (
            json!({"args": ["a\0b"]}),
            expect![[r#"
            error: process: a string holds a NUL byte
        "#]],
        ),
        (
            json!({"env": ["A=\0"]}),
            expect![[r#"
            error: process: a string holds a NUL byte
        "#]],
        ),
        (
            json!({"cwd": "relative"}),
            expect![[r#"
            error: process.cwd: is not absolute
        "#]],
        ),
        (
            json!({"cwd": ""}),
            expect![[r#"
            error: process.cwd: is not absolute
        "#]],
        ),
        (
            json!({"oomScoreAdj": 1001}),
            expect![[r#"
            error: process.oomScoreAdj: 1001 is not between -1000 and 1000
        "#]],
        ),
        (
            json!({"user": {"uid": u32::MAX, "gid": 0}}),
            expect![[r#"
            error: process.user: 4294967295 is nobody's id
        "#]],
        ),
        (
            json!({"user": {"uid": 0, "gid": 0, "additionalGids": [u32::MAX]}}),
            expect![[r#"
            error: process.user: 4294967295 is nobody's id
        "#]],
        ),
        (
            json!({"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}),
            expect![[r#"
            error: process.ioPriority: priority is not between 0 and 7
        "#]],
        ),
        (
            json!({"ioPriority": {"class": "BEST", "priority": 1}}),
            expect![[r#"
            error: process.ioPriority: unknown class "BEST"
        "#]],
        ),
        (
            json!({"scheduler": {"policy": "SCHED_FASTEST"}}),
            expect![[r#"
            error: process.scheduler: unknown policy "SCHED_FASTEST"
        "#]],
        ),
        (
            json!({"scheduler": {"policy": "SCHED_RR", "priority": -1}}),
            expect![[r#"
            error: process.scheduler: priority is negative
        "#]],
        ),
        (
            json!({"scheduler": {"policy": "SCHED_RR", "flags": ["SCHED_FLAG_X"]}}),
            expect![[r#"
            error: process.scheduler: unknown flag "SCHED_FLAG_X"
        "#]],
        ),
        (
            json!({"apparmorProfile": "docker-default"}),
            expect![[r#"
            error: process.apparmorProfile: AppArmor is not supported
        "#]],
        ),
        (
            json!({"selinuxLabel": "system_u"}),
            expect![[r#"
            error: process.selinuxLabel: SELinux is not supported
        "#]],
        ),
    ] {
        check(&json!({"process": process}), show, expected);
    }
    check(
        &json!({"process": null}),
        show,
        expect![[r#"
        error: process: is missing
    "#]],
    );
    check(
        &json!({"root": null}),
        show,
        expect![[r#"
        error: root: is missing
    "#]],
    );
    check(
        &json!({"linux": {"personality": {"domain": "BSD"}}}),
        show,
        expect![[r#"
        error: linux.personality: unknown domain "BSD"
    "#]],
    );
}

#[test]
fn maps_and_offsets_are_the_kernels_lines() {
    let maps: Vec<IdMapping> =
        serde_json::from_value(json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]))
            .expect("maps");
    assert_eq!(id_map_lines(&maps), "0 100000 65536\n");
    let linux = |offsets: Value| -> Linux {
        serde_json::from_value(json!({"timeOffsets": offsets})).expect("linux")
    };
    let lines = time_offset_lines(&linux(json!({
        "monotonic": {"secs": -5, "nanosecs": 7}, "boottime": {"secs": 60, "nanosecs": 0}
    })));
    assert_eq!(lines.expect("lines"), "boottime 60 0\nmonotonic -5 7\n");
    time_offset_lines(&linux(json!({"realtime": {"secs": 1, "nanosecs": 0}})))
        .expect_err("no such clock");
}

#[test]
fn a_plan_is_kept_to_namespaces_of_the_containers_own() {
    let own = |bits: &[i32]| bits.iter().fold(0_u64, |all, bit| all | *bit as u64);
    let named = try_plan(&json!({"hostname": "h"}), &context())
        .expect("a plan")
        .plan;
    named
        .check(own(&[libc::CLONE_NEWNS, libc::CLONE_NEWUTS]))
        .expect("its own");
    named
        .check(own(&[libc::CLONE_NEWNS]))
        .expect_err("the host's name");
    named
        .check(own(&[libc::CLONE_NEWUTS]))
        .expect_err("the host's mounts");
    let tuned = try_plan(
        &json!({"linux": {"sysctl": {"net.core.somaxconn": "1"}}}),
        &context(),
    );
    let tuned = tuned.expect("a plan").plan;
    tuned
        .check(own(&[libc::CLONE_NEWNS, libc::CLONE_NEWNET]))
        .expect("its own");
    tuned
        .check(own(&[libc::CLONE_NEWNS, libc::CLONE_NEWIPC]))
        .expect_err("the host's network");
}
