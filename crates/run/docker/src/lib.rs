//! Docker's model of containers, over `run/containers`.
#![forbid(unsafe_code)]

pub mod config;
pub mod events;
pub mod filters;
pub mod host;
pub mod mounts;
pub mod naming;
pub mod ports;
pub mod restart;
pub mod signals;
pub mod spec;
pub mod units;
pub mod validate;
