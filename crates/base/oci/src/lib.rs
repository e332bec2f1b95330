//! Values of the OCI specifications: digest, reference, descriptor, manifest,
//! image config and runtime spec.
//!
//! Everybody may use this crate; it does no I/O, knows no clock and no wire
//! error. Field names follow the specifications, so that a reader can hold
//! the type beside the text.
#![forbid(unsafe_code)]

mod digest;
mod error_kind;
pub mod runtime;

pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError, Digester, chain_ids};
pub use error_kind::ErrorKind;
