//! Values of the OCI specifications: digest, reference, descriptor, manifest,
//! image config and runtime spec.
//!
//! Everybody may use this crate; it does no I/O, knows no clock and no wire
//! error. Field names follow the specifications, so that a reader can hold
//! the type beside the text.
#![forbid(unsafe_code)]

pub mod config;
mod descriptor;
mod digest;
mod error_kind;
pub mod manifest;
mod nullable;
mod platform;
pub mod reference;
pub mod runtime;

pub use config::{ConfigError, ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use descriptor::{Descriptor, media_type};
pub use digest::{Algorithm, ChainId, DiffId, Digest, DigestError, Digester, chain_ids};
pub use error_kind::ErrorKind;
pub use manifest::{AnyManifest, Index, Manifest, ManifestError};
pub use platform::{Platform, PlatformError};
pub use reference::{AnyReference, Reference, ReferenceError};
