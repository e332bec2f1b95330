//! Mounts in the long form, `--mount`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::is_false;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// What kind; an unknown one is kept for the error's sentence.
    #[serde(rename = "Type")]
    pub kind: MountKind,
    /// Volume's name or path on the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Read-only.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    /// Of macOS; kept.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// Of binds alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    /// Of volumes alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    /// Of images alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,
    /// Of tmpfs alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
}

/// Kinds of mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A volume.
    Volume,
    /// A file system in memory.
    Tmpfs,
    /// An image's files.
    Image,
    /// Something else, as it was written.
    #[default]
    Absent,
    /// Something else, as it was written.
    Other(String),
}

impl MountKind {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
            Self::Absent => "",
            Self::Other(other) => other,
        }
    }
}

impl From<String> for MountKind {
    fn from(text: String) -> Self {
        match text.as_str() {
            "bind" => Self::Bind,
            "volume" => Self::Volume,
            "tmpfs" => Self::Tmpfs,
            "image" => Self::Image,
            "" => Self::Absent,
            _ => Self::Other(text),
        }
    }
}

impl From<MountKind> for String {
    fn from(kind: MountKind) -> Self {
        kind.as_str().to_owned()
    }
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct BindOptions {
    /// `[r]private`, `[r]shared`, `[r]slave`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// Not the mounts below it.
    #[serde(skip_serializing_if = "is_false")]
    pub non_recursive: bool,
    /// Make a missing source a directory.
    #[serde(skip_serializing_if = "is_false")]
    pub create_mountpoint: bool,
    /// Mounts below stay writable.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only_non_recursive: bool,
    /// Fail where the kernel cannot make all of them read-only.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only_force_recursive: bool,
}

/// Options of a volume mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeOptions {
    /// Do not fill an empty volume from the image.
    #[serde(skip_serializing_if = "is_false")]
    pub no_copy: bool,
    /// Labels of a volume made now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Path inside the volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    /// Driver of a volume made now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<VolumeDriverConfig>,
}

/// Driver of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeDriverConfig {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<BTreeMap<String, String>>,
}

/// Options of an image mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageOptions {
    /// Path inside the image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
}

/// Options of a tmpfs mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TmpfsOptions {
    /// Bytes; 0 is the kernel's half of memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: i64,
    /// Permission bits.
    #[serde(skip_serializing_if = "is_no_mode")]
    pub mode: u32,
    /// Further options, `[["noexec"], ["uid", "5"]]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<Vec<String>>>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_no_mode(value: &u32) -> bool {
    *value == 0
}
