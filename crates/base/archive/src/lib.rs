//! tar, gzip and zstd in and out, written against hostile archives.
//!
//! - [`Decoder`] and [`Encoder`]: gzip and zstd streams, told apart by their
//!   first bytes.
//! - [`tar`]: a reader that refuses archives two programs could read in two
//!   ways, and a writer that gives the same bytes for the same tree.
//! - [`unpack`]: a tar stream into a directory descriptor, never outside.
//! - [`pack`]: a directory descriptor into a tar stream.
//! - [`tree`]: removing and measuring trees that others may have built.
//!
//! `image/snapshots` and `image/images` call it for layers and image
//! archives, the façades for `docker cp`. Everything streams in bounded
//! memory and blocks; nothing here knows an image, a container or a wire.
#![forbid(unsafe_code)]

mod compression;
mod error;
mod limits;
pub mod pack;
pub mod tar;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod unpack;
mod xattrs;

pub use compression::{Compression, Decoder, Encoder, Level};
pub use error::{Action, ArchiveError, TreeError};
pub use limits::Limits;
