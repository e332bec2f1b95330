//! Files copied into and out of containers.

use carrack_docker::engine::{PathStat, PutOptions};
use carrack_serve::Response;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::api::{Answer, Api, Call};
use crate::failure::Failure;
use crate::wire;

const STAT_HEADER: &str = "x-docker-container-path-stat";

fn path(call: &Call) -> Result<String, Failure> {
    match call.query.text("path") {
        "" => Err(Failure::bad_request("bad parameter: path cannot be empty")),
        path => Ok(path.to_owned()),
    }
}

/// The header's value: base64 of JSON.
fn encode(stat: &PathStat) -> Result<HeaderValue, Failure> {
    let document = json!({
        "name": stat.name,
        "size": stat.size,
        "mode": go_mode(stat.mode),
        "mtime": wire::unix_time(stat.modified),
        "linkTarget": stat.link_target,
    });
    HeaderValue::try_from(base64(document.to_string().as_bytes())).map_err(|error| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, format!("encode the answer: {error}"))
    })
}

/// `st_mode` as Go's `os.FileMode`: its bits above the permissions are its own.
fn go_mode(mode: u32) -> u32 {
    const KIND: u32 = 0o170_000;
    let kind = match mode & KIND {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o020_000 => (1 << 26) | (1 << 21),
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special: u32 =
        special.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, go)| go).sum();
    (mode & 0o777) | kind | special
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = 0_u32;
        for index in 0..3 {
            bits = (bits << 8) | u32::from(group.get(index).copied().unwrap_or(0));
        }
        for index in 0..4 {
            if index <= group.len() {
                let six = (bits >> (18 - 6 * index)) & 63;
                text.push(char::from(ALPHABET[six as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

pub(crate) async fn head(api: &Api, call: &Call) -> Answer {
    let stat = api.engine.archive_stat(call.name(), &path(call)?).await?;
    let header = HeaderName::from_static(STAT_HEADER);
    Ok(Response::empty(StatusCode::OK).with_header(header, encode(&stat)?))
}

pub(crate) async fn get(api: &Api, call: &Call) -> Answer {
    let path = path(call)?;
    let (reader, container) = api.engine.archive_open(call.name(), &path).await?;
    let stat = reader.stat(&path)?;
    let (response, sender) = Response::stream(StatusCode::OK, "application/x-tar");
    let engine = std::sync::Arc::clone(&api.engine);
    tokio::task::spawn_blocking(move || {
        let ending = sender.clone();
        let packed = reader.pack(std::io::BufWriter::with_capacity(64 << 10, sender.into_writer()));
        match packed {
            Ok(()) => {
                engine.archive_taken(&container, &path);
                let _gone = ending.finish_blocking();
            }
            // The client sees a stream that breaks off.
            Err(error) => tracing::warn!(container = %container.id(), %error, "copy files out"),
        }
    });
    let header = HeaderName::from_static(STAT_HEADER);
    Ok(response.with_header(header, encode(&stat)?))
}

pub(crate) async fn put(api: &Api, call: Call) -> Answer {
    let path = path(&call)?;
    let options = PutOptions {
        keep_kinds: call.query.flag("noOverwriteDirNonDir"),
        to_container_user: call.query.flag("copyUIDGID"),
    };
    let name = call.name().to_owned();
    let body = call.request.body.into_reader();
    api.engine.archive_put(&name, &path, options, body).await?;
    Ok(Response::empty(StatusCode::OK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o040_755), 0o755 | 1 << 31);
        assert_eq!(go_mode(0o120_777), 0o777 | 1 << 27);
        assert_eq!(go_mode(0o104_755), 0o755 | 1 << 23);
        assert_eq!(go_mode(0o041_777), 0o777 | 1 << 31 | 1 << 20);
    }

    #[test]
    fn base64_is_rfc_4648s() {
        for (plain, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }
}
