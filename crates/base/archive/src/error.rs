//! What can go wrong with an archive, and with a tree on its way in or out.

use std::fmt;
use std::io;

use carrack_oci::ErrorKind;
use rustix::io::Errno;

use crate::Compression;

/// How much of a hostile name an error shows, in bytes.
const SHOWN_LEN: usize = 256;

/// A stream is not what it says it is, or is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The source failed, or a compressed stream in it is damaged.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The destination failed.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// A format that is known and not taken.
    #[error("{0} archives are not supported yet; compress them with gzip or zstd")]
    Compression(Compression),
    /// The stream ends inside an entry.
    #[error("archive ends in the middle of an entry")]
    Truncated,
    /// A header whose check sum is wrong: no tar archive, or a damaged one.
    #[error("invalid tar header: wrong check sum at byte {offset}")]
    Checksum {
        /// Where the header begins in the uncompressed stream.
        offset: u64,
    },
    /// A field that cannot be read.
    #[error("invalid tar header: {field} at byte {offset}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Where its header begins in the uncompressed stream.
        offset: u64,
    },
    /// Two headers say different things, so that two programs would read two
    /// different archives.
    #[error("tar headers contradict each other: {what} at byte {offset}")]
    Contradiction {
        /// What is told twice.
        what: &'static str,
        /// Where the second one begins in the uncompressed stream.
        offset: u64,
    },
    /// A kind of entry that is not taken.
    #[error("unsupported kind of tar entry {kind:?} at {path}")]
    EntryKind {
        /// The type flag.
        kind: char,
        /// The entry's name, escaped.
        path: String,
    },
    /// A bound was passed.
    #[error("archive passes a limit: {what} (at most {limit})")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// An entry's data was shorter than its size.
    #[error("{path} changed while it was read")]
    ShortData {
        /// The entry's name, escaped.
        path: String,
    },
}

impl ArchiveError {
    /// Class of the failure, for façades.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ArchiveError::Read(source) => read_kind(source),
            ArchiveError::Write(source) => io_kind(source),
            ArchiveError::Compression(_) | ArchiveError::EntryKind { .. } => ErrorKind::Unsupported,
            ArchiveError::Limit { .. } => ErrorKind::TooLarge,
            ArchiveError::ShortData { .. } => ErrorKind::Conflict,
            ArchiveError::Truncated
            | ArchiveError::Checksum { .. }
            | ArchiveError::Field { .. }
            | ArchiveError::Contradiction { .. } => ErrorKind::InvalidInput,
        }
    }

    /// Takes what a source said through `io::Read`: an error of ours comes out
    /// as it went in.
    pub fn from_read(source: io::Error) -> ArchiveError {
        source.downcast().unwrap_or_else(ArchiveError::Read)
    }
}

/// A damaged stream is the archive's fault, all else the machine's.
fn read_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            ErrorKind::InvalidInput
        }
        _ => io_kind(error),
    }
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(
            Errno::NOSPC | Errno::DQUOT | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::FBIG,
        ) => ErrorKind::Exhausted,
        Some(Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NAMETOOLONG) => {
            ErrorKind::InvalidInput
        }
        Some(Errno::NOENT) => ErrorKind::NotFound,
        Some(Errno::ROFS) => ErrorKind::Forbidden,
        _ => match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ErrorKind::Cancelled,
            _ => ErrorKind::Internal,
        },
    }
}

/// What was being done to a path when it failed; reads as "cannot …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Resolving the directory that holds an entry.
    OpenParent,
    /// Making a directory.
    CreateDirectory,
    /// Making a regular file.
    CreateFile,
    /// Writing a regular file.
    WriteFile,
    /// Making a symbolic link.
    CreateSymlink,
    /// Making a hard link.
    CreateHardLink,
    /// Making a device node.
    CreateDevice,
    /// Making a named pipe.
    CreateFifo,
    /// Making overlayfs' form of a whiteout.
    CreateWhiteout,
    /// Taking away what an entry replaces.
    Replace,
    /// Setting user and group.
    SetOwner,
    /// Setting the permission bits.
    SetMode,
    /// Setting an extended attribute.
    SetXattr,
    /// Setting the time of modification.
    SetTimes,
    /// Keeping the directories' times on disk until the end.
    KeepTimes,
    /// Opening a directory or file.
    Open,
    /// Reading a directory.
    ReadDirectory,
    /// Reading a file.
    ReadFile,
    /// Reading a link's target.
    ReadLink,
    /// Reading extended attributes.
    ReadXattr,
    /// Asking for an inode's attributes.
    Stat,
    /// Removing a tree.
    Remove,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::OpenParent => "open the directory of",
            Action::CreateDirectory => "create directory",
            Action::CreateFile => "create file",
            Action::WriteFile => "write file",
            Action::CreateSymlink => "create symbolic link",
            Action::CreateHardLink => "create hard link",
            Action::CreateDevice => "create device",
            Action::CreateFifo => "create named pipe",
            Action::CreateWhiteout => "create whiteout",
            Action::Replace => "replace",
            Action::SetOwner => "set the owner of",
            Action::SetMode => "set the mode of",
            Action::SetXattr => "set an extended attribute of",
            Action::SetTimes => "set the times of",
            Action::KeepTimes => "keep the times of",
            Action::Open => "open",
            Action::ReadDirectory => "read directory",
            Action::ReadFile => "read file",
            Action::ReadLink => "read link",
            Action::ReadXattr => "read extended attributes of",
            Action::Stat => "stat",
            Action::Remove => "remove",
        })
    }
}

/// A tree could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The stream itself.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The file system said no.
    #[error("cannot {action} {path}")]
    Failed {
        /// What was tried.
        action: Action,
        /// Below the root, escaped.
        path: String,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// A name that leads out of the root.
    #[error("{path} leads out of the destination")]
    Breakout {
        /// As in the archive, escaped.
        path: String,
    },
    /// A name that no file can have.
    #[error("invalid name {path}")]
    Name {
        /// As in the archive, escaped.
        path: String,
    },
    /// A whiteout that hides nothing that has a name.
    #[error("invalid whiteout {path}")]
    Whiteout {
        /// As in the archive, escaped.
        path: String,
    },
    /// A hard link to what is not there, or is a directory.
    #[error("{path} is a hard link to {target}, which is no file of the archive")]
    LinkTarget {
        /// The link, escaped.
        path: String,
        /// What it names, escaped.
        target: String,
    },
    /// A directory where the archive has something else.
    #[error("cannot overwrite directory {path} with a non-directory")]
    OverwriteDirectory {
        /// Below the root, escaped.
        path: String,
    },
    /// Something else where the archive has a directory.
    #[error("cannot overwrite non-directory {path} with a directory")]
    OverwriteNonDirectory {
        /// Below the root, escaped.
        path: String,
    },
    /// Someone moved, or keeps filling, what was being walked.
    #[error("{path} changed while it was walked")]
    Changed {
        /// Below the root, escaped.
        path: String,
    },
    /// A layer cannot say this name: it would mean a whiteout.
    #[error("{path} cannot be part of a layer, names beginning with .wh. are whiteouts")]
    Unrepresentable {
        /// Below the root, escaped.
        path: String,
    },
    /// Told to stop.
    #[error("cancelled")]
    Cancelled,
}

impl TreeError {
    /// Class of the failure, for façades.
    pub fn kind(&self) -> ErrorKind {
        match self {
            TreeError::Archive(inner) => inner.kind(),
            TreeError::Failed { source, .. } => io_kind(source),
            TreeError::Breakout { .. }
            | TreeError::Name { .. }
            | TreeError::Whiteout { .. }
            | TreeError::LinkTarget { .. }
            | TreeError::OverwriteDirectory { .. }
            | TreeError::OverwriteNonDirectory { .. }
            | TreeError::Unrepresentable { .. } => ErrorKind::InvalidInput,
            TreeError::Changed { .. } => ErrorKind::Conflict,
            TreeError::Cancelled => ErrorKind::Cancelled,
        }
    }
}

/// A name for people: escaped, and cut where it is long.
pub(crate) fn shown(path: &[u8]) -> String {
    match path {
        [] => "/".to_owned(),
        _ if path.len() <= SHOWN_LEN => path.escape_ascii().to_string(),
        _ => format!("{}...", path[..SHOWN_LEN].escape_ascii()),
    }
}

/// Names the action and the path of a system call's error.
pub(crate) trait Context<T> {
    fn context(self, action: Action, path: &[u8]) -> Result<T, TreeError>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, action: Action, path: &[u8]) -> Result<T, TreeError> {
        self.map_err(|source| TreeError::Failed {
            action,
            path: shown(path),
            source: source.into(),
        })
    }
}
