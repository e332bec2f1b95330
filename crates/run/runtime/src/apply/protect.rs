//! Kernel parameters, read-only and masked paths.

use std::os::fd::{AsFd, OwnedFd};

use carrack_sys::mount::{
    ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, Depth, MountAttributes,
};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::Tried;
use super::inside;
use crate::plan::Failure;

/// `PROC_SUPER_MAGIC` of `<linux/magic.h>`.
const PROC_MAGIC: i64 = 0x9fa0;

/// Writes kernel parameters; the file must be procfs' own, whatever the image
/// put in its way.
pub(super) fn set_sysctls(parameters: &[(String, String)]) -> Result<(), Failure> {
    for (path, value) in parameters {
        let full = format!("/proc/sys/{path}");
        let file = inside::open(&full, OFlags::WRONLY).tried(|| format!("open sysctl {path}"))?;
        let system = rustix::fs::fstatfs(&file).tried(|| format!("look at sysctl {path}"))?;
        if system.f_type != PROC_MAGIC {
            return Err(Failure::other(format!("sysctl {path} is not on procfs")));
        }
        rustix::io::write(&file, value.as_bytes())
            .tried(|| format!("set sysctl {path} to {value:?}"))?;
    }
    Ok(())
}

/// Makes paths read-only; one that is missing is passed over.
pub(super) fn make_readonly(paths: &[String]) -> Result<(), Failure> {
    for path in paths {
        let Some(place) = existing(path)? else {
            continue;
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(&place, "", flags).tried(|| format!("clone {path}"))?;
        carrack_sys::mount::set_attributes(
            tree.as_fd(),
            Depth::One,
            &MountAttributes {
                set: ATTR_RDONLY,
                ..MountAttributes::default()
            },
        )
        .tried(|| format!("make {path} read-only"))?;
        inside::attach(&tree, &place).tried(|| format!("cover {path}"))?;
    }
    Ok(())
}

/// Covers directories with an empty read-only tmpfs and files with
/// `/dev/null`; one that is missing is passed over.
pub(super) fn mask(paths: &[String]) -> Result<(), Failure> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let Some(place) = existing(path)? else {
            continue;
        };
        let is_directory = inside::is_directory(&place).tried(|| format!("look at {path}"))?;
        let cover = if is_directory {
            let empty = match &empty {
                Some(empty) => empty,
                None => empty.insert(empty_directory().tried(|| "make an empty tmpfs".to_owned())?),
            };
            clone_mount(empty).tried(|| format!("clone the cover of {path}"))?
        } else {
            null_device().tried(|| "open /dev/null to mask with".to_owned())?
        };
        inside::attach(&cover, &place).tried(|| format!("mask {path}"))?;
    }
    Ok(())
}

fn existing(path: &str) -> Result<Option<OwnedFd>, Failure> {
    match inside::locate(path) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).tried(|| format!("open {path}")),
    }
}

fn empty_directory() -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "size", "0")?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "mode", "755")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let attributes = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
    rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::from_bits_retain(attributes as u32),
    )
}

fn clone_mount(mount: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::mount::open_tree(
        mount,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH,
    )
}

/// The container's `/dev/null`, verified to be device 1:3: an image that puts
/// something else there would otherwise see through the mask
/// (CVE-2025-31133).
fn null_device() -> Result<OwnedFd, Errno> {
    let node = rustix::fs::openat(
        CWD,
        "/dev/null",
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let status = rustix::fs::fstat(&node)?;
    let is_null = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && status.st_rdev == rustix::fs::makedev(1, 3);
    if is_null {
        clone_mount(&node)
    } else {
        Err(Errno::NOTSUP)
    }
}
