//! `tmpcopyup`: a new tmpfs begins with what the directory below it holds.
//!
//! By descriptors alone: directories, files, links, pipes and nodes with owner
//! and mode. Sockets are left out, as nobody listens on their copies.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use super::Tried;
use crate::plan::Failure;

/// Entries copied at most. The bytes are bounded by the size of the tmpfs.
const MAX_ENTRIES: u32 = 100_000;
/// Directories in one another.
const MAX_DEPTH: u32 = 64;
/// Bytes moved by one call.
const CHUNK_BYTES: usize = 16 << 20;

/// Copies the content of `from`, a place, into the root of `to`.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd, at: &str) -> Result<(), Failure> {
    let mut left = MAX_ENTRIES;
    directory(from.as_fd(), to.as_fd(), MAX_DEPTH, &mut left)
        .tried(|| format!("copy {at} into its tmpfs"))
}

fn directory(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    depth: u32,
    left: &mut u32,
) -> Result<(), Errno> {
    let depth = depth.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    // What is given are places, which cannot be read.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let listed = rustix::fs::openat(from, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&listed)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        *left = left.checked_sub(1).ok_or(Errno::FBIG)?;
        let status = rustix::fs::statat(&listed, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
        let kind = FileType::from_raw_mode(status.st_mode);
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, mode)?;
                let below = rustix::fs::openat(&listed, name, flags, Mode::empty())?;
                let made = rustix::fs::openat(to, name, flags, Mode::empty())?;
                directory(below.as_fd(), made.as_fd(), depth, left)?;
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let source = rustix::fs::openat(&listed, name, flags, Mode::empty())?;
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let target = rustix::fs::openat(to, name, flags, mode)?;
                while rustix::fs::sendfile(&target, &source, None, CHUNK_BYTES)? > 0 {}
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&listed, name, Vec::new())?;
                rustix::fs::symlinkat(target, to, name)?;
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                rustix::fs::mknodat(to, name, kind, mode, status.st_rdev)?;
            }
            _ => continue,
        }
        own(to, name, &status, kind)?;
    }
    Ok(())
}

/// Owner, then the mode again: a change of owner takes set-id bits away.
fn own(
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    status: &Stat,
    kind: FileType,
) -> Result<(), Errno> {
    if status.st_uid == 0 && status.st_gid == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != FileType::Symlink && status.st_mode & 0o6000 != 0 {
        rustix::fs::chmodat(
            to,
            name,
            Mode::from_raw_mode(status.st_mode & 0o7777),
            AtFlags::empty(),
        )?;
    }
    Ok(())
}
