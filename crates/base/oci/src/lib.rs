//! Values of the OCI specifications: digest, reference, descriptor, manifest,
//! image config and runtime spec.
//!
//! Everybody may use this crate; it does no I/O, knows no clock and no wire
//! error. Field names follow the specifications, so that a reader can hold
//! the type beside the text.
#![forbid(unsafe_code)]

mod error_kind;
pub mod runtime;

pub use error_kind::ErrorKind;
