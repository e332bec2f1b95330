//! Layers one upon the other: a container's root file system.
//!
//! `run/containers` mounts one for each start. The mount is *detached*: a
//! descriptor, in no mount namespace yet. It is moved into the container's
//! own and goes away with it; the host's mount table never shows it.
//!
//! Source: `Documentation/filesystems/overlayfs.rst`; fsopen(2), fsmount(2)
//! (Linux 5.2), `lowerdir+` (Linux 6.5).

use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use carrack_archive::tree;
use carrack_oci::ErrorKind;
use carrack_sys::mount::{ATTR_RDONLY, Depth, MountAttributes, set_attributes};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    open_tree, unmount,
};

/// Longest value that fsconfig(2) takes, in bytes.
const VALUE_LEN_MAX: usize = 255;
/// Longest options of mount(2): a page, with the NUL.
const OPTIONS_LEN_MAX: usize = 4095;
/// Longest message of the kernel that an error shows, in bytes.
const MESSAGE_LEN_MAX: usize = 1024;

/// As docker mounts: no index (it would refuse layers shared between
/// overlays), nothing that a layer's own attributes could redirect.
const OPTIONS: [(&str, &str); 3] = [
    ("index", "off"),
    ("metacopy", "off"),
    ("redirect_dir", "nofollow"),
];

/// What is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlaySpec {
    /// Directories of the layers, the top one first. One of a snapshot with
    /// `opaque_root` is the last that counts: end there.
    pub lowers: Vec<PathBuf>,
    /// Where changes go; without it the mount is read-only.
    pub writable: Option<Writable>,
    /// A directory on which kernels before 6.5 mount for a moment, one caller
    /// at a time; made by them where it is missing. Later kernels do not touch
    /// it.
    pub mountpoint: PathBuf,
}

/// Directories of a writable layer, on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writable {
    /// The changes.
    pub upper: PathBuf,
    /// overlayfs' own, empty at first; nobody but root may enter it.
    pub work: PathBuf,
    /// What a sync inside is worth.
    pub durability: Durability,
}

/// What a sync inside an overlay is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What it says.
    Durable,
    /// Nothing, and unmounting does not wait for the disk: for changes that
    /// go with the container. After a crash of the machine the layer is not
    /// to be trusted.
    Volatile,
}

/// An overlay could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// Neither a layer nor a writable directory.
    #[error("no layer to mount")]
    NoLayer,
    /// A layer's directory.
    #[error("cannot open layer {}", path.display())]
    OpenLayer {
        /// The directory.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A call of the mount interface.
    #[error("cannot mount the overlay: {action}{message}")]
    Mount {
        /// The call, and the option where it had one.
        action: &'static str,
        /// What the kernel wrote about it.
        message: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// More than this kernel takes.
    #[error("{layers} layers are more than this kernel can mount")]
    TooManyLayers {
        /// How many they are.
        layers: usize,
    },
}

impl MountError {
    /// Class of the failure, for façades.
    pub fn kind(&self) -> ErrorKind {
        match self {
            MountError::NoLayer => ErrorKind::InvalidInput,
            MountError::TooManyLayers { .. } => ErrorKind::TooLarge,
            MountError::OpenLayer { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            MountError::OpenLayer { .. } | MountError::Mount { .. } => ErrorKind::Internal,
        }
    }
}

/// Mounts layers one upon the other, detached.
///
/// One layer without a writable directory is a read-only bind of it, and a
/// writable directory without a layer a bind of that; both cost less than an
/// overlay and read the same (but for whiteouts, which hide nothing there).
///
/// A mark that an earlier volatile mount left in `work` is removed: whether
/// `upper` may still be used is for the caller to know.
pub fn mount(spec: &OverlaySpec) -> Result<OwnedFd, MountError> {
    match (&*spec.lowers, &spec.writable) {
        ([], None) => Err(MountError::NoLayer),
        ([], Some(writable)) => bind(&writable.upper, 0),
        ([layer], None) => bind(layer, ATTR_RDONLY),
        (lowers, writable) => {
            if let Some(writable) = writable {
                forget_volatile(&writable.work)?;
            }
            match mount_by_layer(lowers, writable.as_ref())? {
                Some(mount) => Ok(mount),
                None => mount_by_text(lowers, writable.as_ref(), &spec.mountpoint),
            }
        }
    }
}

/// The directory itself, as a mount of its own.
fn bind(path: &Path, attributes: u64) -> Result<OwnedFd, MountError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, path, flags).map_err(|error| MountError::OpenLayer {
        path: path.to_owned(),
        source: error.into(),
    })?;
    let attributes = MountAttributes {
        set: attributes,
        propagation: MountPropagationFlags::PRIVATE.bits().into(),
        ..MountAttributes::default()
    };
    set_attributes(mount.as_fd(), Depth::One, &attributes)
        .map_err(|error| failed("mount_setattr", error))?;
    Ok(mount)
}

/// overlayfs refuses a work directory with this mark in it.
fn forget_volatile(work: &Path) -> Result<(), MountError> {
    let told = |error| failed("remove the mark of a volatile mount", error);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let marks = match openat(CWD, work.join("work/incompat"), flags, Mode::empty()) {
        Ok(marks) => marks,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(told(error.into())),
    };
    tree::remove(marks, b"volatile").map_err(|error| told(io::Error::other(error)))
}

/// One `lowerdir+` a layer, so that any number of them works; `None` where
/// the kernel does not know that.
fn mount_by_layer(
    lowers: &[PathBuf],
    writable: Option<&Writable>,
) -> Result<Option<OwnedFd>, MountError> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|error| failed("fsopen overlay", error))?;
    let told = |action| {
        let overlay = &overlay;
        move |error| MountError::Mount {
            action,
            message: messages(overlay),
            source: io::Error::from(error),
        }
    };
    let mut pins = Vec::new();
    for (at, layer) in lowers.iter().enumerate() {
        let value = short(layer, &mut pins)?;
        match fsconfig_set_string(&overlay, "lowerdir+", value) {
            Ok(()) => {}
            Err(Errno::INVAL) if at == 0 => return Ok(None),
            Err(error) => return Err(told("lowerdir+")(error)),
        }
    }
    if let Some(writable) = writable {
        let upper = escape(&short(&writable.upper, &mut pins)?);
        fsconfig_set_string(&overlay, "upperdir", upper).map_err(told("upperdir"))?;
        let work = escape(&short(&writable.work, &mut pins)?);
        fsconfig_set_string(&overlay, "workdir", work).map_err(told("workdir"))?;
        if writable.durability == Durability::Volatile {
            fsconfig_set_flag(&overlay, "volatile").map_err(told("volatile"))?;
        }
    }
    for (key, value) in OPTIONS {
        fsconfig_set_string(&overlay, key, value).map_err(told(key))?;
    }
    fsconfig_create(&overlay).map_err(told("create"))?;
    let attributes = match writable {
        Some(_) => MountAttrFlags::empty(),
        None => MountAttrFlags::MOUNT_ATTR_RDONLY,
    };
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map(Some)
        .map_err(told("fsmount"))
}

/// All layers in one text, as kernels before 6.5 want it. fsconfig(2) takes
/// 255 bytes of that, so it has to be mount(2), onto a real place, from which
/// the mount is taken away again.
fn mount_by_text(
    lowers: &[PathBuf],
    writable: Option<&Writable>,
    mountpoint: &Path,
) -> Result<OwnedFd, MountError> {
    // By descriptors all of them, so that 4 KiB are enough for 200 layers and
    // no byte of a path has a meaning.
    let mut pins = Vec::new();
    let mut options = b"lowerdir=".to_vec();
    for (at, layer) in lowers.iter().enumerate() {
        if at > 0 {
            options.push(b':');
        }
        options.extend(pinned(layer, &mut pins)?);
    }
    if let Some(writable) = writable {
        for (key, path) in [
            (",upperdir=", &writable.upper),
            (",workdir=", &writable.work),
        ] {
            options.extend(key.bytes());
            options.extend(pinned(path, &mut pins)?);
        }
        if writable.durability == Durability::Volatile {
            options.extend(b",volatile");
        }
    }
    for (key, value) in OPTIONS {
        options.extend(format!(",{key}={value}").bytes());
    }
    if options.len() > OPTIONS_LEN_MAX {
        return Err(MountError::TooManyLayers {
            layers: lowers.len(),
        });
    }
    let options =
        CString::new(options).map_err(|error: NulError| failed("mount overlay", error))?;
    let flags = match writable {
        Some(_) => MountFlags::empty(),
        None => MountFlags::RDONLY,
    };
    // Of two mounts at once on one place each would take the upper one.
    static PLACE: Mutex<()> = Mutex::new(());
    let _one_at_a_time = PLACE.lock().unwrap_or_else(PoisonError::into_inner);
    match std::fs::create_dir(mountpoint) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(MountError::Mount {
                action: "make the place to mount on",
                message: String::new(),
                source: error,
            });
        }
        _ => {}
    }
    rustix::mount::mount("overlay", mountpoint, "overlay", flags, &*options)
        .map_err(|error| failed("mount overlay", error))?;
    let clone = bind(mountpoint, 0);
    let unmounted = unmount(mountpoint, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    let clone = clone?;
    unmounted.map_err(|error| failed("unmount", error))?;
    Ok(clone)
}

/// A path that fits one value; long ones by descriptor.
fn short(path: &Path, pins: &mut Vec<OwnedFd>) -> Result<Vec<u8>, MountError> {
    let bytes = path.as_os_str().as_bytes();
    // Twice: a path may have to be escaped.
    if bytes.len() * 2 <= VALUE_LEN_MAX || (bytes.len() <= VALUE_LEN_MAX && !bytes.contains(&b'\\'))
    {
        Ok(bytes.to_vec())
    } else {
        pinned(path, pins)
    }
}

/// A path by descriptor, valid as long as `pins`.
fn pinned(path: &Path, pins: &mut Vec<OwnedFd>) -> Result<Vec<u8>, MountError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(CWD, path, flags, Mode::empty()).map_err(|error| MountError::OpenLayer {
        path: path.to_owned(),
        source: error.into(),
    })?;
    let proc = format!("/proc/self/fd/{}", fd.as_raw_fd());
    pins.push(fd);
    Ok(proc.into_bytes())
}

/// `upperdir` and `workdir` are taken with backslashes as escapes;
/// `lowerdir+` is taken as it is.
fn escape(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        if *byte == b'\\' {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

fn failed(action: &'static str, source: impl Into<io::Error>) -> MountError {
    MountError::Mount {
        action,
        message: String::new(),
        source: source.into(),
    }
}

/// What the kernel wrote about a mount that failed, each line a read.
fn messages(overlay: &OwnedFd) -> String {
    let mut text = String::new();
    let mut line = [0; 256];
    while let Ok(len @ 1..) = rustix::io::read(overlay, &mut line) {
        text += ": ";
        // A letter for the severity and a blank come first.
        let message = String::from_utf8_lossy(&line[..len]);
        text += message.get(2..).unwrap_or_default().trim_end();
        if text.len() > MESSAGE_LEN_MAX {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests;
