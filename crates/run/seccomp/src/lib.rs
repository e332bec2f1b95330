//! Seccomp: from a profile to a program of the kernel's classic BPF.
//!
//! ```text
//! profile JSON ─ Profile::parse ┐
//! the default ─ default_profile ┴ resolve(capabilities, kernel, arch) ─ compile ─ Program
//!                                 └──────────────── Cache remembers ────────────┘
//! ```
//!
//! `run/containers` asks the [`Cache`], so that a start compiles nothing;
//! `run/runtime` compiles what a bundle's `config.json` says. What is meant
//! follows Docker (conditions of a rule) and runc with libseccomp (order and
//! precedence of rules, multiplexed calls of i386, calls newer than the
//! profile); the code generator is Carrack's own: it searches the number in a
//! balanced tree where libseccomp walks a list.
//!
//! Pure: no I/O, no clock, no system call. Loading a program is
//! `base/sys`'s business.
#![forbid(unsafe_code)]

mod arch;
mod cache;
mod capability;
mod compile;
mod default;
mod emit;
mod error;
mod profile;
mod program;
mod resolve;
mod rules;
mod table;

#[cfg(test)]
mod tests;

pub use arch::Arch;
pub use cache::{Cache, ProfileSource};
pub use capability::CapabilitySet;
pub use compile::{NewerCalls, compile, compile_with};
pub use default::default_profile;
pub use error::Error;
pub use profile::{KernelVersion, MAX_PROFILE_BYTES, Profile};
pub use program::{FilterFlags, MAX_INSTRUCTIONS, Program, SockFilter};
pub use resolve::resolve;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
