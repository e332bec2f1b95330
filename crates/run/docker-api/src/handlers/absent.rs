//! What Docker has and this engine has not: 501 with the sentence of
//! `docs/not-yet.md`, 503 for a swarm, 404 for what nobody has.

use carrack_oci::ErrorKind;
use http::StatusCode;
use serde_json::json;

use crate::call::{Answer, Call, ok};
use crate::error::ApiError;

/// Docker's sentence for a node outside of any swarm.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// A path without a route.
pub(crate) fn unmatched(path: &str) -> ApiError {
    let first = path.split('/').nth(1).unwrap_or_default();
    match first {
        "plugins" => ApiError::not_yet("plugin"),
        "session" | "grpc" => ApiError::not_yet("build"),
        _ => ApiError::new(ErrorKind::NotFound, "page not found"),
    }
}

/// Functions that answer with an entry of `docs/not-yet.md`.
macro_rules! not_yet {
    ($($function:ident => $entry:literal;)*) => {
        $(
            #[doc = concat!("501 with the entry `", $entry, "`.")]
            pub(crate) async fn $function(_call: Call) -> Answer {
                Err(ApiError::not_yet($entry))
            }
        )*
    };
}

not_yet! {
    build => "build";
    commit => "commit";
    push => "push";
    pull => "pull";
    login => "login";
    search => "search";
    network => "network";
    connect => "connect";
    disconnect => "disconnect";
    websocket => "websocket";
    checkpoint => "checkpoint";
    cluster_volume => "cluster-volume";
}

/// 404 for a container that is not there, else 501.
pub(crate) async fn changes(call: Call) -> Answer {
    call.engine.container(call.name())?;
    Err(ApiError::not_yet("changes"))
}

/// Likewise.
pub(crate) async fn export(call: Call) -> Answer {
    call.engine.container(call.name())?;
    Err(ApiError::not_yet("export"))
}

/// `docker system prune` calls it: there is no build cache.
pub(crate) async fn build_prune(_call: Call) -> Answer {
    ok(&json!({"CachesDeleted": null, "SpaceReclaimed": 0}))
}

/// There are no plugins; clients take 404 for something else.
pub(crate) async fn no_plugins(_call: Call) -> Answer {
    ok(&json!([]))
}

/// 503, as dockerd answers outside of a swarm.
pub(crate) async fn swarm(_call: Call) -> Answer {
    Err(ApiError::new(ErrorKind::Unavailable, NO_SWARM))
}

/// 406, which tells that there is nothing to leave.
pub(crate) async fn swarm_leave(_call: Call) -> Answer {
    Err(ApiError {
        status: StatusCode::NOT_ACCEPTABLE,
        message: "This node is not part of a swarm".to_owned(),
    })
}
