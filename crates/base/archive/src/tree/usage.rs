//! How much a tree holds.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, RawDir, openat, statat};
use rustix::io::Errno;

use super::{Descent, FileId, Names, OPEN_DIRECTORY};
use crate::error::Context;
use crate::{Action, TreeError};

/// Files with several names that are remembered, 4 MiB of memory; beyond
/// that each further name counts.
const LINKED_MAX: usize = 1 << 18;
const DIRECTORY_BUFFER_LEN: usize = 32 * 1024;

/// What is below a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Sizes of everything but directories, as `stat` shows them: what docker
    /// calls a layer's size.
    pub bytes: u64,
    /// What all of it takes on disk, directories included, in bytes.
    pub disk_bytes: u64,
    /// Inodes, without the directory itself.
    pub inodes: u64,
}

/// Measures everything below `dir`; a file with several names counts once.
/// What goes away during the walk is left out.
pub fn usage(dir: impl AsFd) -> Result<TreeUsage, TreeError> {
    let mut usage = TreeUsage::default();
    let mut linked = HashSet::new();
    let mut descent: Descent<Names> = Descent::new();
    let top = openat(dir, ".", OPEN_DIRECTORY, Mode::empty()).context(Action::Open, b".")?;
    let subdirectories = measure(top.as_fd(), &mut usage, &mut linked)?;
    descent.enter(top, subdirectories)?;
    while let Some((dir, subdirectories)) = descent.current() {
        let Some(name) = subdirectories.pop() else {
            descent.leave()?;
            continue;
        };
        let below = match openat(dir, name, OPEN_DIRECTORY, Mode::empty()) {
            Ok(below) => below,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => return Err(error).context(Action::Open, name),
        };
        let subdirectories = measure(below.as_fd(), &mut usage, &mut linked)?;
        descent.enter(below, subdirectories)?;
    }
    Ok(usage)
}

/// Counts one directory's entries; gives those that are directories.
fn measure(
    dir: BorrowedFd<'_>,
    usage: &mut TreeUsage,
    linked: &mut HashSet<FileId>,
) -> Result<Names, TreeError> {
    let mut subdirectories = Names::default();
    let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BUFFER_LEN];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.context(Action::ReadDirectory, b".")?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error).context(Action::Stat, name),
        };
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if directory {
            subdirectories.push(name);
        } else if stat.st_nlink > 1
            && linked.len() < LINKED_MAX
            && !linked.insert(FileId::of(&stat))
        {
            continue;
        }
        usage.inodes += 1;
        usage.disk_bytes += stat.st_blocks.cast_unsigned() * 512;
        if !directory {
            usage.bytes += stat.st_size.cast_unsigned();
        }
    }
    Ok(subdirectories)
}
