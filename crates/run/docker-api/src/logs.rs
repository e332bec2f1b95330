//! Logs of a container.

use std::os::fd::OwnedFd;

use carrack_containers::{AttachRequest, ContainerId, LogEntry, LogQuery, LogSource, LogStream};
use carrack_docker::Engine;
use carrack_serve::{Response, StreamSender};
use http::StatusCode;

use crate::api::{Answer, Api, Call};
use crate::failure::Failure;
use crate::streams::{MULTIPLEXED, RAW, content_type};
use crate::wire;

pub(crate) async fn logs(api: &Api, call: &Call) -> Answer {
    let (stdout, stderr) = (call.query.flag("stdout"), call.query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Failure::bad_request(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let bad = |text: String| Failure::bad_request(text);
    let container = api.engine.container(call.name())?;
    let tail = match call.query.text("tail") {
        "" | "all" => None,
        // Docker takes what is no number for "all".
        text => text.parse::<u64>().ok(),
    };
    let query = LogQuery {
        since: wire::instant(call.query.text("since")).map_err(bad)?,
        until: wire::instant(call.query.text("until")).map_err(bad)?,
        tail,
        follow: call.query.flag("follow"),
        stdout,
        stderr,
    };
    let terminal = container.record.config.tty;
    let stream = api.engine.logs(&container, query)?;
    let kind = if terminal { RAW } else { content_type(call.version, false) };
    debug_assert!(terminal || kind == MULTIPLEXED || kind == RAW);
    let (response, sender) = Response::stream(StatusCode::OK, kind);
    let form = Form {
        framed: !terminal,
        timestamps: call.query.flag("timestamps"),
    };
    let shutdown = api.shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = copy(stream, sender, form) => {}
            () = shutdown.asked() => {}
        }
    });
    Ok(response)
}

/// How a record is written.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    pub(crate) framed: bool,
    pub(crate) timestamps: bool,
}

async fn copy(mut stream: LogStream, sender: StreamSender, form: Form) {
    /// Records are gathered to chunks of about this length.
    const CHUNK_BYTES: usize = 32 << 10;
    let mut chunk = Vec::new();
    loop {
        let next = if chunk.is_empty() {
            tokio::select! {
                next = stream.next() => next,
                () = sender.closed() => return,
            }
        } else if chunk.len() < CHUNK_BYTES && stream.has_ready() {
            stream.next().await
        } else {
            if sender.send(std::mem::take(&mut chunk)).await.is_err() {
                return;
            }
            continue;
        };
        match next {
            Some(Ok(entry)) => write(&mut chunk, &entry, form),
            Some(Err(error)) => {
                tracing::warn!(%error, "read a log");
                return;
            }
            None => break,
        }
    }
    if !chunk.is_empty() && sender.send(chunk).await.is_err() {
        return;
    }
    let _gone = sender.finish().await;
}

/// Appends a record: framed where there is no terminal, with its time in front
/// if asked for.
pub(crate) fn write(out: &mut Vec<u8>, entry: &LogEntry, form: Form) {
    let prefix = if form.timestamps { fixed_time(entry) } else { String::new() };
    let length = prefix.len() + entry.line.len();
    if form.framed {
        let stream = match entry.source {
            LogSource::Stdout => 1,
            LogSource::Stderr => 2,
        };
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        out.extend_from_slice(&[stream, 0, 0, 0]);
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(&entry.line);
}

/// A record's time with all nine digits, so that columns line up.
fn fixed_time(entry: &LogEntry) -> String {
    match jiff::Timestamp::try_from(entry.at) {
        Ok(at) => format!("{at:.9} "),
        Err(_) => format!("{} ", wire::NEVER),
    }
}

/// Writes what a container has logged to a client that attaches, before what
/// comes.
pub(crate) async fn replay(
    engine: &Engine,
    id: &ContainerId,
    request: &AttachRequest,
    socket: &OwnedFd,
    framed: bool,
) -> std::io::Result<()> {
    let container = engine.container(id.as_str()).map_err(std::io::Error::other)?;
    let query = LogQuery {
        stdout: request.stdout,
        stderr: request.stderr,
        ..LogQuery::default()
    };
    let mut stream = engine.logs(&container, query).map_err(std::io::Error::other)?;
    let form = Form { framed, timestamps: false };
    let socket = tokio::net::UnixStream::from_std(socket.try_clone()?.into())?;
    while let Some(entry) = stream.next().await {
        let mut bytes = Vec::new();
        write(&mut bytes, &entry.map_err(std::io::Error::other)?, form);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            socket.writable().await?;
            match socket.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
