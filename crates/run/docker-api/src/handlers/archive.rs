//! `HEAD`, `GET` and `PUT /containers/{name}/archive`.

use std::io::BufWriter;

use carrack_docker::engine::{PathStat, PutOptions};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::call::{Answer, Call, empty};
use crate::error::ApiError;
use crate::stream::{LateFailure, produced};
use crate::wire::base64;
use crate::wire::time::rfc3339;

/// Bytes written at once.
const PIECE_BYTES: usize = 64 * 1024;
const TAR: &str = "application/x-tar";
static STAT_HEADER: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// What is at a path.
pub(crate) async fn head(call: Call) -> Answer {
    let stat = call
        .engine
        .archive_stat(call.name(), call.query.get("path"))
        .await?;
    Ok(empty(StatusCode::OK)?.with_header(STAT_HEADER.clone(), stat_value(&stat)?))
}

/// A path as a tar stream.
pub(crate) async fn get(call: Call) -> Answer {
    let path = call.query.get("path");
    let (reader, container) = call.engine.archive_open(call.name(), path).await?;
    let stat = stat_value(&reader.stat(path)?)?;
    let response = produced(TAR, LateFailure::BreakOff, move |writer| {
        reader.pack(BufWriter::with_capacity(PIECE_BYTES, writer))?;
        Ok(())
    });
    let response = response.await?.with_header(STAT_HEADER.clone(), stat);
    call.engine.archive_taken(&container, path);
    Ok(response)
}

/// A tar stream into a directory.
pub(crate) async fn put(call: Call) -> Answer {
    let options = PutOptions {
        keep_kinds: call.query.boolean("noOverwriteDirNonDir"),
        to_container_user: call.query.boolean("copyUIDGID"),
    };
    let (name, path) = (call.name().to_owned(), call.query.get("path").to_owned());
    let source = call.request.body.into_reader();
    let _turn = crate::stream::turn().await;
    call.engine
        .archive_put(&name, &path, options, source)
        .await?;
    empty(StatusCode::OK)
}

/// Docker's header: JSON in base64, with Go's file mode.
fn stat_value(stat: &PathStat) -> Result<HeaderValue, ApiError> {
    let (seconds, nanos) = stat.modified;
    let document = json!({
        "name": stat.name,
        "size": stat.size,
        "mode": go_mode(stat.mode),
        "mtime": rfc3339(seconds, nanos),
        "linkTarget": stat.link_target,
    });
    let text = base64(document.to_string().as_bytes());
    HeaderValue::from_str(&text).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// `st_mode` as Go's `os.FileMode`, which has bits of its own for what is not
/// a permission.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,               // directory
        0o120_000 => 1 << 27,               // symlink
        0o060_000 => 1 << 26,               // block device
        0o020_000 => (1 << 26) | (1 << 21), // character device
        0o010_000 => 1 << 25,               // FIFO
        0o140_000 => 1 << 24,               // socket
        _ => 0,
    };
    let bit = |unix: u32, go: u32| if mode & unix != 0 { 1 << go } else { 0 };
    kind | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20) | (mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o040_755), 0x8000_01ed);
        assert_eq!(go_mode(0o041_777), 0x8010_01ff);
        assert_eq!(go_mode(0o120_777), 0x0800_01ff);
        assert_eq!(go_mode(0o104_755), 0x0080_01ed);
    }

    /// Recorded from dockerd 20.10.
    #[test]
    fn header() {
        let stat = PathStat {
            name: "passwd".into(),
            size: 30,
            mode: 0o100_644,
            modified: (1_795_527_221, 0),
            link_target: String::new(),
        };
        let value = stat_value(&stat).expect("a value");
        assert_eq!(
            value,
            "eyJuYW1lIjoicGFzc3dkIiwic2l6ZSI6MzAsIm1vZGUiOjQyMCwibXRpbWUiOiIyMDI2LTExLTI0VDEzOjMzOjQxWiIsImxpbmtUYXJnZXQiOiIifQ=="
        );
    }
}
