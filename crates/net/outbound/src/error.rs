//! What can go wrong between the first byte sent and the last one read.

use std::io;
use std::path::PathBuf;

/// An exchange that did not complete.
///
/// An answer with an error status is not one of these: it is a
/// [`Response`](crate::Response) like any other.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The socket cannot be reached: nobody listens, or it may not be opened.
    #[error("connect to {}", path.display())]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The request could not be written whole.
    #[error("send {what}")]
    Send {
        /// The request's method and target.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The answer could not be read.
    #[error("read the answer to {what}")]
    Receive {
        /// The request's method and target.
        what: String,
        /// What the kernel said; a timeout is `WouldBlock`.
        #[source]
        source: io::Error,
    },
    /// The server closed the connection before a whole answer came.
    #[error("the server closed the connection before it answered {what}")]
    Closed {
        /// The request's method and target.
        what: String,
    },
    /// The answer is not HTTP/1.1.
    #[error("the answer to {what} is not HTTP: {reason}")]
    Malformed {
        /// The request's method and target.
        what: String,
        /// The parser's reason.
        reason: String,
    },
    /// The answer's head is larger than [`Limits::head_bytes`](crate::Limits).
    #[error("the head of the answer to {what} is over {limit} bytes")]
    HeadTooLarge {
        /// The request's method and target.
        what: String,
        /// The bound, in bytes.
        limit: usize,
    },
    /// A body that was to be held in memory is larger than its bound.
    #[error("the answer is over {limit} bytes")]
    BodyTooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
    /// A body broke off or its framing is wrong.
    #[error("read the answer's body")]
    Body {
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// The source of an upload failed; the server's answer means nothing.
    #[error("read what is to be uploaded")]
    UploadSource {
        /// What the source said.
        #[source]
        source: io::Error,
    },
    /// The request has a character that would end its line early.
    #[error("{what} holds a space or a control character")]
    InvalidRequest {
        /// Which part of the request.
        what: &'static str,
    },
}

impl OutboundError {
    /// Whether the server was never reached, so that nothing has happened.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }
}
