//! A response as handlers make it.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::mpsc;

/// Pieces of a stream waiting to be written before its producer waits.
const STREAM_DEPTH: usize = 16;

/// One response.
#[derive(Debug)]
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Header fields; framing and connection fields are set when written.
    pub headers: HeaderMap,
    pub(crate) body: ResponseBody,
}

/// What follows the head.
pub(crate) enum ResponseBody {
    Empty,
    Bytes(Bytes),
    Stream(mpsc::Receiver<StreamItem>),
    TakeOver(TakeOver),
}

pub(crate) type TakeOver =
    Box<dyn FnOnce(TakenConnection) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

pub(crate) enum StreamItem {
    Data(Bytes),
    End,
}

/// A connection that is no longer HTTP: the head of the response was
/// written, everything from here on belongs to the receiver.
#[derive(Debug)]
pub struct TakenConnection {
    /// The socket, in non-blocking mode.
    pub socket: OwnedFd,
    /// What the client sent after its request and was already read.
    pub read_ahead: Bytes,
}

/// The producer's end of a streamed body.
///
/// Dropping it without [`StreamSender::finish`] breaks the connection off, so
/// that the client sees a truncated body as such.
#[derive(Clone, Debug)]
pub struct StreamSender {
    items: mpsc::Sender<StreamItem>,
}

/// The client went away, or the server is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client went away")]
pub struct StreamClosed;

impl StreamSender {
    /// Writes a piece as one chunk; waits while the client does not read.
    pub async fn send(&self, data: impl Into<Bytes>) -> Result<(), StreamClosed> {
        let item = StreamItem::Data(data.into());
        self.items.send(item).await.map_err(|_| StreamClosed)
    }

    /// [`StreamSender::send`] for a thread that may block.
    pub fn send_blocking(&self, data: impl Into<Bytes>) -> Result<(), StreamClosed> {
        let item = StreamItem::Data(data.into());
        self.items.blocking_send(item).map_err(|_| StreamClosed)
    }

    /// Ends the body well.
    pub async fn finish(self) -> Result<(), StreamClosed> {
        let sent = self.items.send(StreamItem::End).await;
        sent.map_err(|_| StreamClosed)
    }

    /// [`StreamSender::finish`] for a thread that may block.
    pub fn finish_blocking(self) -> Result<(), StreamClosed> {
        let sent = self.items.blocking_send(StreamItem::End);
        sent.map_err(|_| StreamClosed)
    }

    /// Waits until the client is gone or the server shuts down.
    pub async fn closed(&self) {
        self.items.closed().await;
    }

    /// A blocking writer; each write is one chunk.
    pub fn into_writer(self) -> impl io::Write + Send {
        StreamWriter(self)
    }
}

struct StreamWriter(StreamSender);

impl io::Write for StreamWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0
            .send_blocking(Bytes::copy_from_slice(data))
            .map_err(|closed| io::Error::new(io::ErrorKind::BrokenPipe, closed))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Response {
    /// A response without a body.
    pub fn empty(status: StatusCode) -> Self {
        Self::new(status, ResponseBody::Empty)
    }

    /// A response whose body is at hand.
    pub fn bytes(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        Self::new(status, ResponseBody::Bytes(body.into()))
            .with_header(header::CONTENT_TYPE, content_type)
    }

    /// A response whose body is produced piece by piece. The head is flushed
    /// at once; each piece is flushed when it is written.
    pub fn stream(status: StatusCode, content_type: &'static str) -> (Self, StreamSender) {
        let (items, received) = mpsc::channel(STREAM_DEPTH);
        let content_type = HeaderValue::from_static(content_type);
        let response = Self::new(status, ResponseBody::Stream(received))
            .with_header(header::CONTENT_TYPE, content_type);
        (response, StreamSender { items })
    }

    /// Writes the head, then runs `taker` with the raw connection: to serve
    /// it in this process, or to pass it to another one and end. It counts as
    /// a connection until the future ends, and is dropped when a shutdown's
    /// patience ends.
    ///
    /// No framing field is written. Either the status is `101` with
    /// `Connection: Upgrade`, or the body ends with the connection, or the
    /// caller declares the framing that it will write, by a header field.
    pub fn take_over<F, R>(status: StatusCode, taker: F) -> Self
    where
        F: FnOnce(TakenConnection) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let taker: TakeOver = Box::new(|connection| Box::pin(taker(connection)));
        Self::new(status, ResponseBody::TakeOver(taker))
    }

    /// Sets a header field.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The body, when it is at hand: for tests of façades.
    pub fn body_bytes(&self) -> Option<&[u8]> {
        match &self.body {
            ResponseBody::Empty => Some(&[]),
            ResponseBody::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// All pieces of a streamed body: for tests of façades. A body that is
    /// at hand is given as it is; a connection to take over gives nothing.
    pub async fn collect(self) -> Bytes {
        match self.body {
            ResponseBody::Bytes(bytes) => bytes,
            ResponseBody::Stream(mut items) => {
                let mut all = Vec::new();
                while let Some(StreamItem::Data(piece)) = items.recv().await {
                    all.extend_from_slice(&piece);
                }
                all.into()
            }
            ResponseBody::Empty | ResponseBody::TakeOver(_) => Bytes::new(),
        }
    }

    fn new(status: StatusCode, body: ResponseBody) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body,
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
            Self::TakeOver(_) => f.write_str("TakeOver"),
        }
    }
}
