//! What a container is, independent of who owns it.
//!
//! `run/docker`, later `run/pods` and `build/builder`, translate their own
//! requests into a [`NewContainer`]; nothing here knows Docker's names or
//! wire formats. Values are stored as JSON in `state.redb`, so a field that
//! is added later needs a serde default.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use carrack_network::{PortBinding, PortRequest};
use carrack_oci::ChainId;
use carrack_oci::runtime::Spec;
use serde::{Deserialize, Serialize};

/// Identity of a container: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

impl ContainerId {
    /// A fresh random id.
    pub fn random() -> Self {
        Self(carrack_sys::random::hex_id())
    }

    /// Accepts exactly 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        plain.then(|| Self(text.to_owned()))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as people see it.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// Which part of Carrack a container belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Made through Docker's API.
    Docker,
    /// A step of a build.
    Build,
    /// A container of a pod.
    Pod,
    /// A batch job.
    Job,
}

/// All that is needed to make a container; also its durable record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewContainer {
    /// Its identity, chosen by the caller.
    pub id: ContainerId,
    /// Whose it is.
    pub owner: Owner,
    /// Process, mounts, limits, seccomp and so on. `root.path`,
    /// `linux.namespaces`, `linux.cgroupsPath` and `linux.seccomp` are left
    /// empty: they follow from the fields below. Bind sources are paths on
    /// the host, opened at each start.
    pub spec: Spec,
    /// Who the process runs as, looked up in the container's own files.
    pub user: UserRequest,
    /// Layers below the writable one.
    pub rootfs: RootfsRequest,
    /// Which namespaces are private, the host's, or another container's.
    pub namespaces: Namespaces,
    /// Ports, names, servers.
    pub network: NetworkRequest,
    /// Which filter is loaded.
    pub seccomp: SeccompRequest,
    /// Standard streams.
    pub stdio: Stdio,
    /// Where output is kept.
    pub log: LogPolicy,
    /// Whether a small init reaps and forwards signals as process 1.
    pub init: bool,
    /// Size of `/dev/shm` in bytes, for a private IPC namespace.
    pub shm_size_bytes: u64,
    /// Signal that asks the process to end.
    pub stop_signal: i32,
    /// Seconds between that signal and SIGKILL; −1 waits for ever.
    pub stop_timeout_s: i64,
    /// Whether the container goes away when it ends. Its writable layer is
    /// then mounted `volatile`.
    pub auto_remove: bool,
    /// The owner's own record, opaque here.
    pub owner_data: serde_json::Value,
}

/// Who a process runs as: Docker's `user[:group]`, by name or number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRequest {
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Further groups, by name or number.
    pub additional_groups: Vec<String>,
}

/// What the root file system is made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RootfsRequest {
    /// Layers, the lowest first.
    pub chain: Vec<ChainId>,
}

/// Namespaces of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network.
    pub network: NetworkMode,
    /// Process ids.
    pub pid: NamespaceMode,
    /// System V IPC, POSIX queues and `/dev/shm`.
    pub ipc: IpcMode,
    /// Host name.
    pub uts: NamespaceMode,
    /// Control group root.
    pub cgroup: NamespaceMode,
}

/// Where a namespace comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceMode {
    /// A new one.
    Private,
    /// The host's.
    Host,
    /// Another, running container's.
    Container(ContainerId),
}

/// Where the IPC namespace comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcMode {
    /// A new one with a private `/dev/shm`.
    Private,
    /// A new one whose `/dev/shm` others may join.
    Shareable,
    /// A new one without `/dev/shm`.
    None,
    /// The host's, with its `/dev/shm`.
    Host,
    /// Another, running container's, with its `/dev/shm`.
    Container(ContainerId),
}

/// Where the network comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// A new namespace on the default bridge.
    Bridge,
    /// A new namespace with loopback alone.
    None,
    /// The host's.
    Host,
    /// Another, running container's.
    Container(ContainerId),
}

/// Ports, names and servers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NetworkRequest {
    /// Ports published on the host.
    pub ports: Vec<PortRequest>,
    /// Lines added to `/etc/hosts`: address as written, names.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers; empty takes the host's.
    pub dns_servers: Vec<IpAddr>,
    /// Search domains; empty takes the host's.
    pub dns_search: Vec<String>,
    /// Resolver options; empty takes the host's.
    pub dns_options: Vec<String>,
    /// How an error about a port names the container.
    pub endpoint_name: String,
}

/// Which system call filter is loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeccompRequest {
    /// Docker's default profile, for the process' capabilities.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON form.
    Profile(String),
}

/// Standard streams of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// A pseudo-terminal is all three.
    pub terminal: bool,
    /// Standard input stays open.
    pub open_stdin: bool,
    /// Standard input is closed when its first client leaves.
    pub stdin_once: bool,
}

/// Where output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "driver")]
pub enum LogPolicy {
    /// Docker's JSON lines.
    JsonFile {
        /// Bytes after which the file is rotated.
        max_size_bytes: u64,
        /// Files kept, at least one.
        max_files: u32,
    },
    /// Nowhere.
    None,
}

/// What a container is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Where it stands.
    pub phase: Phase,
    /// Process id on the host while it runs, else 0.
    pub pid: u32,
    /// Exit code of the last run.
    pub exit_code: i32,
    /// Whether the kernel's memory limit ended the last run.
    pub oom_killed: bool,
    /// Why the last start failed or the last run was lost; empty is fine.
    pub error: String,
    /// Start of the current or last run.
    pub started_at: Option<SystemTime>,
    /// End of the last run.
    pub finished_at: Option<SystemTime>,
    /// Published ports of the current run.
    #[serde(default)]
    pub ports: Vec<PortBinding>,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Never started.
    #[default]
    Created,
    /// A process runs.
    Running,
    /// A process is frozen.
    Paused,
    /// The process ended.
    Exited,
    /// It is being removed.
    Removing,
    /// Removal failed, or its supervisor was lost and could not be cleaned.
    Dead,
}

/// When a wait is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCondition {
    /// As soon as it does not run, at once if it does not now.
    NotRunning,
    /// At the next end of a run.
    NextExit,
    /// When it was removed.
    Removed,
}

/// What a wait is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// 0 to 255; 128 + n for a signal.
    pub code: i32,
    /// Set when the container could not be waited for.
    pub error: Option<String>,
}

/// How a handed-over waiting connection is answered by the supervisor: one
/// HTTP chunk of `before`, the exit code in decimal and `after`, then the last
/// chunk; then the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitReply {
    /// Bytes before the code.
    pub before: Vec<u8>,
    /// Bytes after the code.
    pub after: Vec<u8>,
}

/// How a client is attached to a container's or an exec's streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// Forward the client's bytes to standard input.
    pub stdin: bool,
    /// Send standard output.
    pub stdout: bool,
    /// Send standard error.
    pub stderr: bool,
    /// Bytes that the client sent behind the request's head.
    pub read_ahead: Vec<u8>,
    /// Key sequence that detaches; empty is none. Terminals alone.
    pub detach_keys: Vec<u8>,
}

/// A process added to a running container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExecRequest {
    /// `args`, `env`, `cwd`, `capabilities`, `terminal`, `consoleSize`,
    /// `noNewPrivileges`; the rest follows from the container.
    pub process: carrack_oci::runtime::Process,
    /// Who it runs as.
    pub user: UserRequest,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Whether it gets every capability and no filter.
    pub privileged: bool,
}

/// What a running or ended exec is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecState {
    /// Whether it was started.
    pub started: bool,
    /// Whether it runs.
    pub running: bool,
    /// Process id on the host, else 0.
    pub pid: u32,
    /// Exit code once it ended.
    pub exit_code: Option<i32>,
}

/// Something happened to a container; sent to subscribers in order.
#[derive(Clone, Debug)]
pub struct ContainerEvent {
    /// Which container.
    pub id: ContainerId,
    /// When.
    pub at: SystemTime,
    /// What.
    pub kind: ContainerEventKind,
}

/// Kinds of [`ContainerEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerEventKind {
    /// A run began.
    Started,
    /// A run ended. `requested` tells that stop, kill or remove asked for it.
    Exited {
        /// 0 to 255.
        code: i32,
        /// The memory limit ended it.
        oom_killed: bool,
        /// Somebody asked for the end.
        requested: bool,
        /// How long the run took, milliseconds.
        ran_ms: u64,
    },
    /// The kernel killed a process inside for memory.
    OutOfMemory,
    /// A signal was sent to its first process, by whoever asked.
    Signalled(i32),
    /// Frozen.
    Paused,
    /// Thawed.
    Unpaused,
    /// A client left by its detach keys.
    Detached,
    /// A client left an exec by its detach keys.
    ExecDetached(String),
    /// An exec began.
    ExecStarted(String),
    /// An exec ended.
    ExecExited {
        /// Which.
        exec: String,
        /// 0 to 255.
        code: i32,
    },
    /// Gone.
    Removed,
}

/// Free labels of the owner, for listings.
pub type Labels = BTreeMap<String, String>;
