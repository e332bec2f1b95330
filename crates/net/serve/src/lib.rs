//! HTTP/1.1 over Unix sockets, for every façade of Carrack.
//!
//! A connection loop of our own instead of a general server, for one reason:
//! a connection must be *taken over*. The socket of an attach, a wait or an
//! exec is passed as a raw descriptor to another process once the head of the
//! response was written ([`Response::take_over`]),
//! both with `101` and with Docker's older `200`, and general servers give a
//! socket away only after `101`.
//!
//! Façades use [`serve`] with a [`Service`], and [`Router`] to find what a
//! path means. This crate knows no product: no error bodies, no versions, no
//! authorization. Everything that a client can make grow is bounded by
//! [`Limits`].
//!
//! ```text
//! accept → read head → route → handler ── Bytes/Stream ─→ write → read head …
//!            │ bounded   │ bound of the body    │
//!            │ in time   │ is the route's       └ TakeOver: write
//!            └ 400, 431  └ 413                    head, give the socket away
//! ```
#![forbid(unsafe_code)]

mod body;
mod chunked;
mod connection;
mod encode;
mod head;
mod limits;
mod listener;
mod request;
mod response;
mod router;
mod server;

#[cfg(test)]
mod tests;

pub use body::{Body, BodyError, BodyReader};
pub use limits::Limits;
pub use listener::{BoundListener, Endpoint, ListenError, SocketGroup, bind};
pub use request::{PeerCredentials, Request};
pub use response::{Response, StreamClosed, StreamSender, TakenConnection};
pub use router::{BodyBound, Matched, PathParams, Router};
pub use server::{Service, Shutdown, ShutdownHandle, serve, serve_connection, shutdown};
