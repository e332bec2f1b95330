//! The OCI runtime specification 1.2, Linux part, as plain data.
//!
//! Source: opencontainers/runtime-spec `config.md` and `config-linux.md`.
//! Absent and `null` mean the same for every optional field. What belongs to
//! other systems (Windows, Solaris, VM) is ignored when read, as the
//! specification asks of unknown properties.

mod linux;
mod process;
mod resources;
mod seccomp;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use linux::{
    IdMapping, IntelRdt, Linux, LinuxDevice, LinuxNamespace, NamespaceKind, Personality, TimeOffset,
};
pub use process::{
    Capabilities, ConsoleSize, CpuAffinity, IoPriority, Process, Rlimit, Scheduler, User,
};
pub use resources::{
    BlockIo, Cpu, DeviceRule, HugepageLimit, Memory, Network, Pids, Rdma, Resources,
    ThrottleDevice, WeightDevice,
};
pub use seccomp::{Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};

/// The specification version that Carrack writes.
pub const SPEC_VERSION: &str = "1.2.0";

/// A container's configuration: the content of a bundle's `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Version of the specification that the file follows, SemVer.
    pub oci_version: String,
    /// What is executed; absent for a container that is only created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// The root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name inside the UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name inside the UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Mounts, made in this order.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mounts: Vec<Mount>,
    /// Programs called at points of the life cycle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Free key–value data.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The Linux part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
}

/// The container's root file system.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    /// Path, absolute or relative to the bundle.
    pub path: String,
    /// Whether the root is read-only inside the container.
    pub readonly: bool,
}

/// One mount of the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    /// Absolute path inside the container.
    pub destination: String,
    /// File system type (`proc`, `tmpfs`, `bind`, …).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Device or, for a bind mount, the path on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// fstab-style options, see `config.md` "Linux mount options".
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub options: Vec<String>,
    /// User mappings of an idmapped mount.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub uid_mappings: Vec<IdMapping>,
    /// Group mappings of an idmapped mount.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub gid_mappings: Vec<IdMapping>,
}

/// Programs called at points of the life cycle, each list in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hooks {
    /// Deprecated: after the namespaces exist, before `pivot_root`.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub prestart: Vec<Hook>,
    /// During create, in the runtime's namespaces.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub create_runtime: Vec<Hook>,
    /// During create, in the container's namespaces, before `pivot_root`.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub create_container: Vec<Hook>,
    /// During start, in the container's namespaces, before the user's program.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub start_container: Vec<Hook>,
    /// After the user's program was started.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub poststart: Vec<Hook>,
    /// After the container was deleted.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub poststop: Vec<Hook>,
}

/// One hook; the container's state is given on its standard input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: String,
    /// `argv`, with the name first.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub args: Vec<String>,
    /// Environment, `KEY=value`.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// Seconds after which the hook is ended and counts as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// Go writes an empty slice or map as `null`; it means the default here.
fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
