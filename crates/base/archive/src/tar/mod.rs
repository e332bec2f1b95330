//! The tar format: reading what others wrote, writing what others read.
//!
//! Source: POSIX.1-2017 `pax` ("ustar Interchange Format", "pax Interchange
//! Format") and GNU tar's manual ("Tar Internals"). A reader of our own,
//! because the whole danger of this format lies in its ambiguities: where two
//! readers would see two different archives, [`TarReader`] sees an error
//! (CVE-2025-62518, RUSTSEC-2026-0068).
//!
//! Values and streams alone; what an entry means for a directory is
//! [`crate::unpack`]'s.

mod entry;
mod header;
mod pax;
mod reader;
mod sparse;
#[cfg(test)]
mod tests;
mod writer;

pub use entry::{Device, Entry, Extent, Kind, Timestamp, Xattr};
pub use reader::{Data, TarReader};
pub use writer::{TarWriter, TimePrecision};

/// Unit in which headers and data are stored, in bytes.
pub const BLOCK_LEN: usize = 512;
