//! The one container life cycle.
//!
//! Everything that runs is a container here, tagged with its owner: Docker's,
//! a build step, a pod's, a job's. Owners translate their own requests into a
//! [`NewContainer`] and keep their own data in it, opaque to this crate.
//!
//! ```text
//! Created ── start ──> Running <── pause / unpause ──> Paused
//!    │                    │ end
//!    └──── remove ──── Exited ── start ──> Running
//! ```
//! Start reading at [`Containers`], then `start`, `run` (the task that follows
//! a supervisor) and `recover` (what a restarted daemon does). What must be
//! true after a crash at any instant: a container is on record from the moment
//! its creation was answered until its removal was; a running one has a
//! supervisor that holds its end until this crate has it on disk.
#![forbid(unsafe_code)]

mod answer;
mod attach;
mod containers;
mod control;
mod entry;
mod error;
mod etc_files;
mod exec;
mod expected;
mod first_process;
mod hold;
mod in_place;
mod log_files;
mod log_reader;
mod log_stream;
mod measure;
mod model;
mod mount_points;
mod record;
mod recover;
mod rejoin;
mod remove;
mod rootfs;
mod run;
mod shelf;
mod spec;
mod start;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use containers::{Containers, ContainersConfig, View};
pub use error::Error;
pub use expected::ExpectedClient;
pub use hold::Hold;
pub use in_place::in_place;
pub use log_stream::{LogEntry, LogQuery, LogSource, LogStream};
pub use measure::{ContainerStats, InterfaceStats};
pub use model::*;
pub use remove::Removal;
pub use rootfs::{Rootfs, RootfsAccess};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
