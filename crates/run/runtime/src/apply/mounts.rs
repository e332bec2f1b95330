//! The mounts of a plan, in order.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::inside::{self, Missing};
use super::{Descriptors, Tried};
use crate::plan::{Failure, FileSystemPlan, MountPlan, MountSource};

pub(super) fn make_all(mounts: &[MountPlan], descriptors: &Descriptors) -> Result<(), Failure> {
    mounts.iter().try_for_each(|mount| make(mount, descriptors))
}

fn make(mount: &MountPlan, descriptors: &Descriptors) -> Result<(), Failure> {
    let at = mount.destination.as_str();
    match &mount.source {
        MountSource::Descriptor(index) => {
            let source = descriptors.get(*index)?;
            let missing =
                if inside::is_directory(source).tried(|| format!("look at the source of {at}"))? {
                    Missing::Directory
                } else {
                    Missing::File
                };
            let place = inside::locate_or_make(at, missing)?;
            check_same_kind(&place, missing, at)?;
            inside::attach(source, &place).tried(|| format!("mount at {at}"))
        }
        MountSource::FileSystem(plan) => {
            let mount = new_file_system(plan).tried(|| format!("make {} for {at}", plan.kind))?;
            let place = inside::locate_or_make(at, Missing::Directory)?;
            if plan.copy_up {
                return Err(Failure::other(format!(
                    "tmpcopyup at {at} is not supported"
                )));
            }
            attach_file_system(plan, &mount, &place)
                .tried(|| format!("mount {} at {at}", plan.kind))
        }
        MountSource::CgroupHierarchies {
            hierarchies,
            links,
            readonly,
        } => {
            let place = inside::locate_or_make(at, Missing::Directory)?;
            cgroup_hierarchies(at, &place, hierarchies, links, descriptors)?;
            if *readonly {
                make_place_readonly(at)?;
            }
            Ok(())
        }
    }
}

/// A file cannot be covered by a directory, nor the other way round; the
/// kernel says only `ENOTDIR`.
fn check_same_kind(place: &OwnedFd, source: Missing, at: &str) -> Result<(), Failure> {
    let is_directory = inside::is_directory(place).tried(|| format!("look at {at}"))?;
    if is_directory == (source == Missing::Directory) {
        Ok(())
    } else {
        Err(Failure::other(format!(
            "mount at {at}: not a directory: are you trying to mount a directory onto a file (or vice-versa)? \
             Check if the specified host path exists and is the expected type"
        )))
    }
}

/// A detached instance of a file system.
fn new_file_system(plan: &FileSystemPlan) -> Result<OwnedFd, rustix::io::Errno> {
    use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen(plan.kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", plan.source.as_str())?;
    for (key, value) in &plan.parameters {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str())?,
            None => fsconfig_set_flag(context.as_fd(), key.as_str())?,
        }
    }
    fsconfig_create(context.as_fd())?;
    let attributes = u32::try_from(plan.attributes)
        .map(MountAttrFlags::from_bits_retain)
        .map_err(|_| rustix::io::Errno::INVAL)?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn attach_file_system(
    plan: &FileSystemPlan,
    mount: &OwnedFd,
    place: &OwnedFd,
) -> Result<(), rustix::io::Errno> {
    if plan.propagation != 0 {
        let attributes = carrack_sys::mount::MountAttributes {
            propagation: plan.propagation,
            ..Default::default()
        };
        carrack_sys::mount::set_attributes(
            mount.as_fd(),
            carrack_sys::mount::Depth::One,
            &attributes,
        )
        .map_err(|error| {
            rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL)
        })?;
    }
    inside::attach(mount, place)
}

fn cgroup_hierarchies(
    at: &str,
    place: &OwnedFd,
    hierarchies: &[(String, crate::plan::DescriptorIndex)],
    links: &[(String, String)],
    descriptors: &Descriptors,
) -> Result<(), Failure> {
    let tmpfs = FileSystemPlan {
        kind: "tmpfs".to_owned(),
        source: "cgroup".to_owned(),
        parameters: vec![("mode".to_owned(), Some("755".to_owned()))],
        attributes: carrack_sys::mount::ATTR_NOSUID
            | carrack_sys::mount::ATTR_NODEV
            | carrack_sys::mount::ATTR_NOEXEC,
        propagation: 0,
        copy_up: false,
    };
    let mount = new_file_system(&tmpfs).tried(|| format!("make tmpfs for {at}"))?;
    inside::attach(&mount, place).tried(|| format!("mount tmpfs at {at}"))?;
    for (name, index) in hierarchies {
        let source = descriptors.get(*index)?;
        rustix::fs::mkdirat(&mount, name.as_str(), Mode::from_raw_mode(0o755))
            .and_then(|()| {
                rustix::fs::openat(
                    &mount,
                    name.as_str(),
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                    Mode::empty(),
                )
            })
            .and_then(|place| inside::attach(source, place))
            .tried(|| format!("mount cgroup {name} at {at}"))?;
    }
    for (name, target) in links {
        rustix::fs::symlinkat(target.as_str(), &mount, name.as_str())
            .tried(|| format!("link {name} at {at}"))?;
    }
    Ok(())
}

fn make_place_readonly(at: &str) -> Result<(), Failure> {
    let place = inside::locate(at).tried(|| format!("open {at}"))?;
    carrack_sys::mount::set_attributes(
        place.as_fd(),
        carrack_sys::mount::Depth::One,
        &carrack_sys::mount::MountAttributes {
            set: carrack_sys::mount::ATTR_RDONLY,
            ..Default::default()
        },
    )
    .tried(|| format!("make {at} read-only"))
}
