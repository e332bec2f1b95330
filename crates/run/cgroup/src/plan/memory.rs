//! Memory and swap. 0 means "not set", −1 "unlimited", as docker and runc
//! have it.

use carrack_oci::runtime::Memory;

use super::{Absent, Planner, invalid};
use crate::{Controller, Error, Version};

const LIMIT: &str = "memory.limit_in_bytes";
const MEMSW: &str = "memory.memsw.limit_in_bytes";

impl Planner<'_> {
    pub(super) fn memory(&mut self, memory: &Memory) -> Result<(), Error> {
        if *memory == Memory::default() {
            return Ok(());
        }
        let limit = value("memory.limit", memory.limit)?;
        let reservation = value("memory.reservation", memory.reservation)?;
        let swap = value("memory.swap", memory.swap)?;
        if let (Some(limit), Some(swap)) = (limit, swap)
            && swap != -1
            && (limit == -1 || swap < limit)
        {
            return Err(invalid(
                "memory.swap",
                "memory plus swap may not be less than the memory limit",
            ));
        }
        if memory.check_before_update == Some(true) {
            self.plan.usage_bound = limit.and_then(|limit| u64::try_from(limit).ok());
        }
        if memory.kernel.is_some_and(|bytes| bytes != 0) {
            self.ignore("memory.kernel", "kernels no longer have this limit");
        }
        match self.version(Controller::Memory)? {
            Version::V1 => self.memory_v1(memory, limit, reservation, swap),
            Version::V2 => self.memory_v2(memory, limit, reservation, swap),
        }
    }

    fn memory_v1(
        &mut self,
        memory: &Memory,
        limit: Option<i64>,
        reservation: Option<i64>,
        swap: Option<i64>,
    ) -> Result<(), Error> {
        // Unlimited memory under a limited sum is refused by the kernel.
        // Without swap accounting there is no such file and nothing to lift.
        let (swap, absent) = match (limit, swap) {
            (Some(-1), None) => (Some(-1), Absent::Skip),
            (_, swap) => (swap, Absent::Refuse),
        };
        // At every moment: limit ≤ memory plus swap. So the sum goes first when
        // it lies above the limit in force, and last otherwise.
        let sum_first = match swap {
            Some(-1) => true,
            Some(swap) => self
                .current
                .memory_limit
                .is_some_and(|current| swap.unsigned_abs() > current),
            None => false,
        };
        if sum_first && let Some(swap) = swap {
            self.push(Controller::Memory, MEMSW, swap, absent.clone());
        }
        if let Some(limit) = limit {
            self.write(Controller::Memory, LIMIT, limit);
        }
        if !sum_first && let Some(swap) = swap {
            self.push(Controller::Memory, MEMSW, swap, absent);
        }
        if let Some(reservation) = reservation {
            self.write(
                Controller::Memory,
                "memory.soft_limit_in_bytes",
                reservation,
            );
        }
        if let Some(bytes) = value("memory.kernelTCP", memory.kernel_tcp)? {
            self.write(Controller::Memory, "memory.kmem.tcp.limit_in_bytes", bytes);
        }
        if let Some(swappiness) = memory.swappiness {
            if swappiness > 100 {
                return Err(invalid("memory.swappiness", "it must be 0 to 100"));
            }
            self.write(Controller::Memory, "memory.swappiness", swappiness);
        }
        if let Some(disable) = memory.disable_oom_killer {
            self.write(Controller::Memory, "memory.oom_control", i32::from(disable));
        }
        Ok(())
    }

    fn memory_v2(
        &mut self,
        memory: &Memory,
        limit: Option<i64>,
        reservation: Option<i64>,
        swap: Option<i64>,
    ) -> Result<(), Error> {
        let (swap, absent) = match (limit, swap) {
            (Some(-1), None) => (Some(Amount::Unlimited), Absent::Skip),
            (_, None) => (None, Absent::Refuse),
            (_, Some(-1)) => (Some(Amount::Unlimited), Absent::Skip),
            (Some(limit), Some(swap)) => (Some(Amount::Bytes(swap - limit)), Absent::Refuse),
            // An update may give the sum alone: the limit in force counts.
            (None, Some(swap)) => {
                let limit = self
                    .current
                    .memory_limit
                    .and_then(|limit| i64::try_from(limit).ok());
                let bytes = limit
                    .map(|limit| swap - limit)
                    .filter(|bytes| *bytes >= 0)
                    .ok_or_else(|| {
                        invalid(
                            "memory.swap",
                            "it needs a memory limit that is not above it",
                        )
                    })?;
                (Some(Amount::Bytes(bytes)), Absent::Refuse)
            }
        };
        if let Some(swap) = swap {
            self.push(Controller::Memory, "memory.swap.max", swap, absent);
        }
        if let Some(limit) = limit {
            self.write(Controller::Memory, "memory.max", Amount::from(limit));
        }
        if let Some(reservation) = reservation {
            self.write(Controller::Memory, "memory.low", Amount::from(reservation));
        }
        const V1_ONLY: &str = "cgroup v2 has no such setting";
        if memory.kernel_tcp.is_some_and(|bytes| bytes != 0) {
            self.ignore("memory.kernelTCP", V1_ONLY);
        }
        if memory.swappiness.is_some() {
            self.ignore("memory.swappiness", V1_ONLY);
        }
        if memory.disable_oom_killer == Some(true) {
            self.ignore("memory.disableOOMKiller", V1_ONLY);
        }
        Ok(())
    }
}

/// A v2 amount of memory.
enum Amount {
    Unlimited,
    Bytes(i64),
}

impl From<i64> for Amount {
    fn from(bytes: i64) -> Self {
        if bytes == -1 {
            Self::Unlimited
        } else {
            Self::Bytes(bytes)
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unlimited => out.write_str("max"),
            Self::Bytes(bytes) => write!(out, "{bytes}"),
        }
    }
}

/// `None` for absent and 0; −1 or a positive number otherwise.
fn value(what: &'static str, bytes: Option<i64>) -> Result<Option<i64>, Error> {
    match bytes {
        None | Some(0) => Ok(None),
        Some(bytes) if bytes >= -1 => Ok(Some(bytes)),
        Some(_) => Err(invalid(
            what,
            "it must be -1 (unlimited) or a number of bytes",
        )),
    }
}
