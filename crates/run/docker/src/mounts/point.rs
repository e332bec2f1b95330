//! One mount of a container, as it is kept in its record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A mount of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountPoint {
    /// Where it comes from.
    pub kind: PointKind,
    /// Absolute path inside, cleaned.
    pub destination: String,
    /// Path on the host; of a volume once that is known.
    pub source: String,
    /// Name of the volume; empty until an anonymous one was made.
    pub volume: String,
    /// The volume was made for this container, without a name.
    pub anonymous: bool,
    /// Driver of a volume that is made now.
    pub driver: String,
    /// Driver's options of a volume that is made now.
    pub driver_options: BTreeMap<String, String>,
    /// Labels of a volume that is made now.
    pub labels: BTreeMap<String, String>,
    /// Fill an empty volume from the image.
    pub copy_up: bool,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Mounts below it stay writable.
    pub read_only_non_recursive: bool,
    /// Propagation of a bind mount.
    pub propagation: String,
    /// Leave out the mounts below the source.
    pub non_recursive: bool,
    /// Make a missing source a directory.
    pub create_source: bool,
    /// Options of a tmpfs, merged with the defaults.
    pub tmpfs_options: Vec<String>,
    /// The options of `-v`, as they were written: for inspect.
    pub mode: String,
    /// It came from `HostConfig.Tmpfs`: inspect does not list it.
    pub hidden: bool,
}

/// Where a mount comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PointKind {
    /// A path of the host.
    #[default]
    Bind,
    /// A volume.
    Volume,
    /// A file system in memory.
    Tmpfs,
}

impl PointKind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
        }
    }
}
