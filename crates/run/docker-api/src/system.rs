//! Ping, version, info, events, disk usage.

use carrack_docker::events::{Event, passes};
use carrack_serve::{Response, StreamSender};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, json};
use crate::failure::Failure;
use crate::version::{NEWEST, OLDEST, Version};
use crate::wire;

pub(crate) fn ping(call: &Call) -> Answer {
    let mut response = if call.request.method == Method::HEAD {
        Response::empty(StatusCode::OK)
    } else {
        Response::bytes(StatusCode::OK, "text/plain; charset=utf-8", "OK")
    };
    // A client without BuildKit's protocol builds by the classic endpoint.
    let fields = [("builder-version", "1"), ("swarm", "inactive")];
    for (name, value) in fields {
        response.headers.insert(name, HeaderValue::from_static(value));
    }
    response.headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    response.headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

pub(crate) fn version() -> Answer {
    let own = env!("CARGO_PKG_VERSION");
    let architecture = architecture();
    json(
        StatusCode::OK,
        &json!({
            "Platform": {"Name": "Carrack"},
            "Components": [{
                "Name": "Engine",
                "Version": own,
                "Details": {
                    "ApiVersion": NEWEST.to_string(),
                    "Arch": architecture,
                    "Experimental": "false",
                    "KernelVersion": kernel_release(),
                    "MinAPIVersion": OLDEST.to_string(),
                    "Os": "linux",
                },
            }],
            "Version": own,
            "ApiVersion": NEWEST.to_string(),
            "MinAPIVersion": OLDEST.to_string(),
            "Os": "linux",
            "Arch": architecture,
            "KernelVersion": kernel_release(),
        }),
    )
}

/// The running kernel's release.
fn kernel_release() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.trim().to_owned()
}

/// The machine's architecture as Go names it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn events(api: &Api, call: &Call) -> Answer {
    let bad = |text: String| Failure::bad_request(text);
    let since = wire::instant(call.query.text("since")).map_err(bad)?;
    let until = wire::instant(call.query.text("until")).map_err(bad)?;
    let filters = call.query.filters()?;
    let mut subscription = api.engine.events().subscribe();
    let shutdown = api.shutdown.clone();
    let version = call.version;
    let (response, sender) = Response::stream(StatusCode::OK, "application/json");
    let nanoseconds = |at: std::time::SystemTime| {
        jiff::Timestamp::try_from(at)
            .ok()
            .and_then(|at| i64::try_from(at.as_nanosecond()).ok())
            .unwrap_or(0)
    };
    let (since_ns, until_ns) = (since.map(nanoseconds), until.map(nanoseconds));
    tokio::spawn(async move {
        if let Some(since) = since_ns {
            for event in std::mem::take(&mut subscription.kept) {
                let in_time = event.at_ns >= since && until_ns.is_none_or(|until| event.at_ns <= until);
                if in_time && passes(&event, &filters) && send(&sender, &event, version).await.is_err() {
                    return;
                }
            }
        }
        let deadline = until.map(|until| {
            until.duration_since(std::time::SystemTime::now()).unwrap_or_default()
        });
        let end = async {
            match deadline {
                Some(rest) => tokio::time::sleep(rest).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            let event = tokio::select! {
                event = subscription.following.recv() => event,
                () = &mut end => break,
                () = sender.closed() => return,
                () = shutdown.asked() => break,
            };
            match event {
                Ok(event) => {
                    if passes(&event, &filters) && send(&sender, &event, version).await.is_err() {
                        return;
                    }
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
            }
        }
        let _gone = sender.finish().await;
    });
    Ok(response)
}

async fn send(
    sender: &StreamSender,
    event: &Event,
    version: Version,
) -> Result<(), carrack_serve::StreamClosed> {
    let mut line = describe(event, version).to_string();
    line.push('\n');
    sender.send(line).await
}

/// An event with the fields that older clients look at beside the newer ones.
fn describe(event: &Event, version: Version) -> Value {
    let kind = event.subject.as_str();
    let mut value = json!({
        "Type": kind,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": event.attributes},
        "scope": "local",
        "time": event.at_ns / 1_000_000_000,
        "timeNano": event.at_ns,
    });
    // Dropped by Docker with 1.52; containers and images had them.
    if version <= NEWEST && matches!(kind, "container" | "image") {
        value["status"] = event.action.clone().into();
        value["id"] = event.actor.clone().into();
        if let Some(image) = event.attributes.get("image").filter(|_| kind == "container") {
            value["from"] = image.clone().into();
        }
    }
    value
}

pub(crate) fn build_prune() -> Answer {
    json(StatusCode::OK, &json!({"CachesDeleted": null, "SpaceReclaimed": 0}))
}

pub(crate) async fn info(api: &Api) -> Answer {
    let engine = &api.engine;
    let counts = engine.counts();
    let host = engine.host();
    let os = os_release("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned());
    let own = env!("CARGO_PKG_VERSION");
    json(
        StatusCode::OK,
        &json!({
            "ID": engine.engine_id(),
            "Containers": counts.containers,
            "ContainersRunning": counts.running,
            "ContainersPaused": counts.paused,
            "ContainersStopped": counts.stopped,
            "Images": counts.images,
            "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
            "SystemStatus": null,
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
            "OomKillDisable": !host.cgroup_v2,
            "IPv4Forwarding": host.ipv4_forwarding,
            "BridgeNfIptables": false,
            "BridgeNfIp6tables": false,
            "Debug": false,
            "NFd": std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            "NGoroutines": 0,
            "SystemTime": jiff::Timestamp::now().to_string(),
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs",
            "CgroupVersion": if host.cgroup_v2 { "2" } else { "1" },
            "NEventsListener": engine.events().listeners(),
            "KernelVersion": kernel_release(),
            "OperatingSystem": os,
            "OSVersion": os_release("VERSION_ID").unwrap_or_default(),
            "OSType": "linux",
            "Architecture": std::env::consts::ARCH,
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": {
                "AllowNondistributableArtifactsCIDRs": null,
                "AllowNondistributableArtifactsHostnames": null,
                "InsecureRegistryCIDRs": ["127.0.0.0/8"],
                "IndexConfigs": {},
                "Mirrors": null,
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
            "ServerVersion": own,
            "Runtimes": {"carrack": {"path": "carrack"}},
            "DefaultRuntime": "carrack",
            "Swarm": {
                "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive",
                "ControlAvailable": false, "Error": "", "RemoteManagers": null,
            },
            "LiveRestoreEnabled": true,
            "Isolation": "",
            "InitBinary": "built in",
            "ContainerdCommit": {"ID": ""},
            "RuncCommit": {"ID": ""},
            "InitCommit": {"ID": ""},
            "SecurityOptions": ["name=seccomp,profile=builtin"],
            "CDISpecDirs": null,
            "Warnings": engine.warnings(),
        }),
    )
}

/// A value of os-release(5), unquoted.
fn os_release(key: &str) -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

pub(crate) async fn disk_usage(api: &Api, call: &Call) -> Answer {
    let usage = api.engine.disk_usage().await?;
    let counts = api.engine.image_use_counts();
    let images: Vec<Value> = usage
        .images
        .images
        .iter()
        .map(|image| {
            let id = image.summary.image.id().to_string();
            let used = counts.get(&id).copied().unwrap_or(0);
            crate::images::row(&image.summary, used, call.version)
        })
        .collect();
    let containers: Vec<Value> =
        usage.containers.iter().map(crate::container_json::row).collect();
    let volumes: Vec<Value> = usage
        .volumes
        .iter()
        .map(|volume| {
            let mut value = crate::volumes::describe(&volume.volume);
            value["UsageData"] = json!({"RefCount": volume.users, "Size": volume.bytes});
            value
        })
        .collect();
    json(
        StatusCode::OK,
        &json!({
            "LayersSize": usage.images.layers_bytes,
            "Images": images,
            "Containers": containers,
            "Volumes": volumes,
            "BuildCache": [],
        }),
    )
}
