//! Memory.

use std::collections::BTreeMap;

use super::parse::{flat_keyed, key};
use crate::{Controller, Error, Leaf, Version};

/// Memory, bytes where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Charged now, page cache included.
    pub usage: u64,
    /// Most so far; 0 where the kernel does not say.
    pub max_usage: u64,
    /// `None` is unlimited; docker then reports the machine's memory.
    pub limit: Option<u64>,
    /// Swap in use, or memory plus swap limits never set: 0.
    pub swap_usage: u64,
    /// Times the limit was hit (v1), the OOM killer called (v2): docker's
    /// `failcnt`.
    pub failures: u64,
    /// `memory.stat` as the kernel has it.
    pub detail: BTreeMap<String, u64>,
}

impl MemoryStats {
    /// What `docker stats` shows: usage without the page cache that nobody has
    /// touched lately. v1 counts it hierarchically under another name.
    #[must_use]
    pub fn working_set(&self) -> u64 {
        let inactive = self
            .detail
            .get("total_inactive_file")
            .or_else(|| self.detail.get("inactive_file"))
            .copied()
            .unwrap_or(0);
        if inactive < self.usage {
            self.usage - inactive
        } else {
            self.usage
        }
    }
}

impl Leaf {
    pub(super) fn memory_stats(&self) -> Result<MemoryStats, Error> {
        let Some(version) = self.version_of(Controller::Memory) else {
            return Ok(MemoryStats::default());
        };
        let number = |name| {
            let amount = self.amount(Controller::Memory, name);
            amount.map(Option::unwrap_or_default)
        };
        let usage = self.memory_usage()?;
        let (max_usage, swap_usage, failures) = match version {
            Version::V1 => (
                number("memory.max_usage_in_bytes")?,
                number("memory.memsw.usage_in_bytes")?.saturating_sub(usage),
                number("memory.failcnt")?,
            ),
            Version::V2 => {
                let events = self.read(Controller::Memory, "memory.events")?;
                (
                    number("memory.peak")?,
                    number("memory.swap.current")?,
                    key(&events, "oom").unwrap_or(0),
                )
            }
        };
        let detail = self.read(Controller::Memory, "memory.stat")?;
        Ok(MemoryStats {
            usage,
            max_usage,
            limit: self.memory_limit()?,
            swap_usage,
            failures,
            detail: flat_keyed(&detail)
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        })
    }
}
