//! The mount namespace, the root and the names.

use std::os::fd::{AsFd, OwnedFd};

use carrack_sys::mount::{ATTR_RDONLY, Depth, MountAttributes};
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags};

use super::Tried;
use crate::plan::{Failure, RootPlan};

/// A directory that every host has; the new root is mounted there, in the
/// private copy of the host's mounts, until `pivot_root`.
const STAGING: &str = "/proc";

const MS_PRIVATE: u64 = MountPropagationFlags::PRIVATE.bits() as u64;
const MS_REC: u64 = MountPropagationFlags::REC.bits() as u64;
const MS_SLAVE: u64 = MountPropagationFlags::DOWNSTREAM.bits() as u64;

/// Stops the private copy of the host's mounts from reporting back. Done while
/// parked, ahead of any start.
pub(super) fn isolate_mounts() -> Result<(), Failure> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .tried(|| "make the mounts of the new namespace slaves".to_owned())
}

/// Makes the own cgroup the root of a new cgroup namespace.
pub(super) fn new_cgroup_namespace() -> Result<(), Failure> {
    carrack_sys::process::unshare(libc::CLONE_NEWCGROUP as u64)
        .tried(|| "make a cgroup namespace".to_owned())
}

/// Attaches the detached mount `root` where it waits for [`pivot`].
///
/// A root cloned from a mount that the host shares would report every mount
/// made in it, so it is taken out of its peer group first, whatever
/// propagation it gets in the end.
pub(super) fn attach(plan: &RootPlan, root: &OwnedFd) -> Result<(), Failure> {
    let propagation = if plan.propagation & MS_SLAVE != 0 {
        MS_SLAVE
    } else {
        MS_PRIVATE
    };
    let attributes = MountAttributes {
        propagation,
        ..MountAttributes::default()
    };
    carrack_sys::mount::set_attributes(root.as_fd(), Depth::Recursive, &attributes)
        .tried(|| "take the root file system out of its peer group".to_owned())?;
    let staging = plan.staging.as_deref().unwrap_or(STAGING);
    rustix::mount::move_mount(
        root,
        "",
        CWD,
        staging,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .tried(|| format!("attach the root file system at {staging}"))
}

/// Makes `root` the root of this mount namespace and lets go of all that was
/// there before.
pub(super) fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root).tried(|| "enter the root file system".to_owned())?;
    // With both arguments the same, the old root lies stacked on the new one
    // and the next unmount of "." takes it off (pivot_root(2), NOTES).
    rustix::process::pivot_root(".", ".").tried(|| "pivot to the root file system".to_owned())?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .tried(|| "let go of the host's mounts".to_owned())?;
    rustix::process::chdir("/").tried(|| "enter the new root".to_owned())
}

/// Propagation and read-only, once everything is in place.
pub(super) fn finish(plan: &RootPlan) -> Result<(), Failure> {
    if plan.readonly {
        let attributes = MountAttributes {
            set: ATTR_RDONLY,
            ..MountAttributes::default()
        };
        carrack_sys::mount::set_attributes_at(CWD, c"/", Depth::One, &attributes)
            .tried(|| "make the root read-only".to_owned())?;
    }
    // Private it is already, and once more would undo what single mounts asked
    // for.
    if plan.propagation & !(MS_PRIVATE | MS_REC) != 0 {
        let flags = u32::try_from(plan.propagation)
            .map(MountPropagationFlags::from_bits_retain)
            .map_err(|_| Failure::other("root propagation is out of range"))?;
        rustix::mount::mount_change("/", flags)
            .tried(|| "set the propagation of the root".to_owned())?;
    }
    Ok(())
}

/// Host and domain name.
pub(super) fn set_names(host: Option<&str>, domain: Option<&str>) -> Result<(), Failure> {
    if let Some(host) = host {
        rustix::system::sethostname(host.as_bytes()).tried(|| format!("set host name {host:?}"))?;
    }
    if let Some(domain) = domain {
        rustix::system::setdomainname(domain.as_bytes())
            .tried(|| format!("set domain name {domain:?}"))?;
    }
    Ok(())
}
