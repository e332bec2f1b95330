//! The networks that are there: bridge, host and none.

use carrack_docker::engine::{NetworkKind, NetworkView};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::api::{Answer, Api, Call, json, no_content};

/// When a network that is always there was made, for the clients' tables.
const CREATED: &str = "2026-01-01T00:00:00Z";

pub(crate) async fn list(api: &Api, call: &Call) -> Answer {
    let networks = api.engine.networks(&call.query.filters()?)?;
    let described: Vec<Value> = networks.iter().map(|n| describe(n, false)).collect();
    json(StatusCode::OK, &described)
}

pub(crate) async fn inspect(api: &Api, call: &Call) -> Answer {
    let network = api.engine.network(call.name())?;
    json(StatusCode::OK, &describe(&network, true))
}

pub(crate) async fn remove(api: &Api, call: &Call) -> Answer {
    api.engine.remove_network(call.name())?;
    no_content()
}

pub(crate) fn prune() -> Answer {
    json(StatusCode::OK, &json!({"NetworksDeleted": null}))
}

fn describe(network: &NetworkView, with_containers: bool) -> Value {
    let mut options = Map::new();
    let mut ipam = Vec::new();
    if let Some(bridge) = network.bridges.first() {
        ipam.push(json!({
            "Subnet": bridge.subnet4.to_string(),
            "Gateway": bridge.gateway4.to_string(),
        }));
        if let Some((subnet, gateway)) = &bridge.ipv6 {
            ipam.push(json!({"Subnet": subnet.to_string(), "Gateway": gateway.to_string()}));
        }
        options = [
            ("com.docker.network.bridge.default_bridge", "true".to_owned()),
            ("com.docker.network.bridge.enable_icc", "true".to_owned()),
            ("com.docker.network.bridge.enable_ip_masquerade", "true".to_owned()),
            ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0".to_owned()),
            ("com.docker.network.bridge.name", bridge.name.clone()),
            ("com.docker.network.driver.mtu", bridge.mtu.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    }
    let has_ipv6 = network.bridges.first().is_some_and(|b| b.ipv6.is_some());
    let containers: Map<String, Value> = network
        .containers
        .iter()
        .filter(|_| with_containers)
        .map(|(id, container)| {
            let endpoint = container.view.endpoint.as_ref();
            let value = json!({
                "Name": container.record.name,
                "EndpointID": endpoint.map_or_else(String::new, |e| e.id.as_str().to_owned()),
                "MacAddress": endpoint.map_or_else(String::new, |e| e.mac.to_string()),
                "IPv4Address": endpoint.map_or_else(String::new, |e| e.ipv4.to_string()),
                "IPv6Address": endpoint
                    .and_then(|e| e.ipv6)
                    .map_or_else(String::new, |v6| v6.address.to_string()),
            });
            (id.clone(), value)
        })
        .collect();
    json!({
        "Name": network.kind.name(),
        "Id": network.id,
        "Created": CREATED,
        "Scope": "local",
        "Driver": network.kind.driver(),
        "EnableIPv4": network.kind == NetworkKind::Bridge,
        "EnableIPv6": has_ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": null,
            "Config": if network.kind == NetworkKind::Bridge { Value::from(ipam) } else { Value::Null },
        },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": false,
        "Containers": containers,
        "Options": options,
        "Labels": {},
    })
}
