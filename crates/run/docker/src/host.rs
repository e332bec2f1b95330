//! What the machine has, as far as requests are checked against it.
//!
//! Read once when the engine starts ([`HostFacts::read`]); tests make their
//! own.

use std::collections::BTreeSet;
use std::path::Path;

/// Facts about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// CPUs that may be used.
    pub cpus: u32,
    /// CPUs of the control group's root, `0-3`.
    pub cpuset_cpus: String,
    /// Its memory nodes.
    pub cpuset_mems: String,
    /// Whether control groups are v2 alone.
    pub cgroup_v2: bool,
    /// Whether block devices can be weighted.
    pub blkio_weight: bool,
    /// Whether single block devices can be weighted.
    pub blkio_weight_device: bool,
    /// Whether memory and swap can be limited together.
    pub swap_limit: bool,
    /// Whether real-time time can be given out.
    pub cpu_realtime: bool,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Capabilities in our bounding set, `CAP_CHOWN`.
    pub capabilities: Vec<&'static str>,
    /// Host name.
    pub hostname: String,
    /// Whether IPv4 packets are forwarded.
    pub ipv4_forwarding: bool,
    /// Whether the kernel confines by AppArmor profiles.
    pub apparmor: bool,
}

/// Every capability, by its number, `capabilities(7)`.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl HostFacts {
    /// Reads them from `/proc` and `/sys`. What cannot be read counts as
    /// absent: a request for it is then answered with a warning or refused.
    pub fn read() -> Self {
        let cgroup_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let exists = |path: &str| Path::new(path).exists();
        let cpuset = |v1: &str, v2: &str| {
            let path = if cgroup_v2 {
                format!("/sys/fs/cgroup/{v2}")
            } else {
                format!("/sys/fs/cgroup/cpuset/{v1}")
            };
            read_line(&path)
        };
        Self {
            cpus: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
            cpuset_cpus: cpuset("cpuset.cpus", "cpuset.cpus.effective"),
            cpuset_mems: cpuset("cpuset.mems", "cpuset.mems.effective"),
            cgroup_v2,
            // On v2 the root has no `io.weight`; children have it with BFQ
            // or iocost, which only a write shows.
            blkio_weight: cgroup_v2 || exists("/sys/fs/cgroup/blkio/blkio.weight"),
            blkio_weight_device: cgroup_v2 || exists("/sys/fs/cgroup/blkio/blkio.weight_device"),
            swap_limit: cgroup_v2 || exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
            cpu_realtime: !cgroup_v2 && exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"),
            memory_bytes: memory_bytes(),
            capabilities: bounding_set(),
            hostname: read_line("/proc/sys/kernel/hostname"),
            ipv4_forwarding: read_line("/proc/sys/net/ipv4/ip_forward") != "0",
            apparmor: read_line("/sys/module/apparmor/parameters/enabled") == "Y",
        }
    }

    /// Whether all of a cpuset list are there: why it is malformed, else the
    /// answer.
    pub fn has_cpus(&self, list: &str) -> Result<bool, String> {
        is_subset(list, &self.cpuset_cpus)
    }

    /// Likewise for memory nodes.
    pub fn has_mems(&self, list: &str) -> Result<bool, String> {
        is_subset(list, &self.cpuset_mems)
    }
}

/// Largest number in a list, so that `0-4294967295` costs nothing.
const LIST_NUMBER_MAX: u32 = 8192;

fn is_subset(list: &str, available: &str) -> Result<bool, String> {
    if list.is_empty() {
        return Ok(true);
    }
    let wanted = parse_list(list)?;
    // An unreadable list of the machine's forbids nothing; the kernel will.
    Ok(parse_list(available).map_or(true, |available| wanted.is_subset(&available)))
}

/// `0-3,7`, `cpuset(7)`.
fn parse_list(list: &str) -> Result<BTreeSet<u32>, String> {
    let invalid = || format!("invalid format: {list}");
    let number = |text: &str| -> Result<u32, String> {
        let number = text.parse().map_err(|_| invalid())?;
        if number > LIST_NUMBER_MAX {
            return Err(format!("value of out range, maximum is {LIST_NUMBER_MAX}"));
        }
        Ok(number)
    };
    let mut numbers = BTreeSet::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        match part.split_once('-') {
            None => {
                numbers.insert(number(part)?);
            }
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return Err(invalid());
                }
                numbers.extend(first..=last);
            }
        }
    }
    Ok(numbers)
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn bounding_set() -> Vec<&'static str> {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = text
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or(u64::MAX);
    CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(number, _)| bits >> number & 1 == 1)
        .map(|(_, name)| *name)
        .collect()
}

#[cfg(test)]
pub(crate) fn example() -> HostFacts {
    HostFacts {
        cpus: 2,
        cpuset_cpus: "0-1".into(),
        cpuset_mems: "0".into(),
        cgroup_v2: false,
        blkio_weight: false,
        blkio_weight_device: false,
        swap_limit: true,
        cpu_realtime: false,
        memory_bytes: 8 << 30,
        capabilities: CAPABILITIES.to_vec(),
        hostname: "host".into(),
        ipv4_forwarding: true,
        apparmor: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let host = example();
        assert_eq!(host.has_cpus(""), Ok(true));
        assert_eq!(host.has_cpus("0,1"), Ok(true));
        assert_eq!(host.has_cpus("0-1"), Ok(true));
        assert_eq!(host.has_cpus("0-2"), Ok(false));
        assert_eq!(host.has_mems("99"), Ok(false));
        assert_eq!(host.has_cpus("foo"), Err("invalid format: foo".into()));
        assert_eq!(host.has_cpus("1-0"), Err("invalid format: 1-0".into()));
        assert_eq!(host.has_cpus("-1"), Err("invalid format: -1".into()));
        assert!(host.has_cpus("0-4294967295").is_err());
    }

    #[test]
    fn this_machine_can_be_read() {
        let facts = HostFacts::read();
        assert!(facts.cpus > 0 && facts.memory_bytes > 0 && !facts.hostname.is_empty());
        assert!(
            facts
                .has_cpus(&facts.cpuset_cpus)
                .expect("the kernel's own list")
        );
    }
}
