//! One request on its way to its handler.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use carrack_docker::Engine;
use carrack_serve::{PathParams, Request, Response};
use http::StatusCode;
use serde::Serialize;

use crate::error::ApiError;
use crate::query::Query;
use crate::version::ApiVersion;

/// What a handler gets.
pub(crate) struct Call {
    pub(crate) engine: Arc<Engine>,
    pub(crate) request: Request,
    pub(crate) params: PathParams,
    pub(crate) query: Query,
    pub(crate) version: ApiVersion,
}

/// What a handler gives.
pub(crate) type Answer = Result<Response, ApiError>;

/// A handler.
pub(crate) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Call {
    /// The container, image or volume of the path.
    pub(crate) fn name(&self) -> &str {
        self.params.get("name")
    }

    /// Whether the client asks for the connection itself.
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.request.headers.contains_key(http::header::UPGRADE)
    }
}

/// JSON with a line feed behind it, as Go's encoder writes it.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let mut body = serde_json::to_vec(value).map_err(|error| {
        ApiError::new(
            carrack_oci::ErrorKind::Internal,
            format!("encode the answer: {error}"),
        )
    })?;
    body.push(b'\n');
    Ok(Response::bytes(status, "application/json", body))
}

/// 200 with JSON.
pub(crate) fn ok<T: Serialize>(value: &T) -> Answer {
    json(StatusCode::OK, value)
}

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    Ok(Response::empty(status))
}

/// Runs what may block on a thread that may.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: Into<ApiError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await?.map_err(Into::into)
}
