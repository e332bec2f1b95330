//! What can be limited on this machine, as `docker info` reports it.

use crate::{Controller, Parent, Version, file};

/// The driver that Carrack is: it writes the files itself.
const DRIVER: &str = "cgroupfs";

/// Which limits work here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// `CgroupVersion`.
    pub version: Version,
    /// `CgroupDriver`.
    pub driver: &'static str,
    /// `MemoryLimit`.
    pub memory_limit: bool,
    /// `SwapLimit`; false also when swap accounting is off.
    pub swap_limit: bool,
    /// `MemoryReservation` at create.
    pub memory_reservation: bool,
    /// `MemorySwappiness` at create, v1 alone.
    pub memory_swappiness: bool,
    /// `KernelMemoryTCP`, v1 alone.
    pub kernel_memory_tcp: bool,
    /// `OomKillDisable`, v1 alone.
    pub oom_kill_disable: bool,
    /// `CpuCfsPeriod` and `CpuCfsQuota`.
    pub cpu_cfs: bool,
    /// `CPUShares`.
    pub cpu_shares: bool,
    /// `CPURealtimePeriod` and `…Runtime`, v1 alone.
    pub cpu_realtime: bool,
    /// `CPUSet`.
    pub cpuset: bool,
    /// `PidsLimit`.
    pub pids_limit: bool,
    /// `BlkioWeight`.
    pub blkio_weight: bool,
    /// Weights by device.
    pub blkio_weight_device: bool,
    /// Rates by device.
    pub blkio_throttle: bool,
    /// Huge pages.
    pub hugetlb: bool,
    /// Device rules.
    pub devices: bool,
    /// Pausing.
    pub freezer: bool,
}

impl Parent {
    /// Looks which files the engine's own group has.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        let layout = &self.0.mounted.layout;
        let has = |controller: Controller, v1: &str, v2: &str| {
            let name = match layout.version_of(controller) {
                Some(Version::V1) => v1,
                Some(Version::V2) => v2,
                None => return false,
            };
            // An empty name: the interface has no such limit.
            !name.is_empty()
                && self
                    .0
                    .directory(controller)
                    .is_some_and(|group| file::exists(group, name))
        };
        let memory = |v1, v2| has(Controller::Memory, v1, v2);
        let cpu = |v1, v2| has(Controller::Cpu, v1, v2);
        let io = |v1, v2| has(Controller::Io, v1, v2);
        Capabilities {
            version: layout.version(),
            driver: DRIVER,
            memory_limit: memory("memory.limit_in_bytes", "memory.max"),
            swap_limit: memory("memory.memsw.limit_in_bytes", "memory.swap.max"),
            memory_reservation: memory("memory.soft_limit_in_bytes", "memory.low"),
            memory_swappiness: memory("memory.swappiness", ""),
            kernel_memory_tcp: memory("memory.kmem.tcp.limit_in_bytes", ""),
            oom_kill_disable: memory("memory.oom_control", ""),
            cpu_cfs: cpu("cpu.cfs_quota_us", "cpu.max"),
            cpu_shares: cpu("cpu.shares", "cpu.weight"),
            cpu_realtime: cpu("cpu.rt_period_us", ""),
            cpuset: has(Controller::Cpuset, "cpuset.cpus", "cpuset.cpus"),
            pids_limit: has(Controller::Pids, "pids.max", "pids.max"),
            blkio_weight: io("blkio.bfq.weight", "io.bfq.weight")
                || io("blkio.weight", "io.weight"),
            blkio_weight_device: io("blkio.bfq.weight_device", "io.bfq.weight")
                || io("blkio.weight_device", "io.weight"),
            blkio_throttle: io("blkio.throttle.read_bps_device", "io.max"),
            hugetlb: layout.version_of(Controller::Hugetlb).is_some(),
            devices: layout.version_of(Controller::Devices).is_some(),
            freezer: has(Controller::Freezer, "freezer.state", "cgroup.freeze"),
        }
    }
}

impl Capabilities {
    /// What docker warns about in `docker info`, in its words.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let v1 = self.version == Version::V1;
        [
            (self.memory_limit, "WARNING: No memory limit support"),
            (self.swap_limit, "WARNING: No swap limit support"),
            (
                self.oom_kill_disable || !v1,
                "WARNING: No oom kill disable support",
            ),
            (self.cpu_cfs, "WARNING: No cpu cfs quota support"),
            (self.cpu_cfs, "WARNING: No cpu cfs period support"),
            (self.cpu_shares, "WARNING: No cpu shares support"),
            (self.cpuset, "WARNING: No cpuset support"),
            (self.pids_limit, "WARNING: No pids limit support"),
            (self.blkio_throttle, "WARNING: No blkio throttle support"),
        ]
        .into_iter()
        .filter_map(|(works, warning)| (!works).then_some(warning))
        .collect()
    }
}
