//! A layer of mount points for each image, between the image's layers and the
//! container's own.
//!
//! Every container has `/proc`, `/dev`, `/sys` and its own `/etc/hosts`,
//! `/etc/hostname` and `/etc/resolv.conf` mounted, and `/.dockerenv` tells
//! programs where they are. Few images have all these places. Made in each
//! container's own layer they cost every start half a millisecond; here they
//! are made once an image, and the container's layer holds what the container
//! changed and nothing else.
//!
//! The layer is a cache. It lies in the snapshot of the image's top layer, so
//! that an overlay of all stays on one file system and it goes away with the
//! image. It is not synced and named after the boot: what another boot made is
//! not trusted.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use carrack_snapshots::overlay::{self, OverlaySpec};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

use crate::remove::delete;
use crate::{Error, Owner, Result};

/// Layers of an image beyond which there is no room for one more.
const LOWERS_MAX: usize = 400;
/// Directories that file systems are mounted on.
const DIRECTORIES: [&str; 3] = ["dev", "proc", "sys"];
/// Files of `/etc` that files are mounted on.
const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];
/// By which programs tell that they run in a container of Docker's.
const MARK: &str = ".dockerenv";
/// Says which boot this is: proc_sys_kernel(5).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// What the names of all these layers begin with.
const NAME: &str = "mount-points";

/// Makes and finds the layers of this boot.
#[derive(Debug)]
pub(crate) struct MountPoints {
    /// What their names begin with.
    prefix: String,
    /// Those that cannot be made; held while one is made.
    unsuited: Mutex<HashSet<PathBuf>>,
}

impl MountPoints {
    pub(crate) fn open() -> Result<Self> {
        let boot = std::fs::read_to_string(BOOT_ID)
            .map_err(|source| Error::file("read", Path::new(BOOT_ID), source))?;
        Ok(Self {
            prefix: format!("{NAME}-{}", boot.trim()),
            unsuited: Mutex::default(),
        })
    }

    /// The layer of an image, given its layers from the top; `None` where it
    /// has none, and the container's own layer takes the places.
    pub(crate) fn layer(&self, owner: &Owner, lowers: &[PathBuf]) -> Option<PathBuf> {
        let snapshot = lowers.first()?.parent()?;
        let layer = snapshot.join(match owner {
            Owner::Docker => format!("{}-docker", self.prefix),
            _ => self.prefix.clone(),
        });
        if layer.exists() {
            return Some(layer);
        }
        let mut unsuited = self.unsuited.lock().unwrap_or_else(PoisonError::into_inner);
        if unsuited.contains(&layer) || lowers.len() > LOWERS_MAX {
            return None;
        }
        match self.make(&layer, snapshot, owner, lowers) {
            Ok(()) => Some(layer),
            Err(error) => {
                tracing::warn!(layer = %layer.display(), %error, "make the layer of mount points");
                unsuited.insert(layer);
                None
            }
        }
    }

    /// Makes it under another name first: under its own it is whole.
    fn make(
        &self,
        layer: &Path,
        snapshot: &Path,
        owner: &Owner,
        lowers: &[PathBuf],
    ) -> std::io::Result<()> {
        if layer.exists() {
            // Another start was first.
            return Ok(());
        }
        self.clear(snapshot)?;
        let fresh = snapshot.join(format!("{}.new", self.prefix));
        let mountpoint = snapshot.join(format!("{}.mnt", self.prefix));
        std::fs::create_dir(&fresh)?;
        let image = overlay::mount(&OverlaySpec {
            lowers: lowers.to_vec(),
            writable: None,
            mountpoint: mountpoint.clone(),
        })
        .map_err(std::io::Error::other)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let layer_root = rustix::fs::open(&fresh, flags, Mode::empty())?;
        let image_root = open_directory(image.as_fd(), ".")?;
        fill(&image_root, &layer_root, owner)?;
        // There on old kernels alone.
        let _not_there = std::fs::remove_dir(&mountpoint);
        std::fs::rename(&fresh, layer)
    }

    /// Deletes what another boot or an interrupted making left.
    fn clear(&self, snapshot: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(snapshot)?.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(NAME)) else {
                continue;
            };
            let unfinished = name.ends_with(".new") || name.ends_with(".mnt");
            if unfinished || !name.starts_with(&self.prefix) {
                delete(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Makes what the image lacks. A directory of this layer stands before the
/// image's own in all that is said of it, so it repeats that.
fn fill(image: &OwnedFd, layer: &OwnedFd, owner: &Owner) -> std::io::Result<()> {
    if has_attributes(image) {
        return Err(std::io::Error::other(
            "the image's root has extended attributes",
        ));
    }
    for name in DIRECTORIES {
        if is_missing(image, name)? {
            make_directory(layer, name)?;
        }
    }
    if *owner == Owner::Docker && is_missing(image, MARK)? {
        make_file(layer, MARK)?;
    }
    match open_directory(image.as_fd(), "etc") {
        Err(Errno::NOENT) => {
            let layer_etc = make_directory(layer, "etc")?;
            for name in FILES {
                make_file(&layer_etc, name)?;
            }
        }
        // A link, a file, or what has more to be said of it: left to the start.
        Err(_) => {}
        Ok(etc) if has_attributes(&etc) => {}
        Ok(etc) => {
            let layer_etc = make_directory(layer, "etc")?;
            for name in FILES {
                if is_missing(&etc, name)? {
                    make_file(&layer_etc, name)?;
                }
            }
            repeat(&rustix::fs::fstat(&etc)?, &layer_etc)?;
        }
    }
    Ok(repeat(&rustix::fs::fstat(image)?, layer)?)
}

/// A directory that no link leads to.
fn open_directory(below: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat2(
        below,
        name,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )
}

fn is_missing(directory: &OwnedFd, name: &str) -> rustix::io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(false),
        Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// Makes a directory that everybody may enter, whatever the daemon's mask is.
fn make_directory(below: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdirat(below, name, mode)?;
    let made = open_directory(below.as_fd(), name)?;
    rustix::fs::fchmod(&made, mode)?;
    Ok(made)
}

fn make_file(directory: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))?;
    // Whatever the daemon's mask is.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))
}

fn has_attributes(directory: &OwnedFd) -> bool {
    // An answer that does not fit is an answer.
    !matches!(
        rustix::fs::flistxattr(directory, &mut [0_u8; 0][..]),
        Ok(0) | Err(Errno::OPNOTSUPP)
    )
}

/// Mode, owner and times.
fn repeat(of: &Stat, directory: &OwnedFd) -> rustix::io::Result<()> {
    rustix::fs::fchown(
        directory,
        Some(Uid::from_raw(of.st_uid)),
        Some(Gid::from_raw(of.st_gid)),
    )?;
    rustix::fs::fchmod(directory, Mode::from_raw_mode(of.st_mode & 0o7777))?;
    let time = |seconds, nanoseconds: u64| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    rustix::fs::futimens(
        directory,
        &rustix::fs::Timestamps {
            last_access: time(of.st_atime, of.st_atime_nsec),
            last_modification: time(of.st_mtime, of.st_mtime_nsec),
        },
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    /// What is in a layer, by path, with the modes of directories.
    fn listing(layer: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![layer.to_owned()];
        while let Some(directory) = waiting.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(layer).unwrap().display().to_string();
                if path.is_dir() {
                    let mode = entry.metadata().unwrap().mode() & 0o7777;
                    found.push(format!("{name}/ {mode:o}"));
                    waiting.push(path);
                } else {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }

    fn made(prepare: impl FnOnce(&Path)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("fs");
        std::fs::create_dir(&image).unwrap();
        prepare(&image);
        let points = MountPoints::open().unwrap();
        match points.layer(&Owner::Docker, &[image]) {
            Some(layer) => listing(&layer),
            None => vec!["none".to_owned()],
        }
    }

    #[test]
    fn what_is_missing_is_made() {
        assert_eq!(
            made(|_| {}),
            [
                ".dockerenv",
                "dev/ 755",
                "etc/ 755",
                "etc/hostname",
                "etc/hosts",
                "etc/resolv.conf",
                "proc/ 755",
                "sys/ 755",
            ]
        );
    }

    #[test]
    fn what_is_there_is_left_and_directories_stay_as_they_are() {
        let listing = made(|image| {
            for name in ["dev", "proc", "sys", "etc"] {
                std::fs::create_dir(image.join(name)).unwrap();
            }
            let mode = std::fs::Permissions::from_mode(0o2750);
            std::fs::set_permissions(image.join("etc"), mode).unwrap();
            std::fs::write(image.join("etc/hosts"), "mine").unwrap();
            // A link is the image's own way; the start follows it inside.
            symlink("/run/resolv.conf", image.join("etc/resolv.conf")).unwrap();
        });
        assert_eq!(listing, [".dockerenv", "etc/ 2750", "etc/hostname"]);
    }

    #[test]
    fn a_hostile_image_leads_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        let listing = made(|image| {
            symlink(outside.path(), image.join("etc")).unwrap();
            std::fs::write(image.join("dev"), "").unwrap();
            symlink("/", image.join("proc")).unwrap();
            symlink(outside.path(), image.join(MARK)).unwrap();
        });
        assert_eq!(listing, ["sys/ 755"]);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_is_made_once_and_another_boots_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("fs");
        std::fs::create_dir(&image).unwrap();
        let old = folder.path().join("mount-points-an-earlier-boot-docker");
        std::fs::create_dir_all(old.join("etc")).unwrap();
        let points = MountPoints::open().unwrap();
        let layer = points.layer(&Owner::Docker, std::slice::from_ref(&image));
        let made = layer.clone().unwrap().metadata().unwrap().ino();
        assert!(!old.exists());
        let again = points.layer(&Owner::Docker, &[image]);
        assert_eq!(again, layer);
        assert_eq!(again.unwrap().metadata().unwrap().ino(), made);
        // The layer and the image, and nothing that making it needed.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
