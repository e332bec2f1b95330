//! A network.

use carrack_docker::engine::NetworkView;
use serde_json::{Map, Value, json};

use super::{with, without};
use crate::version::{ApiVersion, v};

/// Networks that are there by themselves have no time of their own.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Encodes a network.
pub(crate) fn network(network: &NetworkView, version: ApiVersion) -> Value {
    let has_ipv6 = network.bridges.iter().any(|bridge| bridge.ipv6.is_some());
    let mut value = json!({
        "Name": network.kind.name(),
        "Id": network.id,
        "Created": CREATED,
        "Scope": "local",
        "Driver": network.kind.driver(),
        "EnableIPv4": true,
        "EnableIPv6": has_ipv6,
        "IPAM": {"Driver": "default", "Options": null, "Config": addresses(network)},
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers(network),
        "Options": options(network),
        "Labels": {},
    });
    if version < v(47) {
        without(&mut value, &["EnableIPv4"]);
    }
    value
}

fn addresses(network: &NetworkView) -> Vec<Value> {
    let of_bridge = network.bridges.iter().flat_map(|bridge| {
        let ipv4 = json!({
            "Subnet": bridge.subnet4.to_string(),
            "Gateway": bridge.gateway4.to_string(),
        });
        let ipv6 = bridge.ipv6.map(|(subnet, gateway)| {
            json!({"Subnet": subnet.to_string(), "Gateway": gateway.to_string()})
        });
        [Some(ipv4), ipv6].into_iter().flatten()
    });
    of_bridge.collect()
}

fn options(network: &NetworkView) -> Value {
    let mut value = json!({});
    if let Some(bridge) = network.bridges.first() {
        let options = [
            (
                "com.docker.network.bridge.default_bridge",
                "true".to_owned(),
            ),
            ("com.docker.network.bridge.enable_icc", "true".to_owned()),
            (
                "com.docker.network.bridge.enable_ip_masquerade",
                "true".to_owned(),
            ),
            (
                "com.docker.network.bridge.host_binding_ipv4",
                "0.0.0.0".to_owned(),
            ),
            ("com.docker.network.bridge.name", bridge.name.clone()),
            ("com.docker.network.driver.mtu", bridge.mtu.to_string()),
        ];
        for (name, option) in options {
            with(&mut value, name, option);
        }
    }
    value
}

fn containers(network: &NetworkView) -> Map<String, Value> {
    let encoded = network.containers.iter().map(|(id, container)| {
        let endpoint = container.view.endpoint.as_ref();
        let ipv6 = endpoint.and_then(|endpoint| endpoint.ipv6);
        let value = json!({
            "Name": container.record.name,
            "EndpointID": endpoint.map_or_else(String::new, |endpoint| endpoint.id.to_string()),
            "MacAddress": endpoint.map_or_else(String::new, |endpoint| endpoint.mac.to_string()),
            "IPv4Address": endpoint.map_or_else(String::new, |endpoint| endpoint.ipv4.to_string()),
            "IPv6Address": ipv6.map_or_else(String::new, |ipv6| ipv6.address.to_string()),
        });
        (id.clone(), value)
    });
    encoded.collect()
}
