//! Ping, version, info, disk usage.

use carrack_serve::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::call::{Answer, Call, ok};
use crate::error::ApiError;
use crate::version::v;
use crate::wire;

/// `GET /_ping` and `HEAD /_ping`: what clients negotiate with.
pub(crate) async fn ping(_call: Call) -> Answer {
    let fixed = HeaderValue::from_static;
    let response = Response::bytes(StatusCode::OK, "text/plain; charset=utf-8", "OK")
        .with_header(
            header::CACHE_CONTROL,
            fixed("no-cache, no-store, must-revalidate"),
        )
        .with_header(header::PRAGMA, fixed("no-cache"))
        // The classic builder's number, so that clients do not look for
        // BuildKit here.
        .with_header(HeaderName::from_static("builder-version"), fixed("1"))
        .with_header(HeaderName::from_static("swarm"), fixed("inactive"));
    Ok(response)
}

/// `GET /version`
pub(crate) async fn version(_call: Call) -> Answer {
    ok(&wire::system::version())
}

/// `GET /info`
pub(crate) async fn info(call: Call) -> Answer {
    ok(&wire::system::info(&call.engine, call.version))
}

/// `GET /system/df`
pub(crate) async fn disk_usage(call: Call) -> Answer {
    let kinds: Vec<&str> = if call.version >= v(42) {
        call.query.all("type").collect()
    } else {
        Vec::new()
    };
    const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(kind)) {
        return Err(ApiError::bad_request(format!(
            "unknown object type: {unknown}"
        )));
    }
    let usage = call.engine.disk_usage().await?;
    ok(&wire::system::disk_usage(
        &call.engine,
        &usage,
        &kinds,
        call.version,
    ))
}
