//! Why something could not be done to a container.

use std::io;

use carrack_oci::ErrorKind;
use carrack_runtime::plan::Failure;
use thiserror::Error;

use crate::ContainerId;

/// A failure of the container life cycle. The sentences are those that
/// Docker's clients look for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such container.
    #[error("No such container: {0}")]
    NotFound(String),
    /// There is no such exec.
    #[error("No such exec instance: {0}")]
    ExecNotFound(String),
    /// The id is taken.
    #[error("container {0} exists already")]
    Exists(ContainerId),
    /// It runs already.
    #[error("container {} is already running", .0.short())]
    AlreadyRunning(ContainerId),
    /// It is frozen, which is not stopped.
    #[error("cannot start a paused container, try unpause instead")]
    StartPaused,
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// It is frozen.
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(ContainerId),
    /// It is frozen already.
    #[error("Container {0} is already paused")]
    AlreadyPaused(ContainerId),
    /// It is not frozen.
    #[error("Container {0} is not paused")]
    NotPaused(ContainerId),
    /// It runs, so it cannot be removed.
    #[error(
        "cannot remove container {name:?}: container is running: stop the container before removing or force remove"
    )]
    RemoveRunning {
        /// As the owner calls it.
        name: String,
    },
    /// It is being removed or was.
    #[error("container {0} is marked for removal")]
    Removing(ContainerId),
    /// The exec was started before.
    #[error("exec {0} was started already")]
    ExecStarted(String),
    /// The exec does not run.
    #[error("exec {0} is not running")]
    ExecNotRunning(String),
    /// More than a bound allows.
    #[error("container {id} has {bound} {what} already; wait for some to end")]
    TooMany {
        /// Which container.
        id: ContainerId,
        /// Of what.
        what: &'static str,
        /// The bound.
        bound: usize,
    },
    /// The container could not be started.
    #[error(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: unable to start container process: {}",
        .0.sentence()
    )]
    Start(Failure),
    /// An exec could not be started.
    #[error(
        "OCI runtime exec failed: exec failed: unable to start container process: {}",
        .0.sentence()
    )]
    Exec(Failure),
    /// The supervisor ended while it was asked.
    #[error("the supervisor of container {0} ended unexpectedly")]
    SupervisorLost(ContainerId),
    /// Another container's namespace is wanted and it does not run.
    #[error("cannot join the {what} of container {id}: it is not running")]
    JoinNotRunning {
        /// Which namespace.
        what: &'static str,
        /// The other container.
        id: ContainerId,
    },
    /// The container has no terminal.
    #[error("container {0} has no terminal to resize")]
    NoTerminal(ContainerId),
    /// The spec cannot be planned.
    #[error("invalid container configuration")]
    Plan(#[from] carrack_runtime::planner::PlanError),
    /// A bind source or device cannot be opened.
    #[error("invalid mount")]
    Source(#[from] carrack_runtime::sources::SourceError),
    /// The filter cannot be made.
    #[error("invalid seccomp profile")]
    Seccomp(#[from] carrack_seccomp::Error),
    /// The sandbox.
    #[error("make a sandbox")]
    Sandbox(#[from] carrack_sandbox::SandboxError),
    /// A limit.
    #[error("set limits")]
    Cgroup(#[from] carrack_cgroup::Error),
    /// A port, in the words of Docker's daemon.
    #[error(
        "failed to set up container networking: driver failed programming external connectivity on endpoint {name} ({id})"
    )]
    Publish {
        /// The container's name.
        name: String,
        /// The endpoint.
        id: String,
        /// What happened.
        #[source]
        source: carrack_network::NetworkError,
    },
    /// The bridge.
    #[error("network")]
    Network(#[from] carrack_network::NetworkError),
    /// The writable layer or a layer below.
    #[error("mount the root file system of container {id}")]
    Rootfs {
        /// Which container.
        id: ContainerId,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the container.
    #[error("{action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Which file.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The durable record.
    #[error("record container")]
    State(#[from] carrack_state::Error),
    /// The connection to a supervisor.
    #[error("reach the supervisor of container {id}")]
    Link {
        /// Which container.
        id: ContainerId,
        /// What happened.
        #[source]
        source: carrack_supervision::FrameError,
    },
    /// A task of the daemon failed.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::ExecNotFound(_) => ErrorKind::NotFound,
            Self::AlreadyRunning(_) => ErrorKind::NotModified,
            Self::Exists(_)
            | Self::StartPaused
            | Self::NotRunning(_)
            | Self::Paused(_)
            | Self::AlreadyPaused(_)
            | Self::NotPaused(_)
            | Self::RemoveRunning { .. }
            | Self::Removing(_)
            | Self::ExecStarted(_)
            | Self::ExecNotRunning(_)
            | Self::NoTerminal(_)
            | Self::JoinNotRunning { .. } => ErrorKind::Conflict,
            Self::TooMany { .. } => ErrorKind::Exhausted,
            Self::Start(failure) | Self::Exec(failure) => match failure.exit_code {
                126 | 127 => ErrorKind::InvalidInput,
                _ => ErrorKind::Internal,
            },
            Self::Plan(error) => error.kind(),
            Self::Source(error) => error.kind(),
            Self::Seccomp(error) => error.kind(),
            Self::Sandbox(error) => error.kind(),
            Self::Cgroup(error) => error.kind(),
            Self::Publish { source, .. } | Self::Network(source) => source.kind(),
            Self::State(error) => error.kind(),
            Self::File { source, .. } => match source.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE | libc::ENOMEM) => {
                    ErrorKind::Exhausted
                }
                _ => ErrorKind::Internal,
            },
            Self::Link {
                source: carrack_supervision::FrameError::TooOld { .. },
                ..
            } => ErrorKind::Unsupported,
            Self::SupervisorLost(_)
            | Self::Rootfs { .. }
            | Self::Link { .. }
            | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// The status that a client's process ends with when this kept its
    /// container or exec from starting: 125, 126 or 127.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Start(failure) | Self::Exec(failure) => exit_code(failure),
            _ => 125,
        }
    }

    /// The sentence with its causes, for where only one text is kept.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }

    pub(crate) fn file(action: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.display().to_string(),
            source,
        }
    }
}

/// Docker goes by the kernel's answer wherever it came up: also a working
/// directory that is missing counts as "not found".
pub(crate) fn exit_code(failure: &Failure) -> i32 {
    match (failure.exit_code, failure.errno) {
        (code @ (126 | 127), _) => code,
        (_, libc::EACCES) => 126,
        (_, libc::ENOENT | libc::ENOTDIR) => 127,
        (code, _) => code,
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Internal(error.to_string())
    }
}
