//! A container's place in its network, and its ports.

use std::collections::BTreeMap;

use carrack_containers::Phase;
use carrack_docker::Container;
use carrack_docker::config::EndpointSettings;
use carrack_docker::engine::{BRIDGE, network_id};
use carrack_docker::ports;
use carrack_network::PortBinding;
use serde_json::{Map, Value, json};

use super::{with, without};
use crate::version::{ApiVersion, v};

/// Networks of a container, by name. One that shares another's has none.
pub(crate) fn networks(container: &Container, version: ApiVersion) -> Map<String, Value> {
    let mut networks = Map::new();
    let mode = container.record.host_config.network_mode.as_str();
    if [BRIDGE, "host", "none"].contains(&mode) {
        networks.insert(mode.to_owned(), endpoint(container, mode, version));
    }
    networks
}

fn endpoint(container: &Container, network: &str, version: ApiVersion) -> Value {
    let settings = settings(container, network);
    let mut value = serde_json::to_value(&settings).unwrap_or_default();
    if version < v(48) {
        without(&mut value, &["GwPriority"]);
    }
    if version < v(44) {
        without(&mut value, &["DNSNames"]);
    }
    value
}

/// What the client asked for, with what it got while the container runs.
fn settings(container: &Container, network: &str) -> EndpointSettings {
    let asked = container.record.endpoints.get(network).cloned();
    let mut settings = EndpointSettings {
        network_id: network_id(network),
        // The address follows from the container's, whatever was asked for.
        mac_address: String::new(),
        ..asked.unwrap_or_default()
    };
    if let Some(endpoint) = &container.view.endpoint {
        settings.endpoint_id = endpoint.id.to_string();
        settings.mac_address = endpoint.mac.to_string();
        settings.gateway = endpoint.gateway4.to_string();
        settings.ip_address = endpoint.ipv4.address().to_string();
        settings.ip_prefix_len = endpoint.ipv4.prefix();
        if let Some(ipv6) = endpoint.ipv6 {
            settings.ipv6_gateway = ipv6.gateway.to_string();
            settings.global_ipv6_address = ipv6.address.address().to_string();
            settings.global_ipv6_prefix_len = ipv6.address.prefix();
        }
    }
    settings
}

/// `NetworkSettings` of an inspect.
pub(crate) fn network_settings(container: &Container, version: ApiVersion) -> Value {
    let place = settings(container, BRIDGE);
    let is_bridge = container.record.host_config.network_mode == BRIDGE;
    let place = if is_bridge {
        place
    } else {
        EndpointSettings::default()
    };
    let mut value = json!({
        "Bridge": "",
        "SandboxID": sandbox_id(container),
        "SandboxKey": sandbox_key(container),
        "Ports": port_map(container),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": place.endpoint_id,
        "Gateway": place.gateway,
        "GlobalIPv6Address": place.global_ipv6_address,
        "GlobalIPv6PrefixLen": place.global_ipv6_prefix_len,
        "IPAddress": place.ip_address,
        "IPPrefixLen": place.ip_prefix_len,
        "IPv6Gateway": place.ipv6_gateway,
        "MacAddress": place.mac_address,
    });
    with(&mut value, "Networks", networks(container, version));
    value
}

fn is_active(container: &Container) -> bool {
    matches!(container.view.state.phase, Phase::Running | Phase::Paused)
}

/// Tools take it for a sign of a running network: the container's own id
/// serves.
fn sandbox_id(container: &Container) -> &str {
    if is_active(container) {
        container.id().as_str()
    } else {
        ""
    }
}

/// A path by which the network namespace can be entered.
fn sandbox_key(container: &Container) -> String {
    if is_active(container) {
        format!("/proc/{}/ns/net", container.view.state.pid)
    } else {
        String::new()
    }
}

/// Published ports by container port; exposed ones without are `null`.
fn port_map(container: &Container) -> Map<String, Value> {
    let mut map = BTreeMap::new();
    if !is_active(container) {
        return Map::new();
    }
    for port in ports::exposed(&container.record.config).unwrap_or_default() {
        map.insert((port.number, port.protocol.as_str()), Value::Null);
    }
    for binding in sorted(&container.view.state.ports) {
        let key = (binding.container_port, protocol(&binding));
        let entry = map.entry(key).or_insert(Value::Null);
        if entry.is_null() {
            *entry = Value::Array(Vec::new());
        }
        if let Value::Array(list) = entry {
            list.push(json!({
                "HostIp": binding.host_ip.to_string(),
                "HostPort": binding.host_port.to_string(),
            }));
        }
    }
    map.into_iter()
        .map(|((number, protocol), value)| (format!("{number}/{protocol}"), value))
        .collect()
}

/// `Ports` of a list's line.
pub(crate) fn port_list(container: &Container) -> Vec<Value> {
    if !is_active(container) {
        return Vec::new();
    }
    let bindings = sorted(&container.view.state.ports);
    let mut list: Vec<Value> = bindings
        .iter()
        .map(|binding| {
            json!({
                "IP": binding.host_ip.to_string(),
                "PrivatePort": binding.container_port,
                "PublicPort": binding.host_port,
                "Type": protocol(binding),
            })
        })
        .collect();
    for port in ports::exposed(&container.record.config).unwrap_or_default() {
        let is_published = bindings.iter().any(|binding| {
            binding.container_port == port.number && protocol(binding) == port.protocol.as_str()
        });
        if !is_published {
            list.push(json!({"PrivatePort": port.number, "Type": port.protocol.as_str()}));
        }
    }
    list
}

fn sorted(bindings: &[PortBinding]) -> Vec<PortBinding> {
    let mut bindings = bindings.to_vec();
    bindings.sort_by_key(|binding| {
        (
            binding.container_port,
            binding.protocol,
            binding.host_ip.is_ipv6(),
            binding.host_port,
        )
    });
    bindings
}

fn protocol(binding: &PortBinding) -> &'static str {
    match binding.protocol {
        carrack_network::Protocol::Tcp => "tcp",
        carrack_network::Protocol::Udp => "udp",
        carrack_network::Protocol::Sctp => "sctp",
    }
}
