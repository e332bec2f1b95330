//! One connection to a server on a Unix socket: a stream and its read buffer.

use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use http::Method;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::head::{Limits, ResponseHead};
use crate::{OutboundError, Request};

/// Bytes asked for at a read.
const READ_BYTES: usize = 16 * 1024;

/// A connection. Requests go out whole; answers come in order.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    at: usize,
    exchanges: u64,
}

/// A connection whose HTTP is over: the socket, and what was already read.
#[derive(Debug)]
pub struct Hijacked {
    /// The socket, blocking, without timeouts.
    pub stream: UnixStream,
    /// Bytes that the server sent right after its head.
    pub read_ahead: Vec<u8>,
    /// The head that upgraded the connection.
    pub head: ResponseHead,
}

impl Connection {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// [`OutboundError::Connect`] when nobody listens there, the path is too
    /// long, or the server's queue stays full for `limits.connect_ms`.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, OutboundError> {
        let connect = || -> rustix::io::Result<UnixStream> {
            let address = SocketAddrUnix::new(path)?;
            let socket = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )?;
            // A full backlog blocks connect(2) on a Unix socket for the send
            // timeout (unix(7)), without which it would be for ever.
            let bound = Some(Duration::from_millis(limits.connect_ms));
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, bound)?;
            rustix::net::connect(&socket, &address)?;
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, None)?;
            Ok(UnixStream::from(socket))
        };
        let stream = connect().map_err(|errno| OutboundError::Connect {
            path: path.to_owned(),
            source: errno.into(),
        })?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            at: 0,
            exchanges: 0,
        })
    }

    /// How many answers came over it.
    pub(crate) fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// Whether it is between exchanges and the server has not ended it: an
    /// idle connection has nothing to say.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut watched = [PollFd::new(&self.stream, PollFlags::IN)];
        self.buffered().is_empty()
            && matches!(poll(&mut watched, Some(&Timespec::default())), Ok(0))
    }

    /// What was read and not yet taken.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Bounds each wait for the server; `None` waits for ever.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn set_read_timeout(&self, bound: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(bound)
    }

    /// Writes a request's head, and its body where it is at hand.
    ///
    /// # Errors
    /// [`OutboundError::Send`], or a request that cannot be encoded.
    pub(crate) fn send(&mut self, request: &Request, agent: &str) -> Result<(), OutboundError> {
        let bytes = request.encode(agent)?;
        self.stream
            .write_all(&bytes)
            .map_err(|source| OutboundError::Send {
                what: request.what(),
                source,
            })
    }

    /// A second handle on the socket, for an upload.
    pub(crate) fn writer(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }

    /// Reads the head of the next answer, past interim ones.
    ///
    /// # Errors
    /// Any of the receiving variants of [`OutboundError`].
    pub(crate) fn receive(
        &mut self,
        what: &str,
        method: &Method,
        limits: Limits,
    ) -> Result<ResponseHead, OutboundError> {
        loop {
            let parsed = ResponseHead::parse(self.buffered(), limits).map_err(|reason| {
                OutboundError::Malformed {
                    what: what.to_owned(),
                    reason,
                }
            })?;
            if let Some((head, taken)) = parsed {
                self.consume(taken);
                let interim = head.status.is_informational()
                    && head.status != http::StatusCode::SWITCHING_PROTOCOLS;
                if interim {
                    continue;
                }
                head.framing(method)
                    .map_err(|reason| OutboundError::Malformed {
                        what: what.to_owned(),
                        reason,
                    })?;
                self.exchanges += 1;
                return Ok(head);
            }
            if self.buffered().len() >= limits.head_bytes {
                return Err(OutboundError::HeadTooLarge {
                    what: what.to_owned(),
                    limit: limits.head_bytes,
                });
            }
            let read = self.read_more().map_err(|source| OutboundError::Receive {
                what: what.to_owned(),
                source,
            })?;
            if read == 0 {
                return Err(OutboundError::Closed {
                    what: what.to_owned(),
                });
            }
        }
    }

    /// Appends what the socket has to the buffer.
    fn read_more(&mut self) -> io::Result<usize> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        // Into memory that was never touched: zeros first would cost a short
        // program a page fault for every page that stays empty.
        self.buffer.reserve(READ_BYTES);
        loop {
            match rustix::io::read(&self.stream, spare_capacity(&mut self.buffer)) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    pub(crate) fn into_hijacked(mut self, head: ResponseHead) -> io::Result<Hijacked> {
        self.stream.set_read_timeout(None)?;
        let read_ahead = self.buffer.split_off(self.at);
        Ok(Hijacked {
            stream: self.stream,
            read_ahead,
            head,
        })
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Read for Connection {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.buffered().is_empty() && out.len() >= READ_BYTES {
            return self.stream.read(out);
        }
        let available = self.fill_buf()?;
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl BufRead for Connection {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffered().is_empty() {
            self.read_more()?;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, taken: usize) {
        self.at = (self.at + taken).min(self.buffer.len());
    }
}
