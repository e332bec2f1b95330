//! CPU time and placement.

use carrack_oci::runtime::Cpu;

use super::{Planner, invalid, unsupported};
use crate::{Controller, Error, Version};

const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
const WEIGHT_MIN: u64 = 1;
const WEIGHT_MAX: u64 = 10_000;
const DEFAULT_PERIOD_US: u64 = 100_000;
const LIST_MAX: usize = 4096;

/// v1's `cpu.shares` as v2's `cpu.weight`: 0 (unset) stays 0.
///
/// The curve of runc since 1.3 (opencontainers/cgroups, `utils.go`): quadratic
/// in the logarithms, through 2 → 1, 1,024 → 100 and 262,144 → 10,000, so that
/// the default share is the default weight.
#[must_use]
pub fn shares_to_weight(shares: u64) -> u64 {
    if shares == 0 {
        return 0;
    }
    if shares <= SHARES_MIN {
        return WEIGHT_MIN;
    }
    if shares >= SHARES_MAX {
        return WEIGHT_MAX;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    let weight = 10_f64.powf(exponent).ceil();
    (weight as u64).clamp(WEIGHT_MIN, WEIGHT_MAX)
}

impl Planner<'_> {
    pub(super) fn cpu(&mut self, cpu: &Cpu) -> Result<(), Error> {
        let time = cpu.shares.is_some()
            || cpu.quota.is_some()
            || cpu.period.is_some()
            || cpu.burst.is_some()
            || cpu.idle.is_some()
            || cpu.realtime_runtime.is_some()
            || cpu.realtime_period.is_some();
        if time {
            match self.version(Controller::Cpu)? {
                Version::V1 => self.cpu_time_v1(cpu),
                Version::V2 => self.cpu_time_v2(cpu)?,
            }
        }
        self.placement("cpus", "cpuset.cpus", cpu.cpus.as_deref())?;
        self.placement("mems", "cpuset.mems", cpu.mems.as_deref())
    }

    fn cpu_time_v1(&mut self, cpu: &Cpu) {
        // An idle group has no weight: leaving idle comes first, entering last.
        if let Some(idle) = cpu.idle.filter(|idle| *idle == 0) {
            self.write(Controller::Cpu, "cpu.idle", idle);
        }
        if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
            self.write(Controller::Cpu, "cpu.shares", shares);
        }
        if let Some(period) = cpu.period.filter(|period| *period != 0) {
            self.write(Controller::Cpu, "cpu.cfs_period_us", period);
        }
        if let Some(quota) = cpu.quota.filter(|quota| *quota != 0) {
            self.write(Controller::Cpu, "cpu.cfs_quota_us", quota.max(-1));
        }
        if let Some(burst) = cpu.burst {
            self.write(Controller::Cpu, "cpu.cfs_burst_us", burst);
        }
        if let Some(period) = cpu.realtime_period.filter(|period| *period != 0) {
            self.write(Controller::Cpu, "cpu.rt_period_us", period);
        }
        if let Some(runtime) = cpu.realtime_runtime.filter(|runtime| *runtime != 0) {
            self.write(Controller::Cpu, "cpu.rt_runtime_us", runtime);
        }
        if let Some(idle) = cpu.idle.filter(|idle| *idle != 0) {
            self.write(Controller::Cpu, "cpu.idle", idle);
        }
    }

    fn cpu_time_v2(&mut self, cpu: &Cpu) -> Result<(), Error> {
        // docker sends zeros for "not set".
        let realtime = cpu.realtime_period.is_some_and(|period| period != 0)
            || cpu.realtime_runtime.is_some_and(|runtime| runtime != 0);
        if realtime {
            return Err(unsupported(
                "real-time CPU time",
                "cgroup v2 has no such limit",
            ));
        }
        if let Some(idle) = cpu.idle.filter(|idle| *idle == 0) {
            self.write(Controller::Cpu, "cpu.idle", idle);
        }
        if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
            self.write(Controller::Cpu, "cpu.weight", shares_to_weight(shares));
        }
        let quota = cpu.quota.filter(|quota| *quota != 0);
        let period = cpu.period.filter(|period| *period != 0);
        if quota.is_some() || period.is_some() {
            // One file holds both: what is not given stays as it is.
            let quota = match quota {
                Some(quota) => u64::try_from(quota).ok(),
                None => self.current.cpu_quota_us,
            };
            let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
            let period = period
                .or(self.current.cpu_period_us)
                .unwrap_or(DEFAULT_PERIOD_US);
            self.write(Controller::Cpu, "cpu.max", format!("{quota} {period}"));
        }
        if let Some(burst) = cpu.burst {
            self.write(Controller::Cpu, "cpu.max.burst", burst);
        }
        if let Some(idle) = cpu.idle.filter(|idle| *idle != 0) {
            self.write(Controller::Cpu, "cpu.idle", idle);
        }
        Ok(())
    }

    fn placement(
        &mut self,
        what: &'static str,
        file: &'static str,
        list: Option<&str>,
    ) -> Result<(), Error> {
        let Some(list) = list.filter(|list| !list.is_empty()) else {
            return Ok(());
        };
        let permitted = |byte: u8| byte.is_ascii_digit() || b"-,".contains(&byte);
        if list.len() > LIST_MAX || !list.bytes().all(permitted) {
            return Err(invalid(
                if what == "cpus" {
                    "cpu.cpus"
                } else {
                    "cpu.mems"
                },
                "it must be a list such as 0-3,7",
            ));
        }
        self.version(Controller::Cpuset)?;
        self.write(Controller::Cpuset, file, list);
        Ok(())
    }
}
