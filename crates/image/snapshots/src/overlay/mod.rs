//! Overlay mounts of snapshots, detached.
//!
//! The mount is made by descriptor and attached nowhere: whoever gets it moves
//! it into a mount namespace of its own.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

/// Layers of one mount: `OVL_MAX_STACK` of the kernel.
pub const MAX_LAYERS: usize = 500;

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlaySpec {
    /// Layer directories, the top one first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go; without it the mount is read-only.
    pub upper: Option<UpperDirs>,
    /// What becomes of changes at a power cut.
    pub durability: Durability,
}

/// The writable half of an overlay, on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpperDirs {
    /// Changes.
    pub upper: PathBuf,
    /// The kernel's own, empty.
    pub work: PathBuf,
}

/// Whether changes must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// They are as durable as the file system below makes them. The unmount
    /// syncs all of it.
    Durable,
    /// They are thrown away: nothing is ever synced.
    Volatile,
}

/// Why an overlay could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// There is nothing to mount, or too much.
    #[error("cannot mount {count} layers, only 1 to {MAX_LAYERS}")]
    Layers {
        /// How many were given.
        count: usize,
    },
    /// The kernel refuses.
    #[error("cannot {action} {}", path.display())]
    Kernel {
        /// What was tried.
        action: &'static str,
        /// The directory in question.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

/// Mounts an overlay, or binds a single layer read-only.
pub fn mount(spec: &OverlaySpec) -> Result<OwnedFd, MountError> {
    let [top, rest @ ..] = spec.lowers.as_slice() else {
        return Err(MountError::Layers { count: 0 });
    };
    if rest.len() >= MAX_LAYERS {
        return Err(MountError::Layers { count: spec.lowers.len() });
    }
    match &spec.upper {
        None if rest.is_empty() => bind(top),
        upper => {
            if let Some(dirs) = upper {
                forget_volatile(dirs)?;
            }
            overlay(spec, true).or_else(|error| match &error {
                // A kernel before 6.5 knows no `lowerdir+`.
                MountError::Kernel { source, .. } if is_invalid(source) => overlay(spec, false),
                _ => Err(error),
            })
        }
    }
}

fn is_invalid(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INVAL)
}

fn kernel(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> MountError {
    let path = path.to_owned();
    move |errno| MountError::Kernel { action, path, source: errno.into() }
}

fn bind(layer: &Path) -> Result<OwnedFd, MountError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, layer, flags).map_err(kernel("bind", layer))?;
    let attributes = carrack_sys::mount::MountAttributes {
        set: carrack_sys::mount::ATTR_RDONLY,
        ..Default::default()
    };
    carrack_sys::mount::set_attributes(tree.as_fd(), carrack_sys::mount::Depth::One, &attributes)
        .map_err(|source| MountError::Kernel {
            action: "make read-only",
            path: layer.to_owned(),
            source,
        })?;
    Ok(tree)
}

/// A volatile mount leaves a mark that refuses the next one, so that nobody
/// trusts what a crash may have torn. Our callers throw such a layer away with
/// its container, or start it again within the same boot.
fn forget_volatile(dirs: &UpperDirs) -> Result<(), MountError> {
    let mark = dirs.work.join("work/incompat/volatile");
    match std::fs::remove_dir(&mark) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(MountError::Kernel { action: "remove", path: mark, source }),
    }
}

fn overlay(spec: &OverlaySpec, one_by_one: bool) -> Result<OwnedFd, MountError> {
    let here = Path::new("overlay");
    let context =
        fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(kernel("open", here))?;
    let set = |key: &str, value: &Path| {
        fsconfig_set_string(context.as_fd(), key, value).map_err(kernel("mount", value))
    };
    set("source", here)?;
    if one_by_one {
        for lower in &spec.lowers {
            set("lowerdir+", lower)?;
        }
    } else {
        set("lowerdir", &joined(&spec.lowers))?;
    }
    if let Some(dirs) = &spec.upper {
        set("upperdir", &dirs.upper)?;
        set("workdir", &dirs.work)?;
        set("index", Path::new("off"))?;
        if spec.durability == Durability::Volatile {
            fsconfig_set_flag(context.as_fd(), "volatile").map_err(kernel("mount", &dirs.upper))?;
        }
    }
    fsconfig_create(context.as_fd()).map_err(kernel("mount", &spec.lowers[0]))?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(kernel("mount", &spec.lowers[0]))
}

/// All layers in one option, colons and backslashes escaped.
fn joined(lowers: &[PathBuf]) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut text = Vec::new();
    for lower in lowers {
        if !text.is_empty() {
            text.push(b':');
        }
        for &byte in lower.as_os_str().as_bytes() {
            if matches!(byte, b':' | b'\\') {
                text.push(b'\\');
            }
            text.push(byte);
        }
    }
    std::ffi::OsString::from_vec(text).into()
}
