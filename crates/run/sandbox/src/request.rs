//! What kind of sandbox is wanted.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Name of a sandbox: 16 hexadecimal digits; its socket and cgroup leaf are
/// called by it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(String);

impl SandboxId {
    /// A fresh random one.
    pub fn random() -> Self {
        let mut id = carrack_sys::random::hex_id();
        id.truncate(16);
        Self(id)
    }

    /// Accepts exactly 16 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 16
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        plain.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a namespace comes from.
#[derive(Clone, Debug, Default)]
pub enum NamespaceSource {
    /// A new one.
    #[default]
    New,
    /// The daemon's own.
    Host,
    /// An existing one.
    Join(Arc<OwnedFd>),
}

/// Where the network comes from.
#[derive(Clone, Debug, Default)]
pub enum NetworkSource {
    /// A new namespace with an `eth0` on the bridge.
    #[default]
    Bridge,
    /// A new namespace with loopback alone.
    Loopback,
    /// The daemon's own.
    Host,
    /// An existing one.
    Join(Arc<OwnedFd>),
}

/// Maps of a new user namespace, as lines of `/proc/PID/uid_map`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMaps {
    /// Users.
    pub uid: String,
    /// Groups.
    pub gid: String,
}

/// A kind of sandbox. The default one is what the pool holds.
#[derive(Clone, Debug, Default)]
pub struct SandboxRequest {
    /// Network.
    pub network: NetworkSource,
    /// Process ids.
    pub pid: NamespaceSource,
    /// System V IPC and POSIX queues.
    pub ipc: NamespaceSource,
    /// Host and domain name.
    pub uts: NamespaceSource,
    /// A user namespace of its own.
    pub user: Option<IdMaps>,
    /// Lines of `/proc/PID/timens_offsets` for a new time namespace.
    pub time_offsets: Option<String>,
}

impl SandboxRequest {
    /// Whether the pool's kind is asked for.
    pub fn is_pooled(&self) -> bool {
        matches!(
            self,
            Self {
                network: NetworkSource::Bridge,
                pid: NamespaceSource::New,
                ipc: NamespaceSource::New,
                uts: NamespaceSource::New,
                user: None,
                time_offsets: None,
            }
        )
    }
}
