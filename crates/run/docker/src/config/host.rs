//! The part of a request that depends on the host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mount, PortMap, Resources};

/// How a container is isolated, limited and connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// `source:target[:options]`.
    pub binds: Option<Vec<String>>,
    /// Where the client wrote the id.
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    /// Where output is kept.
    pub log_config: LogConfig,
    /// `bridge`, `none`, `host`, `container:ID`, or a network's name.
    pub network_mode: String,
    /// Published ports.
    pub port_bindings: Option<PortMap>,
    /// What happens after an exit.
    pub restart_policy: RestartPolicy,
    /// Whether it goes away when it ends.
    pub auto_remove: bool,
    /// Driver of volumes named in `binds`.
    pub volume_driver: String,
    /// `container[:mode]`.
    pub volumes_from: Option<Vec<String>>,
    /// Rows and columns of the terminal.
    pub console_size: [u32; 2],
    /// Free key–value data for the runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Capabilities added.
    #[serde(deserialize_with = "words")]
    pub cap_add: Option<Vec<String>>,
    /// Capabilities taken away.
    #[serde(deserialize_with = "words")]
    pub cap_drop: Option<Vec<String>>,
    /// `host` or `private`.
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Option<Vec<String>>,
    /// Resolver options.
    pub dns_options: Option<Vec<String>>,
    /// Search domains.
    pub dns_search: Option<Vec<String>>,
    /// `name:address`.
    pub extra_hosts: Option<Vec<String>>,
    /// Further groups.
    pub group_add: Option<Vec<String>>,
    /// `none`, `private`, `shareable`, `host`, `container:ID`.
    pub ipc_mode: String,
    /// Cgroup of another container; not used by anybody.
    pub cgroup: String,
    /// Deprecated links.
    pub links: Option<Vec<String>>,
    /// −1000 to 1000.
    pub oom_score_adj: i64,
    /// Empty, `host`, `container:ID`.
    pub pid_mode: String,
    /// Everything that root has.
    pub privileged: bool,
    /// Publish every exposed port at a free one.
    pub publish_all_ports: bool,
    /// Read-only root file system.
    pub readonly_rootfs: bool,
    /// `seccomp=…`, `no-new-privileges`, ….
    pub security_opt: Option<Vec<String>>,
    /// Options of the storage driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_opt: Option<BTreeMap<String, String>>,
    /// Path → mount options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<BTreeMap<String, String>>,
    /// Empty or `host`.
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    /// Empty or `host`.
    pub userns_mode: String,
    /// Size of `/dev/shm`, bytes.
    pub shm_size: i64,
    /// Kernel parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<BTreeMap<String, String>>,
    /// Name of the runtime.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime: String,
    /// Of Windows.
    pub isolation: String,
    /// Limits.
    #[serde(flatten)]
    pub resources: Resources,
    /// Mounts in the long form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<Mount>>,
    /// Paths made unreadable; absent takes the engine's.
    pub masked_paths: Option<Vec<String>>,
    /// Paths made read-only; absent takes the engine's.
    pub readonly_paths: Option<Vec<String>>,
    /// Whether a small init is process 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
}

/// Where output is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// Driver.
    #[serde(rename = "Type")]
    pub driver: String,
    /// Its options.
    pub config: Option<BTreeMap<String, String>>,
}

/// What happens after an exit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// Empty, `no`, `always`, `unless-stopped`, `on-failure`.
    pub name: String,
    /// Of `on-failure`; 0 is without end.
    pub maximum_retry_count: i64,
}

/// One word may stand for a list of one, as in Docker's `strslice`.
fn words<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    super::container::word_or_words(deserializer)
}
