//! CPU time.

use super::parse::{flat_keyed, key};
use crate::{Controller, Error, Leaf, Version};

/// CPU time since the leaf was made, nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All of it.
    pub total_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// By CPU; empty on v2, which does not say.
    pub per_cpu_ns: Vec<u64>,
    /// Of a quota.
    pub throttling: Throttling,
}

/// What a quota did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which something ran.
    pub periods: u64,
    /// Periods in which it was held back.
    pub throttled_periods: u64,
    /// How long it was held back, nanoseconds.
    pub throttled_ns: u64,
}

/// `cpuacct.stat` counts in hundredths of a second (USER_HZ).
const NS_PER_TICK: u64 = 10_000_000;
const NS_PER_US: u64 = 1_000;

impl Leaf {
    pub(super) fn cpu_stats(&self) -> Result<CpuStats, Error> {
        let mut stats = CpuStats::default();
        if self.version_of(Controller::Cpu) == Some(Version::V2) {
            v2(&self.read(Controller::Cpu, "cpu.stat")?, &mut stats);
            return Ok(stats);
        }
        if self.version_of(Controller::Cpu).is_some() {
            stats.throttling = v1_throttling(&self.read(Controller::Cpu, "cpu.stat")?);
        }
        if self.version_of(Controller::Cpuacct) == Some(Version::V1) {
            let read = |name| self.read(Controller::Cpuacct, name);
            stats.total_ns = self
                .amount(Controller::Cpuacct, "cpuacct.usage")?
                .unwrap_or_default();
            stats.per_cpu_ns = read("cpuacct.usage_percpu")?
                .split_ascii_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect();
            let modes = read("cpuacct.stat")?;
            let ticks = |mode| key(&modes, mode).unwrap_or(0).saturating_mul(NS_PER_TICK);
            stats.user_ns = ticks("user");
            stats.system_ns = ticks("system");
        }
        Ok(stats)
    }
}

fn v2(text: &str, stats: &mut CpuStats) {
    for (key, value) in flat_keyed(text) {
        let ns = value.saturating_mul(NS_PER_US);
        match key {
            "usage_usec" => stats.total_ns = ns,
            "user_usec" => stats.user_ns = ns,
            "system_usec" => stats.system_ns = ns,
            "nr_periods" => stats.throttling.periods = value,
            "nr_throttled" => stats.throttling.throttled_periods = value,
            "throttled_usec" => stats.throttling.throttled_ns = ns,
            _ => {}
        }
    }
}

fn v1_throttling(text: &str) -> Throttling {
    Throttling {
        periods: key(text, "nr_periods").unwrap_or(0),
        throttled_periods: key(text, "nr_throttled").unwrap_or(0),
        throttled_ns: key(text, "throttled_time").unwrap_or(0),
    }
}
