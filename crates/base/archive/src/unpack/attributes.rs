//! Owner, mode, extended attributes and times of what was just made, in the
//! one order in which none undoes another: a change of owner takes set-user-ID
//! and capabilities away, so the owner comes first.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chmod, chownat, fchmod,
    fchown, fstat, openat, utimensat,
};
use rustix::io::Errno;

use super::Ownership;
use crate::error::{Context, shown};
use crate::tar::{Entry, Timestamp, Xattr};
use crate::xattrs::{Target, is_portable};
use crate::{Action, TreeError};

/// Sets owner, mode and attributes of an open file or directory; gives how
/// many attributes were left out.
pub(super) fn set_open(
    fd: BorrowedFd<'_>,
    entry: &Entry,
    mode: u32,
    ownership: Ownership,
    path: &[u8],
) -> Result<u64, TreeError> {
    if let Some((uid, gid)) = ids(ownership, entry) {
        fchown(fd, Some(uid), Some(gid)).context(Action::SetOwner, path)?;
    }
    fchmod(fd, Mode::from_raw_mode(mode)).context(Action::SetMode, path)?;
    set_xattrs(&Target::Open(fd), &entry.xattrs, path)
}

/// Sets everything of a link, device or pipe, which can only be named.
pub(super) fn set_named(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    kind: FileType,
    ownership: Ownership,
    path: &[u8],
) -> Result<u64, TreeError> {
    if let Some((uid, gid)) = ids(ownership, entry) {
        chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .context(Action::SetOwner, path)?;
    }
    if kind != FileType::Symlink {
        set_node_mode(dir, name, entry.mode, kind, path)?;
    }
    let ignored = set_xattrs(&Target::Named(dir, name), &entry.xattrs, path)?;
    utimensat(dir, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
        .context(Action::SetTimes, path)?;
    Ok(ignored)
}

/// A device or pipe cannot be opened to change its mode, and changing it by
/// name would follow a link put there meanwhile. So it is pinned by an
/// `O_PATH` descriptor first, looked at, and changed through that.
fn set_node_mode(
    dir: BorrowedFd<'_>,
    name: &[u8],
    mode: u32,
    kind: FileType,
    path: &[u8],
) -> Result<(), TreeError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = openat(dir, name, flags, Mode::empty()).context(Action::SetMode, path)?;
    let stat = fstat(&pinned).context(Action::SetMode, path)?;
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err(TreeError::Changed { path: shown(path) });
    }
    if stat.st_mode & 0o7777 == mode {
        return Ok(());
    }
    let proc = format!("/proc/self/fd/{}", pinned.as_fd().as_raw_fd());
    chmod(proc, Mode::from_raw_mode(mode)).context(Action::SetMode, path)
}

/// Sets what belongs to the file itself; the rest, and what the file system
/// or the caller's rights do not allow, is counted and left out, as docker
/// does.
fn set_xattrs<Fd: AsFd>(
    target: &Target<'_, Fd>,
    xattrs: &[Xattr],
    path: &[u8],
) -> Result<u64, TreeError> {
    let mut ignored = 0;
    for xattr in xattrs {
        if !is_portable(&xattr.name) {
            ignored += 1;
            continue;
        }
        match target.set(&xattr.name, &xattr.value) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::PERM) => ignored += 1,
            Err(error) => return Err(error).context(Action::SetXattr, path),
        }
    }
    Ok(ignored)
}

fn ids(ownership: Ownership, entry: &Entry) -> Option<(Uid, Gid)> {
    let (uid, gid) = match ownership {
        Ownership::FromArchive => (entry.uid, entry.gid),
        Ownership::Fixed { uid, gid } => (uid, gid),
        Ownership::Unchanged => return None,
    };
    Some((Uid::from_raw(uid), Gid::from_raw(gid)))
}

/// Both times of a file.
pub(super) fn times(mtime: Timestamp) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.seconds,
        tv_nsec: mtime.nanoseconds.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
