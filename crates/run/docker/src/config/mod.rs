//! What a client asks a container to be, in Docker's words.
//!
//! These types are both taken (`POST /containers/create`) and given back
//! (`inspect`), and kept in a container's record in between, so they carry
//! Docker's field names: a second set without them would only be copied to
//! and fro. What Go writes as `null` (a nil slice or map) is an absent
//! `Option` here, so that it comes back as it was.

mod container;
mod host;
mod mounts;
mod names;
mod network;
mod resources;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use container::{ContainerConfig, Healthcheck, PortSet, VolumeSet};
pub use host::{HostConfig, LogConfig, RestartPolicy};
pub use mounts::{
    BindOptions, ImageOptions, Mount, MountKind, TmpfsOptions, VolumeDriverConfig, VolumeOptions,
};
pub use names::normalize_names;
pub use network::{EndpointSettings, IpamConfig, NetworkingConfig, PortMap, PublishedPort};
pub use resources::{
    DeviceMapping, DeviceRequest, Resources, ThrottleDevice, Ulimit, WeightDevice,
};

/// Body of `POST /containers/create`.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// What is run.
    pub config: ContainerConfig,
    /// How it is isolated and limited.
    pub host_config: HostConfig,
    /// Its networks.
    pub networking_config: NetworkingConfig,
}

/// Why a JSON document is not the request it should be.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A field has the wrong type.
    #[error("decode the request")]
    Field(#[source] serde_json::Error),
    /// There is nothing in it.
    #[error("config cannot be empty in order to create a container")]
    EmptyConfig,
    /// The document is no object.
    #[error("the request is not an object")]
    NotAnObject(Value),
}

impl CreateRequest {
    /// Takes the three parts out of one object: the container's own fields
    /// lie beside `HostConfig` and `NetworkingConfig`.
    pub fn from_json(document: Value) -> Result<Self, DecodeError> {
        let mut object = match document {
            Value::Object(object) => object,
            Value::Null => return Err(DecodeError::EmptyConfig),
            other => return Err(DecodeError::NotAnObject(other)),
        };
        let host_config = object.remove("HostConfig").unwrap_or_default();
        let networking_config = object.remove("NetworkingConfig").unwrap_or_default();
        if object.is_empty() {
            return Err(DecodeError::EmptyConfig);
        }
        Ok(Self {
            config: from_json(Value::Object(object))?,
            host_config: from_json(host_config)?,
            networking_config: from_json(networking_config)?,
        })
    }
}

/// Decodes as Go does: `null` leaves a field as it is, at any depth, and a
/// `null` document is the default.
pub fn from_json<T: DeserializeOwned + Default>(mut document: Value) -> Result<T, DecodeError> {
    strip_nulls(&mut document);
    if document.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(document).map_err(DecodeError::Field)
}

/// Maps of Go's keep their keys, with the zero of their values; nothing for
/// what is no map.
fn zero_in_map(name: &str) -> Option<Value> {
    match name {
        "ExposedPorts" | "Volumes" => Some(Value::Object(Map::new())),
        "PortBindings" => Some(Value::Array(Vec::new())),
        "Labels" | "Annotations" | "Config" | "DriverOpts" | "Options" | "StorageOpt"
        | "Sysctls" | "Tmpfs" => Some(Value::String(String::new())),
        _ => None,
    }
}

/// Removes members that are `null`. Documents are bounded in depth by the
/// parser (128), so the recursion is.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            for (name, member) in members.iter_mut() {
                if let (Some(zero), Value::Object(entries)) = (zero_in_map(name), &mut *member) {
                    let nulls = entries.values_mut().filter(|entry| entry.is_null());
                    nulls.for_each(|entry| *entry = zero.clone());
                }
                strip_nulls(member);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// For `skip_serializing_if`.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(body: Value, expected: Expect) {
        let text = match CreateRequest::from_json(body) {
            Ok(request) => format!(
                "{}\n{}\n{}",
                serde_json::to_string(&request.config).expect("JSON"),
                serde_json::to_string(&request.host_config).expect("JSON"),
                serde_json::to_string(&request.networking_config).expect("JSON"),
            ),
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn what_is_not_given_comes_back_as_go_writes_it() {
        check(
            json!({"Image": "busybox", "Hostname": null, "Cmd": "one word", "Entrypoint": []}),
            expect![[r#"
                {"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":["one word"],"Image":"busybox","Volumes":null,"WorkingDir":"","Entrypoint":[],"OnBuild":null,"Labels":null}
                {"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":null},"NetworkMode":"","PortBindings":null,"RestartPolicy":{"Name":"","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":null,"DnsOptions":null,"DnsSearch":null,"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":null,"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,"BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":null,"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":null,"PidsLimit":null,"Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null}
                {"EndpointsConfig":null}"#]],
        );
    }

    #[test]
    fn nulls_are_left_out_at_any_depth() {
        check(
            json!({
                "Image": "a",
                "HostConfig": {
                    "Memory": null,
                    "PortBindings": {"80/tcp": [{"HostIp": null, "HostPort": "80"}], "81/udp": null},
                    "Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": null}],
                    "PidsLimit": -1, "OomKillDisable": false, "Init": true,
                },
                "NetworkingConfig": {"EndpointsConfig": {"bridge": {"Aliases": null, "Links": ["a"]}}},
            }),
            expect![[r#"
                {"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"a","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}
                {"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":null},"NetworkMode":"","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"80"}],"81/udp":[]},"RestartPolicy":{"Name":"","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":null,"DnsOptions":null,"DnsSearch":null,"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":null,"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,"BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":null,"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":null,"OomKillDisable":false,"PidsLimit":-1,"Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"Mounts":[{"Type":"bind","Source":"/a","Target":"/b"}],"MaskedPaths":null,"ReadonlyPaths":null,"Init":true}
                {"EndpointsConfig":{"bridge":{"IPAMConfig":null,"Links":["a"],"Aliases":null,"MacAddress":"","DriverOpts":null,"GwPriority":0,"NetworkID":"","EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0,"IPv6Gateway":"","GlobalIPv6Address":"","GlobalIPv6PrefixLen":0,"DNSNames":null}}}"#]],
        );
    }

    #[test]
    fn a_map_keeps_its_keys() {
        let body = json!({
            "Image": "a", "ExposedPorts": {"80/tcp": null}, "Volumes": {"/v": null},
            "Labels": {"a": null}, "HostConfig": {"Sysctls": {"b": null}},
        });
        let request = CreateRequest::from_json(body).expect("good");
        let config = serde_json::to_value(&request.config).expect("JSON");
        assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(config["Volumes"], json!({"/v": {}}));
        assert_eq!(config["Labels"], json!({"a": ""}));
        let sysctls = request.host_config.sysctls.expect("given");
        assert_eq!(sysctls["b"], "");
    }

    #[test]
    fn refused() {
        check(
            json!({}),
            expect!["error: config cannot be empty in order to create a container"],
        );
        check(
            json!(null),
            expect!["error: config cannot be empty in order to create a container"],
        );
        check(
            json!({"HostConfig": {"Memory": 1}}),
            expect!["error: config cannot be empty in order to create a container"],
        );
        check(json!([]), expect!["error: the request is not an object"]);
        check(json!({"Image": 1}), expect!["error: decode the request"]);
        check(
            json!({"Image": "a", "HostConfig": {"Memory": 1.5}}),
            expect!["error: decode the request"],
        );
    }
}
