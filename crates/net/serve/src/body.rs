//! Reading a request's body.
//!
//! A [`Body`] owns the connection's reading half while it exists and gives it
//! back when dropped, so that a handler may read while its response is
//! written (a load that reports progress), and the connection loop still
//! finds the next request behind it.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use carrack_oci::ErrorKind;
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::oneshot;

use crate::chunked::{ChunkError, ChunkedDecoder, Step};
use crate::head::Framing;
use crate::limits::BODY_PIECE_BYTES;

/// The body of a request.
#[derive(Debug)]
pub struct Body {
    source: Source,
    /// Bytes that may still be handed out.
    allowance: u64,
    /// Tells the connection to write `100 Continue`, once.
    proceed: Option<oneshot::Sender<()>>,
    stall_timeout: Duration,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    Wire(Box<Wire>),
}

/// The reading half on loan.
#[derive(Debug)]
struct Wire {
    half: Option<ReadingHalf>,
    give_back: Option<oneshot::Sender<Returned>>,
    left: Left,
}

#[derive(Debug)]
enum Left {
    Length(u64),
    Chunked(ChunkedDecoder),
}

/// The reading half of a connection with what was read ahead.
#[derive(Debug)]
pub(crate) struct ReadingHalf {
    pub(crate) socket: OwnedReadHalf,
    pub(crate) buffer: BytesMut,
}

/// What a dropped body gives back.
#[derive(Debug)]
pub(crate) struct Returned {
    /// Absent while the rest of the body is read away.
    pub(crate) half: Option<ReadingHalf>,
    /// The rest of the body, unless it was read to its end.
    pub(crate) rest: Option<Body>,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than its route allows.
    #[error("request body too large")]
    TooLarge,
    /// The client closed before the end of the body.
    #[error("unexpected EOF in request body")]
    Truncated,
    /// No byte came for a long time.
    #[error("request body stalled")]
    Stalled,
    /// The chunked coding is malformed.
    #[error("malformed request body: {0}")]
    Malformed(&'static str),
    /// The socket failed.
    #[error("read request body")]
    Read(#[source] io::Error),
}

impl BodyError {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Malformed(_) => ErrorKind::InvalidInput,
            Self::Truncated | Self::Stalled | Self::Read(_) => ErrorKind::Cancelled,
        }
    }
}

impl From<ChunkError> for BodyError {
    fn from(error: ChunkError) -> Self {
        Self::Malformed(match error {
            ChunkError::Size => "invalid chunk size",
            ChunkError::End => "chunk does not end where its size says",
            ChunkError::TooLong => "chunk line or trailer too long",
            ChunkError::Line => "malformed chunk line",
        })
    }
}

impl Body {
    /// A body that is already in memory.
    pub fn in_memory(bytes: Bytes) -> Self {
        Self {
            source: Source::Memory(bytes),
            allowance: u64::MAX,
            proceed: None,
            stall_timeout: Duration::MAX,
        }
    }

    /// A body on the wire, and where the reading half comes back.
    pub(crate) fn on_wire(
        half: ReadingHalf,
        framing: Framing,
        stall_timeout: Duration,
        proceed: Option<oneshot::Sender<()>>,
    ) -> (Self, oneshot::Receiver<Returned>) {
        let (give_back, returned) = oneshot::channel();
        let left = match framing {
            Framing::None => Left::Length(0),
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunked(ChunkedDecoder::new()),
        };
        let wire = Wire {
            half: Some(half),
            give_back: Some(give_back),
            left,
        };
        let body = Self {
            source: Source::Wire(Box::new(wire)),
            allowance: u64::MAX,
            proceed,
            stall_timeout,
        };
        (body, returned)
    }

    /// Sets how many bytes may be read in all; a longer body fails with
    /// [`BodyError::TooLarge`]. The router does it for each route.
    pub fn set_bound(&mut self, bytes: u64) {
        self.allowance = bytes;
    }

    /// The length that the client declared; nothing when it is chunked.
    pub fn declared_length(&self) -> Option<u64> {
        match &self.source {
            Source::Memory(bytes) => Some(bytes.len() as u64),
            Source::Wire(wire) => match wire.left {
                Left::Length(length) => Some(length),
                Left::Chunked(_) => None,
            },
        }
    }

    /// Whether nothing is left to read. A chunked body is not empty before
    /// its last chunk was read.
    pub fn is_finished(&self) -> bool {
        match &self.source {
            Source::Memory(bytes) => bytes.is_empty(),
            Source::Wire(wire) => match &wire.left {
                Left::Length(length) => *length == 0,
                Left::Chunked(decoder) => decoder.is_done(),
            },
        }
    }

    /// The next piece, at most 64 KiB; nothing at the end.
    pub async fn read(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.is_finished() {
            return Ok(None);
        }
        if let Some(proceed) = self.proceed.take() {
            // The connection may already be writing the response: then it
            // wants no `100` any more.
            let _ = proceed.send(());
        }
        let piece = match &mut self.source {
            Source::Memory(bytes) => {
                let length = bytes.len().min(BODY_PIECE_BYTES);
                Some(bytes.split_to(length))
            }
            Source::Wire(wire) => wire.read(self.stall_timeout).await?,
        };
        if let Some(piece) = &piece {
            self.allowance = self
                .allowance
                .checked_sub(piece.len() as u64)
                .ok_or(BodyError::TooLarge)?;
        }
        Ok(piece)
    }

    /// The whole body, at most `max` bytes of it.
    pub async fn collect(&mut self, max: usize) -> Result<Bytes, BodyError> {
        self.allowance = self.allowance.min(max as u64);
        if self
            .declared_length()
            .is_some_and(|length| length > self.allowance)
        {
            return Err(BodyError::TooLarge);
        }
        let Some(first) = self.read().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.read().await? else {
            return Ok(first);
        };
        let mut all = BytesMut::with_capacity(first.len() + second.len());
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(piece) = self.read().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// A blocking reader, to be used on a thread that may block. Must be
    /// called inside the runtime.
    pub fn into_reader(self) -> BodyReader {
        BodyReader {
            runtime: tokio::runtime::Handle::current(),
            body: self,
            piece: Bytes::new(),
        }
    }

    /// Reads and forgets what is left, up to `max` bytes: whether the end
    /// was reached.
    pub(crate) async fn discard(&mut self, max: u64) -> bool {
        self.allowance = max;
        if self.declared_length().is_some_and(|length| length > max) {
            return false;
        }
        loop {
            match self.read().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl Wire {
    async fn read(&mut self, stall_timeout: Duration) -> Result<Option<Bytes>, BodyError> {
        let half = self.half.as_mut().ok_or(BodyError::Truncated)?;
        loop {
            match &mut self.left {
                Left::Length(left) => {
                    if !half.buffer.is_empty() {
                        let wanted = usize::try_from(*left).unwrap_or(usize::MAX);
                        let length = half.buffer.len().min(wanted).min(BODY_PIECE_BYTES);
                        *left -= length as u64;
                        return Ok(Some(half.buffer.split_to(length).freeze()));
                    }
                }
                Left::Chunked(decoder) => match decoder.step(&mut half.buffer)? {
                    Step::Data(data) => return Ok(Some(data)),
                    Step::Done => return Ok(None),
                    Step::NeedMore => {}
                },
            }
            half.buffer.reserve(BODY_PIECE_BYTES);
            let read = half.socket.read_buf(&mut half.buffer);
            let read = tokio::time::timeout(stall_timeout, read)
                .await
                .map_err(|_| BodyError::Stalled)?;
            if read.map_err(BodyError::Read)? == 0 {
                return Err(BodyError::Truncated);
            }
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let Source::Wire(wire) = &mut self.source else {
            return;
        };
        let (Some(half), Some(give_back)) = (wire.half.take(), wire.give_back.take()) else {
            return;
        };
        let finished = match &wire.left {
            Left::Length(length) => *length == 0,
            Left::Chunked(decoder) => decoder.is_done(),
        };
        let returned = if finished {
            Returned {
                half: Some(half),
                rest: None,
            }
        } else {
            // The rest is kept with its own position; the connection puts
            // the half back into it when it wants to discard.
            let left = std::mem::replace(&mut wire.left, Left::Length(0));
            let rest = Body {
                source: Source::Wire(Box::new(Wire {
                    half: None,
                    give_back: None,
                    left,
                })),
                allowance: u64::MAX,
                proceed: None,
                stall_timeout: self.stall_timeout,
            };
            Returned {
                half: Some(half),
                rest: Some(rest),
            }
        };
        // Nobody waits for it when the connection is gone.
        let _ = give_back.send(returned);
    }
}

impl Returned {
    /// Reads away the rest of the body, up to `max` bytes: whether the
    /// connection can be used again.
    pub(crate) async fn discard(&mut self, max: u64) -> bool {
        let Some(rest) = &mut self.rest else {
            return true;
        };
        if let Source::Wire(wire) = &mut rest.source
            && wire.half.is_none()
        {
            wire.half = self.half.take();
        }
        rest.discard(max).await
    }

    /// The half, for the next request.
    pub(crate) fn into_half(mut self) -> Option<ReadingHalf> {
        if self.half.is_some() {
            return self.half;
        }
        match &mut self.rest.as_mut()?.source {
            Source::Wire(wire) => wire.half.take(),
            _ => None,
        }
    }

    /// Reads and forgets whatever comes, up to `max` bytes or the end.
    pub(crate) async fn linger(self, max: u64) {
        let Some(mut half) = self.into_half() else {
            return;
        };
        let mut left = max;
        while left > 0 {
            half.buffer.clear();
            half.buffer.reserve(BODY_PIECE_BYTES);
            match half.socket.read_buf(&mut half.buffer).await {
                Ok(count) if count > 0 => left = left.saturating_sub(count as u64),
                _ => return,
            }
        }
    }
}

/// A body as a blocking reader.
#[derive(Debug)]
pub struct BodyReader {
    runtime: tokio::runtime::Handle,
    body: Body,
    piece: Bytes,
}

impl io::Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            match self.runtime.block_on(self.body.read()) {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => return Ok(0),
                Err(error) => return Err(into_io(error)),
            }
        }
        let length = self.piece.len().min(out.len());
        out[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

fn into_io(error: BodyError) -> io::Error {
    let kind = match &error {
        BodyError::TooLarge => io::ErrorKind::FileTooLarge,
        BodyError::Truncated => io::ErrorKind::UnexpectedEof,
        BodyError::Stalled => io::ErrorKind::TimedOut,
        BodyError::Malformed(_) => io::ErrorKind::InvalidData,
        BodyError::Read(source) => source.kind(),
    };
    io::Error::new(kind, error)
}
