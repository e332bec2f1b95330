//! Limits, from Docker's units to those of the runtime specification.

use carrack_oci::runtime::{
    BlockIo, Cpu, Memory, Pids, Resources as OciResources, ThrottleDevice, WeightDevice,
};

use crate::config::{Resources, ThrottleDevice as DockerThrottle};
use crate::validate::Invalid;

use super::DeviceNodes;

/// Microseconds: the period that `NanoCpus` is a share of.
const PERIOD_US: i64 = 100_000;

/// Translates limits; what is zero is left as it is. Device rules are left
/// empty.
pub fn resources(asked: &Resources, devices: &dyn DeviceNodes) -> Result<OciResources, Invalid> {
    let set = |value: i64| (value != 0).then_some(value);
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
    let memory = Memory {
        limit: set(asked.memory),
        reservation: set(asked.memory_reservation),
        swap: set(asked.memory_swap),
        swappiness: asked
            .memory_swappiness
            .and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: asked.oom_kill_disable.filter(|disable| *disable),
        ..Memory::default()
    };
    let (quota, period) = if asked.nano_cpus > 0 {
        (Some(quota_of(asked.nano_cpus)), positive(PERIOD_US))
    } else {
        (set(asked.cpu_quota), positive(asked.cpu_period))
    };
    let cpu = Cpu {
        shares: positive(asked.cpu_shares),
        quota,
        period,
        realtime_runtime: set(asked.cpu_realtime_runtime),
        realtime_period: positive(asked.cpu_realtime_period),
        cpus: text(&asked.cpuset_cpus),
        mems: text(&asked.cpuset_mems),
        ..Cpu::default()
    };
    let block_io = block_io(asked, devices)?;
    Ok(OciResources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        // Zero is an update's "unlimited"; a create has none then.
        pids: asked.pids_limit.map(|limit| Pids { limit }),
        block_io: (block_io != BlockIo::default()).then_some(block_io),
        ..OciResources::default()
    })
}

/// At least 1 ms, which is the least that the kernel takes.
fn quota_of(nano_cpus: i64) -> i64 {
    let quota = i128::from(nano_cpus) * i128::from(PERIOD_US) / 1_000_000_000;
    i64::try_from(quota).unwrap_or(i64::MAX).max(1_000)
}

fn block_io(asked: &Resources, devices: &dyn DeviceNodes) -> Result<BlockIo, Invalid> {
    let number = |path: &str| {
        let node = devices
            .node(path)
            .map_err(|error| Invalid::rule(format!("no such device: {path}: {error}")))?;
        if node.kind == 'b' {
            Ok((node.major, node.minor))
        } else {
            Err(Invalid::rule(format!("{path} is not a block device")))
        }
    };
    let throttle = |list: &Option<Vec<DockerThrottle>>| -> Result<Vec<ThrottleDevice>, Invalid> {
        let each = |device: &DockerThrottle| {
            let (major, minor) = number(&device.path)?;
            let rate = device.rate;
            Ok(ThrottleDevice { major, minor, rate })
        };
        list.iter().flatten().map(each).collect()
    };
    let weight_device = asked
        .blkio_weight_device
        .iter()
        .flatten()
        .map(|device| {
            let (major, minor) = number(&device.path)?;
            Ok(WeightDevice {
                major,
                minor,
                weight: Some(device.weight),
                leaf_weight: None,
            })
        })
        .collect::<Result<_, Invalid>>()?;
    Ok(BlockIo {
        weight: (asked.blkio_weight != 0).then_some(asked.blkio_weight),
        leaf_weight: None,
        weight_device,
        throttle_read_bps_device: throttle(&asked.blkio_device_read_bps)?,
        throttle_write_bps_device: throttle(&asked.blkio_device_write_bps)?,
        throttle_read_iops_device: throttle(&asked.blkio_device_read_iops)?,
        throttle_write_iops_device: throttle(&asked.blkio_device_write_iops)?,
    })
}
