//! A line of `GET /containers/json`.

use std::time::SystemTime;

use carrack_docker::engine::{Listed, describe_state};
use carrack_docker::mounts::{MountPoint, PointKind};
use carrack_docker::{Container, Engine};
use serde_json::{Value, json};

use super::{endpoint, time, with};
use crate::version::{ApiVersion, v};

/// Encodes a line.
pub(crate) fn line(
    engine: &Engine,
    listed: &Listed,
    now: SystemTime,
    version: ApiVersion,
) -> Value {
    let container = &listed.container;
    let record = &container.record;
    let (state, status) = describe_state(container, now);
    let mut value = json!({
        "Id": container.id().as_str(),
        "Names": [format!("/{}", record.name)],
        "Image": image_name(engine, container),
        "ImageID": record.image_id,
        "Command": command(container),
        "Created": time::seconds(container.view.created_at),
        "Ports": endpoint::port_list(container),
    });
    if let Some(bytes) = listed.size_rw.filter(|bytes| *bytes > 0) {
        with(&mut value, "SizeRw", bytes);
    }
    if let Some(bytes) = listed.size_root {
        with(&mut value, "SizeRootFs", bytes);
    }
    let mut host_config = json!({"NetworkMode": record.host_config.network_mode});
    if let Some(annotations) = record
        .host_config
        .annotations
        .as_ref()
        .filter(|_| version >= v(46))
    {
        with(&mut host_config, "Annotations", json!(annotations));
    }
    let mounts: Vec<Value> = record
        .mounts
        .iter()
        .filter(|point| !point.hidden)
        .map(mount)
        .collect();
    let rest = [
        (
            "Labels",
            json!(record.config.labels.clone().unwrap_or_default()),
        ),
        ("State", json!(state)),
        ("Status", json!(status)),
        ("HostConfig", host_config),
        (
            "NetworkSettings",
            json!({"Networks": endpoint::networks(container, version)}),
        ),
        ("Mounts", Value::Array(mounts)),
    ];
    for (name, member) in rest {
        with(&mut value, name, member);
    }
    value
}

/// The image as the client named it, unless the name means another one now.
fn image_name(engine: &Engine, container: &Container) -> String {
    let record = &container.record;
    match engine.images().resolve(&record.config.image) {
        Ok(image) if image.id().as_str() == record.image_id => record.config.image.clone(),
        _ => record.image_id.clone(),
    }
}

/// Program and arguments; those with blanks in quotes, as Docker has it.
fn command(container: &Container) -> String {
    let process = container.view.new.spec.process.as_ref();
    let words = process.map_or(&[][..], |process| process.args.as_slice());
    let quoted = words.iter().enumerate().map(|(position, word)| {
        if position > 0 && word.contains(' ') {
            format!("'{word}'")
        } else {
            word.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A mount as list and inspect show it.
pub(crate) fn mount(point: &MountPoint) -> Value {
    let mut value = json!({"Type": point.kind.as_str()});
    if point.kind == PointKind::Volume {
        with(&mut value, "Name", point.volume.as_str());
    }
    with(&mut value, "Source", point.source.as_str());
    with(&mut value, "Destination", point.destination.as_str());
    if point.kind == PointKind::Volume {
        with(&mut value, "Driver", "local");
    }
    with(&mut value, "Mode", point.mode.as_str());
    with(&mut value, "RW", !point.read_only);
    with(&mut value, "Propagation", point.propagation.as_str());
    value
}
