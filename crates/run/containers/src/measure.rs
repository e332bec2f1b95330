//! What a container uses.

use std::time::SystemTime;

use carrack_cgroup::Stats;

use crate::control::running;
use crate::{ContainerId, Containers, Error, Result};

/// Everything at about one moment.
#[derive(Clone, Debug)]
pub struct ContainerStats {
    /// Control group.
    pub cgroup: Stats,
    /// Network interfaces but loopback; empty where the network is the host's.
    pub interfaces: Vec<InterfaceStats>,
    /// CPUs of the machine that are online.
    pub online_cpus: u32,
    /// CPU time of the whole machine, nanoseconds.
    pub system_cpu_ns: u64,
    /// When it was read.
    pub read_at: SystemTime,
}

/// Counters of one interface, as the container sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Name inside.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Received packets dropped.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Packets to send dropped.
    pub tx_dropped: u64,
}

impl Containers {
    /// Measures a running container.
    pub async fn stats(&self, id: &ContainerId) -> Result<ContainerStats> {
        let entry = self.entry(id)?;
        let (sandbox, _) = running(&entry)?;
        let (pid, own_network) = {
            let inner = entry.lock();
            let own = inner.run.as_ref().is_some_and(|run| run.endpoint.is_some());
            (inner.state.pid, own)
        };
        let leaf = self.0.config.sandboxes.leaf(&sandbox)?;
        tokio::task::spawn_blocking(move || {
            let interfaces = if own_network {
                let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev"));
                parse_interfaces(&text.unwrap_or_default())
            } else {
                Vec::new()
            };
            let (system_cpu_ns, online_cpus) =
                parse_system(&std::fs::read_to_string("/proc/stat").unwrap_or_default());
            Ok(ContainerStats {
                cgroup: leaf.stats()?,
                interfaces,
                online_cpus,
                system_cpu_ns,
                read_at: SystemTime::now(),
            })
        })
        .await?
    }

    /// Process ids on the host of all that runs in a container.
    pub async fn processes(&self, id: &ContainerId) -> Result<Vec<u32>> {
        let entry = self.entry(id)?;
        let (sandbox, _) = running(&entry)?;
        let leaf = self.0.config.sandboxes.leaf(&sandbox)?;
        tokio::task::spawn_blocking(move || leaf.processes().map_err(Error::from)).await?
    }
}

/// `/proc/PID/net/dev`, proc_pid_net(5).
fn parse_interfaces(text: &str) -> Vec<InterfaceStats> {
    text.lines()
        .filter_map(|line| {
            let (name, counters) = line.split_once(':')?;
            let name = name.trim();
            if name == "lo" {
                return None;
            }
            let n: Vec<u64> = counters
                .split_whitespace()
                .map(|c| c.parse().unwrap_or(0))
                .collect();
            let [
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                _,
                _,
                _,
                _,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
                ..,
            ] = n[..]
            else {
                return None;
            };
            Some(InterfaceStats {
                name: name.to_owned(),
                rx_bytes,
                rx_packets,
                rx_errors,
                rx_dropped,
                tx_bytes,
                tx_packets,
                tx_errors,
                tx_dropped,
            })
        })
        .collect()
}

/// Total CPU time in nanoseconds and number of CPUs, proc_stat(5); a tick is
/// 10 ms on every Linux that user space sees.
fn parse_system(text: &str) -> (u64, u32) {
    const TICK_NS: u64 = 10_000_000;
    const FIELDS: usize = 7;
    let total: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))
        .map(|line| {
            line.split_whitespace()
                .take(FIELDS)
                .filter_map(|n| n.parse::<u64>().ok())
                .sum()
        })
        .unwrap_or(0);
    let cpus = text
        .lines()
        .filter(|line| {
            line.strip_prefix("cpu")
                .is_some_and(|l| l.starts_with(|c: char| c.is_ascii_digit()))
        })
        .count();
    (total * TICK_NS, u32::try_from(cpus).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_understood() {
        let interfaces = parse_interfaces(
            "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        );
        assert_eq!(interfaces.len(), 1);
        assert_eq!(interfaces[0].name, "eth0");
        assert_eq!((interfaces[0].rx_bytes, interfaces[0].tx_dropped), (1, 12));
        let (ns, cpus) = parse_system("cpu  1 2 3 4 5 6 7 8 9\ncpu0 1\ncpu1 2\nintr 5\n");
        assert_eq!((ns, cpus), (280_000_000, 2));
    }
}
