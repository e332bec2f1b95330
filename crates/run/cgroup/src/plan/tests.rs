use carrack_oci::runtime::{BlockIo, Cpu, HugepageLimit, Memory, Pids, Resources, ThrottleDevice};
use expect_test::{Expect, expect};

use super::*;
use crate::ControllerSet;

const MIB: i64 = 1 << 20;

fn every_controller() -> ControllerSet {
    Controller::ALL.into_iter().collect()
}

fn v1() -> Layout {
    Layout {
        v1: every_controller(),
        ..Layout::default()
    }
}

fn v2() -> Layout {
    Layout {
        v2: every_controller(),
        unified: true,
        ..Layout::default()
    }
}

/// Everything on v1 but huge pages, as on many machines with both.
fn hybrid() -> Layout {
    let hugetlb: ControllerSet = [Controller::Hugetlb].into_iter().collect();
    Layout {
        v1: every_controller().without(hugetlb),
        v2: hugetlb,
        unified: true,
    }
}

fn check_from(resources: &Resources, layout: &Layout, current: &Current, expected: &Expect) {
    let text = match plan(resources, layout, current) {
        Err(error) => format!("error {:?}: {error}\n", error.kind()),
        Ok(plan) => {
            let mut text = String::new();
            for write in &plan.writes {
                text += &format!("{} = {}", write.file, write.value);
                text += &match &write.absent {
                    Absent::Refuse => "\n".to_owned(),
                    Absent::Skip => " (skip if absent)\n".to_owned(),
                    Absent::Instead { file, value } => format!(" (else {file} = {value})\n"),
                };
            }
            for ignored in &plan.ignored {
                text += &format!("ignored {}: {}\n", ignored.property, ignored.reason);
            }
            if let Some(bound) = plan.usage_bound {
                text += &format!("usage must be below {bound}\n");
            }
            text
        }
    };
    expected.assert_eq(&text);
}

fn check(resources: &Resources, layout: &Layout, expected: &Expect) {
    check_from(resources, layout, &Current::default(), expected);
}

fn memory(memory: Memory) -> Resources {
    Resources {
        memory: Some(memory),
        ..Resources::default()
    }
}

fn cpu(cpu: Cpu) -> Resources {
    Resources {
        cpu: Some(cpu),
        ..Resources::default()
    }
}

#[test]
fn nothing_asked_nothing_written() {
    let empty = Resources {
        memory: Some(Memory::default()),
        cpu: Some(Cpu::default()),
        block_io: Some(BlockIo::default()),
        ..Resources::default()
    };
    check(&empty, &v1(), &expect![""]);
    check(&empty, &Layout::default(), &expect![""]);
}

#[test]
fn shares_become_weights_through_three_points() {
    for (shares, weight) in [
        (0, 0),
        (1, 1),
        (2, 1),
        (1024, 100),
        (262_144, 10_000),
        (300_000, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(shares_to_weight(shares), weight, "{shares}");
    }
    let weights: Vec<u64> = (2..=262_144).map(shares_to_weight).collect();
    assert!(weights.is_sorted(), "more shares are never a lower weight");
    assert!(weights.iter().all(|weight| (1..=10_000).contains(weight)));
}

#[test]
fn block_weights() {
    for (weight, io) in [(0, 0), (10, 1), (500, 4950), (1000, 10_000)] {
        assert_eq!(bfq_to_io_weight(weight), io, "{weight}");
    }
}

#[test]
fn cpu_on_both() {
    let resources = cpu(Cpu {
        shares: Some(512),
        quota: Some(50_000),
        period: Some(100_000),
        burst: Some(10_000),
        cpus: Some("0-1".into()),
        mems: Some("0".into()),
        ..Cpu::default()
    });
    check(
        &resources,
        &v1(),
        &expect![[r#"
            cpu.shares = 512
            cpu.cfs_period_us = 100000
            cpu.cfs_quota_us = 50000
            cpu.cfs_burst_us = 10000
            cpuset.cpus = 0-1
            cpuset.mems = 0
        "#]],
    );
    check(
        &resources,
        &v2(),
        &expect![[r#"
            cpu.weight = 59
            cpu.max = 50000 100000
            cpu.max.burst = 10000
            cpuset.cpus = 0-1
            cpuset.mems = 0
        "#]],
    );
}

#[test]
fn one_half_of_cpu_max_keeps_the_other() {
    let current = Current {
        cpu_quota_us: Some(20_000),
        cpu_period_us: Some(50_000),
        ..Current::default()
    };
    let period = cpu(Cpu {
        period: Some(40_000),
        ..Cpu::default()
    });
    check_from(
        &period,
        &v2(),
        &current,
        &expect![[r#"
        cpu.max = 20000 40000
    "#]],
    );
    let quota = cpu(Cpu {
        quota: Some(10_000),
        ..Cpu::default()
    });
    check_from(
        &quota,
        &v2(),
        &current,
        &expect![[r#"
        cpu.max = 10000 50000
    "#]],
    );
    let unlimited = cpu(Cpu {
        quota: Some(-1),
        ..Cpu::default()
    });
    check(
        &unlimited,
        &v2(),
        &expect![[r#"
        cpu.max = max 100000
    "#]],
    );
    check(
        &unlimited,
        &v1(),
        &expect![[r#"
        cpu.cfs_quota_us = -1
    "#]],
    );
}

#[test]
fn idle_has_no_weight_beside_it() {
    let order = |idle| {
        cpu(Cpu {
            shares: Some(1024),
            idle: Some(idle),
            ..Cpu::default()
        })
    };
    check(
        &order(1),
        &v1(),
        &expect![[r#"
        cpu.shares = 1024
        cpu.idle = 1
    "#]],
    );
    check(
        &order(0),
        &v2(),
        &expect![[r#"
        cpu.idle = 0
        cpu.weight = 100
    "#]],
    );
}

#[test]
fn real_time_is_of_v1() {
    let resources = cpu(Cpu {
        realtime_period: Some(1_000_000),
        realtime_runtime: Some(950_000),
        ..Cpu::default()
    });
    check(
        &resources,
        &v1(),
        &expect![[r#"
        cpu.rt_period_us = 1000000
        cpu.rt_runtime_us = 950000
    "#]],
    );
    check(
        &resources,
        &v2(),
        &expect![[r#"
            error Unsupported: real-time CPU time cannot be limited here: cgroup v2 has no such limit
        "#]],
    );
}

#[test]
fn memory_and_swap_in_the_order_that_the_kernel_takes() {
    let both = memory(Memory {
        limit: Some(64 * MIB),
        swap: Some(128 * MIB),
        ..Memory::default()
    });
    // Fresh: the sum is below the limit in force (none), so the limit is first.
    check(
        &both,
        &v1(),
        &expect![[r#"
        memory.limit_in_bytes = 67108864
        memory.memsw.limit_in_bytes = 134217728
    "#]],
    );
    // Raised: the sum makes room first.
    let small = Current {
        memory_limit: Some(32 << 20),
        ..Current::default()
    };
    check_from(
        &both,
        &v1(),
        &small,
        &expect![[r#"
        memory.memsw.limit_in_bytes = 134217728
        memory.limit_in_bytes = 67108864
    "#]],
    );
    // Lowered.
    let large = Current {
        memory_limit: Some(256 << 20),
        ..Current::default()
    };
    check_from(
        &both,
        &v1(),
        &large,
        &expect![[r#"
        memory.limit_in_bytes = 67108864
        memory.memsw.limit_in_bytes = 134217728
    "#]],
    );
    check(
        &both,
        &v2(),
        &expect![[r#"
        memory.swap.max = 67108864
        memory.max = 67108864
    "#]],
    );
}

/// The kernel's rule, limit ≤ memory plus swap at every moment, on a grid of
/// states before and after.
#[test]
fn no_order_of_memory_writes_is_refused() {
    let sizes = [1, 2, 3, 4, i64::MAX];
    for before_limit in sizes {
        for before_sum in sizes.into_iter().filter(|sum| *sum >= before_limit) {
            for limit in [1, 2, 3, 4] {
                for sum in [1, 2, 3, 4, -1]
                    .into_iter()
                    .filter(|sum| *sum == -1 || *sum >= limit)
                {
                    let current = Current {
                        memory_limit: u64::try_from(before_limit)
                            .ok()
                            .filter(|_| before_limit != i64::MAX),
                        ..Current::default()
                    };
                    let asked = memory(Memory {
                        limit: Some(limit),
                        swap: Some(sum),
                        ..Memory::default()
                    });
                    let mut state = (before_limit, before_sum);
                    for write in plan(&asked, &v1(), &current).unwrap().writes {
                        let value = match write.value.parse::<i64>().unwrap() {
                            -1 => i64::MAX,
                            value => value,
                        };
                        if write.file.contains("memsw") {
                            state.1 = value;
                        } else {
                            state.0 = value;
                        }
                        assert!(
                            state.0 <= state.1,
                            "{before_limit},{before_sum} -> {limit},{sum}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn unlimited_memory_lifts_swap_too() {
    let unlimited = memory(Memory {
        limit: Some(-1),
        ..Memory::default()
    });
    check(
        &unlimited,
        &v1(),
        &expect![[r#"
        memory.memsw.limit_in_bytes = -1 (skip if absent)
        memory.limit_in_bytes = -1
    "#]],
    );
    check(
        &unlimited,
        &v2(),
        &expect![[r#"
        memory.swap.max = max (skip if absent)
        memory.max = max
    "#]],
    );
}

#[test]
fn swap_alone_counts_from_the_limit_in_force() {
    let swap = memory(Memory {
        swap: Some(96 * MIB),
        ..Memory::default()
    });
    let current = Current {
        memory_limit: Some(64 << 20),
        ..Current::default()
    };
    check_from(
        &swap,
        &v2(),
        &current,
        &expect![[r#"
        memory.swap.max = 33554432
    "#]],
    );
    check(
        &swap,
        &v2(),
        &expect![[r#"
        error InvalidInput: invalid memory.swap: it needs a memory limit that is not above it
    "#]],
    );
}

#[test]
fn impossible_memory() {
    for (limit, swap, expected) in [
        (
            64 * MIB,
            32 * MIB,
            expect![[r#"
                error InvalidInput: invalid memory.swap: memory plus swap may not be less than the memory limit
            "#]],
        ),
        (
            -2,
            0,
            expect![[r#"
                error InvalidInput: invalid memory.limit: it must be -1 (unlimited) or a number of bytes
            "#]],
        ),
        (
            i64::MIN,
            i64::MIN,
            expect![[r#"
                error InvalidInput: invalid memory.limit: it must be -1 (unlimited) or a number of bytes
            "#]],
        ),
    ] {
        let asked = memory(Memory {
            limit: Some(limit),
            swap: Some(swap),
            ..Memory::default()
        });
        check(&asked, &v2(), &expected);
        check(&asked, &v1(), &expected);
    }
}

#[test]
fn what_only_v1_has_is_named() {
    let resources = memory(Memory {
        reservation: Some(MIB),
        kernel: Some(MIB),
        kernel_tcp: Some(MIB),
        swappiness: Some(60),
        disable_oom_killer: Some(true),
        check_before_update: Some(true),
        limit: Some(2 * MIB),
        ..Memory::default()
    });
    check(
        &resources,
        &v1(),
        &expect![[r#"
            memory.limit_in_bytes = 2097152
            memory.soft_limit_in_bytes = 1048576
            memory.kmem.tcp.limit_in_bytes = 1048576
            memory.swappiness = 60
            memory.oom_control = 1
            ignored memory.kernel: kernels no longer have this limit
            usage must be below 2097152
        "#]],
    );
    check(
        &resources,
        &v2(),
        &expect![[r#"
            memory.max = 2097152
            memory.low = 1048576
            ignored memory.kernel: kernels no longer have this limit
            ignored memory.kernelTCP: cgroup v2 has no such setting
            ignored memory.swappiness: cgroup v2 has no such setting
            ignored memory.disableOOMKiller: cgroup v2 has no such setting
            usage must be below 2097152
        "#]],
    );
}

#[test]
fn block_devices() {
    let rate = |major, rate| ThrottleDevice {
        major,
        minor: 0,
        rate,
    };
    let resources = Resources {
        block_io: Some(BlockIo {
            weight: Some(500),
            throttle_read_bps_device: vec![rate(8, 1024), rate(259, 0)],
            throttle_write_iops_device: vec![rate(8, 7)],
            ..BlockIo::default()
        }),
        ..Resources::default()
    };
    check(
        &resources,
        &v1(),
        &expect![[r#"
            blkio.bfq.weight = 500 (else blkio.weight = 500)
            blkio.throttle.read_bps_device = 8:0 1024
            blkio.throttle.read_bps_device = 259:0 0
            blkio.throttle.write_iops_device = 8:0 7
        "#]],
    );
    check(
        &resources,
        &v2(),
        &expect![[r#"
            io.bfq.weight = 500 (else io.weight = 4950)
            io.max = 8:0 rbps=1024 wiops=7
            io.max = 259:0 rbps=max
        "#]],
    );
    let hostile = Resources {
        block_io: Some(BlockIo {
            throttle_read_bps_device: vec![rate(-1, 1)],
            ..BlockIo::default()
        }),
        ..Resources::default()
    };
    check(
        &hostile,
        &v2(),
        &expect![[r#"
            error InvalidInput: invalid blockIO device: major and minor must be numbers of a device
        "#]],
    );
}

#[test]
fn tasks_and_huge_pages() {
    let resources = Resources {
        pids: Some(Pids { limit: 100 }),
        hugepage_limits: vec![HugepageLimit {
            page_size: "2MB".into(),
            limit: 4 << 20,
        }],
        ..Resources::default()
    };
    check(
        &resources,
        &v1(),
        &expect![[r#"
        pids.max = 100
        hugetlb.2MB.limit_in_bytes = 4194304
        hugetlb.2MB.rsvd.limit_in_bytes = 4194304 (skip if absent)
    "#]],
    );
    check(
        &resources,
        &hybrid(),
        &expect![[r#"
        pids.max = 100
        hugetlb.2MB.max = 4194304
        hugetlb.2MB.rsvd.max = 4194304 (skip if absent)
    "#]],
    );
    for limit in [0, -1, i64::MIN] {
        let unlimited = Resources {
            pids: Some(Pids { limit }),
            ..Resources::default()
        };
        check(
            &unlimited,
            &v2(),
            &expect![[r#"
            pids.max = max
        "#]],
        );
    }
}

#[test]
fn a_controller_that_is_not_there() {
    let resources = Resources {
        pids: Some(Pids { limit: 1 }),
        ..Resources::default()
    };
    check(
        &resources,
        &Layout::default(),
        &expect![[r#"
            error Unsupported: this kernel has no pids controller, or it is not mounted
        "#]],
    );
}

#[test]
fn hostile_names() {
    let refused = |resources: &Resources| {
        assert!(
            plan(resources, &v2(), &Current::default()).is_err(),
            "{resources:?}"
        );
    };
    for file in [
        "",
        ".",
        "memory",
        ".max",
        "memory.",
        "../memory.max",
        "a/../b.c",
        "memory.max\0",
        "memory.max\n",
        "cgroup.procs",
        "cgroup.kill",
        "cgroup.subtree_control",
        "cgroup.threads",
        &format!("a.{}", "x".repeat(200)),
    ] {
        refused(&Resources {
            unified: [(file.to_owned(), "1".to_owned())].into(),
            ..Resources::default()
        });
    }
    for page_size in [
        "", "MB", "2", "2mb", "../2MB", "2MB.max", "2 MB", "999999MB", "2MBMB",
    ] {
        refused(&Resources {
            hugepage_limits: vec![HugepageLimit {
                page_size: page_size.to_owned(),
                limit: 1,
            }],
            ..Resources::default()
        });
    }
    for list in ["a", "0\n1", "0;1", &"0,".repeat(4000)] {
        refused(&cpu(Cpu {
            cpus: Some(list.to_owned()),
            ..Cpu::default()
        }));
    }
    for device in ["", "a b", "mlx\n", "../x"] {
        refused(&Resources {
            rdma: [(device.to_owned(), carrack_oci::runtime::Rdma::default())].into(),
            ..Resources::default()
        });
    }
}

#[test]
fn v2_files_by_name() {
    let unified = |file: &str, value: &str| Resources {
        unified: [(file.to_owned(), value.to_owned())].into(),
        ..Resources::default()
    };
    check(
        &unified("memory.high", "max"),
        &v2(),
        &expect![[r#"
        memory.high = max
    "#]],
    );
    check(
        &unified("cgroup.max.depth", "4"),
        &hybrid(),
        &expect![[r#"
        cgroup.max.depth = 4
    "#]],
    );
    check(
        &unified("memory.high", "max"),
        &hybrid(),
        &expect![[r#"
            error Unsupported: memory.high cannot be limited here: the memory controller is not on cgroup v2
        "#]],
    );
    check(
        &unified("memory.high", "max"),
        &v1(),
        &expect![[r#"
            error Unsupported: memory.high cannot be limited here: the cgroup v2 hierarchy is not mounted
        "#]],
    );
}
