//! Each case is a part of a spec laid over a small valid one, and what the
//! plan makes of it.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::plan::{DeviceKind, MountSource};
use crate::sources::SourceRequest;

fn context() -> Context {
    Context {
        available_capabilities: crate::capability::ALL,
        seccomp: None,
        user: None,
        cgroup: CgroupView::V2("/sys/fs/cgroup/leaf".to_owned()),
        cgroup_namespace: CgroupNamespace::Keep,
        first_process: FirstProcess::Program,
        user_namespace: UserNamespace::Shared,
    }
}

/// Lays `over` on `under`: objects are merged, everything else is replaced.
fn lay(over: &Value, under: &mut Value) {
    match (over, under) {
        (Value::Object(over), Value::Object(under)) => {
            for (key, value) in over {
                lay(value, under.entry(key).or_insert(Value::Null));
            }
        }
        (over, under) => under.clone_from(over),
    }
}

fn try_plan(part: &Value, context: &Context) -> Result<Planned, PlanError> {
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["/bin/sh"], "cwd": "/"},
        "root": {"path": "/bundle/rootfs"},
    });
    lay(part, &mut spec);
    plan(&serde_json::from_value(spec).expect("a spec"), context)
}

/// What a part of a spec becomes, a line an item.
#[track_caller]
fn check(part: &Value, show: fn(&Planned) -> String, expected: Expect) {
    let text = match try_plan(part, &context()) {
        Ok(planned) => show(&planned),
        Err(error) => format!("error: {error}\n"),
    };
    expected.assert_eq(&text);
}

/// Words for bits, in the order of the table.
fn words(bits: u64, table: &[(u64, &str)]) -> String {
    let mut left = bits;
    let mut words: Vec<String> = Vec::new();
    for (bit, word) in table {
        if bits & bit != 0 {
            words.push((*word).to_owned());
            left &= !bit;
        }
    }
    if left != 0 {
        words.push(format!("{left:#x}"));
    }
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join("+")
    }
}

fn attributes(bits: u64) -> String {
    words(
        bits,
        &[
            (0x1, "ro"),
            (0x2, "nosuid"),
            (0x4, "nodev"),
            (0x8, "noexec"),
            (0x10, "noatime"),
            (0x20, "strictatime"),
            (0x40, "atime"),
            (0x80, "nodiratime"),
            (0x20_0000, "nosymfollow"),
        ],
    )
}

fn propagation(bits: u64) -> String {
    words(
        bits,
        &[
            (1 << 17, "unbindable"),
            (1 << 18, "private"),
            (1 << 19, "slave"),
            (1 << 20, "shared"),
            (1 << 14, "rec"),
        ],
    )
}

fn sources(planned: &Planned) -> String {
    planned
        .sources
        .iter()
        .map(|source| match source {
            SourceRequest::Node(path) => format!("node {path}\n"),
            SourceRequest::Bind(bind) => {
                let change = |a: &carrack_sys::mount::MountAttributes| {
                    format!(
                        "+{} -{} {}",
                        attributes(a.set),
                        attributes(a.clear),
                        propagation(a.propagation)
                    )
                };
                let kind = if bind.recursive { "rbind" } else { "bind" };
                let map = bind.id_map.as_ref().map_or_else(String::new, |map| {
                    format!(
                        " ids({}) {:?} {:?}",
                        if map.recursive { "all" } else { "one" },
                        map.uid,
                        map.gid
                    )
                });
                format!(
                    "{kind} {}: own {}, all {}{map}\n",
                    bind.path,
                    change(&bind.attributes),
                    change(&bind.attributes_below),
                )
            }
        })
        .collect()
}

fn mounts(planned: &Planned) -> String {
    planned
        .plan
        .mounts
        .iter()
        .map(|mount| {
            let what = match &mount.source {
                MountSource::Descriptor(index) => format!("descriptor {}", index.0),
                MountSource::FileSystem(fs) => format!(
                    "{} from {} {:?} +{} {}{}",
                    fs.kind,
                    fs.source,
                    fs.parameters
                        .iter()
                        .map(|(key, value)| match value {
                            Some(value) => format!("{key}={value}"),
                            None => key.clone(),
                        })
                        .collect::<Vec<_>>(),
                    attributes(fs.attributes),
                    propagation(fs.propagation),
                    if fs.copy_up { " copy-up" } else { "" }
                ),
                MountSource::CgroupHierarchies {
                    hierarchies,
                    links,
                    readonly,
                } => format!(
                    "cgroups {:?} links {links:?} readonly {readonly}",
                    hierarchies
                        .iter()
                        .map(|(name, index)| (name, index.0))
                        .collect::<Vec<_>>()
                ),
            };
            format!("{}: {what}\n", mount.destination)
        })
        .collect()
}

fn both(planned: &Planned) -> String {
    mounts(planned) + &sources(planned)
}

fn mount_of(options: &[&str]) -> Value {
    json!({"mounts": [{"destination": "/d", "type": "bind", "source": "/s", "options": options}]})
}

#[test]
fn options_of_a_bind() {
    let cases: [(&[&str], Expect); 16] = [
        (
            &[],
            expect![[r#"
            bind /s: own +- -- -, all +- -- private
        "#]],
        ),
        (
            &["bind"],
            expect![[r#"
            bind /s: own +- -- -, all +- -- private
        "#]],
        ),
        (
            &["rbind", "ro", "nosuid", "nodev", "noexec"],
            expect![[r#"
            rbind /s: own +ro+nosuid+nodev+noexec -- -, all +- -- private
        "#]],
        ),
        (
            &["rbind", "rro", "rnosuid"],
            expect![[r#"
            rbind /s: own +- -- -, all +ro+nosuid -- private
        "#]],
        ),
        (
            &["rbind", "rro", "rrw", "ro", "rw"],
            expect![[r#"
            rbind /s: own +- -ro -, all +- -ro private
        "#]],
        ),
        (
            &["noatime", "nodiratime"],
            expect![[r#"
            bind /s: own +noatime+nodiratime -noatime+strictatime+atime -, all +- -- private
        "#]],
        ),
        (
            &["noatime", "relatime"],
            expect![[r#"
            bind /s: own +- -noatime+strictatime+atime -, all +- -- private
        "#]],
        ),
        (
            &["strictatime", "noatime"],
            expect![[r#"
            bind /s: own +noatime -noatime+strictatime+atime -, all +- -- private
        "#]],
        ),
        (
            &["rnoatime", "nosymfollow"],
            expect![[r#"
            bind /s: own +nosymfollow -- -, all +noatime -noatime+strictatime+atime private
        "#]],
        ),
        (
            &["rbind", "rprivate"],
            expect![[r#"
            rbind /s: own +- -- -, all +- -- private
        "#]],
        ),
        (
            &["rbind", "private"],
            expect![[r#"
            rbind /s: own +- -- private, all +- -- private
        "#]],
        ),
        (
            &["rbind", "rslave"],
            expect![[r#"
            rbind /s: own +- -- -, all +- -- slave
        "#]],
        ),
        (
            &["rbind", "slave"],
            expect![[r#"
            rbind /s: own +- -- -, all +- -- slave
        "#]],
        ),
        (
            &["rbind", "rshared"],
            expect![[r#"
            rbind /s: own +- -- -, all +- -- shared
        "#]],
        ),
        (
            &["rbind", "shared"],
            expect![[r#"
            rbind /s: own +- -- shared, all +- -- -
        "#]],
        ),
        (
            &["rbind", "runbindable", "unbindable"],
            expect![[r#"
            rbind /s: own +- -- unbindable, all +- -- private
        "#]],
        ),
    ];
    for (options, expected) in cases {
        check(&mount_of(options), sources, expected);
    }
}

#[test]
fn file_systems_and_their_parameters() {
    check(
        &json!({"mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/t", "type": "tmpfs", "options": ["tmpcopyup", "rro", "rslave", "x-odd=a=b", "flag"]},
            {"destination": "/d", "type": "none", "source": "/s", "options": ["rbind", "defaults"]},
        ]}),
        both,
        expect![[r#"
            /proc: proc from proc [] +- -
            /dev: tmpfs from tmpfs ["mode=755", "size=65536k"] +nosuid+strictatime -
            /t: tmpfs from tmpfs ["x-odd=a=b", "flag"] +ro slave copy-up
            /d: descriptor 1
            rbind /s: own +- -- -, all +- -- private
        "#]],
    );
}

#[test]
fn ids_of_a_mount_are_mapped_by_either_spelling() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 1, "hostID": 5, "size": 2}]);
    for (options, expected) in [
        (
            json!(["rbind"]),
            expect![[r#"
            rbind /s: own +- -- -, all +- -- private ids(one) "0 1000 1\n1 5 2\n" "0 1000 1\n1 5 2\n"
        "#]],
        ),
        (
            json!(["rbind", "idmap"]),
            expect![[r#"
            rbind /s: own +- -- -, all +- -- private ids(one) "0 1000 1\n1 5 2\n" "0 1000 1\n1 5 2\n"
        "#]],
        ),
        (
            json!(["rbind", "ridmap"]),
            expect![[r#"
            rbind /s: own +- -- -, all +- -- private ids(all) "0 1000 1\n1 5 2\n" "0 1000 1\n1 5 2\n"
        "#]],
        ),
    ] {
        check(
            &json!({"mounts": [{"destination": "/d", "type": "bind", "source": "/s",
                "options": options, "uidMappings": map, "gidMappings": map}]}),
            sources,
            expected,
        );
    }
    check(
        &mount_of(&["idmap"]),
        sources,
        expect![[r#"
        error: /d: an idmapped mount needs uidMappings and gidMappings
    "#]],
    );
    check(
        &json!({"mounts": [{"destination": "/d", "type": "tmpfs", "uidMappings": map, "gidMappings": map}]}),
        sources,
        expect![[r#"
            error: /d: only a bind mount can be idmapped
        "#]],
    );
}

#[test]
fn hostile_mounts_are_errors() {
    for (mount, expected) in [
        (
            json!({"destination": "relative", "type": "tmpfs"}),
            expect![[r#"
            error: mounts.destination: "relative" is not absolute
        "#]],
        ),
        (
            json!({"destination": "/", "type": "tmpfs"}),
            expect![[r#"
            error: mounts.destination: the root cannot be covered
        "#]],
        ),
        (
            json!({"destination": "//./", "type": "tmpfs"}),
            expect![[r#"
            error: mounts.destination: the root cannot be covered
        "#]],
        ),
        (
            json!({"destination": "/a\0b", "type": "tmpfs"}),
            expect![[r#"
            error: mounts.destination: holds a NUL byte
        "#]],
        ),
        (
            json!({"destination": "/a", "type": "bind", "source": "relative"}),
            expect![[r#"
            error: /a: a bind mount needs an absolute source
        "#]],
        ),
        (
            json!({"destination": "/a", "type": "bind"}),
            expect![[r#"
            error: /a: a bind mount needs an absolute source
        "#]],
        ),
        (
            json!({"destination": "/a", "type": "bind", "source": "/a\0b"}),
            expect![[r#"
            error: /a: a bind mount needs an absolute source
        "#]],
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "options": ["size=\0"]}),
            expect![[r#"
            error: mounts.options: holds a NUL byte
        "#]],
        ),
        (
            json!({"destination": "/a"}),
            expect![[r#"
            error: /a: a mount needs a type or the option bind
        "#]],
        ),
    ] {
        check(&json!({"mounts": [mount]}), both, expected);
    }
    let many: Vec<Value> = (0..=MAX_MOUNTS)
        .map(|n| json!({"destination": format!("/d{n}"), "type": "bind", "source": "/s"}))
        .collect();
    check(
        &json!({"mounts": many}),
        both,
        expect![[r#"
        error: mounts: more than 200 bind mounts and devices
    "#]],
    );
}

#[test]
fn control_groups_of_either_version() {
    let part = json!({"mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["ro", "nosuid", "noexec", "nodev", "relatime"]}]});
    check(
        &part,
        both,
        expect![[r#"
        /sys/fs/cgroup: descriptor 1
        bind /sys/fs/cgroup/leaf: own +ro+nosuid+nodev+noexec -noatime+strictatime+atime -, all +- -- private
    "#]],
    );
    let mut context = context();
    context.cgroup = CgroupView::V1 {
        hierarchies: vec![
            (
                "cpu,cpuacct".to_owned(),
                "/sys/fs/cgroup/cpu,cpuacct/leaf".to_owned(),
            ),
            ("pids".to_owned(), "/sys/fs/cgroup/pids/leaf".to_owned()),
        ],
        links: vec![("cpu".to_owned(), "cpu,cpuacct".to_owned())],
    };
    let planned = try_plan(&part, &context).expect("a plan");
    expect![[r#"
        /sys/fs/cgroup: cgroups [("cpu,cpuacct", 1), ("pids", 2)] links [("cpu", "cpu,cpuacct")] readonly true
        bind /sys/fs/cgroup/cpu,cpuacct/leaf: own +ro+nosuid+nodev+noexec -noatime+strictatime+atime -, all +- -- private
        bind /sys/fs/cgroup/pids/leaf: own +ro+nosuid+nodev+noexec -noatime+strictatime+atime -, all +- -- private
    "#]].assert_eq(&both(&planned));
}

fn devices(planned: &Planned) -> String {
    planned
        .plan
        .devices
        .iter()
        .map(|d| {
            let kind = match d.kind {
                DeviceKind::Character => 'c',
                DeviceKind::Block => 'b',
                DeviceKind::Fifo => 'p',
            };
            let bind = d
                .bind
                .map_or_else(String::new, |b| format!(" bind {}", b.0));
            format!(
                "{} {kind} {}:{} {:o} {}:{}{bind}\n",
                d.path, d.major, d.minor, d.mode, d.uid, d.gid
            )
        })
        .collect()
}

#[test]
fn default_devices_come_with_dev_and_the_specs_own_replace_them() {
    let part = json!({
        "mounts": [{"destination": "/dev/", "type": "tmpfs"}],
        "linux": {"devices": [
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 432, "uid": 5, "gid": 6},
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 384},
            {"path": "/dev/pipe", "type": "p"},
            {"path": "/dev/raw", "type": "u", "major": 3, "minor": 4},
        ]}
    });
    check(
        &part,
        devices,
        expect![[r#"
        /dev/zero c 1:5 666 0:0
        /dev/full c 1:7 666 0:0
        /dev/random c 1:8 666 0:0
        /dev/urandom c 1:9 666 0:0
        /dev/tty c 5:0 666 0:0
        /dev/fuse c 10:229 660 5:6
        /dev/null c 1:3 600 0:0
        /dev/pipe p 0:0 666 0:0
        /dev/raw c 3:4 666 0:0
    "#]],
    );
    let mut context = context();
    context.user_namespace = UserNamespace::Own;
    let planned = try_plan(&part, &context).expect("a plan");
    expect![[r#"
        /dev/zero c 1:5 666 0:0 bind 1
        /dev/full c 1:7 666 0:0 bind 2
        /dev/random c 1:8 666 0:0 bind 3
        /dev/urandom c 1:9 666 0:0 bind 4
        /dev/tty c 5:0 666 0:0 bind 5
        /dev/fuse c 10:229 660 5:6 bind 6
        /dev/null c 1:3 600 0:0 bind 7
        /dev/pipe p 0:0 666 0:0
        /dev/raw c 3:4 666 0:0 bind 8
        node /dev/zero
        node /dev/full
        node /dev/random
        node /dev/urandom
        node /dev/tty
        node /dev/fuse
        node /dev/null
        node /dev/raw
    "#]]
    .assert_eq(&(devices(&planned) + &sources(&planned)));
    check(&json!({}), devices, expect![[""]]);
    for (device, expected) in [
        (
            json!({"path": "dev/x", "type": "c", "major": 1, "minor": 3}),
            expect![[r#"
            error: linux.devices: "dev/x" is not absolute
        "#]],
        ),
        (
            json!({"path": "/dev/x", "type": "x", "major": 1, "minor": 3}),
            expect![[r#"
            error: linux.devices: "x" is no kind of device; c, b, u and p are
        "#]],
        ),
        (
            json!({"path": "/dev/x", "type": "c", "major": -1, "minor": 3}),
            expect![[r#"
            error: linux.devices: /dev/x: number -1 is out of range
        "#]],
        ),
        (
            json!({"path": "/dev/x", "type": "b", "major": 1, "minor": 4_294_967_296_u64}),
            expect![[r#"
            error: linux.devices: /dev/x: number 4294967296 is out of range
        "#]],
        ),
    ] {
        check(&json!({"linux": {"devices": [device]}}), devices, expected);
    }
}

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
