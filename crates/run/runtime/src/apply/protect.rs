//! Kernel parameters, read-only and masked paths.

use std::os::fd::{AsFd, OwnedFd};

use carrack_sys::mount::{
    ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, Depth, MountAttributes,
};
use rustix::fs::{FileType, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::Tried;
use super::inside::{self, Links, Root};
use crate::plan::Failure;

/// What is protected: the root, and the procfs mounted in it by descriptor,
/// so that neither an image nor a neighbour on a shared volume can put
/// something else in its place.
pub(super) struct Protected<'a> {
    pub(super) root: &'a Root,
    pub(super) procfs: Option<&'a OwnedFd>,
}

impl Protected<'_> {
    /// Writes kernel parameters into the procfs that was mounted, on which
    /// nothing else is mounted (CVE-2025-52881).
    pub(super) fn set_sysctls(&self, parameters: &[(String, String)]) -> Result<(), Failure> {
        if parameters.is_empty() {
            return Ok(());
        }
        let procfs = self
            .procfs
            .ok_or_else(|| Failure::other("sysctls need a procfs mounted at /proc"))?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        for (path, value) in parameters {
            let name = format!("sys/{path}");
            let file = inside::resolve_with(procfs.as_fd(), &name, OFlags::WRONLY, resolve)
                .tried(|| format!("open sysctl {path}"))?;
            rustix::io::write(&file, value.as_bytes())
                .tried(|| format!("set sysctl {path} to {value:?}"))?;
        }
        Ok(())
    }

    /// Makes paths read-only with what is mounted below them; one that is
    /// missing is passed over.
    pub(super) fn make_readonly(&self, paths: &[String]) -> Result<(), Failure> {
        for path in paths {
            let Some(place) = self.existing(path)? else {
                continue;
            };
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH
                | OpenTreeFlags::AT_RECURSIVE;
            let tree =
                rustix::mount::open_tree(&place, "", flags).tried(|| format!("clone {path}"))?;
            carrack_sys::mount::set_attributes(
                tree.as_fd(),
                Depth::Recursive,
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
    pub(super) fn mask(&self, paths: &[String]) -> Result<(), Failure> {
        let mut empty = Cover(None);
        let mut null = Cover(None);
        for path in paths {
            let Some(place) = self.existing(path)? else {
                continue;
            };
            let is_directory = inside::is_directory(&place).tried(|| format!("look at {path}"))?;
            if is_directory {
                empty.put_over(&place, path, empty_directory)?;
            } else {
                null.put_over(&place, path, || self.null_device())?;
            }
        }
        Ok(())
    }

    fn existing(&self, path: &str) -> Result<Option<OwnedFd>, Failure> {
        let opened = match (self.procfs, path.strip_prefix("/proc/")) {
            (Some(procfs), Some(below)) => inside::resolve_with(
                procfs.as_fd(),
                below,
                OFlags::PATH,
                ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            ),
            _ => self.root.locate(path),
        };
        match opened {
            Ok(place) => Ok(Some(place)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno).tried(|| format!("open {path}")),
        }
    }

    /// The container's `/dev/null`, verified to be device 1:3: an image that
    /// puts something else there would otherwise see through the mask
    /// (CVE-2025-31133).
    fn null_device(&self) -> Result<OwnedFd, Failure> {
        let action = || "open /dev/null to mask with".to_owned();
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let node = self
            .root
            .open("/dev/null", flags, Links::Refuse)
            .tried(action)?;
        if is_null(&node).tried(action)? {
            clone_mount(&node).tried(action)
        } else {
            Err(Failure::other("/dev/null to mask with is another file"))
        }
    }
}

/// What lies over masked paths. It is made for the first; the others get
/// clones of it. None is left that is mounted nowhere: letting go of such a
/// one waits for an RCU grace period.
struct Cover(Option<OwnedFd>);

impl Cover {
    fn put_over(
        &mut self,
        place: &OwnedFd,
        path: &str,
        make: impl FnOnce() -> Result<OwnedFd, Failure>,
    ) -> Result<(), Failure> {
        let action = || format!("mask {path}");
        if let Some(cover) = &self.0 {
            let cover = clone_mount(cover).tried(action)?;
            return inside::attach(cover, place).tried(action);
        }
        let cover = make()?;
        inside::attach(&cover, place).tried(action)?;
        self.0 = Some(cover);
        Ok(())
    }
}

/// Whether a descriptor is the null device.
pub(super) fn is_null(node: impl AsFd) -> Result<bool, Errno> {
    let status = rustix::fs::fstat(node)?;
    Ok(
        FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
            && status.st_rdev == rustix::fs::makedev(1, 3),
    )
}

fn empty_directory() -> Result<OwnedFd, Failure> {
    let make = || {
        let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        // Whoever remounts it writable may still put nothing into it.
        rustix::mount::fsconfig_set_string(context.as_fd(), "nr_inodes", "1")?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "mode", "755")?;
        rustix::mount::fsconfig_create(context.as_fd())?;
        let attributes = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
        rustix::mount::fsmount(
            context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::from_bits_retain(attributes as u32),
        )
    };
    make().tried(|| "make an empty tmpfs".to_owned())
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
