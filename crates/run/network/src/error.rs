//! What can go wrong, in the words a user of docker knows where there are any.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use carrack_oci::ErrorKind;
use rustix::io::Errno;

use crate::cidr::{Cidr4, Cidr6};
use crate::endpoint::{EndpointId, Protocol};
use crate::netlink::NetlinkError;

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A name in the configuration cannot be an interface's or a table's.
    #[error("invalid network name {name:?}: {reason}")]
    InvalidName {
        /// As given.
        name: String,
        /// What a name must be.
        reason: &'static str,
    },
    /// The configured subnet cannot be used.
    #[error("invalid subnet {subnet}: {reason}")]
    InvalidSubnet {
        /// As given.
        subnet: String,
        /// What a subnet must be.
        reason: &'static str,
    },
    /// The configured subnet is in use on this host.
    #[error("subnet {subnet} overlaps {other}, which this host uses already")]
    SubnetInUse {
        /// As configured.
        subnet: String,
        /// The route or address in the way.
        other: String,
    },
    /// None of the private ranges is free.
    #[error(
        "no free private subnet for bridge {bridge}: every candidate overlaps a route or an address of this host"
    )]
    NoFreeSubnet {
        /// The bridge that needs one.
        bridge: String,
    },
    /// An interface of that name exists and is something else.
    #[error("interface {name} exists and is not a bridge")]
    NotABridge {
        /// Its name.
        name: String,
    },
    /// The bridge has other addresses than configured, and containers on it.
    #[error("bridge {bridge} has address {actual} and containers on it: it cannot become {wanted}")]
    BridgeBusy {
        /// Its name.
        bridge: String,
        /// The address it has.
        actual: Cidr4,
        /// The address configured.
        wanted: Cidr4,
    },
    /// Same for IPv6.
    #[error("bridge {bridge} has address {actual} and containers on it: it cannot become {wanted}")]
    BridgeBusy6 {
        /// Its name.
        bridge: String,
        /// The address it has.
        actual: Cidr6,
        /// The address configured.
        wanted: Cidr6,
    },
    /// Every address, or every port of every bridge, is taken.
    #[error("no address left on bridge {bridge} and its successors: {used} are in use")]
    AddressesExhausted {
        /// The first bridge.
        bridge: String,
        /// How many endpoints there are.
        used: usize,
    },
    /// The endpoint is not known here.
    #[error("no such endpoint: {id}")]
    NoSuchEndpoint {
        /// As given.
        id: EndpointId,
    },
    /// The request itself makes no sense.
    #[error("invalid port {port}/{protocol}: {reason}")]
    InvalidPort {
        /// The container's port.
        port: u16,
        /// Its protocol.
        protocol: Protocol,
        /// What is wrong.
        reason: &'static str,
    },
    /// Another container of this daemon has the port.
    #[error("Bind for {host} failed: port is already allocated")]
    PortAllocated {
        /// The host's side.
        host: SocketAddr,
    },
    /// The host refuses the port.
    #[error("failed to bind host port for {host}:{container}:{container_port}/{protocol}")]
    BindHostPort {
        /// The host's side.
        host: SocketAddr,
        /// The container's address.
        container: IpAddr,
        /// The container's port.
        container_port: u16,
        /// The protocol.
        protocol: Protocol,
        /// Why.
        #[source]
        source: BindRefused,
    },
    /// No candidate port is free.
    #[error(
        "failed to bind host port for {container}:{container_port}/{protocol}: all ports of {first}-{last} are in use"
    )]
    PortsExhausted {
        /// The container's address.
        container: IpAddr,
        /// The container's port.
        container_port: u16,
        /// The protocol.
        protocol: Protocol,
        /// First candidate.
        first: u16,
        /// Last candidate.
        last: u16,
    },
    /// The kernel refused something of the host's network.
    #[error("cannot {action}")]
    Kernel {
        /// What was tried.
        action: String,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A container's netns could not be entered or filled.
    #[error("cannot {action} in the container's netns")]
    Netns {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: NetlinkError,
    },
    /// A sysctl or a file of the state directory could not be used.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A thread for entering a netns could not be made.
    #[error("cannot start a thread to enter a netns")]
    Thread(#[source] std::io::Error),
}

impl NetworkError {
    /// Its class, for façades.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidName { .. } | Self::InvalidSubnet { .. } | Self::InvalidPort { .. } => {
                ErrorKind::InvalidInput
            }
            Self::SubnetInUse { .. }
            | Self::NotABridge { .. }
            | Self::BridgeBusy { .. }
            | Self::BridgeBusy6 { .. } => ErrorKind::Conflict,
            Self::NoFreeSubnet { .. }
            | Self::AddressesExhausted { .. }
            | Self::PortsExhausted { .. } => ErrorKind::Exhausted,
            Self::NoSuchEndpoint { .. } => ErrorKind::NotFound,
            // dockerd answers 500 for a port in use, and clients look at the
            // text; the class is for those who look at classes.
            Self::PortAllocated { .. } | Self::BindHostPort { .. } => ErrorKind::Conflict,
            Self::Kernel { .. } | Self::Netns { .. } | Self::File { .. } | Self::Thread(_) => {
                ErrorKind::Internal
            }
        }
    }

    pub(crate) fn kernel(action: impl Into<String>) -> impl FnOnce(NetlinkError) -> Self {
        let action = action.into();
        move |source| Self::Kernel { action, source }
    }
}

/// Why a bind failed, in the words of Go's runtime, which clients match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindRefused(pub(crate) Errno);

impl BindRefused {
    /// Whether somebody else has the port.
    pub fn is_in_use(self) -> bool {
        self.0 == Errno::ADDRINUSE
    }
}

impl std::fmt::Display for BindRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Errno::ADDRINUSE => f.write_str("address already in use"),
            Errno::ADDRNOTAVAIL => f.write_str("cannot assign requested address"),
            Errno::ACCESS => f.write_str("permission denied"),
            Errno::AFNOSUPPORT => f.write_str("address family not supported by protocol"),
            Errno::PROTONOSUPPORT => f.write_str("protocol not supported"),
            Errno::MFILE | Errno::NFILE => f.write_str("too many open files"),
            other => write!(f, "{other}"),
        }
    }
}

impl std::error::Error for BindRefused {}
