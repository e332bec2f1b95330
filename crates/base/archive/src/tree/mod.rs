//! Trees that a container or an image built: removed, measured, walked.
//!
//! Such a tree can be deeper than any path is long and wider than memory, and
//! can change under the walk. So everything here goes by descriptors, one
//! component at a time, never following a link, with a bounded number of
//! descriptors open at once.

mod descent;
mod names;
mod remove;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use descent::Descent;
pub(crate) use names::Names;
pub use remove::{remove, remove_unless};
pub use usage::{TreeUsage, usage};

use rustix::fs::{OFlags, Stat};

/// Opens a directory by one component, for reading its names.
pub(crate) const OPEN_DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Which inode, on which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    dev: u64,
    ino: u64,
}

impl FileId {
    pub(crate) fn of(stat: &Stat) -> FileId {
        FileId {
            dev: stat.st_dev,
            ino: stat.st_ino,
        }
    }
}
