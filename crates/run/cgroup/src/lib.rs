//! Control groups v1 and v2 behind one model.
//!
//! [`Hierarchies`] says what the machine has mounted, a [`Parent`] is the
//! engine's own group in each hierarchy, and a [`Leaf`] is one container's:
//! held as directory descriptors, so that no operation walks a path again.
//! The sandbox pool makes leaves ahead, the runtime applies
//! `linux.resources`, the container layer reads statistics, pauses, kills and
//! removes.
//!
//! What is written is decided purely, in [`plan`], and carried out in one
//! place, [`Leaf::apply`]. Nothing here forks, moves another process on a hot
//! path, or knows a wire error. Waits are bounded by the constants of each
//! module and block the calling thread.
#![forbid(unsafe_code)]

mod apply;
mod attach;
mod capabilities;
mod controller;
mod detect;
pub mod device;
mod error;
mod explain;
mod file;
mod freeze;
mod kill;
mod leaf;
mod limits;
mod name;
mod parent;
pub mod plan;
mod remove;
pub mod stats;
mod view;

pub use attach::V2Membership;
pub use capabilities::Capabilities;
pub use controller::{Controller, ControllerSet, Layout, Version};
pub use detect::Hierarchies;
pub use error::Error;
pub use freeze::FREEZE_BOUND;
pub use kill::PROCESSES_LIMIT;
pub use leaf::Leaf;
pub use limits::Limits;
pub use name::{GroupPath, LeafName};
pub use parent::Parent;
pub use plan::{Current, Ignored, Plan, Target, Write, plan};
pub use remove::REMOVE_BOUND;
pub use stats::{Stats, oom_kills};
pub use view::{LeafLocation, Shown};

#[cfg(test)]
mod tests;
