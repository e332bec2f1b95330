//! What can go wrong with the file of records.

use std::path::PathBuf;
use std::sync::Arc;

use carrack_oci::ErrorKind;

/// Failures of opening, reading and writing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file or its directory cannot be opened, made or synced.
    #[error("cannot open the state file {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Another process has it open.
    #[error("the state file {path} is in use by another process", path = path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Not a file of records, or one of another program.
    #[error("{path} is not a Carrack state file", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Its checksums are wrong, or it was cut.
    #[error("the state file {path} is damaged: restore it from a backup, or move it away to start empty", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Written by a later version.
    #[error("the state file {path} has format {found}, this version of Carrack reads up to {known}", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The committing thread cannot be started.
    #[error("cannot start the thread that writes the state file")]
    StartThread {
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A snapshot or a record cannot be read.
    #[error("cannot read table {table} of the state file")]
    Read {
        /// The table.
        table: &'static str,
        /// Why.
        #[source]
        source: Arc<redb::Error>,
    },
    /// A record is not what its table holds.
    #[error("record {key:?} of table {table} cannot be decoded")]
    Decode {
        /// The table.
        table: &'static str,
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: Option<Arc<serde_json::Error>>,
    },
    /// A record cannot be turned into JSON.
    #[error("record {key:?} of table {table} cannot be encoded")]
    Encode {
        /// The table.
        table: &'static str,
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: Arc<serde_json::Error>,
    },
    /// A record longer than [`crate::MAX_VALUE_BYTES`].
    #[error("record {key:?} of table {table} is too large: {bytes} bytes")]
    TooLarge {
        /// The table.
        table: &'static str,
        /// Its key.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// The changes could not be written; none of them happened.
    #[error("cannot commit to the state file")]
    Commit {
        /// Why.
        #[source]
        source: Arc<redb::Error>,
    },
    /// The file could not be opened again after a failed commit.
    #[error("the state file is closed after a failure")]
    Closed,
    /// The committing thread has ended.
    #[error("the state file is no longer written")]
    Stopped,
}

impl Error {
    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::InUse { .. } => ErrorKind::Conflict,
            Error::Commit { source } => match &**source {
                redb::Error::Io(io)
                    if matches!(
                        io.kind(),
                        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                    ) =>
                {
                    ErrorKind::Exhausted
                }
                _ => ErrorKind::Internal,
            },
            _ => ErrorKind::Internal,
        }
    }
}
