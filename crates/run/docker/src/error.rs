//! Why the engine did not do what was asked.

use carrack_containers::ContainerId;
use carrack_oci::ErrorKind;

use crate::filters::FilterError;
use crate::validate::Invalid;

/// A failure of the engine. `Display` is what a client reads; where clients
/// match it, it is Docker's sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is called so.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// More than one id begins so.
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousContainer(String),
    /// No exec of that id.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// An exec is started once.
    #[error("exec command {0} is already running")]
    ExecRunning(String),
    /// Likewise, after its end.
    #[error("exec command {0} has already run")]
    ExecRan(String),
    /// No network is called so.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// The name is taken.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        holder: String,
    },
    /// A name outside the grammar.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    InvalidName(String),
    /// The source of a bind was missing and could not be made.
    #[error("error while creating mount source path '{path}': mkdir {path}: {source}")]
    MakeSource {
        /// On the host.
        path: String,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// What is mounted later below a bind's source would not be passed on.
    #[error("path {path} is mounted on {mounted} but it is not a {lacks} mount")]
    Propagation {
        /// The source.
        path: String,
        /// Where its mount is.
        mounted: String,
        /// What that would have to be.
        lacks: &'static str,
    },
    /// A container that runs cannot be removed.
    #[error("container is {0}: stop the container before removing or force remove")]
    StillActive(&'static str),
    /// A frozen one cannot be removed either.
    #[error("container is paused and must be unpaused first")]
    StillPaused,
    /// A container was not removed; the name is as the client wrote it, here
    /// and below.
    #[error("cannot remove container {name:?}")]
    Remove {
        /// The container.
        name: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A container was not stopped.
    #[error("cannot stop container: {name}")]
    Stop {
        /// The container.
        name: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A container was not stopped or not started again.
    #[error("Cannot restart container {name}")]
    Restart {
        /// The container.
        name: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A container keeps its name.
    #[error("Error when allocating new name")]
    Rename(#[source] Box<Error>),
    /// A container keeps its limits.
    #[error("Cannot update container {id}")]
    Update {
        /// The container.
        id: ContainerId,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// What an update asks for and what is set already exclude each other.
    #[error("{0}")]
    UpdateConflict(&'static str),
    /// A container waits for its restart.
    #[error("Container {0} is restarting, wait until the container is running")]
    Restarting(ContainerId),
    /// A container is frozen.
    #[error("container {0} is paused, unpause the container before {1}")]
    Paused(ContainerId, &'static str),
    /// The request breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A network that is there by itself.
    #[error("{0} is a pre-defined network and cannot be removed")]
    PredefinedNetwork(String),
    /// A second prune at a time.
    #[error("a prune operation is already running")]
    PruneRunning,
    /// A path of a copy that is not there.
    #[error("Could not find the file {path} in container {container}")]
    NoSuchPath {
        /// The path inside.
        path: String,
        /// The container as it was named.
        container: String,
    },
    /// A copy in needs a directory.
    #[error("extraction point is not a directory")]
    NotADirectory,
    /// A copy into what must not be written.
    #[error("container rootfs is marked read-only")]
    ReadOnly,
    /// A copy would replace a directory by a file or the other way round.
    #[error("cannot overwrite directory with non-directory or the other way round: {0}")]
    Overwrite(String),
    /// Files could not be copied.
    #[error("copy files of container {container}: {reason}")]
    Archive {
        /// The container as it was named.
        container: String,
        /// Why.
        reason: String,
        /// Whose fault.
        kind: ErrorKind,
    },
    /// A container without a log.
    #[error("configured logging driver does not support reading")]
    NoLog,
    /// `ps` failed.
    #[error("ps: {0}")]
    Ps(String),
    /// Something that is not done yet: an entry of `docs/not-yet.md`.
    #[error("{}", crate::not_yet::sentence(.0))]
    NotYet(&'static str),
    /// It is as it should be already.
    #[error("container already {0}")]
    NotModified(&'static str),
    /// A container.
    #[error(transparent)]
    Containers(#[from] carrack_containers::Error),
    /// An image.
    #[error(transparent)]
    Images(#[from] carrack_images::Error),
    /// A volume.
    #[error(transparent)]
    Volumes(#[from] carrack_volumes::Error),
    /// The record of a container cannot be written as JSON.
    #[error("encode a container's record")]
    Record(#[source] serde_json::Error),
    /// A thread of ours failed.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchContainer(_)
            | Self::NoSuchExec(_)
            | Self::NoSuchNetwork(_)
            | Self::NoSuchPath { .. } => ErrorKind::NotFound,
            Self::NameTaken { .. }
            | Self::StillActive(_)
            | Self::ExecRunning(_)
            | Self::ExecRan(_)
            | Self::StillPaused
            | Self::UpdateConflict(_)
            | Self::Restarting(_)
            | Self::Paused(..)
            | Self::PruneRunning => ErrorKind::Conflict,
            Self::AmbiguousContainer(_)
            | Self::InvalidName(_)
            | Self::Filter(_)
            | Self::NotADirectory
            | Self::Overwrite(_)
            | Self::Ps(_) => ErrorKind::InvalidInput,
            Self::Invalid(invalid) => invalid.kind(),
            Self::Remove { source, .. }
            | Self::Stop { source, .. }
            | Self::Update { source, .. }
            | Self::Rename(source) => source.kind(),
            Self::PredefinedNetwork(_) | Self::ReadOnly => ErrorKind::Forbidden,
            Self::NotYet(_) | Self::NoLog => ErrorKind::Unsupported,
            Self::NotModified(_) => ErrorKind::NotModified,
            Self::Archive { kind, .. } => *kind,
            Self::Containers(error) => error.kind(),
            Self::Images(error) => error.kind(),
            Self::Volumes(error) => error.kind(),
            // Docker's clients get 500 for a restart, whatever it was.
            Self::Restart { .. }
            | Self::Record(_)
            | Self::MakeSource { .. }
            | Self::Propagation { .. }
            | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// A rule that is broken, in its words.
    pub(crate) fn rule(text: impl Into<String>) -> Self {
        Self::Invalid(Invalid::rule(text))
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<crate::mounts::MountError> for Error {
    fn from(error: crate::mounts::MountError) -> Self {
        Self::Invalid(error.into())
    }
}
