//! Containers as Docker's JSON.

use std::time::SystemTime;

use carrack_containers::{NetworkMode, Phase};
use carrack_docker::Container;
use carrack_docker::engine::{Listed, describe_state, network_id};
use carrack_docker::mounts::{MountPoint, PointKind};
use carrack_network::PortBinding;
use serde_json::{Map, Value, json};

use crate::wire;

/// One row of `GET /containers/json`.
pub(crate) fn row(listed: &Listed) -> Value {
    let container = &listed.container;
    let (record, view) = (&container.record, &container.view);
    let (word, sentence) = describe_state(container, SystemTime::now());
    let mut row = json!({
        "Id": container.id().as_str(),
        "Names": [format!("/{}", record.name)],
        "Image": record.config.image,
        "ImageID": record.image_id,
        "Command": command(container),
        "Created": wire::seconds(view.created_at),
        "Ports": ports(container),
        "Labels": record.config.labels.clone().unwrap_or_default(),
        "State": word,
        "Status": sentence,
        "HostConfig": {"NetworkMode": record.host_config.network_mode},
        "NetworkSettings": {"Networks": networks(container)},
        "Mounts": mounts(&record.mounts),
    });
    if let (Some(own), Some(all)) = (listed.size_rw, listed.size_root) {
        row["SizeRw"] = own.into();
        row["SizeRootFs"] = all.into();
    }
    row
}

/// Program and arguments as they run.
fn arguments(container: &Container) -> Vec<String> {
    let process = container.view.new.spec.process.as_ref();
    process.map_or_else(Vec::new, |p| p.args.clone())
}

fn command(container: &Container) -> String {
    let quoted = |argument: &String| {
        if argument.contains(' ') {
            format!("'{argument}'")
        } else {
            argument.clone()
        }
    };
    arguments(container).iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Exposed and published ports of a list's row.
fn ports(container: &Container) -> Vec<Value> {
    let active = matches!(container.view.state.phase, Phase::Running | Phase::Paused);
    if !active {
        return Vec::new();
    }
    let published = &container.view.state.ports;
    let mut rows: Vec<Value> = published
        .iter()
        .map(|binding| {
            json!({
                "IP": binding.host_ip.to_string(),
                "PrivatePort": binding.container_port,
                "PublicPort": binding.host_port,
                "Type": binding.protocol.to_string(),
            })
        })
        .collect();
    for (port, protocol) in exposed(container) {
        let is_published = published
            .iter()
            .any(|b| b.container_port == port && b.protocol.to_string() == protocol);
        if !is_published {
            rows.push(json!({"PrivatePort": port, "Type": protocol}));
        }
    }
    rows
}

fn exposed(container: &Container) -> Vec<(u16, String)> {
    let ports = carrack_docker::ports::exposed(&container.record.config).unwrap_or_default();
    ports
        .iter()
        .map(|port| (port.number, port.protocol.as_str().to_owned()))
        .collect()
}

fn mounts(points: &[MountPoint]) -> Vec<Value> {
    points
        .iter()
        .map(|point| {
            let mut value = json!({
                "Type": point.kind.as_str(),
                "Source": point.source,
                "Destination": point.destination,
                "Mode": point.mode,
                "RW": !point.read_only,
                "Propagation": point.propagation,
            });
            if point.kind == PointKind::Volume {
                value["Name"] = point.volume.clone().into();
                value["Driver"] = point.driver.clone().into();
            }
            value
        })
        .collect()
}

/// `NetworkSettings.Networks`.
fn networks(container: &Container) -> Value {
    let name = match &container.view.new.namespaces.network {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
        NetworkMode::Container(_) => return json!({}),
    };
    let asked = container.record.endpoints.get(name).cloned().unwrap_or_default();
    let active = matches!(container.view.state.phase, Phase::Running | Phase::Paused);
    let mut settings = serde_json::to_value(&asked).unwrap_or_else(|_| json!({}));
    if active {
        settings["NetworkID"] = network_id(name).into();
        if let Some(endpoint) = &container.view.endpoint {
            settings["EndpointID"] = endpoint.id.as_str().into();
            settings["MacAddress"] = endpoint.mac.to_string().into();
            settings["Gateway"] = endpoint.gateway4.to_string().into();
            settings["IPAddress"] = endpoint.ipv4.address().to_string().into();
            settings["IPPrefixLen"] = endpoint.ipv4.prefix().into();
            if let Some(ipv6) = endpoint.ipv6 {
                settings["IPv6Gateway"] = ipv6.gateway.to_string().into();
                settings["GlobalIPv6Address"] = ipv6.address.address().to_string().into();
                settings["GlobalIPv6PrefixLen"] = ipv6.address.prefix().into();
            }
        }
    }
    let mut networks = Map::new();
    networks.insert(name.to_owned(), settings);
    networks.into()
}

/// `NetworkSettings.Ports`: exposed ports, `null` where none is published.
fn port_map(container: &Container) -> Value {
    let active = matches!(container.view.state.phase, Phase::Running | Phase::Paused);
    let mut map = Map::new();
    if !active {
        return map.into();
    }
    for (port, protocol) in exposed(container) {
        map.insert(format!("{port}/{protocol}"), Value::Null);
    }
    for binding in &container.view.state.ports {
        let PortBinding { host_ip, host_port, container_port, protocol } = binding;
        let entry = map.entry(format!("{container_port}/{protocol}")).or_insert(Value::Null);
        let bound = json!({"HostIp": host_ip.to_string(), "HostPort": host_port.to_string()});
        match entry {
            Value::Array(list) => list.push(bound),
            other => *other = json!([bound]),
        }
    }
    map.into()
}

/// `GET /containers/{id}/json`; sizes are the own layer's and all layers'.
pub(crate) fn inspect(container: &Container, sizes: Option<(u64, u64)>) -> Value {
    let (record, view) = (&container.record, &container.view);
    let state = &view.state;
    let arguments = arguments(container);
    let file = |name: &str| view.directory.join(name).display().to_string();
    let endpoint = view.endpoint.as_ref();
    let ipv6 = endpoint.and_then(|e| e.ipv6);
    let own = |text: Option<String>| text.unwrap_or_default();
    let execs = if view.execs.is_empty() { Value::Null } else { json!(view.execs) };
    let mut value = json!({
        "Id": container.id().as_str(),
        "Created": wire::time(Some(view.created_at)),
        "Path": arguments.first().cloned().unwrap_or_default(),
        "Args": arguments.get(1..).unwrap_or_default(),
        "State": {
            "Status": describe_state(container, SystemTime::now()).0,
            "Running": matches!(state.phase, Phase::Running | Phase::Paused) || container.restart.waiting,
            "Paused": state.phase == Phase::Paused,
            "Restarting": container.restart.waiting,
            "OOMKilled": state.oom_killed,
            "Dead": state.phase == Phase::Dead,
            "Pid": state.pid,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": wire::time(state.started_at),
            "FinishedAt": wire::time(state.finished_at),
        },
        "Image": record.image_id,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": view.log_path.display().to_string(),
        "Name": format!("/{}", record.name),
        "RestartCount": container.restart.count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": execs,
        "HostConfig": record.host_config,
        "GraphDriver": {"Name": "overlay2", "Data": {
            "UpperDir": file("upper"),
            "WorkDir": file("work"),
        }},
        "Mounts": mounts(&record.mounts),
        "Config": record.config,
        "NetworkSettings": {
            "Bridge": "",
            "SandboxID": "",
            "SandboxKey": "",
            "Ports": port_map(container),
            "HairpinMode": false,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null,
            "EndpointID": own(endpoint.map(|e| e.id.as_str().to_owned())),
            "Gateway": own(endpoint.map(|e| e.gateway4.to_string())),
            "IPAddress": own(endpoint.map(|e| e.ipv4.address().to_string())),
            "IPPrefixLen": endpoint.map_or(0, |e| e.ipv4.prefix()),
            "IPv6Gateway": own(ipv6.map(|v6| v6.gateway.to_string())),
            "GlobalIPv6Address": own(ipv6.map(|v6| v6.address.address().to_string())),
            "GlobalIPv6PrefixLen": ipv6.map_or(0, |v6| v6.address.prefix()),
            "MacAddress": own(endpoint.map(|e| e.mac.to_string())),
            "Networks": networks(container),
        },
    });
    if let Some((own, all)) = sizes {
        value["SizeRw"] = own.into();
        value["SizeRootFs"] = all.into();
    }
    value
}
