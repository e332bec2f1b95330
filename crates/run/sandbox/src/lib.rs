//! Sandboxes: everything a container needs around it, made ahead.
//!
//! A sandbox is a supervisor with an init parked in new namespaces, in its own
//! cgroup leaf, with a veth on the bridge. Making one costs a few
//! milliseconds and global locks of the kernel, so a pool of them stands
//! ready, and they are made and destroyed in batches while nobody waits
//! (ADR 1). What the pool cannot serve (the host's network, another
//! container's namespaces, a user namespace) is made on demand by the same
//! code; a pool of size 0 works too.
//!
//! `run/containers` is the caller; later pods and build steps are, through it.
//! Nothing here knows images, mounts or streams.
#![forbid(unsafe_code)]

mod adoption;
mod burial;
mod error;
mod graveyard;
mod link;
mod make;
mod pool;
mod request;
#[cfg(test)]
mod tests;

pub use adoption::Adopted;
pub use error::SandboxError;
pub use link::{Link, LinkEvent, Sender, watch};
pub use make::Sandbox;
pub use pool::{SandboxConfig, Sandboxes};
pub use request::{IdMaps, NamespaceSource, NetworkSource, SandboxId, SandboxRequest};
