//! Volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrack_docker::Error;
use carrack_volumes::{CreateRequest, Volume};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, json, no_content};
use crate::body;
use crate::failure::Failure;
use crate::version::Version;
use crate::wire;

/// A volume as JSON; the driver's options are `null` where there are none.
pub(crate) fn describe(volume: &Volume) -> Value {
    let options = if volume.options().is_empty() { Value::Null } else { json!(volume.options()) };
    let labels = if volume.labels().is_empty() { Value::Null } else { json!(volume.labels()) };
    json!({
        "CreatedAt": wire::seconds_time(volume.created()),
        "Driver": "local",
        "Labels": labels,
        "Mountpoint": volume.mountpoint().display().to_string(),
        "Name": volume.name().as_str(),
        "Options": options,
        "Scope": "local",
    })
}

/// Runs something that blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Failure> {
    let outcome = tokio::task::spawn_blocking(work).await.map_err(Error::from)?;
    Ok(outcome?)
}

pub(crate) async fn list(api: &Api, call: &Call) -> Answer {
    let filters = call.query.filters()?;
    let engine = Arc::clone(&api.engine);
    let volumes = blocking(move || engine.list_volumes(&filters)).await?;
    let described: Vec<Value> = volumes.iter().map(|v| describe(v)).collect();
    json(StatusCode::OK, &json!({"Volumes": described, "Warnings": null}))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    name: String,
    driver: String,
    driver_opts: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    cluster_volume_spec: Option<Value>,
}

pub(crate) async fn create(api: &Api, mut call: Call) -> Answer {
    let body: CreateBody = body::decode(&mut call.request).await?;
    if body.cluster_volume_spec.is_some() {
        let sentence = carrack_docker::not_yet::sentence("cluster-volume");
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, sentence));
    }
    let request = CreateRequest {
        name: Some(body.name).filter(|n| !n.is_empty()),
        driver: Some(body.driver).filter(|d| !d.is_empty()),
        options: body.driver_opts,
        labels: body.labels,
    };
    let engine = Arc::clone(&api.engine);
    let volume = blocking(move || engine.create_volume(request)).await?;
    json(StatusCode::CREATED, &describe(&volume))
}

pub(crate) async fn inspect(api: &Api, call: &Call) -> Answer {
    let volume = api.engine.volumes().get(call.name()).map_err(Error::from)?;
    json(StatusCode::OK, &describe(&volume))
}

pub(crate) async fn remove(api: &Api, call: &Call) -> Answer {
    let (name, force) = (call.name().to_owned(), call.query.flag("force"));
    let engine = Arc::clone(&api.engine);
    blocking(move || engine.remove_volume(&name, force)).await?;
    no_content()
}

pub(crate) async fn prune(api: &Api, call: &Call) -> Answer {
    let filters = call.query.filters()?;
    let named_too = call.version < Version::minor(42);
    let engine = Arc::clone(&api.engine);
    let (names, bytes) = blocking(move || engine.prune_volumes(&filters, named_too)).await?;
    json(StatusCode::OK, &json!({"VolumesDeleted": names, "SpaceReclaimed": bytes}))
}
