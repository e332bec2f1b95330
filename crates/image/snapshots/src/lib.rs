//! Unpacked layers, one directory each, named by chainID; and their overlay.
//!
//! `image/images` unpacks layers into [`Snapshots`], `run/containers` mounts
//! them with [`overlay::mount`]. A snapshot is a cache of a blob: whatever is
//! missing here is unpacked again, so nothing is synced while somebody waits.
//!
//! ```text
//! <root>/<chain hex>/fs              the layer's own changes, overlayfs' form
//! <root>/<chain hex>/snapshot.json   what it is, and in which boot it was written
//! <root>/.new/<number>               being unpacked
//! <root>/.trash/<number>             being deleted, in the background
//! ```
//!
//! # Power cuts
//! A snapshot gets its name only when its diffID was verified, so one that is
//! there was whole; but its pages may not have reached the disk. Its record
//! says in which boot it was written. Within that boot it is trusted; after
//! another one only if [`Snapshots::mark_synced`] had marked it, which syncs
//! the file system first and writes the mark second.
//!
//! This crate must not know images, names or references: what may be removed
//! is its caller's knowledge.
#![forbid(unsafe_code)]

mod claims;
mod error;
pub mod overlay;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod trash;

pub use carrack_archive::Limits;
pub use carrack_archive::tree::{TreeUsage, usage as tree_usage};
pub use error::Error;
pub use store::{SnapshotInfo, Snapshots, Usage};
