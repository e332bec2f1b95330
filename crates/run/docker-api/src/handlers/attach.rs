//! `POST /containers/{name}/attach`: the connection becomes the container's
//! standard streams.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use carrack_containers::{AttachRequest, ContainerId, LogQuery};
use carrack_docker::Engine;
use carrack_docker::engine::KeysOf;
use carrack_serve::{Response, TakenConnection};
use http::{HeaderValue, StatusCode, header};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::call::{Answer, Call};
use crate::handlers::logs::framed;
use crate::version::v;

/// Media types of raw streams.
const RAW: &str = "application/vnd.docker.raw-stream";
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// What a client of an attach wants.
struct Wanted {
    id: ContainerId,
    terminal: bool,
    logs: bool,
    stream: bool,
    request: AttachRequest,
}

/// Attaches.
pub(crate) async fn attach(call: Call) -> Answer {
    let (id, terminal) = call.engine.check_attach(call.name())?;
    let keys = Engine::detach_keys(KeysOf::Attach, call.query.get("detachKeys"))?;
    let wanted = Wanted {
        id,
        terminal,
        logs: call.query.boolean("logs"),
        stream: call.query.boolean("stream"),
        request: AttachRequest {
            stdin: call.query.boolean("stdin"),
            stdout: call.query.boolean("stdout"),
            stderr: call.query.boolean("stderr"),
            read_ahead: Vec::new(),
            detach_keys: if terminal { keys } else { Vec::new() },
        },
    };
    let engine = Arc::clone(&call.engine);
    let expected = match wanted.stream {
        true => Some(engine.expect_client(&wanted.id)?),
        false => None,
    };
    Ok(taken_over(&call, terminal, async move |taken| {
        stream(&engine, wanted, taken).await;
        drop(expected);
    }))
}

/// The head that Docker writes before a raw stream: `101` to those who asked
/// for an upgrade, else the older `200`.
pub(crate) fn taken_over<F, R>(call: &Call, terminal: bool, taker: F) -> Response
where
    F: FnOnce(TakenConnection) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    if !call.wants_upgrade() {
        let raw = HeaderValue::from_static(RAW);
        return Response::take_over(StatusCode::OK, taker).with_header(header::CONTENT_TYPE, raw);
    }
    let media_type = if !terminal && call.version >= v(42) {
        MULTIPLEXED
    } else {
        RAW
    };
    Response::take_over(StatusCode::SWITCHING_PROTOCOLS, taker)
        .with_header(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
        .with_header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
        .with_header(header::UPGRADE, HeaderValue::from_static("tcp"))
}

async fn stream(engine: &Engine, mut wanted: Wanted, taken: TakenConnection) {
    wanted.request.read_ahead = taken.read_ahead.to_vec();
    let Ok(spare) = taken.socket.try_clone() else {
        return;
    };
    let attached = match (wanted.logs, wanted.stream) {
        (true, true) => replay_and_attach(engine, &wanted, taken.socket).await,
        (true, false) => {
            replay(engine, &wanted, &taken.socket, None, None).await;
            Ok(())
        }
        (false, true) => {
            let request = wanted.request;
            engine.attach(&wanted.id, request, taken.socket).await
        }
        (false, false) => Ok(()),
    };
    if let Err(error) = attached {
        tracing::warn!(container = %wanted.id, %error, "attach a client");
        tell(spare, &error.to_string(), wanted.terminal).await;
    }
}

/// What the container wrote before, then what it writes, with nothing missed
/// or said twice in between.
async fn replay_and_attach(
    engine: &Engine,
    wanted: &Wanted,
    mut socket: OwnedFd,
) -> carrack_docker::Result<()> {
    let mut since = None;
    loop {
        if let Some(hold) = engine.hold(&wanted.id, &wanted.request, &socket).await? {
            replay(engine, wanted, &socket, since, Some(hold.until())).await;
            return Ok(());
        }
        // Nothing writes just now; what it wrote in an earlier run.
        let last = replay(engine, wanted, &socket, since, None).await;
        since = last.map(|at| at + Duration::from_nanos(1)).or(since);
        match engine.attach_before_start(&wanted.id, &wanted.request, socket)? {
            None => return Ok(()),
            // It was started meanwhile.
            Some(again) => socket = again,
        }
    }
}

/// Writes what the log has between two moments; when the last of it was
/// written.
async fn replay(
    engine: &Engine,
    wanted: &Wanted,
    socket: &OwnedFd,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
) -> Option<SystemTime> {
    let socket = std::os::unix::net::UnixStream::from(socket.try_clone().ok()?);
    let mut socket = UnixStream::from_std(socket).ok()?;
    let query = LogQuery {
        stdout: wanted.request.stdout,
        stderr: wanted.request.stderr,
        since,
        until,
        ..LogQuery::default()
    };
    let container = engine.container(wanted.id.as_str()).ok()?;
    let mut logs = engine.logs(&container, query).ok()?;
    let mut last = None;
    while let Some(Ok(entry)) = logs.next().await {
        let piece = framed(&entry, &entry.line, wanted.terminal);
        socket.write_all(&piece).await.ok()?;
        last = Some(entry.at);
    }
    last
}

/// Tells a client whose head is out why nothing follows.
pub(crate) async fn tell(socket: OwnedFd, text: &str, terminal: bool) {
    /// Docker's stream of its own errors.
    const DAEMON_ERROR: u8 = 3;
    let text = format!("{text}\r\n");
    let mut piece = Vec::with_capacity(text.len() + 8);
    if !terminal {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        piece.extend_from_slice(&[DAEMON_ERROR, 0, 0, 0]);
        piece.extend_from_slice(&length.to_be_bytes());
    }
    piece.extend_from_slice(text.as_bytes());
    let socket = std::os::unix::net::UnixStream::from(socket);
    if let Ok(mut socket) = UnixStream::from_std(socket) {
        // The client may be gone as well.
        let _best_effort = socket.write_all(&piece).await;
    }
}
