//! Removing a tree that somebody hostile may have built.
//!
//! A container can nest directories without end. Recursion would run out of
//! stack or descriptors, so directories below a depth are moved up into the
//! top one and removed from there: each is moved once at most every
//! [`MAX_DEPTH`] levels, and no more than that many are open.
//!
//! Nor is a mount entered, be it left by a container that shared its mounts
//! with the host: what is behind it is not the tree's.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Directories open at a time.
const MAX_DEPTH: usize = 64;
/// Rounds that moved nothing up and still left something.
const MAX_IDLE_ROUNDS: u32 = 3;

/// Removes `path` and all below it; what is not there is removed already.
///
/// Nobody else may have access to `path` any more. [`Error::Mounted`] where
/// something is mounted below it; files beside it may be gone by then.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let top = match open_top(path) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return rustix::fs::unlink(path).map_err(Error::io("remove", path));
        }
        Err(errno) => return Err(Error::io("open", path)(errno)),
    };
    let mut moved = 0_u64;
    let mut idle_rounds = 0;
    loop {
        let before = moved;
        empty(&top, &top, 0, &mut moved).map_err(|errno| match errno {
            // Not entered, or a file that something is mounted on.
            Errno::XDEV | Errno::BUSY => Error::Mounted {
                path: path.to_owned(),
            },
            errno => Error::io("remove files of", path)(errno),
        })?;
        match rustix::fs::rmdir(path) {
            // Directories were moved up, or a listing missed an entry.
            Err(Errno::NOTEMPTY | Errno::EXIST) if idle_rounds < MAX_IDLE_ROUNDS => {
                idle_rounds = if moved == before { idle_rounds + 1 } else { 0 };
            }
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::io("remove", path)(errno)),
        }
    }
}

fn empty(
    top: &OwnedFd,
    directory: &OwnedFd,
    depth: usize,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_dot(name) {
            continue;
        }
        if is_directory(directory, &entry)? {
            if depth >= MAX_DEPTH {
                move_up(top, directory, name, moved)?;
                continue;
            }
            match open(directory, name) {
                Ok(child) => empty(top, &child, depth + 1, moved)?,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            }
            rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
        } else {
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// Moves a directory into the top one, under a name that is not there.
fn move_up(
    top: &OwnedFd,
    directory: &OwnedFd,
    name: &CStr,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        *moved += 1;
        let to = format!(".moved-{moved}");
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(directory, name, top, to, flags) {
            Err(Errno::EXIST) => {}
            result => return result,
        }
    }
}

fn is_directory(parent: &OwnedFd, entry: &rustix::fs::DirEntry) -> rustix::io::Result<bool> {
    Ok(match entry.file_type() {
        FileType::Directory => true,
        FileType::Unknown => {
            let status = rustix::fs::statat(parent, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            FileType::from_raw_mode(status.st_mode) == FileType::Directory
        }
        _ => false,
    })
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn open_top(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, DIRECTORY, Mode::empty())
}

/// Opens a subdirectory; `EXDEV` when it is a mount, also one of the same
/// file system.
fn open(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(parent, name, DIRECTORY, Mode::empty(), resolve)
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}
