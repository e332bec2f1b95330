//! Docker Engine API 1.24–1.51 over HTTP: the façade of the engine.
//!
//! `bin/carrack` calls [`serve`]. A request's way:
//!
//! ```text
//! net/serve ── head ──> Api::call: version ──> routes ──> handler ──> run/docker
//!                       (negotiation, 400)    (404, 501)  (decode)     (does it)
//!                                              status and sentence <── error kind
//! ```
//! This crate alone knows Docker's wire: paths, query parameters, JSON names,
//! status codes and what depends on the API version. It decides nothing about
//! containers, and opens no file of theirs.
#![forbid(unsafe_code)]

mod api;
mod call;
mod error;
mod handlers;
mod json;
mod query;
mod routes;
mod stream;
#[cfg(test)]
mod tests;
mod version;
mod wire;

use std::sync::Arc;

use carrack_docker::Engine;
use carrack_serve::{BoundListener, Limits, Shutdown};

use api::Api;

/// Serves the API on `listeners` until a shutdown is asked for.
pub async fn serve(engine: Arc<Engine>, listeners: Vec<BoundListener>, shutdown: Shutdown) {
    let api = Arc::new(Api::new(engine));
    carrack_serve::serve(listeners, api, Limits::default(), shutdown).await;
}
