//! Docker's model of containers, over `run/containers`, `image/images`,
//! `run/volumes` and `run/network`.
//!
//! `run/docker-api` is the caller. This crate knows what Docker means (names,
//! defaults, rules and their sentences, restart policies, filters, events)
//! and no wire: no HTTP, no status code, no API version but where a default
//! depends on one.
//!
//! ```text
//! CreateRequest ── validate ──> merge_image ──> mounts::plan ──> spec::translate
//!   (config)       (pure)        (pure)          (pure)           (pure) ── NewContainer
//!                                                                    engine applies it
//! ```
//! Start reading at [`Engine`] and its module.
#![forbid(unsafe_code)]

pub mod config;
pub mod engine;
mod error;
pub mod events;
pub mod filters;
mod go;
pub mod host;
pub mod mounts;
pub mod naming;
pub mod not_yet;
pub mod ports;
pub mod record;
pub mod restart;
pub mod signals;
pub mod spec;
pub mod units;
pub mod validate;
pub use engine::{Container, Engine, EngineConfig};
pub use error::Error;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
