//! Mounts, control groups and devices.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{check, context, propagation, try_plan, words};
use crate::plan::{DeviceKind, MountSource};
use crate::planner::{CgroupView, MAX_MOUNTS, Planned, UserNamespace};
use crate::sources::SourceRequest;

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
