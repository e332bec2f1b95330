//! `GET /containers/{name}/logs`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use carrack_containers::{LogEntry, LogQuery, LogSource, LogStream};
use carrack_serve::{Response, StreamSender};
use http::StatusCode;

use crate::call::{Answer, Call};
use crate::error::{ApiError, with_causes};
use crate::version::v;
use crate::wire::time::padded;

/// Media types of logs.
const RAW: &str = "application/vnd.docker.raw-stream";
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// Docker's stream of its own errors.
const DAEMON_ERROR: u8 = 3;

/// How records are written.
#[derive(Clone, Debug)]
struct Form {
    terminal: bool,
    timestamps: bool,
    /// Stands before each line, with a blank, where details are wanted; they
    /// are the same for all of a container's records.
    details: Option<String>,
}

/// What a container wrote.
pub(crate) async fn logs(call: Call) -> Answer {
    let (stdout, stderr) = (call.query.boolean("stdout"), call.query.boolean("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad_request(
            "Bad parameters: you must choose at least one stream: must specify at least one of 'stdout' or 'stderr'",
        ));
    }
    let time = |name: &str| {
        parse_time(call.query.get(name)).map_err(|text| {
            ApiError::bad_request(format!(
                "invalid value for {name:?}: strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })
    };
    let container = call.engine.container(call.name())?;
    let query = LogQuery {
        since: time("since")?,
        until: time("until")?.filter(|until| *until > UNIX_EPOCH),
        // `all`, and whatever else is no number, is everything.
        tail: call.query.get("tail").parse().ok(),
        follow: call.query.boolean("follow"),
        stdout,
        stderr,
    };
    let records = call.engine.logs(&container, query)?;
    let terminal = container.view.new.stdio.terminal;
    let media_type = if !terminal && call.version >= v(42) {
        MULTIPLEXED
    } else {
        RAW
    };
    let form = Form {
        terminal,
        timestamps: call.query.boolean("timestamps"),
        details: call
            .query
            .boolean("details")
            .then(|| details(&container.log_attributes())),
    };
    let (response, sender) = Response::stream(StatusCode::OK, media_type);
    tokio::spawn(forward(records, sender, form));
    Ok(response)
}

async fn forward(mut records: LogStream, sender: StreamSender, form: Form) {
    loop {
        let record = tokio::select! {
            record = records.next() => record,
            () = sender.closed() => return,
        };
        let piece = match record {
            None => break,
            Some(Ok(entry)) => written(&entry, &form),
            Some(Err(error)) => {
                let text = format!("error from daemon in stream: {}\n", with_causes(&error));
                let _client_left = sender.send(frame(DAEMON_ERROR, text.as_bytes())).await;
                break;
            }
        };
        if sender.send(piece).await.is_err() {
            return;
        }
    }
    let _client_left = sender.finish().await;
}

fn written(entry: &LogEntry, form: &Form) -> Bytes {
    if !form.timestamps && form.details.is_none() {
        return framed(entry, &entry.line, form.terminal);
    }
    let mut line = Vec::with_capacity(entry.line.len() + 64);
    if form.timestamps {
        line.extend_from_slice(padded(entry.at).as_bytes());
        line.push(b' ');
    }
    if let Some(details) = &form.details {
        line.extend_from_slice(details.as_bytes());
        line.push(b' ');
    }
    line.extend_from_slice(&entry.line);
    framed(entry, &line, form.terminal)
}

/// `name=value,…`, each escaped as in a query, so that a client can take them
/// apart.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = attributes
        .iter()
        .map(|(name, value)| format!("{}={}", query_escaped(name), query_escaped(value)))
        .collect();
    pairs.join(",")
}

/// Go's `url.QueryEscape`.
fn query_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A record's text behind its stream's frame; a terminal has no frames.
pub(crate) fn framed(entry: &LogEntry, text: &[u8], terminal: bool) -> Bytes {
    if terminal {
        return Bytes::copy_from_slice(text);
    }
    let stream = match entry.source {
        LogSource::Stdout => 1,
        LogSource::Stderr => 2,
    };
    frame(stream, text)
}

fn frame(stream: u8, text: &[u8]) -> Bytes {
    let mut piece = BytesMut::with_capacity(text.len() + 8);
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    piece.extend_from_slice(&[stream, 0, 0, 0]);
    piece.extend_from_slice(&length.to_be_bytes());
    piece.extend_from_slice(text);
    piece.freeze()
}

/// Seconds since 1970 with or without a fraction; the text that is none.
pub(crate) fn parse_time(text: &str) -> Result<Option<SystemTime>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| whole.to_owned())?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: u32 = digits.parse().map_err(|_| fraction.to_owned())?;
    let magnitude = Duration::new(seconds.unsigned_abs(), nanos);
    let time = if seconds < 0 {
        UNIX_EPOCH.checked_sub(magnitude)
    } else {
        UNIX_EPOCH.checked_add(magnitude)
    };
    time.map(Some).ok_or_else(|| whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let nanos = |text: &str| {
            let time = parse_time(text).expect("good").expect("given");
            time.duration_since(UNIX_EPOCH).expect("later").as_nanos()
        };
        assert_eq!(nanos("5"), 5_000_000_000);
        assert_eq!(nanos("5.000000001"), 5_000_000_001);
        assert_eq!(nanos("5.5"), 5_500_000_000);
        assert_eq!(parse_time(""), Ok(None));
        assert_eq!(parse_time("abc"), Err("abc".into()));
        assert_eq!(parse_time("1.x"), Err("x".into()));
        assert!(parse_time("99999999999999999999").is_err());
    }

    #[test]
    fn frames() {
        let entry = LogEntry {
            source: LogSource::Stderr,
            at: UNIX_EPOCH,
            line: Bytes::from_static(b"hi\n"),
        };
        let mut form = Form {
            terminal: false,
            timestamps: true,
            details: None,
        };
        let piece = written(&entry, &form);
        assert_eq!(&piece[..8], [2, 0, 0, 0, 0, 0, 0, 34]);
        assert_eq!(&piece[8..], b"1970-01-01T00:00:00.000000000Z hi\n");
        form.details = Some(String::new());
        let piece = written(&entry, &form);
        assert_eq!(&piece[8..], b"1970-01-01T00:00:00.000000000Z  hi\n");
        form = Form {
            terminal: true,
            timestamps: false,
            details: Some("a=b".to_owned()),
        };
        assert_eq!(&written(&entry, &form)[..], b"a=b hi\n");
        form.details = None;
        assert_eq!(&written(&entry, &form)[..], b"hi\n");
    }

    #[test]
    fn details_are_escaped() {
        let attributes = [("b c", "1,2=3"), ("a", "\u{e9}~\n")];
        let attributes = attributes
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        assert_eq!(details(&attributes), "a=%C3%A9~%0A,b+c=1%2C2%3D3");
    }
}
