//! Volumes of the `local` driver: directories that outlive containers.
//!
//! ```text
//! <data root>/volumes/<name>/volume.json   what it is, written once
//!                           /_data         what containers see
//!                           /.copy         a copy-up that has not counted yet
//!                           /.commit       one that has, being moved to _data
//! <data root>/volumes/.new-…  .trash-…     being made, being removed
//! ```
//!
//! `run/docker` and `run/containers` are the callers. Nothing here knows a
//! container: who uses a volume is asked of a closure, and a [`Pin`] keeps a
//! volume while its container is still being written down. Everything is
//! blocking. What is inside a volume or an image is hostile: no path is
//! followed out of it, and no depth or width of directories takes more than a
//! bounded number of descriptors.
//!
//! Any step may be the last before a crash: [`Volumes::open`] finishes or
//! undoes what it finds.
#![forbid(unsafe_code)]

mod copy_up;
mod driver;
mod error;
mod filter;
mod metadata;
mod name;
mod removal;
mod size;
mod store;
mod tree;
mod volume;

#[cfg(test)]
mod tests;

pub use copy_up::CopyUp;
pub use driver::{DRIVER, DriverOptions};
pub use error::Error;
pub use filter::{LabelFilter, ListFilter, PruneFilter, PruneScope};
pub use metadata::ANONYMOUS_LABEL;
pub use name::{MAX_NAME_BYTES, VolumeName};
pub use size::Usage;
pub use store::{CreateRequest, Created, Force, Opened, Pruned, Volumes};
pub use volume::{Pin, Volume};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
