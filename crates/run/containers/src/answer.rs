//! Answering a waiting client from the daemon itself: before a start and
//! after the end, when there is no supervisor to do it.

use std::os::fd::OwnedFd;

use rustix::net::{SendFlags, Shutdown};

use crate::WaitReply;

/// Writes the reply and closes the connection. So few bytes always fit into a
/// living client's socket; one that is gone needs none.
pub(crate) fn answer(socket: OwnedFd, reply: &WaitReply, code: i32) {
    let code = code.to_string();
    let length = reply.before.len() + code.len() + reply.after.len();
    let mut bytes = format!("{length:x}\r\n").into_bytes();
    bytes.extend_from_slice(&reply.before);
    bytes.extend_from_slice(code.as_bytes());
    bytes.extend_from_slice(&reply.after);
    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    let _gone = rustix::net::send(&socket, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    let _gone = rustix::net::shutdown(&socket, Shutdown::Write);
}
