//! The mounts of a plan, in order.

use std::os::fd::{AsFd, OwnedFd};

use carrack_sys::mount::{Depth, MountAttributes};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::ahead::Ahead;
use super::devices::Dev;
use super::inside::{self, Missing, Root};
use super::{Descriptors, Tried, copy_up};
use crate::plan::{Failure, FileSystemPlan, MountPlan, MountSource};

/// What of the mounts is of use afterwards.
pub(super) struct Mounted {
    /// The procfs at `/proc`, if there is one.
    pub(super) procfs: Option<OwnedFd>,
    pub(super) dev: Dev,
}

/// Makes all mounts.
pub(super) fn make_all(
    root: &Root,
    mounts: &[MountPlan],
    ahead: &mut Ahead,
    descriptors: &Descriptors,
) -> Result<Mounted, Failure> {
    let mut mounted = Mounted {
        procfs: None,
        dev: Dev::Bare,
    };
    for mount in mounts {
        let at = mount.destination.as_str();
        match &mount.source {
            MountSource::Descriptor(index) => {
                let made = bind(root, at, descriptors.get(*index)?)?;
                mounted.procfs = made.or(mounted.procfs);
            }
            MountSource::FileSystem(plan) => {
                let made = file_system(root, at, plan, ahead, &mut mounted.dev)?;
                if is_proc(at) {
                    mounted.procfs = Some(made);
                }
            }
            MountSource::CgroupHierarchies {
                hierarchies,
                links,
                readonly,
            } => {
                let place = root.place_for_mount(at, Missing::Directory)?;
                let made = cgroup_hierarchies(at, &place, hierarchies, links, descriptors)?;
                if *readonly {
                    make_readonly(&made).tried(|| format!("make {at} read-only"))?;
                }
            }
        }
    }
    Ok(mounted)
}

fn is_proc(destination: &str) -> bool {
    destination.trim_end_matches('/') == "/proc"
}

/// Attaches a mount of the host; returns it where it is procfs.
pub(super) fn bind(root: &Root, at: &str, source: &OwnedFd) -> Result<Option<OwnedFd>, Failure> {
    if is_proc(at) {
        if !inside::is_procfs(source).tried(|| format!("look at the source of {at}"))? {
            return Err(Failure::other(
                "mount at /proc: what is mounted there must be procfs",
            ));
        }
        let place = root.plain_directory(at)?;
        inside::attach(source, &place).tried(|| format!("mount at {at}"))?;
        let held = rustix::io::fcntl_dupfd_cloexec(source, 3);
        return held.map(Some).tried(|| "hold procfs".to_owned());
    }
    let is_directory =
        inside::is_directory(source).tried(|| format!("look at the source of {at}"))?;
    let missing = if is_directory {
        Missing::Directory
    } else {
        Missing::File
    };
    let place = root.place_for_mount(at, missing)?;
    check_same_kind(&place, missing, at)?;
    inside::attach(source, &place).tried(|| format!("mount at {at}"))?;
    Ok(None)
}

fn file_system(
    root: &Root,
    at: &str,
    plan: &FileSystemPlan,
    ahead: &mut Ahead,
    dev: &mut Dev,
) -> Result<OwnedFd, Failure> {
    let kind = plan.kind.as_str();
    if is_proc(at) && kind != "proc" {
        return Err(Failure::other(
            "mount at /proc: what is mounted there must be procfs",
        ));
    }
    let mount = match ahead.take(at, plan) {
        Some(made) => {
            if made.furnished {
                *dev = Dev::Furnished;
            }
            made.into_mount()
        }
        None => {
            let mode = existing_mode(root, at, plan);
            new_file_system(plan, mode.as_deref()).tried(|| format!("make {kind} for {at}"))?
        }
    };
    let plain = matches!(kind, "proc" | "sysfs") || at.trim_end_matches('/') == "/dev";
    let place = if plain {
        root.plain_directory(at)?
    } else {
        root.place_for_mount(at, Missing::Directory)?
    };
    if plan.copy_up {
        copy_up::copy(&place, &mount, at)?;
    }
    if plan.propagation != 0 {
        let attributes = MountAttributes {
            propagation: plan.propagation,
            ..MountAttributes::default()
        };
        carrack_sys::mount::set_attributes(mount.as_fd(), Depth::One, &attributes)
            .tried(|| format!("set the propagation of {at}"))?;
    }
    inside::attach(&mount, &place).tried(|| format!("mount {kind} at {at}"))?;
    Ok(mount)
}

/// A tmpfs that says no mode takes that of the directory it covers, as with
/// runc.
fn existing_mode(root: &Root, at: &str, plan: &FileSystemPlan) -> Option<String> {
    if plan.kind != "tmpfs" || plan.parameters.iter().any(|(key, _)| key == "mode") {
        return None;
    }
    let status = rustix::fs::fstat(root.locate(at).ok()?).ok()?;
    Some(format!("{:o}", status.st_mode & 0o7777))
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
pub(super) fn new_file_system(plan: &FileSystemPlan, mode: Option<&str>) -> Result<OwnedFd, Errno> {
    use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen};
    let context = fsopen(plan.kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", plan.source.as_str())?;
    for (key, value) in &plan.parameters {
        match value {
            Some(value) => fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str())?,
            None => fsconfig_set_flag(context.as_fd(), key.as_str())?,
        }
    }
    if let Some(mode) = mode {
        fsconfig_set_string(context.as_fd(), "mode", mode)?;
    }
    fsconfig_create(context.as_fd())?;
    let attributes = u32::try_from(plan.attributes)
        .map(MountAttrFlags::from_bits_retain)
        .map_err(|_| Errno::INVAL)?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn cgroup_hierarchies(
    at: &str,
    place: &OwnedFd,
    hierarchies: &[(String, crate::plan::DescriptorIndex)],
    links: &[(String, String)],
    descriptors: &Descriptors,
) -> Result<OwnedFd, Failure> {
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
    let mount = new_file_system(&tmpfs, None).tried(|| format!("make tmpfs for {at}"))?;
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
    Ok(mount)
}

fn make_readonly(mount: &OwnedFd) -> std::io::Result<()> {
    let attributes = MountAttributes {
        set: carrack_sys::mount::ATTR_RDONLY,
        ..MountAttributes::default()
    };
    carrack_sys::mount::set_attributes(mount.as_fd(), Depth::One, &attributes)
}
