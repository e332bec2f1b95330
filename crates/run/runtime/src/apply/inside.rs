//! Paths inside the container's root.
//!
//! The process has pivoted, so "/" is the container; `RESOLVE_IN_ROOT` keeps
//! absolute symlinks inside even while another container swaps parts of a
//! shared volume, and magic links are refused everywhere.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Tried;
use crate::plan::Failure;

/// Links followed while missing parents are made; the kernel's own is 40.
const MAX_COMPONENTS: usize = 4096;

/// Whether a missing target becomes a directory or an empty file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Directory,
    File,
}

/// Opens `path` for use as a place (`O_PATH`).
pub(super) fn locate(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlags::PATH)
}

/// Opens `path` with symlinks followed inside the root.
pub(super) fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    loop {
        let opened = rustix::fs::openat2(
            CWD,
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::empty(),
        )
        .and_then(|root| {
            rustix::fs::openat2(
                root,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            )
        });
        match opened {
            // The kernel saw a rename or mount during a walk with "..".
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Opens `path` as a place, making what is missing: parents as directories,
/// the last part as `missing` says.
pub(super) fn locate_or_make(path: &str, missing: Missing) -> Result<OwnedFd, Failure> {
    match locate(path) {
        Ok(place) => return Ok(place),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno).tried(|| format!("open {path}")),
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    if parts.len() > MAX_COMPONENTS || parts.contains(&"..") {
        return Err(Failure::other(format!("{path} is not a plain path")));
    }
    let Some((last, parents)) = parts.split_last() else {
        return Err(Failure::other("the root cannot be made"));
    };
    let mut walked = String::from("/");
    let mut place = locate("/").tried(|| "open /".to_owned())?;
    for part in parents {
        walked.push_str(part);
        place = enter_or_make(&place, &walked, part)?;
        walked.push('/');
    }
    match missing {
        Missing::Directory => {
            walked.push_str(last);
            enter_or_make(&place, &walked, last)
        }
        Missing::File => {
            let made = rustix::fs::openat(
                place.as_fd(),
                *last,
                OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o644),
            );
            match made {
                Ok(_) | Err(Errno::EXIST) => locate(path).tried(|| format!("open {path}")),
                Err(errno) => Err(errno).tried(|| format!("make {path}")),
            }
        }
    }
}

fn enter_or_make(parent: &OwnedFd, walked: &str, part: &str) -> Result<OwnedFd, Failure> {
    match rustix::fs::mkdirat(parent, part, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => locate(walked).tried(|| format!("open {walked}")),
        Err(errno) => Err(errno).tried(|| format!("make directory {walked}")),
    }
}

/// Whether a descriptor is a directory.
pub(super) fn is_directory(descriptor: impl AsFd) -> Result<bool, Errno> {
    let status = rustix::fs::fstat(descriptor)?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

/// Moves a detached mount onto a place.
pub(super) fn attach(mount: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    use rustix::mount::MoveMountFlags;
    rustix::mount::move_mount(
        mount,
        "",
        place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}
