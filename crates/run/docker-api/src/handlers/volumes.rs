//! Volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrack_volumes::CreateRequest;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::call::{Answer, Call, blocking, empty, json, ok};
use crate::error::ApiError;
use crate::json::read;
use crate::version::v;
use crate::wire;

/// Body of `POST /volumes/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    name: String,
    driver: String,
    driver_opts: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    cluster_volume_spec: Option<serde_json::Value>,
}

/// `GET /volumes`
pub(crate) async fn list(call: Call) -> Answer {
    let filters = call.query.filters()?;
    let engine = Arc::clone(&call.engine);
    let listed = blocking(move || engine.list_volumes(&filters)).await?;
    let lines: Vec<_> = listed
        .iter()
        .map(|volume| wire::volume::volume(volume))
        .collect();
    ok(&json!({"Volumes": lines, "Warnings": null}))
}

/// `GET /volumes/{name}`
pub(crate) async fn inspect(call: Call) -> Answer {
    let volume = call.engine.volumes().get(call.name())?;
    ok(&wire::volume::volume(&volume))
}

/// `POST /volumes/create`
pub(crate) async fn create(mut call: Call) -> Answer {
    let body: CreateBody = read(&mut call.request).await?;
    if body.cluster_volume_spec.is_some() {
        return Err(ApiError::not_yet("cluster-volume"));
    }
    let request = CreateRequest {
        name: Some(body.name).filter(|name| !name.is_empty()),
        driver: Some(body.driver).filter(|driver| !driver.is_empty()),
        options: body.driver_opts,
        labels: body.labels,
    };
    let engine = Arc::clone(&call.engine);
    let volume = blocking(move || engine.create_volume(request)).await?;
    json(StatusCode::CREATED, &wire::volume::volume(&volume))
}

/// `DELETE /volumes/{name}`
pub(crate) async fn remove(call: Call) -> Answer {
    let force = call.query.boolean("force");
    let (engine, name) = (Arc::clone(&call.engine), call.name().to_owned());
    blocking(move || engine.remove_volume(&name, force)).await?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /volumes/prune`
pub(crate) async fn prune(call: Call) -> Answer {
    let filters = call.query.filters()?;
    let named_too = call.version < v(42);
    let engine = Arc::clone(&call.engine);
    let (names, bytes) = blocking(move || engine.prune_volumes(&filters, named_too)).await?;
    let names = Some(names).filter(|names| !names.is_empty());
    ok(&json!({"VolumesDeleted": names, "SpaceReclaimed": bytes}))
}
