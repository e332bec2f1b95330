//! A server, and the connections to it that can carry another exchange.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;

use crate::body::Body;
use crate::connection::{Connection, Hijacked};
use crate::head::{Limits, ResponseHead};
use crate::request::Payload;
use crate::upload::Upload;
use crate::{OutboundError, Request};

/// The most idle connections that are kept.
const IDLE_CONNECTIONS: usize = 4;

/// A client of one server on a Unix socket.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    agent: String,
    limits: Limits,
    idle: Vec<Connection>,
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    /// Its head.
    pub head: ResponseHead,
    body: Body,
    upload: Option<Upload>,
}

/// A request that was sent and whose answer was not yet read.
#[derive(Debug)]
pub struct InFlight {
    connection: Connection,
    method: http::Method,
    what: String,
    limits: Limits,
}

impl InFlight {
    /// Reads the head of the answer.
    ///
    /// # Errors
    /// Any of the receiving variants of [`OutboundError`].
    pub fn receive(mut self) -> Result<Response, OutboundError> {
        let head = self
            .connection
            .receive(&self.what, &self.method, self.limits)?;
        response(self.connection, head, &self.method, &self.what, None)
    }
}

impl Client {
    /// A client of the server at `path`; nothing is opened yet. `agent` is its
    /// `User-Agent`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, agent: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            agent: agent.into(),
            limits: Limits::default(),
            idle: Vec::new(),
        }
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a connection now, for an exchange to come: a caller that knows
    /// that it will need a second one overlaps opening it with its first
    /// exchange.
    ///
    /// # Errors
    /// [`OutboundError::Connect`].
    pub fn warm(&mut self) -> Result<(), OutboundError> {
        let connection = Connection::open(&self.path, self.limits)?;
        self.give_back(Some(connection));
        Ok(())
    }

    /// Keeps a connection for the next exchange.
    pub(crate) fn give_back(&mut self, connection: Option<Connection>) {
        if let Some(connection) = connection.filter(|_| self.idle.len() < IDLE_CONNECTIONS) {
            self.idle.push(connection);
        }
    }

    /// Sends `request` and reads the head of its answer.
    ///
    /// # Errors
    /// [`OutboundError::Connect`] when nothing was sent; any other variant
    /// when something was, so that the request may have had its effect.
    pub fn send(&mut self, request: Request) -> Result<Response, OutboundError> {
        self.send_within(request, None)
    }

    /// [`send`](Self::send), waiting at most `bound` for each read of the
    /// answer's head.
    ///
    /// # Errors
    /// As [`send`](Self::send); a timeout is a [`OutboundError::Receive`].
    pub fn send_within(
        &mut self,
        request: Request,
        bound: Option<Duration>,
    ) -> Result<Response, OutboundError> {
        let mut connection = self.connection()?;
        loop {
            let reused = connection.exchanges() > 0;
            let sent = connection.send(&request, &self.agent);
            // A streamed body can be sent once only, so its exchange is begun
            // here and never retried.
            if let Payload::Stream { .. } = &request.payload {
                sent?;
                return self.upload(connection, request, bound);
            }
            let what = request.what();
            let outcome = sent.and_then(|()| {
                if bound.is_some() {
                    let _ = connection.set_read_timeout(bound);
                }
                connection.receive(&what, &request.method, self.limits)
            });
            match outcome {
                Ok(head) => {
                    if bound.is_some() {
                        let _ = connection.set_read_timeout(None);
                    }
                    return response(connection, head, &request.method, &what, None);
                }
                // The server closed the idle connection just as it was used.
                // Whether it has seen the request cannot be known, so only one
                // that changes nothing is sent again.
                Err(error)
                    if reused
                        && is_end(&error)
                        && connection.buffered().is_empty()
                        && matches!(request.method, Method::GET | Method::HEAD) =>
                {
                    self.idle.clear();
                    connection = Connection::open(&self.path, self.limits)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// An idle connection that still stands, or a new one.
    fn connection(&mut self) -> Result<Connection, OutboundError> {
        while let Some(connection) = self.idle.pop() {
            if connection.is_quiet() {
                return Ok(connection);
            }
        }
        Connection::open(&self.path, self.limits)
    }

    /// Sends a request without a streamed body and leaves its answer for
    /// later, so that several requests are on their way at once, each on a
    /// connection of its own. A connection that the server has closed
    /// meanwhile is an error: it is for requests that follow another closely.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn begin(&mut self, request: &Request) -> Result<InFlight, OutboundError> {
        let mut connection = self.connection()?;
        connection.send(request, &self.agent)?;
        Ok(InFlight {
            connection,
            method: request.method.clone(),
            what: request.what(),
            limits: self.limits,
        })
    }

    fn upload(
        &self,
        mut connection: Connection,
        mut request: Request,
        bound: Option<Duration>,
    ) -> Result<Response, OutboundError> {
        let what = request.what();
        let Payload::Stream { source, .. } =
            std::mem::replace(&mut request.payload, Payload::Empty)
        else {
            return Err(OutboundError::InvalidRequest { what: "the upload" });
        };
        let upload = connection
            .writer()
            .and_then(|socket| Upload::start(socket, source))
            .map_err(|source| OutboundError::Send {
                what: what.clone(),
                source,
            })?;
        if bound.is_some() {
            let _ = connection.set_read_timeout(bound);
        }
        match connection.receive(&what, &request.method, self.limits) {
            Ok(head) => response(connection, head, &request.method, &what, Some(upload)),
            Err(error) => Err(match upload.take_source_error() {
                Some(source) => OutboundError::UploadSource { source },
                None => error,
            }),
        }
    }

    /// Reads a body whole, at most `limit` bytes, and keeps its connection.
    ///
    /// # Errors
    /// [`OutboundError::BodyTooLarge`] or [`OutboundError::Body`], or the
    /// error of an upload's source, which explains the answer.
    pub fn read(&mut self, response: Response, limit: usize) -> Result<Vec<u8>, OutboundError> {
        let Response {
            mut body, upload, ..
        } = response;
        let mut bytes = Vec::new();
        let read = (&mut body).take(limit as u64 + 1).read_to_end(&mut bytes);
        if let Some(source) = upload.and_then(|upload| upload.take_source_error()) {
            return Err(OutboundError::UploadSource { source });
        }
        read.map_err(|source| OutboundError::Body { source })?;
        if bytes.len() > limit {
            return Err(OutboundError::BodyTooLarge { limit });
        }
        self.give_back(body.into_reusable());
        Ok(bytes)
    }
}

/// Whether the server ended the connection.
fn is_end(error: &OutboundError) -> bool {
    match error {
        OutboundError::Closed { .. } | OutboundError::Send { .. } => true,
        OutboundError::Receive { source, .. } => {
            source.kind() == std::io::ErrorKind::ConnectionReset
        }
        _ => false,
    }
}

fn response(
    connection: Connection,
    head: ResponseHead,
    method: &http::Method,
    what: &str,
    upload: Option<Upload>,
) -> Result<Response, OutboundError> {
    let framing = head
        .framing(method)
        .map_err(|reason| OutboundError::Malformed {
            what: what.to_owned(),
            reason,
        })?;
    // After a streamed body the thread that sends it may still write.
    let reusable = head.keeps_alive() && upload.is_none();
    Ok(Response {
        head,
        body: Body::new(connection, framing, reusable),
        upload,
    })
}

impl AsFd for Response {
    /// The connection, to wait until its body has something to read. What was
    /// read with the head does not count.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.body.connection().as_fd()
    }
}

impl Response {
    /// Whether some of the body was read with the head.
    #[must_use]
    pub fn has_buffered(&self) -> bool {
        !self.body.connection().buffered().is_empty()
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        self.head.status
    }

    /// The body, to be read as it comes.
    pub fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The body alone; its connection ends with it.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.body
    }

    /// The error of the source of the upload that this answers, if it had one.
    #[must_use]
    pub fn upload_error(&self) -> Option<OutboundError> {
        let source = self.upload.as_ref()?.take_source_error()?;
        Some(OutboundError::UploadSource { source })
    }

    /// The raw socket, after `101` or `200` to a request for an upgrade.
    ///
    /// # Errors
    /// [`OutboundError::Body`] when the socket's timeout cannot be lifted.
    pub fn hijack(self) -> Result<Hijacked, OutboundError> {
        let head = self.head;
        self.body
            .into_connection()
            .into_hijacked(head)
            .map_err(|source| OutboundError::Body { source })
    }
}

#[cfg(test)]
mod tests;
