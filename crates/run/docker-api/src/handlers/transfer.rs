//! Images in and out: load, import, save.

use std::io::BufWriter;
use std::sync::Arc;

use carrack_images::{ImportOptions, LoadOptions, Progress};
use carrack_oci::Platform;
use serde_json::json;

use crate::call::{Answer, Call};
use crate::error::ApiError;
use crate::handlers::platform;
use crate::stream::{LateFailure, PieceWriter, produced};
use crate::version::v;

/// Bytes of a saved image written at once.
const PIECE_BYTES: usize = 64 * 1024;
const JSON: &str = "application/json";
const TAR: &str = "application/x-tar";

/// `POST /images/load`
pub(crate) async fn load(call: Call) -> Answer {
    let quiet = call.query.boolean("quiet");
    let options = LoadOptions {
        platform: written_platform(call.query.get("platform"))?,
    };
    let engine = Arc::clone(&call.engine);
    let source = call.request.body.into_reader();
    produced(JSON, LateFailure::Message, move |writer| {
        let progress = |progress: Progress<'_>| {
            if !quiet {
                tell_progress(&writer, &progress);
            }
        };
        let loaded = engine.images().load(source, &options, &progress)?;
        for line in loaded.lines() {
            // A client that left does not undo what was loaded.
            let _client_left = message(&writer, &json!({"stream": line}));
        }
        Ok(())
    })
    .await
}

/// `POST /images/create`: an import, or a pull, which is not there yet.
pub(crate) async fn create(call: Call) -> Answer {
    if call.query.given("fromImage").is_some() {
        return Err(ApiError::not_yet("pull"));
    }
    match call.query.get("fromSrc") {
        "-" => {}
        "" => {
            return Err(ApiError::bad_request(
                "either fromImage or fromSrc must be given",
            ));
        }
        _ => return Err(ApiError::not_yet("pull")),
    }
    let repository = call.query.given("repo");
    let reference = repository.map(|repository| match call.query.given("tag") {
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    });
    let options = ImportOptions {
        reference,
        changes: call.query.all("changes").map(str::to_owned).collect(),
        message: call.query.given("message").map(str::to_owned),
        platform: written_platform(call.query.get("platform"))?,
    };
    let engine = Arc::clone(&call.engine);
    let source = call.request.body.into_reader();
    produced(JSON, LateFailure::Message, move |writer| {
        let image = engine.images().import(source, options, &|_| {})?;
        let _client_left = message(&writer, &json!({"status": image.id().to_string()}));
        Ok(())
    })
    .await
}

/// `GET /images/get`
pub(crate) async fn save(call: Call) -> Answer {
    let names: Vec<String> = call
        .query
        .all("names")
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(ApiError::bad_request("names must name at least one image"));
    }
    save_named(call, names).await
}

/// `GET /images/{name}/get`
pub(crate) async fn save_one(call: Call) -> Answer {
    let names = vec![call.name().to_owned()];
    save_named(call, names).await
}

async fn save_named(call: Call, names: Vec<String>) -> Answer {
    let platform = platform::wanted(&call, "platform", v(48))?;
    let mut pins = Vec::new();
    for name in &names {
        pins.extend(platform::pinned(&call, name, platform.clone()).await?);
    }
    let engine = Arc::clone(&call.engine);
    produced(TAR, LateFailure::BreakOff, move |writer| {
        let destination = BufWriter::with_capacity(PIECE_BYTES, writer);
        engine.images().save(&names, destination)?;
        drop(pins);
        Ok(())
    })
    .await
}

fn written_platform(text: &str) -> Result<Option<Platform>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    // Since 1.48 clients send the platform as JSON.
    if text.starts_with('{') {
        return platform::decode(text).map(Some);
    }
    let parsed = text.parse::<Platform>();
    parsed
        .map(Some)
        .map_err(|error| ApiError::bad_request(error.to_string()))
}

/// A line of progress as Docker's clients draw it.
fn tell_progress(writer: &PieceWriter, progress: &Progress<'_>) {
    let (current, total) = (progress.current, progress.total);
    let digits: String = progress.diff_id.hex().chars().take(12).collect();
    let line = json!({
        "status": "Loading layer",
        "progressDetail": {"current": current, "total": total},
        "id": digits,
    });
    // A load goes on without its watcher.
    let _client_left = message(writer, &line);
}

fn message(
    writer: &PieceWriter,
    value: &serde_json::Value,
) -> Result<(), carrack_serve::StreamClosed> {
    writer.piece(format!("{value}\r\n"))
}
