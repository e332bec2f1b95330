//! Containers: list, inspect, and the verbs that answer at once.

use carrack_docker::engine::{ListOptions, RemoveOptions};
use http::StatusCode;
use serde_json::json;

use crate::call::{Answer, Call, empty, ok};
use crate::error::ApiError;
use crate::version::v;
use crate::wire;

/// `GET /containers/json`
pub(crate) async fn list(call: Call) -> Answer {
    let options = ListOptions {
        all: call.query.boolean("all"),
        limit: call.query.integer("limit")?.unwrap_or(0),
        sizes: call.query.boolean("size"),
        filters: call.query.filters()?,
    };
    let listed = call.engine.list(&options).await?;
    let now = std::time::SystemTime::now();
    let lines: Vec<_> = listed
        .iter()
        .map(|line| wire::list::line(&call.engine, line, now, call.version))
        .collect();
    ok(&lines)
}

/// `GET /containers/{name}/json`
pub(crate) async fn inspect(call: Call) -> Answer {
    let container = call.engine.container(call.name())?;
    let sizes = if call.query.boolean("size") {
        Some(call.engine.sizes(&container).await)
    } else {
        None
    };
    ok(&wire::inspect::container(
        &call.engine,
        &container,
        sizes,
        call.version,
    ))
}

/// `GET /containers/{name}/top`
pub(crate) async fn top(call: Call) -> Answer {
    let top = call
        .engine
        .top(call.name(), call.query.get("ps_args"))
        .await?;
    ok(&json!({"Titles": top.titles, "Processes": top.processes}))
}

/// `POST /containers/{name}/start`
pub(crate) async fn start(call: Call) -> Answer {
    // Older clients sent a host config here; a JSON object that says
    // something has at least seven characters.
    let length = call.request.body.declared_length();
    if length.is_none_or(|length| length > 7) {
        return Err(ApiError::bad_request(
            "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
        ));
    }
    if call.query.given("checkpoint").is_some() {
        return Err(ApiError::not_yet("checkpoint"));
    }
    call.engine.start(call.name()).await?;
    empty(StatusCode::NO_CONTENT)
}

/// The signal of a stop, which older clients did not have.
fn signal(call: &Call) -> Option<&str> {
    call.query.given("signal").filter(|_| call.version >= v(42))
}

/// `POST /containers/{name}/stop`
pub(crate) async fn stop(call: Call) -> Answer {
    let timeout_s = call.query.integer("t")?;
    call.engine
        .stop(call.name(), signal(&call), timeout_s)
        .await?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{name}/restart`
pub(crate) async fn restart(call: Call) -> Answer {
    let timeout_s = call.query.integer("t")?;
    call.engine
        .restart(call.name(), signal(&call), timeout_s)
        .await?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{name}/kill`
pub(crate) async fn kill(call: Call) -> Answer {
    let killed = call
        .engine
        .kill(call.name(), call.query.given("signal"))
        .await;
    killed.map_err(|error| {
        let mut error = ApiError::from(error);
        error.message = format!("cannot kill container: {}: {}", call.name(), error.message);
        error
    })?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{name}/pause`
pub(crate) async fn pause(call: Call) -> Answer {
    call.engine.pause(call.name()).await?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{name}/unpause`
pub(crate) async fn unpause(call: Call) -> Answer {
    call.engine.unpause(call.name()).await?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{name}/rename`
pub(crate) async fn rename(call: Call) -> Answer {
    call.engine
        .rename(call.name(), call.query.get("name"))
        .await?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/{name}/resize`
pub(crate) async fn resize(call: Call) -> Answer {
    let (rows, columns) = terminal_size(&call)?;
    call.engine.resize(call.name(), rows, columns).await?;
    empty(StatusCode::OK)
}

/// Height and width, which must both be there.
pub(crate) fn terminal_size(call: &Call) -> Result<(u16, u16), ApiError> {
    let side = |name: &str, what: &str| {
        let text = call.query.get(name);
        let reason = match text.parse::<u32>() {
            // The kernel keeps 16 bits of it.
            Ok(number) => return Ok(u16::try_from(number).unwrap_or(u16::MAX)),
            Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => {
                "value out of range"
            }
            Err(_) => "invalid syntax",
        };
        Err(ApiError::bad_request(format!(
            "invalid resize {what} {text:?}: {reason}"
        )))
    };
    Ok((side("h", "height")?, side("w", "width")?))
}

/// `DELETE /containers/{name}`
pub(crate) async fn remove(call: Call) -> Answer {
    let options = RemoveOptions {
        force: call.query.boolean("force"),
        volumes: call.query.boolean("v"),
        link: call.query.boolean("link"),
    };
    call.engine.remove(call.name(), options).await?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /containers/prune`
pub(crate) async fn prune(call: Call) -> Answer {
    let pruned = call.engine.prune_containers(&call.query.filters()?).await?;
    let removed = Some(pruned.removed).filter(|removed| !removed.is_empty());
    ok(&json!({"ContainersDeleted": removed, "SpaceReclaimed": pruned.bytes}))
}
