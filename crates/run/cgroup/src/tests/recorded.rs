//! A pure v2 machine from `testdata/v2.txt`: a tree of plain files.
//!
//! A plain tree remembers what was written last and refuses nothing, so these
//! tests see which files are written and how recorded content is read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carrack_oci::ErrorKind;
use carrack_oci::runtime::{Cpu, Memory, Pids, Resources};
use expect_test::{Expect, expect};
use tempfile::TempDir;

use crate::{Error, GroupPath, Hierarchies, Leaf, LeafName, Parent, Version, oom_kills};

struct Recorded {
    directory: TempDir,
    parent: Parent,
}

impl Recorded {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        lay_out("root", root);
        lay_out("group", &root.join("site"));
        lay_out("group", &root.join("site/carrack"));
        // Not everything was handed down before.
        fs::write(root.join("site/cgroup.subtree_control"), "memory\n").unwrap();
        let mounts = format!(
            "30 1 0:26 / {} rw - cgroup2 cgroup2 rw,nsdelegate\n",
            root.display()
        );
        let parent = Hierarchies::from_mountinfo(mounts.as_bytes(), root)
            .unwrap()
            .parent(&GroupPath::new("/site/carrack").unwrap())
            .unwrap();
        Self { directory, parent }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The kernel fills a new group with files; here the recording does.
    fn leaf(&self) -> Leaf {
        let leaf = self
            .parent
            .create_leaf(&LeafName::new("box").unwrap())
            .unwrap();
        lay_out("group", &self.path("site/carrack/box"));
        leaf
    }

    fn check_file(&self, name: &str, expected: &Expect) {
        let path = self.path("site/carrack/box").join(name);
        expected.assert_eq(&fs::read_to_string(path).unwrap());
    }
}

fn lay_out(section: &str, target: &Path) {
    fs::create_dir_all(target).unwrap();
    let recording = include_str!("../../testdata/v2.txt");
    for part in recording.split("== ").skip(1) {
        let (name, content) = part.split_once('\n').unwrap();
        if let Some(name) = name
            .strip_prefix(section)
            .and_then(|name| name.strip_prefix('/'))
        {
            fs::write(target.join(name), content).unwrap();
        }
    }
}

#[test]
fn controllers_are_handed_down() {
    let recorded = Recorded::new();
    let read = |name| fs::read_to_string(recorded.path(name)).unwrap();
    assert_eq!(
        read("cgroup.subtree_control"),
        "+cpuset +io +hugetlb +rdma +misc"
    );
    assert_eq!(
        read("site/cgroup.subtree_control"),
        "+cpu +cpuset +io +pids +hugetlb"
    );
    assert_eq!(
        read("site/carrack/cgroup.subtree_control"),
        "cpuset cpu io memory hugetlb pids\n",
        "what is there already is not written again"
    );
    assert_eq!(
        recorded.parent.hierarchies().layout().version(),
        Version::V2
    );
    assert_eq!(recorded.parent.leaves().unwrap(), []);
}

#[test]
fn limits_are_written() {
    let recorded = Recorded::new();
    let leaf = recorded.leaf();
    let ignored = leaf
        .apply(&Resources {
            memory: Some(Memory {
                limit: Some(1 << 20),
                swap: Some(3 << 20),
                swappiness: Some(1),
                ..Memory::default()
            }),
            cpu: Some(Cpu {
                period: Some(50_000),
                shares: Some(2),
                ..Cpu::default()
            }),
            pids: Some(Pids { limit: 0 }),
            unified: [("memory.high".to_owned(), "900000".to_owned())].into(),
            ..Resources::default()
        })
        .unwrap();
    assert_eq!(ignored.len(), 1);
    recorded.check_file("memory.max", &expect!["1048576"]);
    recorded.check_file("memory.swap.max", &expect!["2097152"]);
    recorded.check_file("memory.high", &expect!["900000"]);
    recorded.check_file("cpu.max", &expect!["max 50000"]);
    recorded.check_file("cpu.weight", &expect!["1"]);
    recorded.check_file("pids.max", &expect!["max"]);
    // bfq's file is not in the recording.
    let weight = Resources {
        block_io: Some(carrack_oci::runtime::BlockIo {
            weight: Some(1000),
            ..carrack_oci::runtime::BlockIo::default()
        }),
        ..Resources::default()
    };
    leaf.apply(&weight).unwrap();
    recorded.check_file("io.weight", &expect!["10000"]);
}

#[test]
fn a_kernel_without_swap_accounting() {
    let recorded = Recorded::new();
    fs::remove_file(recorded.path("site/carrack/memory.swap.max")).unwrap();
    let leaf = recorded.leaf();
    fs::remove_file(recorded.path("site/carrack/box/memory.swap.max")).unwrap();
    let capabilities = recorded.parent.capabilities();
    assert!(!capabilities.swap_limit && capabilities.memory_limit);
    assert_eq!(capabilities.warnings(), ["WARNING: No swap limit support"]);
    let swap = |swap| Resources {
        memory: Some(Memory {
            limit: Some(1 << 20),
            swap: Some(swap),
            ..Memory::default()
        }),
        ..Resources::default()
    };
    leaf.apply(&swap(-1)).unwrap();
    let error = leaf.apply(&swap(2 << 20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(
        error.to_string(),
        "cannot set memory.swap.max to \"1048576\": this kernel has no memory.swap.max"
    );
}

#[test]
fn statistics() {
    let recorded = Recorded::new();
    let leaf = recorded.leaf();
    let mut stats = leaf.stats().unwrap();
    assert_eq!(stats.memory.working_set(), 52_428_800 - 8_388_608);
    assert_eq!(stats.memory.detail["anon"], 41_943_040);
    stats.memory.detail.clear();
    assert_eq!(stats.block_io.bytes.len(), 6);
    stats.block_io = crate::stats::BlockIoStats::default();
    expect![[r#"
        Stats {
            cpu: CpuStats {
                total_ns: 2345678000,
                user_ns: 1500000000,
                system_ns: 845678000,
                per_cpu_ns: [],
                throttling: Throttling {
                    periods: 40,
                    throttled_periods: 12,
                    throttled_ns: 90210000,
                },
            },
            memory: MemoryStats {
                usage: 52428800,
                max_usage: 60000000,
                limit: Some(
                    67108864,
                ),
                swap_usage: 8192,
                failures: 2,
                detail: {},
            },
            pids: PidsStats {
                current: 3,
                limit: Some(
                    100,
                ),
            },
            block_io: BlockIoStats {
                bytes: [],
                operations: [],
            },
            hugetlb: [
                HugetlbStats {
                    page_size: "1GB",
                    usage: 0,
                    max_usage: 0,
                    failures: 0,
                },
                HugetlbStats {
                    page_size: "2MB",
                    usage: 4194304,
                    max_usage: 0,
                    failures: 3,
                },
            ],
        }
    "#]]
    .assert_debug_eq(&stats);
    assert_eq!(oom_kills(&leaf.oom_file().unwrap()).unwrap(), 1);
    expect![[r#"
        Limits {
            memory: Some(
                67108864,
            ),
            memory_and_swap: Some(
                134217728,
            ),
            memory_reservation: None,
            cpu_quota_us: None,
            cpu_period_us: Some(
                100000,
            ),
            cpu_weight: Some(
                100,
            ),
            cpus: Some(
                "",
            ),
            mems: Some(
                "",
            ),
            pids: Some(
                100,
            ),
        }
    "#]]
    .assert_debug_eq(&leaf.limits().unwrap());
}

#[test]
fn processes_of_nested_groups() {
    let recorded = Recorded::new();
    let leaf = recorded.leaf();
    let inside = recorded.path("site/carrack/box");
    lay_out("group", &inside.join("a/b"));
    lay_out("group", &inside.join("a"));
    fs::write(inside.join("cgroup.procs"), "10\n7\n").unwrap();
    fs::write(inside.join("a/b/cgroup.procs"), "12\nx\n-1\n7\n").unwrap();
    assert_eq!(leaf.processes().unwrap(), [7, 10, 12]);
}

#[test]
fn pausing() {
    let recorded = Recorded::new();
    let leaf = recorded.leaf();
    assert!(!leaf.is_frozen().unwrap());
    // The recording never says "frozen 1": the wait ends, and with it the try.
    let bound = Duration::from_millis(20);
    let error = leaf.freeze_within(bound).unwrap_err();
    assert!(matches!(error, Error::FreezeTimeout { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    recorded.check_file("cgroup.freeze", &expect!["0"]);
    leaf.thaw().unwrap();
    let events = recorded.path("site/carrack/box/cgroup.events");
    fs::write(events, "populated 1\nfrozen 1\n").unwrap();
    leaf.freeze_within(bound).unwrap();
    assert!(leaf.is_frozen().unwrap());
    recorded.check_file("cgroup.freeze", &expect!["1"]);
}

#[test]
fn killing_is_one_write() {
    let recorded = Recorded::new();
    let leaf = recorded.leaf();
    leaf.kill_all().unwrap();
    recorded.check_file("cgroup.kill", &expect!["1"]);
}

#[test]
fn attaching() {
    use crate::V2Membership::{Inherited, Written};
    let recorded = Recorded::new();
    let leaf = recorded.leaf();
    assert!(leaf.attach_files(Inherited).unwrap().is_empty());
    assert_eq!(leaf.attach_files(Written).unwrap().len(), 1);
    assert!(leaf.v2_dir_fd().is_some());
    leaf.attach_pid(4242).unwrap();
    recorded.check_file("cgroup.procs", &expect!["4242"]);
    assert_eq!(leaf.cgroup_path(), "/site/carrack/box");
}

#[test]
fn a_symlink_is_no_group() {
    let recorded = Recorded::new();
    std::os::unix::fs::symlink("/", recorded.path("site/carrack/evil")).unwrap();
    let evil = LeafName::new("evil").unwrap();
    assert!(recorded.parent.open_leaf(&evil).is_err());
    assert_eq!(recorded.parent.leaves().unwrap(), []);
    let leaf = recorded.leaf();
    let file = recorded.path("site/carrack/box/pids.max");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
    let pids = Resources {
        pids: Some(Pids { limit: 1 }),
        ..Resources::default()
    };
    assert!(leaf.apply(&pids).is_err());
}

#[test]
fn nothing_is_mounted() {
    let empty = tempfile::tempdir().unwrap();
    let error = Hierarchies::from_mountinfo(b"", empty.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
