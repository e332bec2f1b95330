//! `POST /containers/{name}/update`.

use carrack_docker::config::{Resources, RestartPolicy};
use carrack_docker::engine::UpdateRequest;
use serde::Deserialize;
use serde_json::json;

use crate::call::{Answer, Call, ok};
use crate::json::read;
use crate::version::v;

/// The body: limits beside the policy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(flatten)]
    resources: Resources,
    #[serde(rename = "RestartPolicy")]
    restart_policy: RestartPolicy,
}

/// Changes limits and restart policy.
pub(crate) async fn update(mut call: Call) -> Answer {
    let mut body: Body = read(&mut call.request).await?;
    if call.version < v(40) {
        // Older clients always sent zero.
        body.resources.pids_limit = None;
    }
    let request = UpdateRequest {
        resources: body.resources,
        restart_policy: body.restart_policy,
    };
    let warnings = call.engine.update(call.name(), request).await?;
    let warnings = Some(warnings).filter(|warnings| !warnings.is_empty());
    ok(&json!({"Warnings": warnings}))
}
