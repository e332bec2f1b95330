//! Device nodes and the usual links of `/dev`.

use rustix::fs::{CWD, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use super::inside::{self, Missing};
use super::{Descriptors, Tried};
use crate::plan::{DeviceKind, DevicePlan, Failure};

/// Links of `config-linux.md`, "Default Devices", and what terminals need.
const LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
    ("/proc/kcore", "/dev/core"),
];

pub(super) fn make_all(devices: &[DevicePlan], descriptors: &Descriptors) -> Result<(), Failure> {
    devices
        .iter()
        .try_for_each(|device| make(device, descriptors))
}

fn make(device: &DevicePlan, descriptors: &Descriptors) -> Result<(), Failure> {
    let at = device.path.as_str();
    if let Some(index) = device.bind {
        let place = inside::locate_or_make(at, Missing::File)?;
        return inside::attach(descriptors.get(index)?, place)
            .tried(|| format!("mount device {at}"));
    }
    let (parent, name) = split(at)?;
    let parent = inside::locate_or_make(parent, Missing::Directory)?;
    let kind = match device.kind {
        DeviceKind::Character => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    };
    let number = rustix::fs::makedev(device.major, device.minor);
    match rustix::fs::mknodat(
        &parent,
        name,
        kind,
        Mode::from_raw_mode(device.mode),
        number,
    ) {
        Ok(()) => {}
        Err(Errno::EXIST) => return check_existing(device, &parent, name, kind),
        Err(errno) => return Err(errno).tried(|| format!("make device {at}")),
    }
    // The process' mask may have taken bits from the mode.
    rustix::fs::chmodat(
        &parent,
        name,
        Mode::from_raw_mode(device.mode),
        rustix::fs::AtFlags::empty(),
    )
    .tried(|| format!("set mode of {at}"))?;
    if device.uid != 0 || device.gid != 0 {
        rustix::fs::chownat(
            &parent,
            name,
            Some(Uid::from_raw(device.uid)),
            Some(Gid::from_raw(device.gid)),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .tried(|| format!("set owner of {at}"))?;
    }
    Ok(())
}

/// A node that is there already must be the one that was asked for.
fn check_existing(
    device: &DevicePlan,
    parent: &rustix::fd::OwnedFd,
    name: &str,
    kind: FileType,
) -> Result<(), Failure> {
    let status = rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
        .tried(|| format!("look at {}", device.path))?;
    let same = FileType::from_raw_mode(status.st_mode) == kind
        && status.st_rdev == rustix::fs::makedev(device.major, device.minor);
    if same {
        Ok(())
    } else {
        Err(Failure::other(format!(
            "make device {}: another file is there",
            device.path
        )))
    }
}

fn split(path: &str) -> Result<(&str, &str), Failure> {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", name)) if !name.is_empty() => Ok(("/", name)),
        Some((parent, name)) if !matches!(name, "" | "." | "..") => Ok((parent, name)),
        _ => Err(Failure::other(format!("{path} is not a device's path"))),
    }
}

/// Makes the usual links; one that is there stays.
pub(super) fn make_links() -> Result<(), Failure> {
    for (target, link) in LINKS {
        match rustix::fs::symlinkat(target, CWD, link) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).tried(|| format!("link {link}")),
        }
    }
    Ok(())
}
