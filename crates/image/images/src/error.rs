//! What can go wrong with images. Where clients match docker's sentence,
//! `Display` is that sentence.

use std::io;
use std::path::PathBuf;

use carrack_archive::ArchiveError;
use carrack_oci::{ConfigError, DiffId, ErrorKind, ManifestError, PlatformError, ReferenceError};

use crate::image::ImageId;

/// Failures of the image store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was given is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// No such image; the name is normalised as docker does.
    #[error("No such image: {name}")]
    NotFound {
        /// As it is shown to people.
        name: String,
    },
    /// Several IDs begin like this.
    #[error("multiple images found with provided prefix: {prefix}")]
    Ambiguous {
        /// What was given.
        prefix: String,
    },
    /// The image is there, for another machine.
    #[error(
        "image with reference {name} was found but does not provide the specified platform ({wanted})"
    )]
    OtherPlatform {
        /// What was given.
        name: String,
        /// What was asked for.
        wanted: String,
    },
    /// No platform.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A target for a tag that has a digest.
    #[error("refusing to create a tag with a digest reference")]
    TagWithDigest,
    /// Removing the last name of an image that a container uses.
    #[error(
        "conflict: unable to remove repository reference \"{name}\" (must force) - container {container} is using its referenced image {image}"
    )]
    ReferenceInUse {
        /// What was given.
        name: String,
        /// The container, short.
        container: String,
        /// The image, short.
        image: String,
    },
    /// Deleting an image that something needs.
    #[error("conflict: unable to delete {image} ({}) - {reason}", force.words())]
    DeleteConflict {
        /// The image, short.
        image: String,
        /// Whether force helps.
        force: Force,
        /// What needs it.
        reason: String,
    },
    /// A second prune at a time.
    #[error("a prune operation is already running")]
    PruneRunning,
    /// A filter that is not known, or of a wrong value.
    #[error("invalid filter '{filter}'")]
    Filter {
        /// `name` or `name=[value]`.
        filter: String,
    },
    /// A pattern of a reference filter.
    #[error("syntax error in pattern")]
    Pattern,
    /// A time that cannot be understood.
    #[error("invalid value for 'until' filter: {value:?} is neither a time nor a duration")]
    Until {
        /// What was given.
        value: String,
    },
    /// The archive cannot be read.
    #[error("cannot read the image archive")]
    ReadArchive(#[source] ArchiveError),
    /// The archive or directory cannot be written.
    #[error("cannot write the image archive")]
    WriteArchive(#[source] ArchiveError),
    /// A directory of images cannot be read or written.
    #[error("cannot access {path}", path = path.display())]
    Directory {
        /// What was touched.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Neither a docker archive nor an OCI layout.
    #[error("not an image archive: it has neither manifest.json nor index.json")]
    NotAnImageArchive,
    /// A name in the archive that leaves it, or more names than a bound.
    #[error("invalid image archive: {reason}: {name:?}")]
    ArchiveName {
        /// What is wrong.
        reason: &'static str,
        /// The name.
        name: String,
    },
    /// The archive refers to a file that it does not have.
    #[error("invalid image archive: {name:?} is missing")]
    ArchiveMissing {
        /// The file.
        name: String,
    },
    /// A file of the archive that cannot be understood.
    #[error("invalid image archive: {name:?} cannot be parsed")]
    ArchiveJson {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest that cannot be understood.
    #[error("invalid manifest {name}")]
    Manifest {
        /// Its file or digest.
        name: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// No image of the archive is for the wanted machine.
    #[error("the archive has no image for {platform}")]
    NoImageForPlatform {
        /// What was wanted.
        platform: String,
    },
    /// An image config that cannot be understood.
    #[error("invalid image config {name}")]
    Config {
        /// Its file or digest.
        name: String,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// An image for another operating system.
    #[error("cannot load {os} image on linux")]
    OtherOs {
        /// Its operating system.
        os: String,
    },
    /// Config and manifest do not agree.
    #[error("invalid manifest, layers length mismatch: expected {expected}, got {actual}")]
    LayerCount {
        /// In the config.
        expected: usize,
        /// In the manifest.
        actual: usize,
    },
    /// A name in the archive without a tag.
    #[error("invalid tag {name:?}")]
    ArchiveTag {
        /// What is there.
        name: String,
    },
    /// A parent of whose history the image's own is not a continuation.
    #[error("image {parent} is not a valid parent for {image}")]
    Parent {
        /// The image.
        image: ImageId,
        /// What its archive says it was built from.
        parent: ImageId,
    },
    /// A layer whose blob cannot be decompressed.
    #[error("cannot decompress layer {diff_id}")]
    Decompress {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// A layer that cannot be unpacked, or a snapshot that cannot be removed.
    #[error(transparent)]
    Snapshots(Box<carrack_snapshots::Error>),
    /// A change of an import that is not understood.
    #[error("{0}")]
    Change(String),
    /// More steps with layers in the history than layers.
    #[error("too many non-empty layers in History section of image {id}")]
    History {
        /// The image.
        id: ImageId,
    },
    /// A config cannot be written as JSON.
    #[error("cannot encode an image document")]
    Encode(#[source] serde_json::Error),
    /// The work was given up on, since another layer failed.
    #[error("cancelled")]
    Cancelled,
    /// A blob.
    #[error(transparent)]
    Content(#[from] carrack_content::Error),
    /// The records.
    #[error(transparent)]
    State(#[from] carrack_state::Error),
}

/// Whether a refused deletion can be forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// `docker rmi -f` does it.
    Helps,
    /// Nothing does.
    Refused,
}

impl Force {
    fn words(self) -> &'static str {
        match self {
            Force::Helps => "must be forced",
            Force::Refused => "cannot be forced",
        }
    }
}

impl Error {
    /// The class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotFound { .. } | Error::OtherPlatform { .. } => ErrorKind::NotFound,
            Error::ReferenceInUse { .. } | Error::DeleteConflict { .. } | Error::PruneRunning => {
                ErrorKind::Conflict
            }
            Error::ReadArchive(source)
            | Error::WriteArchive(source)
            | Error::Decompress { source, .. } => source.kind(),
            Error::Snapshots(source) => source.kind(),
            Error::Content(source) => source.kind(),
            Error::State(source) => source.kind(),
            Error::Cancelled => ErrorKind::Cancelled,
            Error::Directory { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
                _ => ErrorKind::Internal,
            },
            Error::Encode(_) => ErrorKind::Internal,
            Error::Config {
                source: ConfigError::TooLarge { .. },
                ..
            }
            | Error::Manifest {
                source: ManifestError::TooLarge { .. },
                ..
            } => ErrorKind::TooLarge,
            _ => ErrorKind::InvalidInput,
        }
    }
}
