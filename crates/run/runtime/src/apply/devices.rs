//! Device nodes and the usual links of `/dev`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Uid};
use rustix::io::Errno;

use super::inside::{self, Missing, Root};
use super::{Descriptors, Tried};
use crate::device;
use crate::plan::{DeviceKind, DevicePlan, Failure};

/// Links of `config-linux.md`, "Default Devices", and what terminals need.
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
    ("/proc/kcore", "core"),
];

/// Whether `/dev` came with the default devices and links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dev {
    Furnished,
    Bare,
}

/// Makes all nodes; most lie side by side, so the last directory is kept open.
/// The process' mask must be empty: a mode is what the plan says.
pub(super) fn make_all(
    root: &Root,
    devices: &[DevicePlan],
    dev: Dev,
    descriptors: &Descriptors,
) -> Result<(), Failure> {
    let mut last: Option<(&str, OwnedFd)> = None;
    let there: Vec<DevicePlan> = match dev {
        Dev::Furnished => device::defaults().collect(),
        Dev::Bare => Vec::new(),
    };
    for device in devices {
        if there.contains(device) {
            continue;
        }
        if let Some(index) = device.bind {
            bind(root, device, descriptors.get(index)?)?;
            continue;
        }
        let (path, name) = split(&device.path)?;
        let parent = match &last {
            Some((open, parent)) if *open == path => parent,
            _ => {
                let parent = if path.is_empty() {
                    root.locate("/").tried(|| "open /".to_owned())?
                } else {
                    root.locate_or_make(path, Missing::Directory)?
                };
                &last.insert((path, parent)).1
            }
        };
        if there.iter().any(|default| default.path == device.path) {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())
                .tried(|| format!("replace {}", device.path))?;
        }
        make(device, parent, name)?;
    }
    Ok(())
}

/// Makes a device of `/dev` in a mount that is nowhere yet.
pub(super) fn make_in(dev: &OwnedFd, device: &DevicePlan) -> Result<(), Failure> {
    let (_, name) = split(&device.path)?;
    make(device, dev, name)
}

/// Shows the host's node, which must be the device that was asked for: a path
/// alone could name any file of the host.
fn bind(root: &Root, device: &DevicePlan, node: &OwnedFd) -> Result<(), Failure> {
    let at = device.path.as_str();
    let status = rustix::fs::fstat(node).tried(|| format!("look at the host's {at}"))?;
    if !is_same(device, &status) {
        return Err(Failure::other(format!(
            "mount device {at}: the host's file of that name is another one"
        )));
    }
    let place = root.place_for_mount(at, Missing::File)?;
    inside::attach(node, place).tried(|| format!("mount device {at}"))
}

fn make(device: &DevicePlan, parent: &OwnedFd, name: &str) -> Result<(), Failure> {
    let at = device.path.as_str();
    let number = rustix::fs::makedev(device.major, device.minor);
    let mode = Mode::from_raw_mode(device.mode);
    match rustix::fs::mknodat(parent, name, file_type(device.kind), mode, number) {
        Ok(()) => {}
        Err(Errno::EXIST) => return check_existing(device, parent.as_fd(), name),
        Err(errno) => return Err(errno).tried(|| format!("make device {at}")),
    }
    if device.uid != 0 || device.gid != 0 {
        rustix::fs::chownat(
            parent,
            name,
            Some(Uid::from_raw(device.uid)),
            Some(Gid::from_raw(device.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .tried(|| format!("set owner of {at}"))?;
    }
    Ok(())
}

fn file_type(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Character => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}

fn is_same(device: &DevicePlan, status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == file_type(device.kind)
        && (device.kind == DeviceKind::Fifo
            || status.st_rdev == rustix::fs::makedev(device.major, device.minor))
}

/// A node that is there already must be the one that was asked for.
fn check_existing(
    device: &DevicePlan,
    parent: rustix::fd::BorrowedFd<'_>,
    name: &str,
) -> Result<(), Failure> {
    let status = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .tried(|| format!("look at {}", device.path))?;
    if is_same(device, &status) {
        Ok(())
    } else {
        Err(Failure::other(format!(
            "make device {}: another file is there",
            device.path
        )))
    }
}

/// Directory, empty for the root, and name.
fn split(path: &str) -> Result<(&str, &str), Failure> {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((parent, name)) if !matches!(name, "" | "." | "..") => Ok((parent, name)),
        _ => Err(Failure::other(format!("{path} is not a device's path"))),
    }
}

/// Makes the usual links.
pub(super) fn make_links(root: &Root) -> Result<(), Failure> {
    let dev = root.locate("/dev").tried(|| "open /dev".to_owned())?;
    link_in(&dev)
}

/// Makes the usual links in a directory; one that is there stays.
pub(super) fn link_in(dev: &OwnedFd) -> Result<(), Failure> {
    for (target, link) in LINKS {
        match rustix::fs::symlinkat(target, dev, link) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).tried(|| format!("link /dev/{link}")),
        }
    }
    Ok(())
}
