//! The parameters `platform` and `platforms`: an image must be of what a
//! client names, for there are never several under one name.

use std::sync::Arc;

use carrack_images::ImagePin;
use carrack_oci::Platform;

use crate::call::{Call, blocking};
use crate::error::ApiError;
use crate::version::ApiVersion;

/// A platform as JSON, the form of newer parameters.
pub(crate) fn decode(text: &str) -> Result<Platform, ApiError> {
    let platform: Platform = serde_json::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("failed to parse platform: {error}")))?;
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(ApiError::bad_request(
            "both OS and Architecture must be provided",
        ));
    }
    Ok(platform)
}

/// The platform that `parameter` names, for clients of `since` and newer;
/// older ones' is ignored, as Docker does.
pub(crate) fn wanted(
    call: &Call,
    parameter: &str,
    since: ApiVersion,
) -> Result<Option<Platform>, ApiError> {
    if call.version < since {
        return Ok(None);
    }
    let mut given = call.query.all(parameter).filter(|text| !text.is_empty());
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => decode(text).map(Some),
        (Some(_), Some(_)) => Err(ApiError::bad_request(
            "multiple platforms are not supported",
        )),
    }
}

/// Keeps an image of `platform` for as long as the pin lives; 404 for one of
/// another.
pub(crate) async fn pinned(
    call: &Call,
    name: &str,
    platform: Option<Platform>,
) -> Result<Option<ImagePin>, ApiError> {
    let Some(platform) = platform else {
        return Ok(None);
    };
    let (engine, name) = (Arc::clone(&call.engine), name.to_owned());
    blocking(move || engine.images().resolve_for(&name, &platform).map(Some)).await
}
