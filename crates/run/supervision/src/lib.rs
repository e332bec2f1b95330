//! The protocol between the daemon and the supervisor of one container.
//!
//! Frames over a unix stream socket: a fixed head, a postcard body, and
//! descriptors. The head names the sender's protocol version, so that a daemon
//! meets supervisors that an older one started, and says what they lack.
//!
//! Both sides link this crate; the supervisor is small, so it depends on
//! little and knows no runtime. Rules of change: variants are appended to
//! [`Request`] and [`Event`], a struct that must grow gets a successor variant,
//! and [`PROTOCOL`] rises with either; recorded frames of every version are
//! read in the tests.
#![forbid(unsafe_code)]

mod frame;
mod message;
#[cfg(test)]
mod tests;

pub use frame::{
    Batch, FrameError, FrameReader, HEAD_BYTES, MAX_BODY_BYTES, Received, encode, send,
};
pub use message::{
    Attach, AwaitExit, CloneNamespaces, Event, Exec, Hello, LogFile, Prepare, ProtocolVersion,
    RelayEntry, RelayProtocol, Relays, Request, RunState, Start, Streams, Target,
};

/// The version of the protocol that this build speaks.
pub const PROTOCOL: ProtocolVersion = ProtocolVersion(1);
