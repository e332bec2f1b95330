//! Why a command failed, in the sentences that runc's callers read.

use std::io;
use std::path::{Path, PathBuf};

use carrack_runtime::plan::Failure;
use thiserror::Error;

use crate::not_yet::NotYet;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The arguments make no sense; what to do instead.
    #[error("{0}")]
    Usage(String),
    /// There is no such container.
    #[error("container {0:?} does not exist")]
    NotFound(String),
    /// The id is used.
    #[error("container with given ID already exists")]
    Exists,
    /// The id is no name.
    #[error("invalid container ID format")]
    InvalidId,
    /// It is in another state than the command needs.
    #[error("{0}")]
    State(String),
    /// A file could not be read, written or understood.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The kernel's answer, or the reader's.
        source: io::Error,
    },
    /// The configuration cannot be carried out.
    #[error(transparent)]
    Plan(#[from] carrack_runtime::planner::PlanError),
    /// Something of the host is missing.
    #[error("{}", chain(.0))]
    Source(#[from] carrack_runtime::sources::SourceError),
    /// A hook failed.
    #[error("error running {kind} hook: {}", chain(.source))]
    Hook {
        /// Which list.
        kind: &'static str,
        /// What happened.
        source: carrack_runtime::hooks::HookError,
    },
    /// The filter cannot be made.
    #[error("unable to init seccomp: {}", chain(.0))]
    Seccomp(#[from] carrack_seccomp::Error),
    /// A control group refused.
    #[error("{}", chain(.0))]
    Cgroup(#[from] carrack_cgroup::Error),
    /// The container or the program could not be made.
    #[error("{verb} failed: unable to start container process: {}", .failure.sentence())]
    Start {
        /// `runc create`, `exec`, ….
        verb: &'static str,
        /// Why.
        failure: Failure,
    },
    /// The maker ended without a word.
    #[error("the process that makes containers ended early{0}")]
    Maker(String),
    /// A feature that is left out.
    #[error("{}", .0.sentence)]
    NotYet(NotYet),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    /// 126 and 127 for a program that cannot be executed or is not there.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Start { failure, .. } => match failure.exit_code {
                code @ (126 | 127) => code as u8,
                _ => 1,
            },
            _ => 1,
        }
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
