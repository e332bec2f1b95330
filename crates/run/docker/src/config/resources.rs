//! Limits, shared by `create` and `update`.

use serde::{Deserialize, Serialize};

/// Limits of a container. Zero means "not limited" or "as it is".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Resources {
    /// Relative CPU weight.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory: i64,
    /// CPUs × 10⁹.
    pub nano_cpus: i64,
    /// Parent of the control group.
    pub cgroup_parent: String,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Weight by device.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Bytes read in a second.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Bytes written in a second.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Reads in a second.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Writes in a second.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds of CPU in a period.
    pub cpu_quota: i64,
    /// Microseconds.
    pub cpu_realtime_period: i64,
    /// Microseconds.
    pub cpu_realtime_runtime: i64,
    /// List of CPUs, `0-3,7`.
    pub cpuset_cpus: String,
    /// List of memory nodes.
    pub cpuset_mems: String,
    /// Devices given to the container.
    pub devices: Option<Vec<DeviceMapping>>,
    /// Rules of the device controller, `c 42:* rmw`.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Devices asked of a driver (`--gpus`).
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Soft limit, bytes.
    pub memory_reservation: i64,
    /// Memory and swap, bytes; −1 is unlimited.
    pub memory_swap: i64,
    /// 0 to 100; −1 is the host's.
    pub memory_swappiness: Option<i64>,
    /// Pause instead of kill, v1 alone.
    pub oom_kill_disable: Option<bool>,
    /// Tasks; 0 and −1 are unlimited.
    pub pids_limit: Option<i64>,
    /// Limits of a process.
    pub ulimits: Option<Vec<Ulimit>>,
    /// Of Windows.
    pub cpu_count: i64,
    /// Of Windows.
    pub cpu_percent: i64,
    /// Of Windows.
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    /// Of Windows.
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
}

/// Weight of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// Device node on the host.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// Rate of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// Device node on the host.
    pub path: String,
    /// Bytes or operations in a second.
    pub rate: u64,
}

/// A device given to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceMapping {
    /// Node, or a directory of nodes, on the host.
    pub path_on_host: String,
    /// Its path inside.
    pub path_in_container: String,
    /// Letters of `rwm`.
    pub cgroup_permissions: String,
}

/// Devices asked of a driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    /// Driver.
    pub driver: String,
    /// How many; −1 is all.
    pub count: i64,
    /// Which ones.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// Or of lists of and.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// Options of the driver.
    pub options: Option<std::collections::BTreeMap<String, String>>,
}

/// One limit of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// `nofile`, without `RLIMIT_`.
    pub name: String,
    /// −1 is unlimited.
    pub hard: i64,
    /// −1 is unlimited.
    pub soft: i64,
}
