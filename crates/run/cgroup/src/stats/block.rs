//! Block devices.

use super::parse::device;
use crate::{Controller, Error, Leaf, Version};

/// Bytes and operations since the leaf was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIoStats {
    /// Docker's `io_service_bytes_recursive`.
    pub bytes: Vec<BlockEntry>,
    /// Docker's `io_serviced_recursive`.
    pub operations: Vec<BlockEntry>,
}

/// One number of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEntry {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// What was done.
    pub operation: BlockOperation,
    /// Bytes or operations.
    pub value: u64,
}

/// Kind of operation. v2 knows the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOperation {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Discard.
    Discard,
    /// Synchronous, of any kind.
    Sync,
    /// Asynchronous, of any kind.
    Async,
    /// Everything.
    Total,
}

impl BlockOperation {
    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Discard => "discard",
            Self::Sync => "sync",
            Self::Async => "async",
            Self::Total => "total",
        }
    }

    fn from_v1(word: &str) -> Option<Self> {
        Some(match word {
            "Read" => Self::Read,
            "Write" => Self::Write,
            "Discard" => Self::Discard,
            "Sync" => Self::Sync,
            "Async" => Self::Async,
            "Total" => Self::Total,
            _ => return None,
        })
    }
}

impl Leaf {
    pub(super) fn block_io_stats(&self) -> Result<BlockIoStats, Error> {
        match self.version_of(Controller::Io) {
            None => Ok(BlockIoStats::default()),
            Some(Version::V2) => {
                let text = self.read_optional(Controller::Io, "io.stat")?;
                Ok(v2(&text.unwrap_or_default()))
            }
            Some(Version::V1) => Ok(BlockIoStats {
                bytes: self.v1_entries(["bfq.io_service_bytes", "throttle.io_service_bytes"])?,
                operations: self.v1_entries(["bfq.io_serviced", "throttle.io_serviced"])?,
            }),
        }
    }

    /// bfq counts what goes through it; the throttling layer counts all, and
    /// is what there is for other schedulers.
    fn v1_entries(&self, kinds: [&str; 2]) -> Result<Vec<BlockEntry>, Error> {
        for kind in kinds {
            let name = format!("blkio.{kind}_recursive");
            let text = self.read_optional(Controller::Io, &name)?;
            let entries = v1(&text.unwrap_or_default());
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    }
}

/// `8:0 Read 4096` lines, and a `Total 4096` that has no device.
pub(super) fn v1(text: &str) -> Vec<BlockEntry> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (major, minor) = device(words.next()?)?;
        Some(BlockEntry {
            major,
            minor,
            operation: BlockOperation::from_v1(words.next()?)?,
            value: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6` lines.
pub(super) fn v2(text: &str) -> BlockIoStats {
    let mut stats = BlockIoStats::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else {
            continue;
        };
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let Ok(value) = value.parse() else { continue };
            let (list, operation) = match key {
                "rbytes" => (&mut stats.bytes, BlockOperation::Read),
                "wbytes" => (&mut stats.bytes, BlockOperation::Write),
                "dbytes" => (&mut stats.bytes, BlockOperation::Discard),
                "rios" => (&mut stats.operations, BlockOperation::Read),
                "wios" => (&mut stats.operations, BlockOperation::Write),
                "dios" => (&mut stats.operations, BlockOperation::Discard),
                _ => continue,
            };
            list.push(BlockEntry {
                major,
                minor,
                operation,
                value,
            });
        }
    }
    stats
}
