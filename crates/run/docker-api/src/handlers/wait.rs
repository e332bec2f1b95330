//! `POST /containers/{name}/wait`.
//!
//! The head goes out at once, since `docker run` starts the container only
//! after it has it. Then the connection belongs to the container's
//! supervisor, which outlives this daemon; it writes the rest of the body.

use carrack_containers::{ContainerId, WaitCondition, WaitReply};
use carrack_docker::Engine;
use carrack_serve::{Response, TakenConnection};
use http::{HeaderValue, StatusCode, Version, header};
use serde_json::json;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

use crate::call::{Answer, Call, ok};
use crate::error::ApiError;
use crate::version::v;

/// Waits for an end.
pub(crate) async fn wait(call: Call) -> Answer {
    let legacy = call.version < v(30);
    let condition = if legacy {
        WaitCondition::NotRunning
    } else {
        condition(call.query.get("condition"))?
    };
    let id = call.engine.check_wait(call.name())?;
    if legacy || call.request.version == Version::HTTP_10 {
        // Nobody there who could use an early head, or read chunks.
        let status = call.engine.wait(id.as_str(), condition).await?;
        return ok(&json!({"StatusCode": status.code}));
    }
    let engine = Arc::clone(&call.engine);
    let expected = engine.expect_client(&id)?;
    let response = Response::take_over(StatusCode::OK, async move |taken| {
        hand_over(&engine, &id, condition, taken).await;
        drop(expected);
    });
    Ok(response
        .with_header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )
        .with_header(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        )
        .with_header(header::CONNECTION, HeaderValue::from_static("close")))
}

fn condition(text: &str) -> Result<WaitCondition, ApiError> {
    match text {
        "" | "not-running" => Ok(WaitCondition::NotRunning),
        "next-exit" => Ok(WaitCondition::NextExit),
        "removed" => Ok(WaitCondition::Removed),
        other => Err(ApiError::bad_request(format!(
            "invalid condition: {other:?}"
        ))),
    }
}

async fn hand_over(
    engine: &Engine,
    id: &ContainerId,
    condition: WaitCondition,
    taken: TakenConnection,
) {
    // For the case that nobody takes it: the head is out, so the reason
    // goes into the body.
    let spare = taken.socket.try_clone();
    let reply = WaitReply {
        before: b"{\"StatusCode\":".to_vec(),
        after: b"}\n".to_vec(),
    };
    let handed = engine
        .hand_over_wait(id, condition, taken.socket, reply)
        .await;
    let (Err(error), Ok(spare)) = (handed, spare) else {
        return;
    };
    let body = json!({"StatusCode": 125, "Error": {"Message": error.to_string()}}).to_string();
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let socket = std::os::unix::net::UnixStream::from(spare);
    if let Ok(mut socket) = tokio::net::UnixStream::from_std(socket) {
        // The client may be gone as well.
        let _best_effort = socket.write_all(chunk.as_bytes()).await;
    }
}
