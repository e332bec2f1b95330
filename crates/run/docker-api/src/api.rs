//! The service: version, route, handler, headers that every answer has.

use std::sync::Arc;

use carrack_docker::Engine;
use carrack_serve::{Matched, Request, Response, Router, Service};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::call::{Call, Handler};
use crate::error::ApiError;
use crate::query::Query;
use crate::version::{self, MAX};
use crate::{handlers, routes};

/// What the `Server` field says.
pub(crate) const SERVER: &str = concat!("Carrack/", env!("CARGO_PKG_VERSION"), " (linux)");

/// The API over one engine.
pub(crate) struct Api {
    engine: Arc<Engine>,
    router: Router<Handler>,
}

impl Api {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            router: routes::router(),
        }
    }

    async fn answer(&self, mut request: Request) -> Result<Response, ApiError> {
        let path = request.uri.path().to_owned();
        let (written, path) = version::split(&path);
        let version = version::negotiate(written).map_err(ApiError::bad_request)?;
        let route = self.router.find(&request.method, path);
        let Matched::Route {
            value: handler,
            params,
            bound,
        } = route
        else {
            return Err(handlers::absent::unmatched(path));
        };
        let length = request.body.declared_length();
        if length.is_some_and(|length| length > bound.bytes()) {
            return Err(carrack_serve::BodyError::TooLarge.into());
        }
        request.body.set_bound(bound.bytes());
        let query = Query::parse(request.query())?;
        let call = Call {
            engine: Arc::clone(&self.engine),
            request,
            params,
            query,
            version,
        };
        handler(call).await
    }
}

impl Service for Api {
    async fn call(&self, request: Request) -> Response {
        let begun = std::time::Instant::now();
        let (method, path) = (request.method.clone(), request.uri.path().to_owned());
        let response = match self.answer(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(%method, path, status = error.status.as_u16(), error = error.message, "refused");
                error.into_response()
            }
        };
        tracing::debug!(
            %method,
            path,
            status = response.status.as_u16(),
            micros = begun.elapsed().as_micros(),
            "answered"
        );
        with_common_headers(response)
    }

    fn panicked(&self) -> Response {
        let error = ApiError::new(carrack_oci::ErrorKind::Internal, "internal error");
        with_common_headers(error.into_response())
    }
}

fn with_common_headers(response: Response) -> Response {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return response;
    }
    let version = HeaderValue::from_str(&MAX.to_string());
    let mut response = response
        .with_header(
            HeaderName::from_static("docker-experimental"),
            HeaderValue::from_static("false"),
        )
        .with_header(
            HeaderName::from_static("ostype"),
            HeaderValue::from_static("linux"),
        )
        .with_header(http::header::SERVER, HeaderValue::from_static(SERVER));
    if let Ok(version) = version {
        response = response.with_header(HeaderName::from_static("api-version"), version);
    }
    response
}
