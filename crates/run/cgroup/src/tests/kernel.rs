use std::fs;

use carrack_oci::ErrorKind;
use carrack_oci::runtime::{BlockIo, Cpu, DeviceRule, Memory, Pids, Resources, ThrottleDevice};
use carrack_sys::bpf;
use rustix::fd::AsFd;

use super::world::{Inside, World, eventually};
use crate::{Controller, Error, LeafName, Version, device, oom_kills};

const MIB: i64 = 1 << 20;

/// Holds 40 MB until it is killed.
const HOG: &str = "(head -c 40000000 /dev/zero; sleep 60) | tail -c 40000000 >/dev/null";

fn memory(limit: i64, swap: Option<i64>) -> Resources {
    Resources {
        memory: Some(Memory {
            limit: Some(limit),
            swap,
            ..Memory::default()
        }),
        ..Resources::default()
    }
}

#[test]
fn a_life() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("life");
    assert!(leaf.processes().unwrap().is_empty());
    let mut inside = Inside::run(&leaf, "exec sleep 60");
    assert_eq!(leaf.processes().unwrap(), [inside.0.id()]);
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", inside.0.id())).unwrap();
    let ours = groups.matches(&leaf.cgroup_path()).count();
    assert_eq!(ours, leaf.locations().len(), "{groups}");
    let stats = leaf.stats().unwrap();
    assert_eq!(stats.pids.current, 1);
    assert!(
        stats.cpu.total_ns > 0 && stats.memory.usage > 0,
        "{stats:?}"
    );
    assert!(stats.memory.working_set() <= stats.memory.usage);
    leaf.freeze().unwrap();
    assert!(leaf.is_frozen().unwrap());
    leaf.thaw().unwrap();
    assert!(!leaf.is_frozen().unwrap());
    // A paused group is killed, too.
    leaf.freeze().unwrap();
    leaf.kill_all().unwrap();
    assert_eq!(inside.status(), 128 + 9);
    leaf.remove().unwrap();
    leaf.remove().unwrap();
    assert_eq!(world.parent.leaves().unwrap(), []);
}

#[test]
fn names_are_taken_and_found_again() {
    let Some(world) = World::new() else { return };
    let name = LeafName::new("one").unwrap();
    let leaf = world.leaf("one");
    let error = world.parent.create_leaf(&name).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(world.parent.leaves().unwrap(), std::slice::from_ref(&name));
    let inside = Inside::run(&leaf, "exec sleep 60");
    drop(leaf);
    let found = world.parent.open_leaf(&name).unwrap();
    assert_eq!(found.processes().unwrap(), [inside.0.id()]);
    let absent = LeafName::new("absent").unwrap();
    let error = world.parent.open_leaf(&absent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    world.parent.remove_leaf(&absent).unwrap();
}

#[test]
fn a_failed_creation_leaves_nothing() {
    let Some(world) = World::new() else { return };
    // A crash in the middle left the last hierarchy's directory.
    let leaf = world.leaf("half");
    let places = leaf.locations();
    let (last, others) = places.split_last().unwrap();
    for place in others {
        fs::remove_dir(&place.path).unwrap();
    }
    let name = LeafName::new("half").unwrap();
    world.parent.create_leaf(&name).unwrap_err();
    for place in others {
        assert!(!place.path.exists(), "{}", place.path.display());
    }
    assert!(last.path.exists());
    let found = world.parent.open_leaf(&name).unwrap();
    assert_eq!(found.locations().len(), 1);
    found.remove().unwrap();
    assert!(!last.path.exists());
}

#[test]
fn nested_groups_are_listed_killed_and_removed() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("nest");
    for place in leaf.locations() {
        fs::create_dir_all(place.path.join("a/b")).unwrap();
        fs::create_dir(place.path.join("c")).unwrap();
    }
    let mut inside = Inside::run(&leaf, "exec sleep 60");
    let deep = |controller| leaf.location_of(controller).join("a/b/cgroup.procs");
    for controller in [Controller::Pids, Controller::Freezer] {
        fs::write(deep(controller), inside.0.id().to_string()).unwrap();
    }
    assert_eq!(leaf.processes().unwrap(), [inside.0.id()]);
    leaf.kill_one_by_one().unwrap();
    assert_eq!(inside.status(), 128 + 9);
    leaf.remove().unwrap();
    assert_eq!(world.parent.leaves().unwrap(), []);
}

#[test]
fn removing_a_busy_leaf_says_where() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("busy");
    let mut inside = Inside::run(&leaf, "exec sleep 60");
    let Err(error @ Error::Remove { .. }) = leaf.remove() else {
        panic!("a leaf with a process was removed");
    };
    let Error::Remove { failures, .. } = &error else {
        unreachable!()
    };
    assert_eq!(failures.len(), leaf.locations().len(), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    leaf.kill_all().unwrap();
    inside.status();
    leaf.remove().unwrap();
}

#[test]
fn limits_go_up_and_down() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("limits");
    for (limit, swap) in [(64, 64), (128, 256), (16, 32), (32, -1), (8, 8), (64, 1024)] {
        let bytes = |size: i64| if size == -1 { -1 } else { size * MIB };
        leaf.apply(&memory(bytes(limit), Some(bytes(swap))))
            .unwrap();
        let limits = leaf.limits().unwrap();
        assert_eq!(limits.memory, u64::try_from(bytes(limit)).ok());
        assert_eq!(limits.memory_and_swap, u64::try_from(bytes(swap)).ok());
    }
    leaf.apply(&memory(-1, None)).unwrap();
    assert_eq!(leaf.limits().unwrap().memory, None);
    let bandwidth = |quota, period, burst| Resources {
        cpu: Some(Cpu {
            quota: Some(quota),
            period: Some(period),
            burst,
            shares: Some(512),
            cpus: Some("0".into()),
            ..Cpu::default()
        }),
        pids: Some(Pids { limit: 7 }),
        ..Resources::default()
    };
    for (quota, period, burst) in [
        (500_000, 1_000_000, Some(400_000)),
        (5_000, 10_000, Some(1_000)),
        (200_000, 100_000, None),
        (-1, 100_000, Some(0)),
    ] {
        leaf.apply(&bandwidth(quota, period, burst)).unwrap();
        let limits = leaf.limits().unwrap();
        assert_eq!(limits.cpu_quota_us, u64::try_from(quota).ok());
        assert_eq!(limits.cpu_period_us, Some(period));
    }
    let limits = leaf.limits().unwrap();
    assert_eq!(limits.pids, Some(7));
    assert_eq!(limits.cpus.as_deref(), Some("0"));
    if world.is_v1() {
        assert_eq!(limits.cpu_weight, Some(512));
    }
}

#[test]
fn refusals_are_sentences() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("refused");
    let cpus = Resources {
        cpu: Some(Cpu {
            cpus: Some("4000".into()),
            ..Cpu::default()
        }),
        ..Resources::default()
    };
    let error = leaf.apply(&cpus).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "cannot set cpuset.cpus to \"4000\": the host, or the group above, has no such CPUs or memory nodes"
    );
    let device = Resources {
        block_io: Some(BlockIo {
            throttle_read_bps_device: vec![ThrottleDevice {
                major: 4000,
                minor: 1,
                rate: 1,
            }],
            ..BlockIo::default()
        }),
        ..Resources::default()
    };
    let error = leaf.apply(&device).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("no block device"), "{error}");
}

#[test]
fn memory_in_use_is_not_taken_away() {
    let Some(world) = World::new() else { return };
    if !world.is_v1() {
        return;
    }
    let leaf = world.leaf("inuse");
    let _inside = Inside::run(&leaf, HOG);
    eventually("memory in use", || leaf.memory_usage().unwrap() > 32 << 20);
    let mut small = memory(8 * MIB, None);
    let error = leaf.apply(&small).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(
        error.to_string().contains("the memory is in use"),
        "{error}"
    );
    small.memory.as_mut().unwrap().check_before_update = Some(true);
    let error = leaf.apply(&small).unwrap_err();
    assert!(matches!(error, Error::LimitBelowUsage { .. }), "{error}");
}

#[test]
fn an_oom_kill_is_counted() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("oom");
    let file = leaf.oom_file().unwrap();
    assert_eq!(oom_kills(&file).unwrap(), 0);
    leaf.apply(&memory(16 * MIB, Some(16 * MIB))).unwrap();
    let _inside = Inside::run(&leaf, HOG);
    eventually("the kill", || oom_kills(&file).unwrap() > 0);
}

#[test]
fn device_rules_are_in_force() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("devices");
    // The null device always, the kernel's log as a device that nobody gets.
    let script = "true < /dev/null || exit 1; true < /dev/kmsg && exit 2; exit 0";
    leaf.set_default_devices().unwrap();
    assert_eq!(Inside::run(&leaf, script).status(), 0);
    let everything = DeviceRule {
        allow: true,
        ..DeviceRule::default()
    };
    leaf.set_devices(std::slice::from_ref(&everything)).unwrap();
    assert_eq!(Inside::run(&leaf, script).status(), 2);
    leaf.set_default_devices().unwrap();
    assert_eq!(Inside::run(&leaf, script).status(), 0);
}

/// The v2 way for real, also where this machine has devices on v1.
#[test]
fn the_device_program_is_in_force() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("program");
    let Some(group) = leaf.v2_dir_fd() else {
        println!("SKIP: no v2 hierarchy");
        return;
    };
    let script = "true < /dev/null || exit 1; true < /dev/kmsg && exit 2; exit 0";
    let put = |rules: &[DeviceRule]| {
        let program = bpf::load_device_program(&device::program(rules).unwrap())?;
        bpf::replace_device_programs(group, program.as_fd())
    };
    if let Err(error) = put(&device::default_rules()) {
        println!("SKIP: device programs cannot be attached here: {error}");
        return;
    }
    assert_eq!(Inside::run(&leaf, script).status(), 0);
    let everything = DeviceRule {
        allow: true,
        ..DeviceRule::default()
    };
    put(&[everything]).unwrap();
    assert_eq!(bpf::device_programs(group).unwrap().len(), 1);
    assert_eq!(Inside::run(&leaf, script).status(), 2);
}

#[test]
fn capabilities_of_this_machine() {
    let Some(world) = World::new() else { return };
    let capabilities = world.parent.capabilities();
    assert!(capabilities.pids_limit && capabilities.memory_limit && capabilities.cpu_cfs);
    assert_eq!(capabilities.driver, "cgroupfs");
    if capabilities.version == Version::V1 {
        assert!(capabilities.memory_swappiness && capabilities.oom_kill_disable);
    }
    println!("{capabilities:#?} {:?}", capabilities.warnings());
}

#[test]
fn a_deep_nest_is_removed() {
    let Some(world) = World::new() else { return };
    let leaf = world.leaf("deep");
    let place = leaf.location_of(Controller::Pids);
    let nest: std::path::PathBuf = std::iter::repeat_n("n", 200).collect();
    fs::create_dir_all(place.join(nest)).unwrap();
    leaf.remove().unwrap();
    assert_eq!(world.parent.leaves().unwrap(), []);
}
