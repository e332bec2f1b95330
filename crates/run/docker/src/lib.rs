//! Docker's model of containers, over `run/containers`.
#![forbid(unsafe_code)]

pub mod config;
pub mod events;
pub mod filters;
pub mod naming;
pub mod restart;
