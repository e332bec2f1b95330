//! Frames: how a message crosses the socket.
//!
//! Head of eight bytes, little-endian: body length `u32`, number of
//! descriptors `u16`, protocol version `u16`. The body is postcard. The
//! descriptors travel with the head's first byte.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use carrack_sys::descriptors::{self, MAX_PASSED};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{PROTOCOL, ProtocolVersion};

/// Length of a frame's head.
pub const HEAD_BYTES: usize = 8;
/// Longest body: arguments and environment of a program may be 2 MiB, and a
/// seccomp program 32 KiB.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// Bytes read at once: a usual plan. A small process reads onto its stack,
/// which never shrinks.
const READ_BYTES: usize = 8 << 10;

/// Why a frame could not be read or made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body is longer than [`MAX_BODY_BYTES`].
    #[error("frame of {bytes} bytes is too large")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// More descriptors than one message can carry, or fewer than the head says.
    #[error("frame with {count} descriptors is malformed")]
    Descriptors {
        /// How many the head says.
        count: usize,
    },
    /// The body does not decode.
    #[error("decode frame of protocol {}", version.0)]
    Decode {
        /// The sender's version.
        version: ProtocolVersion,
        /// What postcard says.
        #[source]
        source: postcard::Error,
    },
    /// The body does not encode.
    #[error("encode frame")]
    Encode(#[source] postcard::Error),
    /// The other side is of a version that does not know the message.
    #[error(
        "it was started by an earlier version of Carrack, which cannot do this (protocol {}, {} is needed); restart it to have it",
        speaks.0,
        needs.0
    )]
    TooOld {
        /// The version that brought the message.
        needs: ProtocolVersion,
        /// The other side's version.
        speaks: ProtocolVersion,
    },
    /// The socket failed.
    #[error("supervisor socket")]
    Socket(#[source] io::Error),
}

/// A message, its descriptors and the sender's version.
#[derive(Debug)]
pub struct Received<M> {
    /// The message.
    pub message: M,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
    /// The sender's version.
    pub version: ProtocolVersion,
}

/// The bytes of a frame.
pub fn encode<M: Serialize>(message: &M, descriptors: usize) -> Result<Vec<u8>, FrameError> {
    let count = u16::try_from(descriptors)
        .ok()
        .filter(|_| descriptors <= MAX_PASSED)
        .ok_or(FrameError::Descriptors { count: descriptors })?;
    let mut bytes =
        postcard::to_extend(message, vec![0; HEAD_BYTES]).map_err(FrameError::Encode)?;
    let length = bytes.len() - HEAD_BYTES;
    let too_large = FrameError::TooLarge { bytes: length };
    if length > MAX_BODY_BYTES {
        return Err(too_large);
    }
    let length = u32::try_from(length).map_err(|_| too_large)?;
    bytes[0..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..6].copy_from_slice(&count.to_le_bytes());
    bytes[6..8].copy_from_slice(&PROTOCOL.0.to_le_bytes());
    Ok(bytes)
}

/// Sends a message, blocking until the socket took all of it.
pub fn send<M: Serialize>(
    socket: impl AsFd,
    message: &M,
    with: &[BorrowedFd<'_>],
) -> Result<(), FrameError> {
    let bytes = encode(message, with.len())?;
    send_bytes(socket.as_fd(), &bytes, with).map_err(FrameError::Socket)
}

fn send_bytes(socket: BorrowedFd<'_>, bytes: &[u8], with: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut sent = 0;
    let mut with = with;
    while sent < bytes.len() {
        match descriptors::send_with(socket, &bytes[sent..], with) {
            Ok(count) => {
                sent += count;
                with = &[];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut polled = [rustix::event::PollFd::new(
                    &socket,
                    rustix::event::PollFlags::OUT,
                )];
                rustix::event::poll(&mut polled, None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Collects bytes and descriptors into messages.
#[derive(Debug, Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl FrameReader {
    /// Reads once from the socket; `Ok(false)` is the end of the stream.
    /// `WouldBlock` of a non-blocking socket is passed on.
    pub fn fill(&mut self, socket: impl AsFd) -> io::Result<bool> {
        let mut buffer = [0_u8; READ_BYTES];
        let mut arrived = Vec::new();
        let count = loop {
            match descriptors::receive_with(socket.as_fd(), &mut buffer, &mut arrived) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.bytes.extend_from_slice(&buffer[..count]);
        self.descriptors.extend(arrived);
        Ok(count > 0)
    }

    /// The next whole message, if there is one.
    pub fn message<M: DeserializeOwned>(&mut self) -> Result<Option<Received<M>>, FrameError> {
        let Some(head) = self.bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let count = usize::from(u16::from_le_bytes([head[4], head[5]]));
        let version = ProtocolVersion(u16::from_le_bytes([head[6], head[7]]));
        if length > MAX_BODY_BYTES {
            return Err(FrameError::TooLarge { bytes: length });
        }
        let end = HEAD_BYTES + length;
        if self.bytes.len() < end {
            return Ok(None);
        }
        if self.descriptors.len() < count {
            return Err(FrameError::Descriptors { count });
        }
        let message = postcard::from_bytes(&self.bytes[HEAD_BYTES..end])
            .map_err(|source| FrameError::Decode { version, source })?;
        self.bytes.drain(..end);
        if self.bytes.is_empty() {
            // One large plan must not stay in a small process for ever.
            self.bytes = Vec::new();
        }
        Ok(Some(Received {
            message,
            descriptors: self.descriptors.drain(..count).collect(),
            version,
        }))
    }
}

/// Messages that leave together, so that the other side is woken once.
///
/// A stream socket keeps the order of bytes and of descriptors, so the reader
/// cannot tell a batch from the same messages sent one by one.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    parts: Vec<Part<'a>>,
}

/// What one system call can carry.
#[derive(Debug, Default)]
struct Part<'a> {
    bytes: Vec<u8>,
    with: Vec<BorrowedFd<'a>>,
}

impl<'a> Batch<'a> {
    /// Adds a message and its descriptors behind those that are there.
    pub fn push<M: Serialize>(
        &mut self,
        message: &M,
        with: &[BorrowedFd<'a>],
    ) -> Result<(), FrameError> {
        let bytes = encode(message, with.len())?;
        match self.parts.last_mut() {
            Some(part) if part.with.len() + with.len() <= MAX_PASSED => {
                part.bytes.extend_from_slice(&bytes);
                part.with.extend_from_slice(with);
            }
            _ => self.parts.push(Part {
                bytes,
                with: with.to_vec(),
            }),
        }
        Ok(())
    }

    /// Sends all of them, blocking until the socket took them.
    pub fn send(&self, socket: impl AsFd) -> Result<(), FrameError> {
        for part in &self.parts {
            send_bytes(socket.as_fd(), &part.bytes, &part.with).map_err(FrameError::Socket)?;
        }
        Ok(())
    }
}
