//! Failures of volume operations. The sentences that clients match are
//! docker's.

use std::io;
use std::path::PathBuf;

use carrack_oci::ErrorKind;

use crate::VolumeName;
use crate::name::NameFault;

/// A volume operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name outside of the grammar.
    #[error("create {name}: {name:?} {reason}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong.
        reason: NameFault,
    },
    /// No volume of that name.
    #[error("get {name}: no such volume")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// It is used.
    #[error("remove {name}: volume is in use{}", list(.users))]
    InUse {
        /// Which.
        name: VolumeName,
        /// By whom, as the caller's closure says.
        users: Vec<String>,
    },
    /// A driver other than `local`.
    #[error("create {name}: error looking up volume plugin {driver}: plugin {driver:?} not found")]
    Driver {
        /// Name of the volume.
        name: String,
        /// What was asked for.
        driver: String,
    },
    /// An option that the driver does not have.
    #[error("create {name}: invalid option: {option:?}")]
    Option {
        /// Name of the volume.
        name: String,
        /// What was given.
        option: String,
    },
    /// An option without the one that it needs.
    #[error("create {name}: missing required option: {option:?}")]
    MissingOption {
        /// Name of the volume.
        name: String,
        /// What lacks.
        option: &'static str,
    },
    /// An option that Carrack does not serve, or not yet.
    #[error("create {name}: {what} are not supported for volumes: use type=tmpfs, or o=bind")]
    UnsupportedOption {
        /// Name of the volume.
        name: String,
        /// What was asked for.
        what: String,
    },
    /// Labels or options beyond the bound.
    #[error("create {name}: labels and options of {size} bytes are more than {limit}")]
    MetadataTooLarge {
        /// Name of the volume.
        name: VolumeName,
        /// Bytes given.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A path within a volume that leaves it, or is none.
    #[error("invalid volume subpath {subpath:?}: must be a relative path within the volume")]
    Subpath {
        /// What was given.
        subpath: PathBuf,
    },
    /// A path within a volume that is not there.
    #[error("volume subpath {subpath:?} does not exist in volume {name}")]
    NoSubpath {
        /// Which volume.
        name: VolumeName,
        /// What was asked for.
        subpath: PathBuf,
    },
    /// A step on the file system failed.
    #[error("cannot {action} {path:?}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A mount where there are only files to be.
    #[error("cannot remove {path:?}: something is mounted there or below it, unmount it first")]
    Mounted {
        /// Where.
        path: PathBuf,
    },
    /// Directories nested deeper than a copy follows.
    #[error("cannot copy {path:?}: nested deeper than {limit} directories")]
    TooDeep {
        /// Where it stopped.
        path: PathBuf,
        /// Levels allowed.
        limit: usize,
    },
    /// A `volume.json` that does not say what it should.
    #[error("cannot read {path:?}")]
    Metadata {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A `volume.json` of a later version.
    #[error("{path:?} has version {version}, this program reads up to {known}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        version: u32,
        /// What is known.
        known: u32,
    },
}

impl Error {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. }
            | Self::Option { .. }
            | Self::MissingOption { .. }
            | Self::Subpath { .. }
            | Self::TooDeep { .. } => ErrorKind::InvalidInput,
            Self::NotFound { .. } | Self::Driver { .. } | Self::NoSubpath { .. } => {
                ErrorKind::NotFound
            }
            Self::InUse { .. } | Self::Mounted { .. } => ErrorKind::Conflict,
            Self::UnsupportedOption { .. } => ErrorKind::Unsupported,
            Self::MetadataTooLarge { .. } => ErrorKind::TooLarge,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
                _ => ErrorKind::Internal,
            },
            Self::Metadata { .. } | Self::Version { .. } => ErrorKind::Internal,
        }
    }

    /// For `map_err`: a failed step on a path.
    pub(crate) fn io<E: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source: source.into(),
        }
    }
}

/// ` - [a, b]`, as docker lists who uses a volume.
fn list(users: &[String]) -> String {
    if users.is_empty() {
        return String::new();
    }
    format!(" - [{}]", users.join(", "))
}
