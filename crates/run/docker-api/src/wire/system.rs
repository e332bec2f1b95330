//! Version, info, disk usage.

use carrack_docker::Engine;
use carrack_docker::engine::DiskUsage;
use carrack_oci::runtime::SPEC_VERSION;
use serde_json::{Value, json};

use super::{image, list, volume, with};
use crate::version::{ApiVersion, MAX, MIN, v};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A client that has to show a registry shows this one.
const INDEX: &str = "https://index.docker.io/v1/";

/// `GET /version`
pub(crate) fn version() -> Value {
    let kernel = kernel();
    let arch = go_arch();
    json!({
        "Platform": {"Name": "Carrack"},
        "Components": [{
            "Name": "Engine",
            "Version": VERSION,
            "Details": {
                "ApiVersion": MAX.to_string(),
                "Arch": arch,
                "BuildTime": "",
                "Experimental": "false",
                "GitCommit": "",
                "GoVersion": "",
                "KernelVersion": kernel,
                "MinAPIVersion": MIN.to_string(),
                "Os": "linux",
            },
        }],
        "Version": VERSION,
        "ApiVersion": MAX.to_string(),
        "MinAPIVersion": MIN.to_string(),
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": arch,
        "KernelVersion": kernel,
        "BuildTime": "",
    })
}

/// `GET /info`
pub(crate) fn info(engine: &Engine, version: ApiVersion) -> Value {
    let (counts, host) = (engine.counts(), engine.host());
    let (name, release) = operating_system();
    let warnings = Some(engine.warnings()).filter(|warnings| !warnings.is_empty());
    let now = jiff::Timestamp::now().to_string();
    let mut runtime = json!({"path": "carrack-runtime"});
    if version >= v(44) {
        with(&mut runtime, "status", runtime_status());
    }
    let mut commit = json!({"ID": VERSION});
    if version < v(49) {
        with(&mut commit, "Expected", VERSION);
    }
    let mut value = json!({
        "ID": engine.engine_id(),
        "Containers": counts.containers,
        "ContainersRunning": counts.running,
        "ContainersPaused": counts.paused,
        "ContainersStopped": counts.stopped,
        "Images": counts.images,
        "Driver": "overlay2",
        "DriverStatus": [["Native Overlay Diff", "true"], ["userxattr", "false"]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": null,
            "Log": ["json-file", "local", "none"],
        },
        "MemoryLimit": true,
        "SwapLimit": host.swap_limit,
        "CpuCfsPeriod": true,
        "CpuCfsQuota": true,
        "CPUShares": true,
        "CPUSet": true,
        "PidsLimit": true,
        "IPv4Forwarding": host.ipv4_forwarding,
        "Debug": false,
        "NFd": open_descriptors(),
        "OomKillDisable": !host.cgroup_v2,
        "NGoroutines": 0,
        "SystemTime": now,
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": if host.cgroup_v2 { "2" } else { "1" },
        "NEventsListener": engine.events().listeners(),
    });
    let rest = json!({
        "KernelVersion": kernel(),
        "OperatingSystem": name,
        "OSVersion": release,
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "IndexServerAddress": INDEX,
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
            "IndexConfigs": {
                "docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true},
            },
            "Mirrors": [],
        },
        "NCPU": host.cpus,
        "MemTotal": host.memory_bytes,
        "GenericResources": null,
        "DockerRootDir": engine.data_root().display().to_string(),
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": host.hostname,
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": VERSION,
        "Runtimes": {"carrack": runtime.clone(), "runc": runtime.clone(), "io.containerd.runc.v2": runtime},
        "DefaultRuntime": "carrack",
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": false,
            "Error": "",
            "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "carrack",
        "ContainerdCommit": commit.clone(),
        "RuncCommit": commit.clone(),
        "InitCommit": commit,
        "SecurityOptions": security_options(host.cgroup_v2, version),
        "CDISpecDirs": [],
        "Warnings": warnings,
    });
    if let (Value::Object(value), Value::Object(rest)) = (&mut value, rest) {
        value.extend(rest);
    }
    if version < v(44) {
        with(&mut value, "KernelMemory", false);
        with(&mut value, "KernelMemoryTCP", false);
    }
    if version < v(47) {
        // Gone from Docker, but older clients look for them.
        let registry = &mut value["RegistryConfig"];
        with(registry, "AllowNondistributableArtifactsCIDRs", Value::Null);
        let hosts = "AllowNondistributableArtifactsHostnames";
        with(registry, hosts, Value::Null);
    }
    if version >= v(49) {
        with(&mut value, "FirewallBackend", json!({"Driver": "nftables"}));
    }
    if version < v(50) {
        with(&mut value, "BridgeNfIptables", false);
        with(&mut value, "BridgeNfIp6tables", false);
    }
    value
}

/// Which specification the runtime follows, in the form of its `features`.
fn runtime_status() -> Value {
    let features = json!({"ociVersionMin": "1.0.0", "ociVersionMax": SPEC_VERSION});
    json!({"org.opencontainers.runtime-spec.features": features.to_string()})
}

fn security_options(cgroup_v2: bool, version: ApiVersion) -> Vec<&'static str> {
    let (seccomp, cgroupns) = if version < v(25) {
        ("seccomp", "cgroupns")
    } else {
        ("name=seccomp,profile=builtin", "name=cgroupns")
    };
    let mut options = vec![seccomp];
    if cgroup_v2 {
        options.push(cgroupns);
    }
    options
}

/// `GET /system/df`. Kinds are those asked for; none is all.
pub(crate) fn disk_usage(
    engine: &Engine,
    usage: &DiskUsage,
    kinds: &[&str],
    version: ApiVersion,
) -> Value {
    let wanted = |kind: &str| kinds.is_empty() || kinds.contains(&kind);
    let mut value = json!({});
    if wanted("image") {
        let counts = engine.image_use_counts();
        let images = usage.images.images.iter().map(|each| {
            let users = counts
                .get(each.summary.image.id().as_str())
                .copied()
                .unwrap_or(0);
            image::line(&each.summary, true, Some(users), version)
        });
        with(&mut value, "LayersSize", usage.images.layers_bytes);
        with(&mut value, "Images", images.collect::<Vec<_>>());
    } else {
        with(&mut value, "Images", Value::Null);
    }
    let now = std::time::SystemTime::now();
    let containers = wanted("container").then(|| {
        let lines = usage.containers.iter();
        lines
            .map(|line| list::line(engine, line, now, version))
            .collect::<Vec<_>>()
    });
    with(&mut value, "Containers", json!(containers));
    let volumes = wanted("volume").then(|| {
        let encoded = usage.volumes.iter().map(|each| {
            let mut line = volume::volume(&each.volume);
            with(
                &mut line,
                "UsageData",
                json!({"RefCount": each.users, "Size": each.bytes}),
            );
            line
        });
        encoded.collect::<Vec<_>>()
    });
    with(&mut value, "Volumes", json!(volumes));
    with(
        &mut value,
        "BuildCache",
        json!(wanted("build-cache").then(Vec::<Value>::new)),
    );
    if version < v(42) {
        with(&mut value, "BuilderSize", 0);
    }
    value
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Go's name of the architecture.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Name and version from `os-release(5)`.
fn operating_system() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|line| line.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    (value("PRETTY_NAME"), value("VERSION_ID"))
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
