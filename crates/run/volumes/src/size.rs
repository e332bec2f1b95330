//! Disk use of a volume that containers are writing to meanwhile.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use crate::{Error, Result};

/// Directories and hard-linked files remembered during a walk.
const MAX_REMEMBERED: usize = 1 << 20;

/// Disk use, as docker counts it: the sizes of files, each once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes.
    pub bytes: u64,
    /// Whether there was more than could be looked at; `bytes` is then too
    /// small.
    pub incomplete: bool,
}

/// A directory to look at: how to get there from the one before.
enum Step {
    /// Into a subdirectory.
    Down(CString),
    /// Back to the parent, which was this one.
    Up(Identity),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
}

/// Walks `path` with one open descriptor, however deep it is.
pub(crate) fn measure(path: &Path) -> Result<Usage> {
    let mut usage = Usage::default();
    let mut linked = HashSet::new();
    let mut directory =
        rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(Error::io("open", path))?;
    let root = identity(&directory).map_err(Error::io("look at", path))?;
    let mut steps: Vec<Step> = Vec::new();
    let mut current = root;
    look(&directory, root, &mut usage, &mut linked, &mut steps).map_err(Error::io("read", path))?;
    while let Some(step) = steps.pop() {
        match step {
            Step::Down(name) => {
                // Gone or replaced meanwhile: nothing to count.
                let Ok(child) = rustix::fs::openat(&directory, &name, DIRECTORY, Mode::empty())
                else {
                    continue;
                };
                let Ok(there) = identity(&child) else {
                    continue;
                };
                if there.device != root.device {
                    continue;
                }
                steps.push(Step::Up(current));
                (directory, current) = (child, there);
                if look(&directory, root, &mut usage, &mut linked, &mut steps).is_err() {
                    usage.incomplete = true;
                }
            }
            Step::Up(parent) => {
                let above = rustix::fs::openat(&directory, c"..", DIRECTORY, Mode::empty());
                match above {
                    Ok(above) if identity(&above) == Ok(parent) => {
                        (directory, current) = (above, parent);
                    }
                    // Moved meanwhile: the way back leads elsewhere.
                    _ => {
                        usage.incomplete = true;
                        break;
                    }
                }
            }
        }
    }
    Ok(usage)
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Counts the files of a directory and notes its subdirectories.
fn look(
    directory: &OwnedFd,
    root: Identity,
    usage: &mut Usage,
    linked: &mut HashSet<Identity>,
    steps: &mut Vec<Step>,
) -> rustix::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(status) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            if steps.len() >= MAX_REMEMBERED {
                usage.incomplete = true;
            } else {
                steps.push(Step::Down(name.to_owned()));
            }
            continue;
        }
        let file = Identity {
            device: status.st_dev,
            inode: status.st_ino,
        };
        if file.device != root.device {
            continue;
        }
        if status.st_nlink > 1 {
            if linked.len() >= MAX_REMEMBERED {
                usage.incomplete = true;
                continue;
            }
            if !linked.insert(file) {
                continue;
            }
        }
        usage.bytes = usage
            .bytes
            .saturating_add(u64::try_from(status.st_size).unwrap_or(0));
    }
    Ok(())
}

fn identity(directory: &OwnedFd) -> rustix::io::Result<Identity> {
    let status = rustix::fs::fstat(directory)?;
    Ok(Identity {
        device: status.st_dev,
        inode: status.st_ino,
    })
}
