//! The protocol between the daemon and the supervisor of one container.
//!
//! Frames over a unix stream socket: a fixed head, a postcard body, and
//! descriptors. The head names the sender's protocol version, so that a daemon
//! meets supervisors that an older one started, and says what they lack.
//!
//! Both sides link this crate; the supervisor is small, so it depends on
//! little and knows no runtime. Rules of change: variants are appended to
//! [`Request`] and [`Event`], a struct that must grow gets a successor variant,
//! and [`PROTOCOL`] rises with either; [`Request::since`] says which version
//! brought a request, and the daemon does not send it to an older supervisor.
//! Version 1 may still change: no release has it.
//! Recorded frames of every version are read in the tests. The feature
//! `next-protocol` rehearses a rise: a test lets such a daemon take over the
//! containers of this one.
#![forbid(unsafe_code)]

pub mod detached;
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
#[cfg(not(feature = "next-protocol"))]
pub const PROTOCOL: ProtocolVersion = ProtocolVersion(1);
/// The version of the protocol that this build speaks: a rehearsal of the
/// change to come, in which resizing a terminal is what is new.
#[cfg(feature = "next-protocol")]
pub const PROTOCOL: ProtocolVersion = ProtocolVersion(2);
