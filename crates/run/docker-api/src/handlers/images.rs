//! Images: list, inspect, history, tag, remove, prune.

use std::sync::Arc;

use carrack_images::RemoveOptions;
use http::StatusCode;

use crate::call::{Answer, Call, blocking, empty, ok};
use crate::error::ApiError;
use crate::handlers::platform;
use crate::version::v;
use crate::wire;

/// `GET /images/json`
pub(crate) async fn list(call: Call) -> Answer {
    let mut filters = call.query.filters()?;
    // Before 1.41 a pattern had a parameter of its own.
    if let Some(pattern) = call.query.given("filter").filter(|_| call.version < v(41)) {
        filters.add("reference", pattern);
    }
    let everything = call.query.boolean("all");
    let shared = call.version >= v(42) && call.query.boolean("shared-size");
    let listed = call.engine.list_images(&filters, everything)?;
    let counts = (call.version >= v(51)).then(|| call.engine.image_use_counts());
    let lines: Vec<_> = listed
        .iter()
        .map(|summary| {
            let users = counts.as_ref().map(|counts| {
                let id = summary.image.id().as_str();
                counts.get(id).copied().unwrap_or(0)
            });
            wire::image::line(summary, shared, users, call.version)
        })
        .collect();
    ok(&lines)
}

/// `GET /images/{name}/json`
pub(crate) async fn inspect(call: Call) -> Answer {
    let platform = platform::wanted(&call, "platform", v(49))?;
    if platform.is_some() && call.version >= v(48) && call.query.boolean("manifests") {
        return Err(ApiError::bad_request(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let _pin = platform::pinned(&call, call.name(), platform).await?;
    let (engine, name) = (Arc::clone(&call.engine), call.name().to_owned());
    let inspection = blocking(move || engine.images().inspect(&name)).await?;
    ok(&wire::image::inspect(
        &inspection,
        call.engine.data_root(),
        call.version,
    ))
}

/// `GET /images/{name}/history`
pub(crate) async fn history(call: Call) -> Answer {
    let platform = platform::wanted(&call, "platform", v(48))?;
    let _pin = platform::pinned(&call, call.name(), platform).await?;
    let (engine, name) = (Arc::clone(&call.engine), call.name().to_owned());
    let history = blocking(move || engine.images().history(&name)).await?;
    let lines: Vec<_> = history.iter().map(wire::image::history_line).collect();
    ok(&lines)
}

/// `POST /images/{name}/tag`
pub(crate) async fn tag(call: Call) -> Answer {
    let repository = call.query.get("repo");
    let target = match call.query.given("tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    };
    if repository.is_empty() {
        return Err(ApiError::bad_request("invalid reference format"));
    }
    let (engine, name) = (Arc::clone(&call.engine), call.name().to_owned());
    blocking(move || engine.images().tag(&name, &target)).await?;
    empty(StatusCode::CREATED)
}

/// `DELETE /images/{name}`
pub(crate) async fn remove(call: Call) -> Answer {
    let options = RemoveOptions {
        force: call.query.boolean("force"),
        keep_parents: call.query.boolean("noprune"),
    };
    let platform = platform::wanted(&call, "platforms", v(50))?;
    // The pin must not outlive the look: it would keep the image.
    drop(platform::pinned(&call, call.name(), platform).await?);
    let (engine, name) = (Arc::clone(&call.engine), call.name().to_owned());
    let removed = blocking(move || engine.remove_image(&name, options)).await?;
    ok(&wire::image::removed(&removed))
}

/// `POST /images/prune`
pub(crate) async fn prune(call: Call) -> Answer {
    let filters = call.query.filters()?;
    let engine = Arc::clone(&call.engine);
    let pruned = blocking(move || engine.prune_images(&filters)).await?;
    let removed = Some(wire::image::removed(&pruned.removed)).filter(|lines| !lines.is_empty());
    ok(&serde_json::json!({
        "ImagesDeleted": removed,
        "SpaceReclaimed": pruned.reclaimed_bytes,
    }))
}
