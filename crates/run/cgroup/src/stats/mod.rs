//! Statistics of a leaf, enough for Docker's `/containers/{id}/stats`.

mod block;
mod cpu;
mod memory;
mod parse;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::OFlags;

pub use block::{BlockEntry, BlockIoStats, BlockOperation};
pub use cpu::{CpuStats, Throttling};
pub use memory::MemoryStats;

use crate::{Controller, Error, Leaf, Version, file};

/// Everything at about one moment. Controllers that are absent leave zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Block devices.
    pub block_io: BlockIoStats,
    /// Huge pages by page size.
    pub hugetlb: Vec<HugetlbStats>,
}

/// Tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// `None` is unlimited.
    pub limit: Option<u64>,
}

/// Huge pages of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HugetlbStats {
    /// `2MB`.
    pub page_size: String,
    /// Bytes now.
    pub usage: u64,
    /// Most bytes so far; 0 where the kernel does not say.
    pub max_usage: u64,
    /// Times that the limit was hit.
    pub failures: u64,
}

impl Leaf {
    /// Reads all statistics.
    pub fn stats(&self) -> Result<Stats, Error> {
        Ok(Stats {
            cpu: self.cpu_stats()?,
            memory: self.memory_stats()?,
            pids: self.pids_stats()?,
            block_io: self.block_io_stats()?,
            hugetlb: self.hugetlb_stats()?,
        })
    }

    /// The file that counts OOM kills, for [`oom_kills`]: opened once by
    /// whoever keeps it, usable after the leaf's last process has ended and
    /// until the leaf is removed.
    pub fn oom_file(&self) -> Result<File, Error> {
        let name = match self.version_of(Controller::Memory) {
            Some(Version::V1) => "memory.oom_control",
            Some(Version::V2) => "memory.events",
            None => return Err(Error::NoController(Controller::Memory)),
        };
        let opened = file::open(self.directory(Controller::Memory)?, name, OFlags::RDONLY)
            .map_err(|source| Error::Open {
                path: self.location_of(Controller::Memory).join(name),
                source,
            })?;
        Ok(File::from(opened))
    }

    fn pids_stats(&self) -> Result<PidsStats, Error> {
        if self.version_of(Controller::Pids).is_none() {
            return Ok(PidsStats::default());
        }
        Ok(PidsStats {
            current: self
                .amount(Controller::Pids, "pids.current")?
                .unwrap_or_default(),
            limit: self.amount(Controller::Pids, "pids.max")?,
        })
    }

    fn hugetlb_stats(&self) -> Result<Vec<HugetlbStats>, Error> {
        let suffix = match self.version_of(Controller::Hugetlb) {
            Some(Version::V1) => ".usage_in_bytes",
            Some(Version::V2) => ".current",
            None => return Ok(Vec::new()),
        };
        let names = file::file_names(self.directory(Controller::Hugetlb)?).map_err(|source| {
            Error::Read {
                path: self.location_of(Controller::Hugetlb),
                source,
            }
        })?;
        let mut sizes: Vec<&str> = names
            .iter()
            .filter_map(|name| name.strip_prefix("hugetlb.")?.strip_suffix(suffix))
            // The other files of that ending count reservations.
            .filter(|size| !size.contains('.'))
            .collect();
        sizes.sort_unstable();
        sizes
            .into_iter()
            .map(|size| self.hugetlb_of(size))
            .collect()
    }

    fn hugetlb_of(&self, size: &str) -> Result<HugetlbStats, Error> {
        let number = |word: &str| {
            let amount = self.amount(Controller::Hugetlb, &format!("hugetlb.{size}.{word}"));
            amount.map(Option::unwrap_or_default)
        };
        let (usage, max_usage, failures) = match self.version_of(Controller::Hugetlb) {
            Some(Version::V1) => (
                number("usage_in_bytes")?,
                number("max_usage_in_bytes")?,
                number("failcnt")?,
            ),
            _ => {
                let events = self
                    .read_optional(Controller::Hugetlb, &format!("hugetlb.{size}.events"))?
                    .unwrap_or_default();
                (
                    number("current")?,
                    0,
                    parse::key(&events, "max").unwrap_or(0),
                )
            }
        };
        Ok(HugetlbStats {
            page_size: size.to_owned(),
            usage,
            max_usage,
            failures,
        })
    }
}

/// Processes that the OOM killer took so far; one `pread` on the file of
/// [`Leaf::oom_file`].
///
/// v1 counts those of the leaf itself, v2 also those of groups that the
/// container made below it.
pub fn oom_kills(file: &File) -> io::Result<u64> {
    let text = file::read_again(file.as_fd())?;
    Ok(parse::key(&text, "oom_kill").unwrap_or(0))
}
