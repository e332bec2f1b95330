//! Bridges, addresses, nftables maps, published ports.
//!
//! The default network of one daemon: [`Networks`] makes its bridges and rule
//! set once, prepares batches of containers' netns, and publishes ports.
//! Called by `run/sandbox` (prepare, release) and `run/containers` (publish,
//! recover); blocking, without a runtime.
//!
//! The parts, from the kernel upwards: `netlink` (framing, sockets,
//! rtnetlink), `nft` (our table: rule set and elements), `conntrack`;
//! `subnet`, `pool` and `cidr` decide about addresses and touch nothing;
//! `bridge`, `attach`, `ports`, `sysctl` and `firewall` act on the host;
//! `networks` holds the books and the order of things.
//!
//! It must not know containers or images, never deletes a veth by name (a
//! grace period of 16 ms: dropping the netns does it), forks nothing on the
//! path of a start, and touches nothing that is not named after its
//! configuration, so that daemons live side by side. The networks `none`,
//! `host` and `container:` are the callers'.
#![forbid(unsafe_code)]

mod attach;
mod bridge;
mod cidr;
mod config;
mod conntrack;
mod endpoint;
mod error;
mod firewall;
mod netlink;
mod networks;
mod nft;
mod pool;
mod ports;
mod remembered;
mod subnet;
mod sysctl;

pub use cidr::{Cidr4, Cidr6, InvalidCidr};
pub use config::{DockerUser, NetworkConfig};
pub use endpoint::{
    Address6, Endpoint, EndpointId, HostPort, InvalidMac, MacAddress, PortBinding, PortRequest,
    Protocol, Published,
};
pub use error::{BindRefused, NetworkError};
pub use netlink::NetlinkError;
pub use networks::{BridgeDescription, Networks, Report};

#[cfg(test)]
mod tests;
