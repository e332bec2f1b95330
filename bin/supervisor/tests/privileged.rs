//! The whole path from a spec to a process, without a daemon: the real
//! supervisor over its protocol, real namespaces, real mounts.
//!
//! Needs root; without it each test prints SKIP and passes.

#[path = "privileged/harness.rs"]
mod harness;
#[path = "privileged/leaf.rs"]
mod leaf;
#[path = "privileged/rootfs.rs"]
mod rootfs;
#[path = "privileged/supervisor.rs"]
mod supervisor;

#[path = "privileged/clients.rs"]
mod clients;
#[path = "privileged/exec.rs"]
mod exec;
#[path = "privileged/handing.rs"]
mod handing;
#[path = "privileged/hooks.rs"]
mod hooks;
#[path = "privileged/isolation.rs"]
mod isolation;
#[path = "privileged/lifecycle.rs"]
mod lifecycle;
#[path = "privileged/logs.rs"]
mod logs;
#[path = "privileged/memory.rs"]
mod memory;
#[path = "privileged/mounts.rs"]
mod mounts;
#[path = "privileged/namespaces.rs"]
mod namespaces;
#[path = "privileged/process.rs"]
mod process;
#[path = "privileged/streams.rs"]
mod streams;
