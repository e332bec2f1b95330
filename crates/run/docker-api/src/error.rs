//! From the engine's errors to Docker's status codes: the one place.

use carrack_oci::ErrorKind;
use carrack_serve::{BodyError, Response};
use http::StatusCode;

/// A refusal: status and sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl ApiError {
    /// An error of some class.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            status: status(kind),
            message: message.into(),
        }
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// 501, with a sentence of `docs/not-yet.md`.
    pub(crate) fn not_yet(entry: &str) -> Self {
        Self::new(
            ErrorKind::Unsupported,
            carrack_docker::not_yet::sentence(entry),
        )
    }

    /// Docker's form on the wire.
    pub(crate) fn into_response(self) -> Response {
        if self.status == StatusCode::NOT_MODIFIED {
            return Response::empty(self.status);
        }
        let mut body = serde_json::json!({"message": self.message}).to_string();
        body.push('\n');
        Response::bytes(self.status, "application/json", body)
    }
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::InvalidInput | ErrorKind::Cancelled => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        // dockerd has no other code for a full disk or no free port.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<carrack_docker::Error> for ApiError {
    fn from(error: carrack_docker::Error) -> Self {
        let kind = error.kind();
        let message = with_causes(&error);
        // A restart is 500 whatever it failed by; that may be the client's.
        let cause = match &error {
            carrack_docker::Error::Restart { source, .. } => source.kind(),
            _ => kind,
        };
        if cause == ErrorKind::Internal {
            tracing::error!(error = message, "a request failed");
        }
        Self::new(kind, message)
    }
}

impl From<carrack_images::Error> for ApiError {
    fn from(error: carrack_images::Error) -> Self {
        carrack_docker::Error::from(error).into()
    }
}

impl From<carrack_volumes::Error> for ApiError {
    fn from(error: carrack_volumes::Error) -> Self {
        carrack_docker::Error::from(error).into()
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::new(error.kind(), with_causes(&error))
    }
}

impl From<tokio::task::JoinError> for ApiError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(ErrorKind::Internal, error.to_string())
    }
}

/// An error and why: no `Display` of ours repeats its source, and a client
/// sees one sentence alone.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
