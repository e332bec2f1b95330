//! Why a sandbox could not be made or reached.

use std::io;

use carrack_oci::ErrorKind;
use carrack_runtime::plan::Failure;
use thiserror::Error;

use crate::SandboxId;

/// A failure of sandboxes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The supervisor's program or its sockets could not be set up.
    #[error("set up sandboxes in {path}")]
    SetUp {
        /// Under the exec root.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A supervisor could not be started.
    #[error("start supervisor of sandbox {id}")]
    Spawn {
        /// Which.
        id: SandboxId,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The connection to a supervisor failed.
    #[error("reach supervisor of sandbox {id}")]
    Link {
        /// Which.
        id: SandboxId,
        /// What happened.
        #[source]
        source: carrack_supervision::FrameError,
    },
    /// A supervisor ended or hung while its namespaces were made.
    #[error("supervisor of sandbox {id} gave no answer")]
    NoAnswer {
        /// Which.
        id: SandboxId,
    },
    /// The namespaces could not be made.
    #[error("make namespaces of sandbox {id}: {}", failure.sentence())]
    Namespaces {
        /// Which.
        id: SandboxId,
        /// What was tried.
        failure: Failure,
    },
    /// The cgroup leaf.
    #[error("make control group of sandbox {id}")]
    Cgroup {
        /// Which.
        id: SandboxId,
        /// What happened.
        #[source]
        source: carrack_cgroup::Error,
    },
    /// The veth or the addresses.
    #[error("connect sandbox {id} to the network")]
    Network {
        /// Which.
        id: SandboxId,
        /// What happened.
        #[source]
        source: carrack_network::NetworkError,
    },
    /// The daemon runs without a bridge.
    #[error("the daemon has no bridge network")]
    NoBridge,
}

impl SandboxError {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cgroup { source, .. } => source.kind(),
            Self::Network { source, .. } => source.kind(),
            Self::Spawn { source, .. } => match source.raw_os_error() {
                Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => {
                    ErrorKind::Exhausted
                }
                _ => ErrorKind::Internal,
            },
            Self::NoBridge => ErrorKind::InvalidInput,
            _ => ErrorKind::Internal,
        }
    }
}
