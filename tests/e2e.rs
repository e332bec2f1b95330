//! End-to-end tests: the built program, driven from outside.
//!
//! One module a promise. `cargo test -p carrack-tests --test e2e -- network`
//! runs a part; they need root and run one after the other.
#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    reason = "all of it is tests: a panic is how one fails"
)]

mod bad_input;
mod book;
mod cli;
mod crash;
mod docker_cli;
mod limits;
mod network;
mod runtime;
mod vm;
