//! Containers and programs made for somebody who does not stay: runc's command
//! line ends, and its caller is the parent of what it leaves.
//!
//! The supervisor's program serves one request of these and ends. Frames are
//! those of the daemon's protocol, but both sides are always of one build, so
//! nothing here is versioned.

use carrack_runtime::plan::{Failure, Plan, ProcessPlan};
use serde::{Deserialize, Serialize};

use crate::Prepare;

/// From the command line to the maker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Make {
    /// Make the namespaces and park an init in them. Descriptors: see
    /// [`Prepare`].
    Prepare(Prepare),
    /// Make the container up to its program. Descriptors: a listening socket
    /// for [`Start`], then those of the plan.
    Create(Box<Plan>),
    /// Run a program in a container. Descriptors: a pidfd of its init, then
    /// files of its cgroup leaf, then the v2 directory if there is one.
    Exec(Box<Exec>),
}

/// A program added to a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Namespaces to join, `CLONE_NEW…` bits.
    pub join: u64,
    /// Files that a process writes `0` to, to attach itself to the leaf.
    pub attach_files: u8,
    /// Whether a cgroup v2 directory to be born in comes last.
    pub into_cgroup: bool,
    /// Whether ids are those of a user namespace that is joined.
    pub in_user_namespace: bool,
    /// The OOM killer's preference.
    pub oom_score: Option<i32>,
    /// The program.
    pub process: ProcessPlan,
}

/// From the maker to the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Made {
    /// An init is parked, or a program is about to run.
    Prepared {
        /// Its id as the caller counts.
        pid: u32,
    },
    /// The terminal's master. Descriptor: it.
    Console,
    /// The container waits for its start, or the added program runs.
    Done,
    /// It failed, and nothing is left of it.
    Failed(Failure),
}

/// What a container that waits for its start is told, over a connection to its
/// listening socket. The connection ends when the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Run the program.
    Now,
}

/// What it answers when that failed, before it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Started {
    /// It did not.
    Failed(Failure),
}
