//! The only code that dials out.
//!
//! Today it holds one client: blocking HTTP/1.1 over a Unix socket, for the
//! command line, which must be on the wire before an asynchronous runtime
//! would have started its threads. It keeps connections alive, streams bodies
//! both ways and hands out the raw socket when the server upgrades it.
//!
//! A server on a Unix socket is named by the person at the keyboard, so this
//! connector has no proxy, no TLS and no guard on addresses. Those come with
//! the connector for registries, in this crate as well: nobody else dials.
//!
//! Every wait and buffer is bounded: see [`Limits`].
#![forbid(unsafe_code)]

mod body;
mod client;
mod connection;
mod error;
mod head;
mod request;
mod upload;

pub use body::Body;
pub use client::{Client, InFlight, Response};
pub use connection::{Connection, Hijacked};
pub use error::OutboundError;
pub use head::{Limits, ResponseHead};
pub use http::{Method, StatusCode};
pub use request::{Payload, Request};
