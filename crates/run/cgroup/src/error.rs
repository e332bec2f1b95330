//! What can go wrong with a control group.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use carrack_oci::ErrorKind;
use rustix::io::Errno;

use crate::{Controller, explain};

/// A failed operation on control groups.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The list of mounts could not be read.
    #[error("cannot read {}", path.display())]
    ReadMounts {
        /// `/proc/self/mountinfo`.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// No hierarchy is mounted where they were looked for.
    #[error("no control group hierarchy is mounted under {}", root.display())]
    NotMounted {
        /// Usually `/sys/fs/cgroup`.
        root: PathBuf,
    },
    /// A name or path that cannot be a group's.
    #[error("invalid control group name {name:?}: {reason}")]
    Name {
        /// Its beginning.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A group or its directory could not be made.
    #[error("cannot make control group {}", path.display())]
    Create {
        /// The group.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A group could not be opened.
    #[error("cannot open control group {}", path.display())]
    Open {
        /// The group.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Processes sit in an inner group, so v2 gives its children no controllers.
    #[error(
        "control group {} has processes of its own, so no limits can be given to groups below it: move them into a child group",
        path.display()
    )]
    InnerProcesses {
        /// The group.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file's content is not what the kernel documents.
    #[error("unexpected content of {}: {content:?}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Its beginning.
        content: String,
    },
    /// A value that can be known to be wrong before the kernel sees it.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// The property, in the words of the runtime specification.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A limit that this machine's control groups do not know.
    #[error("{what} cannot be limited here: {reason}")]
    Unsupported {
        /// The property.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The controller is absent.
    #[error("this kernel has no {} controller, or it is not mounted", .0.name(crate::Version::V2))]
    NoController(Controller),
    /// The kernel refused a limit.
    #[error("cannot set {file} to {value:?}: {}", explain::refusal(file, source))]
    Refused {
        /// File of the group.
        file: String,
        /// What was written.
        value: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The memory in use is above the new limit and the caller asked to check.
    #[error("the memory limit of {limit} bytes is below the {usage} bytes in use")]
    LimitBelowUsage {
        /// What was asked, bytes.
        limit: u64,
        /// What is used, bytes.
        usage: u64,
    },
    /// The device program could not be loaded or attached.
    #[error("cannot put device rules into force on {}", path.display())]
    DeviceProgram {
        /// The group.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A process could not be moved in.
    #[error("cannot move process {pid} into {}", path.display())]
    Attach {
        /// The process.
        pid: u32,
        /// File that was written.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Pausing or resuming failed.
    #[error("cannot write the freezer of {}", path.display())]
    Freeze {
        /// The group.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A task in an uninterruptible wait kept the group from pausing.
    #[error("control group {} did not pause within {} ms", path.display(), bound.as_millis())]
    FreezeTimeout {
        /// The group.
        path: PathBuf,
        /// How long it was waited for.
        bound: Duration,
    },
    /// Killing failed.
    #[error("cannot kill the processes of {}", path.display())]
    Kill {
        /// The group.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// More processes than are ever listed.
    #[error("control group {} has more than {limit} processes", path.display())]
    TooManyProcesses {
        /// The group.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// Some directories stayed.
    #[error("cannot remove control group {name}: {}", explain::failures(failures))]
    Remove {
        /// The leaf.
        name: String,
        /// Every directory that stayed, and why.
        failures: Vec<(PathBuf, io::Error)>,
    },
}

impl Error {
    /// Class of the failure, for façades.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::Invalid { .. } => ErrorKind::InvalidInput,
            Self::Unsupported { .. } | Self::NoController(_) | Self::NotMounted { .. } => {
                ErrorKind::Unsupported
            }
            Self::InnerProcesses { .. } | Self::LimitBelowUsage { .. } => ErrorKind::Conflict,
            Self::FreezeTimeout { .. } | Self::Remove { .. } => ErrorKind::Unavailable,
            Self::TooManyProcesses { .. } => ErrorKind::Exhausted,
            Self::Refused { source, .. } => refusal_kind(source),
            Self::Create { source, .. } => match Errno::from_io_error(source) {
                Some(Errno::EXIST) => ErrorKind::Conflict,
                // Its parent was removed meanwhile.
                Some(Errno::NOENT) => ErrorKind::NotFound,
                Some(Errno::NOSPC | Errno::AGAIN | Errno::NOMEM) => ErrorKind::Exhausted,
                _ => ErrorKind::Internal,
            },
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Attach { source, .. } => match Errno::from_io_error(source) {
                Some(Errno::SRCH) => ErrorKind::NotFound,
                _ => ErrorKind::Internal,
            },
            Self::ReadMounts { .. }
            | Self::Open { .. }
            | Self::Read { .. }
            | Self::Parse { .. }
            | Self::DeviceProgram { .. }
            | Self::Freeze { .. }
            | Self::Kill { .. } => ErrorKind::Internal,
        }
    }
}

fn refusal_kind(source: &io::Error) -> ErrorKind {
    match Errno::from_io_error(source) {
        Some(Errno::NOENT | Errno::OPNOTSUPP) => ErrorKind::Unsupported,
        Some(Errno::BUSY) => ErrorKind::Conflict,
        Some(Errno::NOMEM) => ErrorKind::Exhausted,
        Some(
            Errno::INVAL
            | Errno::RANGE
            | Errno::NODEV
            | Errno::NOSPC
            | Errno::ACCESS
            | Errno::PERM
            | Errno::NXIO,
        ) => ErrorKind::InvalidInput,
        _ => ErrorKind::Internal,
    }
}
