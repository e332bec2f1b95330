//! Limits as they are in force, read back.

use crate::{Controller, Error, Leaf, Version};

/// v1 reports "unlimited" as the largest multiple of a page.
const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_f000;

/// What is in force; `None` is unlimited, or a limit that the kernel lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory, bytes.
    pub memory: Option<u64>,
    /// Memory plus swap, bytes.
    pub memory_and_swap: Option<u64>,
    /// Soft limit (v1) or protection (v2), bytes.
    pub memory_reservation: Option<u64>,
    /// CPU time a period, microseconds.
    pub cpu_quota_us: Option<u64>,
    /// Period, microseconds.
    pub cpu_period_us: Option<u64>,
    /// `cpu.shares` on v1, `cpu.weight` on v2.
    pub cpu_weight: Option<u64>,
    /// CPUs, as set; empty on v2 means those of the group above.
    pub cpus: Option<String>,
    /// Memory nodes, as set.
    pub mems: Option<String>,
    /// Tasks.
    pub pids: Option<u64>,
}

impl Leaf {
    /// Reads the limits back. A controller that is absent leaves `None`.
    pub fn limits(&self) -> Result<Limits, Error> {
        let mut limits = Limits::default();
        if let Some(version) = self.version_of(Controller::Memory) {
            limits.memory = self.memory_limit()?;
            let (reservation, swap) = match version {
                Version::V1 => ("memory.soft_limit_in_bytes", "memory.memsw.limit_in_bytes"),
                Version::V2 => ("memory.low", "memory.swap.max"),
            };
            limits.memory_reservation = self
                .amount(Controller::Memory, reservation)?
                .filter(|bytes| version == Version::V1 || *bytes != 0);
            let swap = self.amount(Controller::Memory, swap)?;
            limits.memory_and_swap = match version {
                Version::V1 => swap,
                Version::V2 => swap.and_then(|swap| Some(limits.memory?.saturating_add(swap))),
            };
        }
        if let Some(version) = self.version_of(Controller::Cpu) {
            (limits.cpu_quota_us, limits.cpu_period_us) = self.cpu_bandwidth()?;
            let weight = match version {
                Version::V1 => "cpu.shares",
                Version::V2 => "cpu.weight",
            };
            limits.cpu_weight = self.amount(Controller::Cpu, weight)?;
        }
        if self.version_of(Controller::Cpuset).is_some() {
            let list = |name| {
                let text = self.read_optional(Controller::Cpuset, name)?;
                Ok::<_, Error>(text.map(|text| text.trim().to_owned()))
            };
            limits.cpus = list("cpuset.cpus")?;
            limits.mems = list("cpuset.mems")?;
        }
        if self.version_of(Controller::Pids).is_some() {
            limits.pids = self.amount(Controller::Pids, "pids.max")?;
        }
        Ok(limits)
    }

    pub(crate) fn memory_limit(&self) -> Result<Option<u64>, Error> {
        let file = match self.version_of(Controller::Memory) {
            Some(Version::V2) => "memory.max",
            _ => "memory.limit_in_bytes",
        };
        self.amount(Controller::Memory, file)
    }

    pub(crate) fn memory_usage(&self) -> Result<u64, Error> {
        let file = match self.version_of(Controller::Memory) {
            Some(Version::V2) => "memory.current",
            _ => "memory.usage_in_bytes",
        };
        Ok(self.amount(Controller::Memory, file)?.unwrap_or(0))
    }

    /// Quota and period, microseconds.
    pub(crate) fn cpu_bandwidth(&self) -> Result<(Option<u64>, Option<u64>), Error> {
        if self.version_of(Controller::Cpu) == Some(Version::V2) {
            let Some(text) = self.read_optional(Controller::Cpu, "cpu.max")? else {
                return Ok((None, None));
            };
            let mut words = text.split_ascii_whitespace();
            let mut next = || words.next().and_then(|word| word.parse().ok());
            return Ok((next(), next()));
        }
        Ok((
            self.amount(Controller::Cpu, "cpu.cfs_quota_us")?,
            self.amount(Controller::Cpu, "cpu.cfs_period_us")?,
        ))
    }

    /// One number; `None` for `max`, −1, v1's huge number and a missing file.
    pub(crate) fn amount(&self, controller: Controller, name: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.read_optional(controller, name)? else {
            return Ok(None);
        };
        match text.trim() {
            "max" | "-1" => Ok(None),
            number => match number.parse::<u64>() {
                Ok(number) => Ok(Some(number).filter(|number| *number < V1_UNLIMITED)),
                Err(_) => Err(Error::Parse {
                    path: self.location_of(controller).join(name),
                    content: text.chars().take(64).collect(),
                }),
            },
        }
    }
}
