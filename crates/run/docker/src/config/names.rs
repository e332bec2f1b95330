//! Names of members in any case: Go's decoder takes `image` for `Image`, and
//! what a client wrote so must not be dropped, least of all a restriction.
//!
//! Called once a request body, by the façade.

use serde_json::Value;

use super::zero_in_map;

/// Every name of a request's structures, in the order of their small letters.
const NAMES: [&str; 159] = [
    "Aliases",
    "Annotations",
    "ArgsEscaped",
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "AutoRemove",
    "BindOptions",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeight",
    "BlkioWeightDevice",
    "Capabilities",
    "CapAdd",
    "CapDrop",
    "Cgroup",
    "CgroupnsMode",
    "CgroupParent",
    "CgroupPermissions",
    "ClusterVolumeSpec",
    "Cmd",
    "Config",
    "Consistency",
    "ConsoleSize",
    "ContainerIDFile",
    "Count",
    "CpuCount",
    "CpuPercent",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "CpuShares",
    "CreateMountpoint",
    "Detach",
    "DetachKeys",
    "DeviceCgroupRules",
    "DeviceIDs",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DNSNames",
    "DnsOptions",
    "DnsSearch",
    "Domainname",
    "Driver",
    "DriverConfig",
    "DriverOpts",
    "EndpointID",
    "EndpointsConfig",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "ExtraHosts",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "GroupAdd",
    "GwPriority",
    "Hard",
    "Healthcheck",
    "HostConfig",
    "HostIp",
    "Hostname",
    "HostPort",
    "Image",
    "ImageOptions",
    "Init",
    "Interval",
    "IOMaximumBandwidth",
    "IOMaximumIOps",
    "IPAddress",
    "IPAMConfig",
    "IpcMode",
    "IPPrefixLen",
    "IPv4Address",
    "IPv6Address",
    "IPv6Gateway",
    "Isolation",
    "Labels",
    "LinkLocalIPs",
    "Links",
    "LogConfig",
    "MacAddress",
    "MaskedPaths",
    "MaximumRetryCount",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "Mode",
    "Mounts",
    "Name",
    "NanoCpus",
    "NetworkDisabled",
    "NetworkID",
    "NetworkingConfig",
    "NetworkMode",
    "NoCopy",
    "NonRecursive",
    "OnBuild",
    "OomKillDisable",
    "OomScoreAdj",
    "OpenStdin",
    "Options",
    "Path",
    "PathInContainer",
    "PathOnHost",
    "PidMode",
    "PidsLimit",
    "PortBindings",
    "Privileged",
    "Propagation",
    "PublishAllPorts",
    "Rate",
    "ReadOnly",
    "ReadOnlyForceRecursive",
    "ReadOnlyNonRecursive",
    "ReadonlyPaths",
    "ReadonlyRootfs",
    "RestartPolicy",
    "Retries",
    "Runtime",
    "SecurityOpt",
    "Shell",
    "ShmSize",
    "SizeBytes",
    "Soft",
    "Source",
    "StartInterval",
    "StartPeriod",
    "StdinOnce",
    "StopSignal",
    "StopTimeout",
    "StorageOpt",
    "Subpath",
    "Sysctls",
    "Target",
    "Test",
    "Timeout",
    "Tmpfs",
    "TmpfsOptions",
    "Tty",
    "Type",
    "Ulimits",
    "User",
    "UsernsMode",
    "UTSMode",
    "VolumeDriver",
    "VolumeOptions",
    "Volumes",
    "VolumesFrom",
    "Weight",
    "WorkingDir",
];

/// The name as it is written in Docker's types.
fn canonical(name: &str) -> Option<&'static str> {
    let found = NAMES.binary_search_by(|known| small_letters(known).cmp(small_letters(name)));
    found.ok().map(|at| NAMES[at])
}

fn small_letters(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().map(|byte| byte.to_ascii_lowercase())
}

/// Gives members their names as Docker's types write them; keys of maps stay
/// as they are. Documents are bounded in depth by the parser (128), so the
/// recursion is.
pub fn normalize_names(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let odd: Vec<String> = members
                .keys()
                .filter(|name| canonical(name).is_some_and(|known| known != *name))
                .cloned()
                .collect();
            for name in odd {
                // One that is written exactly goes before the others.
                let known = canonical(&name).filter(|known| !members.contains_key(*known));
                if let (Some(known), Some(member)) = (known, members.remove(&name)) {
                    members.insert(known.to_owned(), member);
                }
            }
            for (name, member) in members.iter_mut() {
                let is_map = zero_in_map(name).is_some() || name == "EndpointsConfig";
                match member {
                    Value::Object(entries) if is_map => {
                        entries.values_mut().for_each(normalize_names);
                    }
                    other => normalize_names(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalize_names),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ContainerConfig, CreateRequest, EndpointSettings, HostConfig};
    use serde_json::json;

    #[test]
    fn the_table_is_in_order_and_complete() {
        assert!(NAMES.is_sorted_by_key(|name| name.to_ascii_lowercase()));
        let all = [
            serde_json::to_value(ContainerConfig::default()),
            serde_json::to_value(HostConfig::default()),
            serde_json::to_value(EndpointSettings::default()),
        ];
        for value in all {
            for name in value.expect("JSON").as_object().expect("an object").keys() {
                assert_eq!(canonical(name), Some(name.as_str()));
            }
        }
    }

    #[test]
    fn any_case() {
        let mut body = json!({
            "image": "busybox", "CMD": ["ls"], "Tty": false, "tty": true,
            "labels": {"image": "kept", "CMD": "kept"},
            "hostconfig": {
                "readonlyrootfs": true, "nanoCPUs": 5,
                "portbindings": {"80/tcp": [{"hostport": "80"}]},
                "mounts": [{"type": "volume", "target": "/a", "readonly": true}],
                "logconfig": {"type": "json-file", "config": {"tag": "name", "Name": "kept"}},
            },
            "networkingConfig": {"endpointsConfig": {"Bridge": {"macaddress": "02:00:00:00:00:01"}}},
        });
        normalize_names(&mut body);
        assert_eq!(body["Tty"], false);
        let request = CreateRequest::from_json(body).expect("good");
        assert_eq!(request.config.image, "busybox");
        assert_eq!(request.config.cmd.as_deref(), Some(&["ls".to_owned()][..]));
        let labels = request.config.labels.expect("labels");
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["CMD", "image"]);
        let host = request.host_config;
        assert!(host.readonly_rootfs);
        assert_eq!(host.resources.nano_cpus, 5);
        let mounts = host.mounts.expect("mounts");
        assert!(mounts[0].read_only);
        let options = host.log_config.config.expect("options");
        assert_eq!(options.keys().collect::<Vec<_>>(), ["Name", "tag"]);
        let bindings = host.port_bindings.expect("bindings");
        assert_eq!(bindings["80/tcp"][0].host_port, "80");
        let endpoints = request.networking_config.endpoints_config.expect("some");
        assert_eq!(endpoints["Bridge"].mac_address, "02:00:00:00:00:01");
    }
}
