//! One small function a system call.
//!
//! With the supervisor's entry this is the only crate with `unsafe`; what
//! rustix offers safely is taken from there directly. Nothing here decides
//! anything: arguments in, the kernel's answer out.

pub mod bpf;
pub mod descriptors;
pub mod disposition;
pub mod identity;
pub mod limits;
pub mod loopback;
pub mod mount;
pub mod process;
pub mod random;
pub mod seccomp;
pub mod signal_fd;
pub mod signals;
