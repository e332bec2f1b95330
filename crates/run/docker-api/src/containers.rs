//! Containers: the verbs. Their JSON is in `container_json`.

use carrack_docker::config::{CreateRequest, Resources, RestartPolicy};
use carrack_docker::engine::{CreateOptions, ListOptions, RemoveOptions, UpdateRequest};
use http::StatusCode;
use serde_json::json;

use crate::api::{Answer, Api, Call, json, no_content};
use crate::body;
use crate::container_json;
use crate::failure::Failure;
use crate::version::Version;

pub(crate) async fn list(api: &Api, call: &Call) -> Answer {
    let limit = call.query.number("limit")?.unwrap_or(0);
    let options = ListOptions {
        all: call.query.flag("all"),
        limit,
        sizes: call.query.flag("size"),
        filters: call.query.filters()?,
    };
    let listed = api.engine.list(&options).await?;
    let rows: Vec<_> = listed.iter().map(container_json::row).collect();
    json(StatusCode::OK, &rows)
}

pub(crate) async fn create(api: &Api, mut call: Call) -> Answer {
    let document = body::document(&mut call.request).await?.unwrap_or_default();
    let request =
        CreateRequest::from_json(document).map_err(|error| body::decode_failure(&error))?;
    let options = CreateOptions {
        name: call.query.get("name").filter(|n| !n.is_empty()).map(str::to_owned),
        platform: call.query.get("platform").filter(|p| !p.is_empty()).map(str::to_owned),
        read_only_is_shallow: call.version < Version::minor(44),
    };
    let created = api.engine.create(request, options).await?;
    json(
        StatusCode::CREATED,
        &json!({"Id": created.id.as_str(), "Warnings": created.warnings}),
    )
}

pub(crate) async fn inspect(api: &Api, call: &Call) -> Answer {
    let container = api.engine.container(call.name())?;
    let size = if call.query.flag("size") {
        Some(api.engine.sizes(&container).await)
    } else {
        None
    };
    json(StatusCode::OK, &container_json::inspect(&container, size))
}

pub(crate) async fn top(api: &Api, call: &Call) -> Answer {
    let arguments = call.query.get("ps_args").filter(|a| !a.is_empty()).unwrap_or("-ef");
    let top = api.engine.top(call.name(), arguments).await?;
    json(StatusCode::OK, &json!({"Titles": top.titles, "Processes": top.processes}))
}

pub(crate) async fn start(api: &Api, call: &Call) -> Answer {
    if call.query.get("checkpoint").is_some_and(|c| !c.is_empty()) {
        let sentence = carrack_docker::not_yet::sentence("checkpoint");
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, sentence));
    }
    api.engine.start(call.name()).await?;
    no_content()
}

/// `t`, in seconds; absent takes the container's own.
fn timeout(call: &Call) -> Result<Option<i64>, Failure> {
    call.query.number("t")
}

fn signal(call: &Call) -> Option<&str> {
    call.query.get("signal").filter(|s| !s.is_empty())
}

pub(crate) async fn stop(api: &Api, call: &Call) -> Answer {
    api.engine.stop(call.name(), signal(call), timeout(call)?).await?;
    no_content()
}

pub(crate) async fn restart(api: &Api, call: &Call) -> Answer {
    api.engine.restart(call.name(), signal(call), timeout(call)?).await?;
    no_content()
}

pub(crate) async fn kill(api: &Api, call: &Call) -> Answer {
    api.engine.kill(call.name(), signal(call)).await?;
    no_content()
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateBody {
    #[serde(flatten)]
    resources: Resources,
    restart_policy: RestartPolicy,
}

pub(crate) async fn update(api: &Api, mut call: Call) -> Answer {
    let body: UpdateBody = body::decode(&mut call.request).await?;
    let request = UpdateRequest {
        resources: body.resources,
        restart_policy: body.restart_policy,
    };
    let warnings = api.engine.update(call.name(), request).await?;
    json(StatusCode::OK, &json!({"Warnings": warnings}))
}

pub(crate) async fn rename(api: &Api, call: &Call) -> Answer {
    api.engine.rename(call.name(), call.query.text("name")).await?;
    no_content()
}

pub(crate) async fn pause(api: &Api, call: &Call) -> Answer {
    api.engine.pause(call.name()).await?;
    no_content()
}

pub(crate) async fn unpause(api: &Api, call: &Call) -> Answer {
    api.engine.unpause(call.name()).await?;
    no_content()
}

/// Rows and columns of a terminal, with Go's sentence for a bad number.
pub(crate) fn size(call: &Call) -> Result<(u16, u16), Failure> {
    let number = |name: &str, what: &str| {
        let text = call.query.text(name);
        text.parse::<u32>().map(|n| u16::try_from(n).unwrap_or(u16::MAX)).map_err(|_| {
            Failure::bad_request(format!("invalid resize {what} {text:?}: invalid syntax"))
        })
    };
    Ok((number("h", "height")?, number("w", "width")?))
}

pub(crate) async fn resize(api: &Api, call: &Call) -> Answer {
    let (rows, columns) = size(call)?;
    api.engine.resize(call.name(), rows, columns).await?;
    no_content()
}

pub(crate) async fn remove(api: &Api, call: &Call) -> Answer {
    let options = RemoveOptions {
        force: call.query.flag("force"),
        volumes: call.query.flag("v"),
        link: call.query.flag("link"),
    };
    api.engine.remove(call.name(), options).await?;
    no_content()
}

pub(crate) async fn prune(api: &Api, call: &Call) -> Answer {
    let filters = call.query.filters()?;
    let pruned = api.engine.prune_containers(&filters).await?;
    json(
        StatusCode::OK,
        &json!({"ContainersDeleted": pruned.removed, "SpaceReclaimed": pruned.bytes}),
    )
}
