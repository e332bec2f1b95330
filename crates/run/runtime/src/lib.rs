//! From an OCI runtime spec to a process.
//!
//! Three steps, each usable alone:
//! 1. [`planner`] turns a [`carrack_oci::runtime::Spec`] into a [`plan::Plan`]
//!    and a list of what must be opened on the host. It is pure.
//! 2. [`sources`] opens that list as descriptors, on the side that still sees
//!    the host (the daemon, or runc's command line).
//! 3. [`apply`] runs in the container's parked init: it mounts, pivots, drops
//!    and executes, working on descriptors and on paths below its own root.
//!
//! The supervisor links this crate, so it stays small: no JSON, no runtime, no
//! threads.
#![forbid(unsafe_code)]

pub mod apply;
pub mod capability;
mod device;
pub mod hooks;
mod limit;
pub mod plan;
pub mod planner;
pub mod sources;
mod sysctl;
