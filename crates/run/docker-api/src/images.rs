//! Images.

use std::sync::Arc;

use carrack_docker::Error;
use carrack_images::{
    ImportOptions, Inspection, LoadOptions, RemoveOptions, Removed,
    Summary,
};
use carrack_oci::{Platform, Reference};
use carrack_serve::Response;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call, json};
use crate::failure::{Failure, with_causes};
use crate::version::Version;
use crate::volumes::blocking;
use crate::wire;

pub(crate) async fn list(api: &Api, call: &Call) -> Answer {
    let (filters, everything) = (call.query.filters()?, call.query.flag("all"));
    let engine = Arc::clone(&api.engine);
    let list = blocking(move || engine.list_images(&filters, everything)).await?;
    let counts = api.engine.image_use_counts();
    let version = call.version;
    let rows: Vec<Value> = list
        .iter()
        .map(|summary| {
            let count = counts.get(summary.image.id().as_str()).copied().unwrap_or(0);
            row(summary, count, version)
        })
        .collect();
    json(StatusCode::OK, &rows)
}

fn names(references: &[Reference]) -> Vec<String> {
    references.iter().map(|r| r.familiar().to_string()).collect()
}

/// One row of a list.
pub(crate) fn row(summary: &Summary, containers: i64, version: Version) -> Value {
    let image = &summary.image;
    let labels = &image.config().labels;
    let mut row = json!({
        "Containers": containers,
        "Created": image.created().map_or(0, Timestamp::as_second),
        "Id": image.id().to_string(),
        "Labels": if labels.is_empty() { Value::Null } else { json!(labels) },
        "ParentId": summary.parent.as_ref().map_or_else(String::new, ToString::to_string),
        "RepoDigests": names(&summary.digests),
        "RepoTags": names(&summary.tags),
        "SharedSize": summary.shared_size,
        "Size": summary.size,
    });
    if version < Version::minor(44) {
        row["VirtualSize"] = summary.size.into();
    }
    row
}

pub(crate) async fn inspect(api: &Api, call: &Call) -> Answer {
    let name = call.name().to_owned();
    let engine = Arc::clone(&api.engine);
    let inspection =
        blocking(move || engine.images().inspect(&name).map_err(Error::from)).await?;
    json(StatusCode::OK, &describe(&inspection, call.version))
}

fn describe(inspection: &Inspection, version: Version) -> Value {
    let image = &inspection.image;
    let config = &inspection.config;
    let mut value = json!({
        "Id": image.id().to_string(),
        "RepoTags": names(&inspection.tags),
        "RepoDigests": names(&inspection.digests),
        "Parent": inspection.parent.as_ref().map_or_else(String::new, ToString::to_string),
        "Comment": config.comment.clone().unwrap_or_default(),
        "Created": config.created.clone().unwrap_or_else(|| wire::NEVER.to_owned()),
        "DockerVersion": "",
        "Author": config.author.clone().unwrap_or_default(),
        "Config": config.config,
        "Architecture": image.platform().architecture,
        "Os": image.platform().os,
        "Size": image.size(),
        "GraphDriver": {"Name": "overlay2", "Data": null},
        "RootFS": {
            "Type": "layers",
            "Layers": image.layers().iter().map(|l| l.diff_id.to_string()).collect::<Vec<_>>(),
        },
        "Metadata": {
            "LastTagTime": inspection
                .last_tagged
                .map_or_else(|| wire::NEVER.to_owned(), |at| at.to_string()),
        },
    });
    if let Some(manifest) = &inspection.manifest {
        value["Descriptor"] = json!(manifest);
    }
    if version < Version::minor(44) {
        value["VirtualSize"] = image.size().into();
    }
    value
}

pub(crate) async fn history(api: &Api, call: &Call) -> Answer {
    let name = call.name().to_owned();
    let engine = Arc::clone(&api.engine);
    let history =
        blocking(move || engine.images().history(&name).map_err(Error::from)).await?;
    let rows: Vec<Value> = history
        .iter()
        .map(|entry| {
            let tags = names(&entry.tags);
            json!({
                "Id": entry.id.as_ref().map_or_else(|| "<missing>".to_owned(), ToString::to_string),
                "Created": entry.created.map_or(0, Timestamp::as_second),
                "CreatedBy": entry.created_by,
                "Tags": if tags.is_empty() { Value::Null } else { json!(tags) },
                "Size": entry.size,
                "Comment": entry.comment,
            })
        })
        .collect();
    json(StatusCode::OK, &rows)
}

pub(crate) async fn tag(api: &Api, call: &Call) -> Answer {
    let repository = call.query.text("repo");
    let target = match call.query.text("tag") {
        "" => repository.to_owned(),
        tag => format!("{repository}:{tag}"),
    };
    let source = call.name().to_owned();
    let engine = Arc::clone(&api.engine);
    blocking(move || engine.images().tag(&source, &target).map_err(Error::from)).await?;
    Ok(Response::empty(StatusCode::CREATED))
}

/// What a removal did, a line each; layers have lines of their own.
fn changes(removed: &[Removed]) -> Vec<Value> {
    removed
        .iter()
        .map(|change| match change {
            Removed::Untagged(reference) => json!({"Untagged": reference.familiar().to_string()}),
            Removed::Deleted(id) => json!({"Deleted": id.to_string()}),
            Removed::DeletedLayer(chain) => json!({"Deleted": chain.to_string()}),
        })
        .collect()
}

pub(crate) async fn remove(api: &Api, call: &Call) -> Answer {
    let options = RemoveOptions {
        force: call.query.flag("force"),
        keep_parents: call.query.flag("noprune"),
    };
    let name = call.name().to_owned();
    let engine = Arc::clone(&api.engine);
    let removed = blocking(move || engine.remove_image(&name, options)).await?;
    json(StatusCode::OK, &changes(&removed))
}

pub(crate) async fn prune(api: &Api, call: &Call) -> Answer {
    let filters = call.query.filters()?;
    let engine = Arc::clone(&api.engine);
    let pruned = blocking(move || engine.prune_images(&filters)).await?;
    let deleted = changes(&pruned.removed);
    json(
        StatusCode::OK,
        &json!({
            "ImagesDeleted": if deleted.is_empty() { Value::Null } else { deleted.into() },
            "SpaceReclaimed": pruned.reclaimed_bytes,
        }),
    )
}

/// The platform that a request names, as text or as JSON.
fn platform(call: &Call) -> Result<Option<Platform>, Failure> {
    match call.query.text("platform") {
        "" => Ok(None),
        text if text.starts_with('{') => serde_json::from_str(text)
            .map(Some)
            .map_err(|error| Failure::bad_request(format!("invalid platform: {error}"))),
        text => text.parse().map(Some).map_err(|error: carrack_oci::PlatformError| {
            Failure::bad_request(error.to_string())
        }),
    }
}

pub(crate) async fn load(api: &Api, call: Call) -> Answer {
    let options = LoadOptions { platform: platform(&call)? };
    let quiet = call.query.flag("quiet");
    let (response, sender) = Response::stream(StatusCode::OK, "application/json");
    let body = call.request.body.into_reader();
    let engine = Arc::clone(&api.engine);
    tokio::task::spawn_blocking(move || {
        let say = |value: Value| sender.send_blocking(format!("{value}\r\n"));
        let progress = |p: carrack_images::Progress<'_>| {
            if !quiet {
                // A client that went away does not stop the load.
                let _gone = say(json!({
                    "status": "Loading layer",
                    "progressDetail": {"current": p.current, "total": p.total},
                    "id": p.diff_id.0.short(),
                }));
            }
        };
        match engine.images().load(body, &options, &progress) {
            Ok(loaded) => {
                for line in loaded.lines() {
                    let _gone = say(json!({"stream": format!("{line}\n")}));
                }
            }
            Err(error) => {
                let text = with_causes(&error);
                let _gone = say(json!({"errorDetail": {"message": text}, "error": text}));
            }
        }
        let _gone = sender.finish_blocking();
    });
    Ok(response)
}

pub(crate) async fn save(api: &Api, call: &Call) -> Answer {
    let names = match call.name() {
        "" => call.query.all("names"),
        name => vec![name.to_owned()],
    };
    let names: Vec<String> =
        names.iter().flat_map(|n| n.split(',')).filter(|n| !n.is_empty()).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Failure::bad_request("no image names were given"));
    }
    for name in &names {
        api.engine.images().resolve(name).map_err(Error::from)?;
    }
    let (response, sender) = Response::stream(StatusCode::OK, "application/x-tar");
    let engine = Arc::clone(&api.engine);
    tokio::task::spawn_blocking(move || {
        let ending = sender.clone();
        let out = std::io::BufWriter::with_capacity(64 << 10, sender.into_writer());
        match engine.images().save(&names, out) {
            Ok(()) => {
                let _gone = ending.finish_blocking();
            }
            Err(error) => tracing::warn!(error = with_causes(&error), "save images"),
        }
    });
    Ok(response)
}

/// `fromSrc` imports; `fromImage` is a pull, which is not there yet.
pub(crate) async fn create(api: &Api, call: Call) -> Answer {
    let source = call.query.text("fromSrc").to_owned();
    if source.is_empty() {
        let sentence = carrack_docker::not_yet::sentence("pull");
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, sentence));
    }
    if source != "-" {
        return Err(Failure::new(
            StatusCode::NOT_IMPLEMENTED,
            "importing from a URL is not supported; fetch the archive and import it from a file",
        ));
    }
    let repository = call.query.text("repo");
    let reference = match (repository, call.query.text("tag")) {
        ("", _) => None,
        (repository, "") => Some(repository.to_owned()),
        (repository, tag) => Some(format!("{repository}:{tag}")),
    };
    let options = ImportOptions {
        reference,
        changes: call.query.all("changes"),
        message: call.query.get("message").filter(|m| !m.is_empty()).map(str::to_owned),
        platform: platform(&call)?,
    };
    let (response, sender) = Response::stream(StatusCode::OK, "application/json");
    let body = call.request.body.into_reader();
    let engine = Arc::clone(&api.engine);
    tokio::task::spawn_blocking(move || {
        let say = |value: Value| sender.send_blocking(format!("{value}\r\n"));
        match engine.images().import(body, options, &|_| {}) {
            Ok(image) => {
                let _gone = say(json!({"status": image.id().to_string()}));
            }
            Err(error) => {
                let text = with_causes(&error);
                let _gone = say(json!({"errorDetail": {"message": text}, "error": text}));
            }
        }
        let _gone = sender.finish_blocking();
    });
    Ok(response)
}
