//! What can go wrong with a snapshot.

use std::io;
use std::path::PathBuf;

use carrack_archive::{ArchiveError, TreeError};
use carrack_oci::{ChainId, DiffId, ErrorKind};

/// A snapshot could not be made, read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's own directories.
    #[error("cannot open the snapshots at {}", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// There is none of this name.
    #[error("no snapshot {chain}")]
    NotFound {
        /// Its name.
        chain: ChainId,
    },
    /// The layer is no good, or the disk is not.
    #[error("cannot unpack layer {diff_id}")]
    Unpack {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// The layer's content is not what its image says.
    #[error("layer {expected} has content {actual}")]
    DiffId {
        /// As the image says.
        expected: DiffId,
        /// As it was read.
        actual: DiffId,
    },
    /// Its directory could not be made, named or recorded.
    #[error("cannot store snapshot {chain}")]
    Store {
        /// Its name.
        chain: ChainId,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The layer could not be written as an archive.
    #[error("cannot pack snapshot {chain}")]
    Pack {
        /// Its name.
        chain: ChainId,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// It could not be taken away.
    #[error("cannot remove snapshot {chain}")]
    Remove {
        /// Its name.
        chain: ChainId,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The file system could not be synced.
    #[error("cannot sync the snapshots")]
    Sync {
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Class of the failure, for façades.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::DiffId { .. } => ErrorKind::InvalidInput,
            Error::Unpack { source, .. } | Error::Pack { source, .. } => source.kind(),
            Error::Open { source, .. }
            | Error::Store { source, .. }
            | Error::Remove { source, .. }
            | Error::Sync { source } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
                _ => ErrorKind::Internal,
            },
        }
    }

    pub(crate) fn unpack(diff_id: &DiffId, source: impl Into<TreeError>) -> Error {
        Error::Unpack {
            diff_id: diff_id.clone(),
            source: source.into(),
        }
    }

    pub(crate) fn read(diff_id: &DiffId, source: io::Error) -> Error {
        Error::unpack(diff_id, ArchiveError::from_read(source))
    }

    pub(crate) fn store(chain: &ChainId, source: impl Into<io::Error>) -> Error {
        Error::Store {
            chain: chain.clone(),
            source: source.into(),
        }
    }
}
