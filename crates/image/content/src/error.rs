//! What can go wrong with blobs.

use std::io;
use std::path::PathBuf;

use carrack_oci::{Digest, ErrorKind};

/// Failures of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's directories cannot be made or cleaned.
    #[error("cannot open the blob store at {path}", path = path.display())]
    Open {
        /// What was touched.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No such blob.
    #[error("blob {digest} not found")]
    NotFound {
        /// Its name.
        digest: Digest,
    },
    /// A blob cannot be read.
    #[error("cannot read blob {digest}")]
    Read {
        /// Its name.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A blob that someone works with cannot be deleted.
    #[error("blob {digest} is in use")]
    Leased {
        /// Its name.
        digest: Digest,
    },
    /// A blob cannot be deleted.
    #[error("cannot delete blob {digest}")]
    Delete {
        /// Its name.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The blobs cannot be listed.
    #[error("cannot list blobs in {path}", path = path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The source of an ingest failed.
    #[error("cannot read the content to store")]
    ReadSource(#[source] io::Error),
    /// An ingest cannot be written or committed.
    #[error("cannot write a blob at {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The content is not what its name says.
    #[error("wrong digest: expected {expected}, got {actual}")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The content is shorter or longer than said.
    #[error("wrong size: expected {expected} bytes, got {}{actual}", if *.actual > *.expected { "at least " } else { "" })]
    WrongSize {
        /// What was said.
        expected: u64,
        /// What came; reading stops one piece past `expected`.
        actual: u64,
    },
    /// More than a bound.
    #[error("content is larger than {max_bytes} bytes")]
    TooLarge {
        /// The bound.
        max_bytes: u64,
    },
}

impl Error {
    /// The class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::NotFound { .. } => ErrorKind::NotFound,
            Error::Leased { .. } => ErrorKind::Conflict,
            Error::WrongDigest { .. } | Error::WrongSize { .. } | Error::ReadSource(_) => {
                ErrorKind::InvalidInput
            }
            Error::TooLarge { .. } => ErrorKind::TooLarge,
            Error::Write { source, .. } if is_full(source) => ErrorKind::Exhausted,
            _ => ErrorKind::Internal,
        }
    }

    pub(crate) fn of_blob(digest: &Digest, source: io::Error) -> Error {
        let digest = digest.clone();
        match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { digest },
            _ => Error::Read { digest, source },
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
