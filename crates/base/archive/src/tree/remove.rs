//! Removes whatever a name stands for.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, RawDir, SeekFrom, openat, seek, unlinkat};
use rustix::io::Errno;

use super::{Descent, Names, OPEN_DIRECTORY};
use crate::error::{Context, shown};
use crate::{Action, TreeError};

/// Directories noted before they are gone through.
const BATCH: usize = 4096;
/// Times that a directory may be found filled again after it was emptied.
const REFILLS_MAX: u32 = 16;
const DIRECTORY_BUFFER_LEN: usize = 32 * 1024;

/// Removes `name`, one component, in `parent`, with everything below it. It
/// is no error when there is nothing.
pub fn remove(parent: impl AsFd, name: &[u8]) -> Result<(), TreeError> {
    remove_unless(parent, name, &AtomicBool::new(false))
}

/// As [`remove`], until `cancelled` is set: then [`TreeError::Cancelled`],
/// with part of the tree removed.
pub fn remove_unless(
    parent: impl AsFd,
    name: &[u8],
    cancelled: &AtomicBool,
) -> Result<(), TreeError> {
    let parent = parent.as_fd();
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // What Linux and POSIX answer for a directory.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error).context(Action::Remove, name),
    }
    let mut descent = Descent::new();
    if remove_empty(parent, name)? {
        return Ok(());
    }
    let top = openat(parent, name, OPEN_DIRECTORY, Mode::empty()).context(Action::Open, name)?;
    descent.enter(top, Level::new(name))?;
    while let Some((dir, level)) = descent.current() {
        if cancelled.load(Ordering::Relaxed) {
            return Err(TreeError::Cancelled);
        }
        if let Some(sub) = level.subdirectories.pop() {
            if !remove_empty(dir, sub)? {
                let sub = sub.to_vec();
                let below = openat(dir, &*sub, OPEN_DIRECTORY, Mode::empty())
                    .context(Action::Open, &sub)?;
                descent.enter(below, Level::new(&sub))?;
            }
            continue;
        }
        if level.read_batch(dir, cancelled)? {
            continue;
        }
        let level = descent.leave()?;
        let above = descent.current().map_or(parent, |(dir, _)| dir);
        if !remove_empty(above, &level.name)? {
            return Err(TreeError::Changed {
                path: shown(&level.name),
            });
        }
    }
    Ok(())
}

/// `false` when it is not empty.
fn remove_empty(dir: BorrowedFd<'_>, name: &[u8]) -> Result<bool, TreeError> {
    match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error).context(Action::Remove, name),
    }
}

/// A directory on the way.
struct Level {
    name: Vec<u8>,
    subdirectories: Names,
    passes: u32,
}

impl Level {
    fn new(name: &[u8]) -> Level {
        Level {
            name: name.to_vec(),
            subdirectories: Names::default(),
            passes: 0,
        }
    }

    /// Removes the files it meets and notes directories; `false` when there
    /// was nothing. Begins anew each time, since removing moves a directory's
    /// entries about.
    fn read_batch(
        &mut self,
        dir: BorrowedFd<'_>,
        cancelled: &AtomicBool,
    ) -> Result<bool, TreeError> {
        self.subdirectories.clear();
        seek(dir, SeekFrom::Start(0)).context(Action::ReadDirectory, &self.name)?;
        let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BUFFER_LEN];
        let mut entries = RawDir::new(dir, &mut buffer);
        let mut found = false;
        while let Some(entry) = entries.next() {
            let entry = entry.context(Action::ReadDirectory, &self.name)?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if cancelled.load(Ordering::Relaxed) {
                return Err(TreeError::Cancelled);
            }
            found = true;
            if entry.file_type() == FileType::Directory {
                self.subdirectories.push(name);
            } else {
                match unlinkat(dir, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::ISDIR) => self.subdirectories.push(name),
                    Err(error) => return Err(error).context(Action::Remove, name),
                }
            }
            if self.subdirectories.len() >= BATCH {
                return Ok(true);
            }
        }
        if found {
            self.passes += 1;
            if self.passes > REFILLS_MAX {
                return Err(TreeError::Changed {
                    path: shown(&self.name),
                });
            }
        }
        Ok(found)
    }
}
