//! `GET /containers/{id}/json`.

use carrack_containers::{Phase, State};
use carrack_docker::engine::describe_state;
use carrack_docker::{Container, Engine};
use serde_json::{Value, json};

use super::{endpoint, list, time, with, without};
use crate::version::{ApiVersion, v};

/// Encodes a container; `sizes` are those of its own layer and of all.
pub(crate) fn container(
    engine: &Engine,
    container: &Container,
    sizes: Option<(u64, u64)>,
    version: ApiVersion,
) -> Value {
    let (record, view) = (&container.record, &container.view);
    let process = view.new.spec.process.as_ref();
    let words = process.map_or(&[][..], |process| process.args.as_slice());
    let (path, arguments) = words
        .split_first()
        .map_or(("", words), |(first, rest)| (first.as_str(), rest));
    let file = |name: &str| view.directory.join(name).display().to_string();
    // Files of the driver `local` are nobody's to read, in Docker's eyes.
    let has_log = view.new.log != carrack_containers::LogPolicy::None
        && record.host_config.log_config.driver != "local";
    let log_path = if has_log {
        view.log_path.display().to_string()
    } else {
        String::new()
    };
    let execs = Some(&view.execs).filter(|execs| !execs.is_empty());
    let mut value = json!({
        "Id": container.id().as_str(),
        "Created": time::system_time(view.created_at),
        "Path": path,
        "Args": arguments,
        "State": state(container),
        "Image": record.image_id,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log_path,
        "Name": format!("/{}", record.name),
        "RestartCount": container.restart.count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": execs,
        "HostConfig": record.host_config,
        "GraphDriver": {
            "Data": {
                "LowerDir": lower_directories(engine, container),
                "MergedDir": merged(container),
                "UpperDir": file("upper"),
                "WorkDir": file("work"),
            },
            "Name": "overlay2",
        },
    });
    if let Some((own, all)) = sizes {
        with(&mut value, "SizeRw", own);
        with(&mut value, "SizeRootFs", all);
    }
    let shown = record.mounts.iter().filter(|point| !point.hidden);
    with(
        &mut value,
        "Mounts",
        shown.map(list::mount).collect::<Vec<_>>(),
    );
    with(&mut value, "Config", config(container, version));
    let settings = endpoint::network_settings(container, version);
    with(&mut value, "NetworkSettings", settings);
    value
}

fn state(container: &Container) -> Value {
    let state = &container.view.state;
    let now = std::time::SystemTime::now();
    let (word, _) = describe_state(container, now);
    let State {
        pid,
        exit_code,
        oom_killed,
        error,
        ..
    } = state;
    let waiting = container.restart.waiting;
    json!({
        "Status": word,
        // A container that waits for its restart counts as running.
        "Running": matches!(state.phase, Phase::Running | Phase::Paused) || waiting,
        "Paused": state.phase == Phase::Paused,
        "Restarting": waiting,
        "OOMKilled": oom_killed,
        "Dead": state.phase == Phase::Dead,
        "Pid": pid,
        "ExitCode": exit_code,
        "Error": error,
        "StartedAt": time::optional(state.started_at),
        "FinishedAt": time::optional(state.finished_at),
    })
}

fn config(container: &Container, version: ApiVersion) -> Value {
    let mut config = container.record.config.clone();
    // What the address follows from is the engine's choice.
    config.mac_address = String::new();
    let mut value = serde_json::to_value(&config).unwrap_or_default();
    if version < v(44) {
        without(&mut value, &["MacAddress"]);
    }
    value
}

fn lower_directories(engine: &Engine, container: &Container) -> String {
    let chain = &container.view.new.rootfs.chain;
    let snapshots = engine.images().snapshots();
    let paths = chain
        .iter()
        .rev()
        .map(|chain| snapshots.layer_path(chain).display().to_string());
    paths.collect::<Vec<_>>().join(":")
}

/// Where the whole root is seen on the host: through the first process, as it
/// is mounted nowhere else. Of one that does not run a path that is not there,
/// as Docker's.
fn merged(container: &Container) -> String {
    let view = &container.view;
    match view.state.pid {
        0 => view.directory.join("merged").display().to_string(),
        pid => format!("/proc/{pid}/root"),
    }
}
