//! Connections that are given away: attach, exec and wait.
//!
//! The head of the answer is written here; then the raw socket goes down to
//! the container's supervisor, which serves it even when this daemon is gone.

use std::sync::Arc;

use carrack_containers::{AttachRequest, WaitCondition, WaitReply};
use carrack_docker::Engine;
use carrack_serve::{Request, Response, TakenConnection};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::api::{Answer, Api, Call};
use crate::failure::Failure;
use crate::{body, logs};
use crate::version::Version;

pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// Content type of a stream; the multiplexed one has a name since 1.42.
pub(crate) fn content_type(version: Version, terminal: bool) -> &'static str {
    if terminal || version < Version::minor(42) { RAW } else { MULTIPLEXED }
}

/// The two ways to take a connection over: a protocol switch where the client
/// offers one, Docker's older plain answer otherwise.
fn hijack<F, R>(request: &Request, kind: &'static str, taker: F) -> Response
where
    F: FnOnce(TakenConnection) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let response = if request.headers.contains_key(header::UPGRADE) {
        Response::take_over(StatusCode::SWITCHING_PROTOCOLS, taker)
            .with_header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
            .with_header(header::UPGRADE, HeaderValue::from_static("tcp"))
    } else {
        Response::take_over(StatusCode::OK, taker)
    };
    response.with_header(header::CONTENT_TYPE, HeaderValue::from_static(kind))
}

pub(crate) async fn attach(api: &Api, call: &Call) -> Answer {
    let (id, terminal) = api.engine.check_attach(call.name())?;
    let request = AttachRequest {
        stdin: call.query.flag("stdin"),
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
        read_ahead: Vec::new(),
        detach_keys: Engine::detach_keys(call.query.text("detachKeys"))?,
    };
    let (stream, with_logs) = (call.query.flag("stream"), call.query.flag("logs"));
    let engine = Arc::clone(&api.engine);
    let kind = content_type(call.version, terminal);
    Ok(hijack(&call.request, kind, move |connection| async move {
        let TakenConnection { socket, read_ahead } = connection;
        if with_logs
            && let Err(error) = logs::replay(&engine, &id, &request, &socket, !terminal).await
        {
            tracing::warn!(container = %id, %error, "replay the log");
            return;
        }
        if !stream {
            return;
        }
        let request = AttachRequest { read_ahead: read_ahead.to_vec(), ..request };
        if let Err(error) = engine.attach(&id, request, socket).await {
            tracing::warn!(container = %id, %error, "attach");
        }
    }))
}

pub(crate) async fn wait(api: &Api, call: &Call) -> Answer {
    let condition = match call.query.text("condition") {
        "" | "not-running" => WaitCondition::NotRunning,
        "next-exit" => WaitCondition::NextExit,
        "removed" => WaitCondition::Removed,
        other => {
            return Err(Failure::bad_request(format!("invalid condition: {other:?}")));
        }
    };
    let id = api.engine.check_wait(call.name())?;
    let engine = Arc::clone(&api.engine);
    let handed_over = move |connection: TakenConnection| async move {
        let reply = WaitReply {
            before: b"{\"StatusCode\":".to_vec(),
            after: b"}\n".to_vec(),
        };
        let waiting = engine.hand_over_wait(&id, condition, connection.socket, reply).await;
        if let Err(error) = waiting {
            tracing::warn!(container = %id, %error, "wait");
        }
    };
    Ok(Response::take_over(StatusCode::OK, handed_over)
        .with_header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .with_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
        .with_header(
            HeaderName::from_static("docker-experimental"),
            HeaderValue::from_static("false"),
        ))
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ExecStartBody {
    detach: bool,
}

pub(crate) async fn exec_start(api: &Api, mut call: Call) -> Answer {
    let body: ExecStartBody = body::decode(&mut call.request).await?;
    let exec = call.name().to_owned();
    let start = api.engine.check_exec(&exec)?;
    if body.detach {
        api.engine.exec_start(&exec, None).await?;
        return Ok(Response::empty(StatusCode::OK));
    }
    let options = start.options;
    let request = AttachRequest {
        stdin: options.attach_stdin,
        stdout: options.attach_stdout,
        stderr: options.attach_stderr,
        read_ahead: Vec::new(),
        detach_keys: Engine::detach_keys(&options.detach_keys)?,
    };
    let engine = Arc::clone(&api.engine);
    let kind = content_type(call.version, options.tty);
    Ok(hijack(&call.request, kind, move |connection| async move {
        let TakenConnection { socket, read_ahead } = connection;
        let request = AttachRequest { read_ahead: read_ahead.to_vec(), ..request };
        // A failure goes down the stream, whose head is written already.
        if let Err(error) = engine.exec_start(&exec, Some((request, socket))).await {
            tracing::debug!(exec, %error, "start exec");
        }
    }))
}
