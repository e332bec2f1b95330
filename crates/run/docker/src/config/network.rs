//! Ports and endpoints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `port/protocol` → where it is published.
pub type PortMap = BTreeMap<String, Vec<PublishedPort>>;

/// An address and port of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PublishedPort {
    /// Address; empty is every one.
    pub host_ip: String,
    /// Port, or a range `first-last`; empty is a free one.
    pub host_port: String,
}

/// Networks of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    /// By network.
    pub endpoints_config: Option<BTreeMap<String, EndpointSettings>>,
}

/// A container's place in a network: what was asked and what it got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSettings {
    /// Fixed addresses asked for.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<IpamConfig>,
    /// Deprecated links.
    pub links: Option<Vec<String>>,
    /// Names that the client gave, and no more.
    pub aliases: Option<Vec<String>>,
    /// Hardware address.
    pub mac_address: String,
    /// Options of the driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Which network's gateway is the default.
    pub gw_priority: i64,
    /// Id of the network.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// Id of this place.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// IPv4 gateway.
    pub gateway: String,
    /// IPv4 address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Its prefix.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// IPv6 gateway.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Its prefix.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// Names it is found by.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// Fixed addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// IPv4.
    #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
    pub ipv4_address: String,
    /// IPv6.
    #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
    pub ipv6_address: String,
    /// Link-local.
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
    pub link_local_ips: Option<Vec<String>>,
}
