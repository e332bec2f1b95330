//! Paths inside the container's root, from whichever side it is seen.
//!
//! Before `pivot_root` the root is a mount somewhere in the private copy of
//! the host's tree; for an exec it is the process' own. Both ways every path
//! starts at one descriptor, and `RESOLVE_IN_ROOT` keeps absolute symlinks and
//! `..` inside even while another container swaps parts of a shared volume.
//! Magic links are refused everywhere.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Tried;
use crate::plan::Failure;

/// Steps of one walk that makes what is missing.
const MAX_STEPS: usize = 4096;
/// Symlinks followed in it; the kernel's own bound.
const MAX_LINKS: usize = 40;
/// A walk with `..` is tried again when the kernel saw a rename or a mount
/// anywhere meanwhile; beyond, somebody does it on purpose.
const MAX_TRIES: usize = 128;
/// `PROC_SUPER_MAGIC` of `<linux/magic.h>`.
const PROC_MAGIC: i64 = 0x9fa0;

/// Whether a missing target becomes a directory or an empty file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Directory,
    File,
}

/// Whether symlinks are followed, inside the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    Refuse,
}

/// The container's root directory.
pub(super) struct Root(OwnedFd);

impl Root {
    /// A mount that is, or is about to become, the root.
    pub(super) fn of_mount(mount: impl AsFd) -> Result<Self, Failure> {
        rustix::io::fcntl_dupfd_cloexec(mount, 3)
            .map(Self)
            .tried(|| "hold the root file system".to_owned())
    }

    /// The root of the calling process.
    pub(super) fn of_process() -> Result<Self, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, "/", flags, Mode::empty())
            .map(Self)
            .tried(|| "open the root file system".to_owned())
    }

    /// Opens `path`.
    pub(super) fn open(&self, path: &str, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
        let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        resolve.set(ResolveFlags::NO_SYMLINKS, links == Links::Refuse);
        resolve_with(self.0.as_fd(), path, flags, resolve)
    }

    /// Opens `path` for use as a place (`O_PATH`).
    pub(super) fn locate(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.open(path, OFlags::PATH, Links::Follow)
    }

    /// Opens `path` as a place, making what is missing: parents as
    /// directories, the last part as `missing` says. A link that leads nowhere
    /// gets its target made, as images with `/etc/resolv.conf` need.
    pub(super) fn locate_or_make(&self, path: &str, missing: Missing) -> Result<OwnedFd, Failure> {
        match self.locate(path) {
            Err(Errno::NOENT) => self
                .walk_and_make(path, missing)
                .tried(|| format!("make {path}")),
            other => other.tried(|| format!("open {path}")),
        }
    }

    fn walk_and_make(&self, path: &str, missing: Missing) -> Result<OwnedFd, Errno> {
        let mut left: VecDeque<String> = parts(path).map(str::to_owned).collect();
        let mut walked: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        for _ in 0..MAX_STEPS {
            let here = walked.last().map_or(self.0.as_fd(), AsFd::as_fd);
            let Some(part) = left.pop_front() else {
                return rustix::io::fcntl_dupfd_cloexec(here, 3);
            };
            if part == ".." {
                walked.pop();
                continue;
            }
            let as_file = left.is_empty() && missing == Missing::File;
            let next = enter_or_make(here, &part, as_file)?;
            match FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) {
                FileType::Directory => walked.push(next),
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&next, "", Vec::new())?;
                    let target = target.to_str().map_err(|_| Errno::ILSEQ)?;
                    if target.starts_with('/') {
                        walked.clear();
                    }
                    for part in parts(target).rev() {
                        left.push_front(part.to_owned());
                    }
                }
                _ if left.is_empty() => return Ok(next),
                _ => return Err(Errno::NOTDIR),
            }
        }
        Err(Errno::NAMETOOLONG)
    }

    /// A place that a mount may cover, made if it is missing.
    ///
    /// What covers a part of procfs could hide from the masks that come after
    /// it, or stand in for a file that the runtime writes to, so few files may
    /// be covered (CVE-2019-19921, CVE-2025-52881).
    pub(super) fn place_for_mount(&self, at: &str, missing: Missing) -> Result<OwnedFd, Failure> {
        refuse_root(at)?;
        let place = self.locate_or_make(at, missing)?;
        let covered = is_procfs(&place).tried(|| format!("look at {at}"))?;
        if covered && !MAY_BE_COVERED.contains(&at) {
            return Err(Failure::other(format!(
                "mount at {at}: it is inside of /proc, where only files like /proc/cpuinfo may be covered"
            )));
        }
        Ok(place)
    }

    /// A place for procfs, sysfs or `/dev`: no symlink on the way, or what is
    /// masked or made afterwards could be in another instance than the one
    /// that is mounted (CVE-2021-30465, CVE-2023-27561, CVE-2026-41579).
    pub(super) fn plain_directory(&self, at: &str) -> Result<OwnedFd, Failure> {
        refuse_root(at)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let opened = match self.open(at, flags, Links::Refuse) {
            Err(Errno::NOENT) => {
                self.locate_or_make(at, Missing::Directory)?;
                self.open(at, flags, Links::Refuse)
            }
            other => other,
        };
        match opened {
            Err(Errno::LOOP | Errno::NOTDIR) => Err(Failure::other(format!(
                "mount at {at}: it must be an ordinary directory"
            ))),
            other => other.tried(|| format!("open {at}")),
        }
    }
}

/// Files of procfs that a mount may cover: those that show a container's own
/// share of the machine, which lxcfs offers, as runc allows them.
const MAY_BE_COVERED: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Opens `path` below `directory`; see [`MAX_TRIES`].
pub(super) fn resolve_with(
    directory: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    for _ in 0..MAX_TRIES {
        let flags = flags | OFlags::CLOEXEC;
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|p| !p.is_empty() && *p != ".")
}

fn refuse_root(at: &str) -> Result<(), Failure> {
    match parts(at).next() {
        Some(_) => Ok(()),
        None => Err(Failure::other("mount at /: the root cannot be covered")),
    }
}

/// Enters one part of a path, making it if it is missing.
fn enter_or_make(parent: BorrowedFd<'_>, part: &str, as_file: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, part, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    let made = if as_file {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(parent, part, flags, Mode::from_raw_mode(0o644)).map(drop)
    } else {
        rustix::fs::mkdirat(parent, part, Mode::from_raw_mode(0o755))
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => rustix::fs::openat(parent, part, flags, Mode::empty()),
        Err(errno) => Err(errno),
    }
}

/// Whether a descriptor is a directory.
pub(super) fn is_directory(descriptor: impl AsFd) -> Result<bool, Errno> {
    let status = rustix::fs::fstat(descriptor)?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Directory)
}

/// Whether a descriptor lies on procfs.
pub(super) fn is_procfs(descriptor: impl AsFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(descriptor)?.f_type == PROC_MAGIC)
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
