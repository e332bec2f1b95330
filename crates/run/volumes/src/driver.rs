//! Options of the `local` driver: what is mounted at `_data` before use.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::{Error, Result};

/// The one driver.
pub const DRIVER: &str = "local";
/// Mounts one over the other that are taken away from a volume: an earlier
/// version or an administrator may have left some.
const MAX_STACKED_MOUNTS: usize = 256;

/// What the options of a volume ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DriverOptions {
    /// No options: `_data` is the volume.
    #[default]
    Directory,
    /// `type=tmpfs`.
    Tmpfs {
        /// Flags of the mount.
        flags: MountFlags,
        /// The rest of `o`, for the file system.
        data: String,
    },
    /// `o=bind` or `o=rbind`: another directory of the host.
    Bind {
        /// Which.
        device: String,
        /// `MS_BIND`, and what else `o` says.
        flags: MountFlags,
    },
}

impl DriverOptions {
    /// Checks the options of a create request.
    ///
    /// # Errors
    /// [`Error::Option`] and [`Error::MissingOption`] as docker has them;
    /// [`Error::UnsupportedOption`] for other file systems and for sizes.
    pub fn parse(volume: &str, options: &BTreeMap<String, String>) -> Result<Self> {
        const KNOWN: [&str; 4] = ["type", "o", "device", "size"];
        if let Some(option) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(Error::Option {
                name: volume.to_owned(),
                option: option.clone(),
            });
        }
        for (option, needs) in [
            ("device", "type"),
            ("type", "device"),
            ("o", "device"),
            ("o", "type"),
        ] {
            if options.contains_key(option) && !options.contains_key(needs) {
                return Err(Error::MissingOption {
                    name: volume.to_owned(),
                    option: needs,
                });
            }
        }
        let unsupported = |what: String| {
            Err(Error::UnsupportedOption {
                name: volume.to_owned(),
                what,
            })
        };
        if options.contains_key("size") {
            return unsupported("quotas (size)".to_owned());
        }
        let get = |key: &str| options.get(key).map_or("", String::as_str);
        let (kind, device) = (get("type"), get("device"));
        if kind.is_empty() && device.is_empty() {
            return Ok(Self::Directory);
        }
        let (flags, data) = split_options(get("o"));
        if flags.contains(MountFlags::BIND) {
            if !device.starts_with('/') || device.contains('\0') {
                return Err(Error::Option {
                    name: volume.to_owned(),
                    option: format!("device={device}"),
                });
            }
            return Ok(Self::Bind {
                device: device.to_owned(),
                flags,
            });
        }
        if kind == "tmpfs" {
            return Ok(Self::Tmpfs { flags, data });
        }
        unsupported(format!("mounts of type {kind:?}"))
    }

    /// Mounts at `target` unless that was done before. One at a time for a
    /// target: the caller holds the volume's lock.
    pub(crate) fn mount(&self, target: &Path) -> Result<()> {
        if *self == Self::Directory || is_mount(target)? {
            return Ok(());
        }
        let mounted = match self {
            Self::Directory => Ok(()),
            Self::Tmpfs { flags, data } => {
                let data = CString::new(data.as_str()).unwrap_or_default();
                rustix::mount::mount("tmpfs", target, "tmpfs", *flags, Some(data.as_c_str()))
            }
            Self::Bind { device, flags } => bind(device, target, *flags),
        };
        mounted.map_err(Error::io("mount the volume at", target))
    }

    /// Unmounts what [`Self::mount`] mounted, however often: once this has
    /// returned, what is at `target` is the volume's own directory.
    pub(crate) fn unmount(&self, target: &Path) -> Result<()> {
        if *self == Self::Directory {
            return Ok(());
        }
        for _ in 0..MAX_STACKED_MOUNTS {
            if !is_mount(target)? {
                return Ok(());
            }
            rustix::mount::unmount(target, UnmountFlags::DETACH)
                .map_err(Error::io("unmount the volume at", target))?;
        }
        Err(Error::Mounted {
            path: target.to_owned(),
        })
    }
}

fn bind(device: &str, target: &Path, flags: MountFlags) -> rustix::io::Result<()> {
    if flags.contains(MountFlags::REC) {
        rustix::mount::mount_bind_recursive(device, target)?;
    } else {
        rustix::mount::mount_bind(device, target)?;
    }
    let rest = flags.difference(MountFlags::BIND | MountFlags::REC);
    if rest.is_empty() {
        return Ok(());
    }
    // The kernel takes other flags of a bind mount in a second step only. A
    // mount without them, such as one that may be written to, must not stay.
    rustix::mount::mount_remount(target, rest | MountFlags::BIND, "").inspect_err(|_| {
        let _flags_failed_already = rustix::mount::unmount(target, UnmountFlags::DETACH);
    })
}

fn is_mount(target: &Path) -> Result<bool> {
    let status = rustix::fs::statx(
        rustix::fs::CWD,
        target,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::empty(),
    )
    .map_err(Error::io("look at", target))?;
    Ok(status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The flags among fstab-style options, and the others.
fn split_options(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "bind" => flags |= MountFlags::BIND,
            "rbind" => flags |= MountFlags::BIND | MountFlags::REC,
            "ro" => flags |= MountFlags::RDONLY,
            "rw" | "defaults" => {}
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}
