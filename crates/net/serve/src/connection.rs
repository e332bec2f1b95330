//! One connection: request after request, until somebody ends it.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::body::{Body, ReadingHalf, Returned};
use crate::encode::{self, BodyFraming, Context};
use crate::head::{self, Framing, Head};
use crate::limits::{Limits, READ_BUFFER_BYTES};
use crate::request::{PeerCredentials, Request};
use crate::response::{Response, ResponseBody, StreamItem, TakenConnection};
use crate::server::{Service, Shutdown};

/// What the client sent was refused before any handler saw it.
const REFUSED_TYPE: &str = "text/plain; charset=utf-8";

/// Time that the rest of an unread body gets to arrive.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a refused body that are read away before its connection is closed.
const LINGER_BYTES: u64 = 256 << 20;

/// Why a connection ends. None is an error of the server.
enum End {
    /// The client closed, or nothing more is expected.
    Closed,
    /// The socket failed or somebody stood still for too long.
    Broken,
}

/// Serves `socket` until its end.
pub(crate) async fn run<S: Service>(
    socket: UnixStream,
    service: &S,
    limits: &Limits,
    shutdown: &Shutdown,
) {
    let peer = peer_of(&socket);
    let (read, write) = socket.into_split();
    let mut connection = Connection {
        half: ReadingHalf {
            socket: read,
            buffer: BytesMut::with_capacity(READ_BUFFER_BYTES),
        },
        write,
        peer,
        limits,
        shutdown: shutdown.clone(),
    };
    loop {
        match connection.exchange(service).await {
            Ok(next) => connection = next,
            Err(End::Closed | End::Broken) => return,
        }
    }
}

fn peer_of(socket: &UnixStream) -> PeerCredentials {
    // It fails only for a socket that is no longer one.
    socket.peer_cred().map_or_else(
        |_| PeerCredentials {
            uid: u32::MAX,
            gid: u32::MAX,
            pid: None,
        },
        |peer| PeerCredentials {
            uid: peer.uid(),
            gid: peer.gid(),
            pid: peer.pid(),
        },
    )
}

struct Connection<'a> {
    half: ReadingHalf,
    write: OwnedWriteHalf,
    peer: PeerCredentials,
    limits: &'a Limits,
    shutdown: Shutdown,
}

impl Connection<'_> {
    /// One request and its response; the connection, when it goes on.
    async fn exchange<S: Service>(mut self, service: &S) -> Result<Self, End> {
        let head = self.read_head().await?;
        let (version, is_head, keep_alive) =
            (head.version, head.method == Method::HEAD, head.keep_alive);
        let expects_continue = head.expects_continue && head.framing != Framing::None;

        let Self {
            half,
            mut write,
            peer,
            limits,
            shutdown,
        } = self;
        let (proceed, proceeded) = oneshot::channel();
        let proceed = expects_continue.then_some(proceed);
        let has_body = head.framing != Framing::None;
        let (body, returned) =
            Body::on_wire(half, head.framing, limits.body_stall_timeout, proceed);
        let request = Request {
            method: head.method,
            uri: head.uri,
            version,
            headers: head.headers,
            peer,
            body,
        };
        let (response, continued) = handle(
            service,
            request,
            &mut write,
            expects_continue.then_some(proceeded),
        )
        .await?;

        let context = Context {
            version,
            is_head,
            // A client that still waits for `100` may send the body or not.
            keep_alive: keep_alive && !shutdown.is_asked() && (!expects_continue || continued),
            now_s: now_s(),
        };
        let mut out = BytesMut::with_capacity(512);
        let (framing, keep_alive) = encode::head(&response, context, &mut out);
        let mut writer = Writer {
            socket: write,
            limits,
        };
        let mut returned = match response.body {
            ResponseBody::TakeOver(taker) => {
                writer.all(&out).await?;
                let returned = returned.await.map_err(|_| End::Closed)?;
                if let Some(half) = returned.half
                    && let Some(taken) = reunite(half, writer.socket)
                {
                    taker(taken).await;
                }
                return Err(End::Closed);
            }
            ResponseBody::Bytes(bytes) if framing == BodyFraming::Length => {
                // Small ones in one write: the usual case of an API.
                if out.len() + bytes.len() <= READ_BUFFER_BYTES {
                    out.extend_from_slice(&bytes);
                    writer.all(&out).await?;
                } else {
                    writer.all(&out).await?;
                    writer.all(&bytes).await?;
                }
                returned.await.map_err(|_| End::Closed)?
            }
            ResponseBody::Stream(items) if framing != BodyFraming::None => {
                writer.all(&out).await?;
                let chunked = framing == BodyFraming::Chunked;
                writer
                    .stream(items, chunked, returned, has_body, &shutdown)
                    .await?
            }
            body => {
                // The producer of a stream nobody reads is told so now.
                drop(body);
                writer.all(&out).await?;
                returned.await.map_err(|_| End::Closed)?
            }
        };
        if !keep_alive {
            return close(writer.socket, returned).await;
        }
        let discarded = timeout(DISCARD_TIMEOUT, returned.discard(limits.discard_bytes)).await;
        if discarded != Ok(true) {
            return close(writer.socket, returned).await;
        }
        let half = returned.into_half().ok_or(End::Closed)?;
        Ok(Connection {
            half,
            write: writer.socket,
            peer,
            limits,
            shutdown,
        })
    }

    /// Waits for a head, reads and parses it; refuses a bad one.
    async fn read_head(&mut self) -> Result<Head, End> {
        if self.half.buffer.is_empty() {
            self.wait_for_first_byte().await?;
        }
        let limits = self.limits;
        let read = timeout(limits.head_timeout, self.half.read_head(limits.head_bytes));
        match read.await {
            Err(_) => {
                self.refuse(StatusCode::REQUEST_TIMEOUT, "request head took too long")
                    .await
            }
            Ok(Err(HeadFailure::Io)) => Err(End::Closed),
            Ok(Err(HeadFailure::Refused(error))) => {
                self.refuse(error.status(), &error.to_string()).await
            }
            Ok(Ok(head)) => Ok(head),
        }
    }

    async fn wait_for_first_byte(&mut self) -> Result<(), End> {
        let read = self.half.socket.read_buf(&mut self.half.buffer);
        tokio::select! {
            read = timeout(self.limits.idle_timeout, read) => match read {
                Ok(Ok(length)) if length > 0 => Ok(()),
                _ => Err(End::Closed),
            },
            () = self.shutdown.asked() => Err(End::Closed),
        }
    }

    /// Answers what never became a request, and closes.
    async fn refuse(&mut self, status: StatusCode, reason: &str) -> Result<Head, End> {
        let response = Response::bytes(status, REFUSED_TYPE, format!("{reason}\n"));
        let context = Context {
            version: http::Version::HTTP_11,
            is_head: false,
            keep_alive: false,
            now_s: now_s(),
        };
        let mut out = BytesMut::new();
        encode::head(&response, context, &mut out);
        out.extend_from_slice(response.body_bytes().unwrap_or_default());
        let write = self.write.write_all(&out);
        // The connection is closed either way.
        let _ = timeout(self.limits.write_stall_timeout, write).await;
        Err(End::Closed)
    }
}

enum HeadFailure {
    Io,
    Refused(head::HeadError),
}

impl ReadingHalf {
    async fn read_head(&mut self, max: usize) -> Result<Head, HeadFailure> {
        // Parsed again only when a line ended: a head that drips byte by
        // byte must not cost a parse for each.
        let mut parsed_to = 0;
        loop {
            if self.buffer[parsed_to..].contains(&b'\n') || self.buffer.len() >= max {
                parsed_to = self.buffer.len();
                if let Some((head, length)) =
                    head::parse(&self.buffer).map_err(HeadFailure::Refused)?
                {
                    if length > max {
                        return Err(HeadFailure::Refused(head::HeadError::TooLarge));
                    }
                    bytes::Buf::advance(&mut self.buffer, length);
                    return Ok(head);
                }
                if self.buffer.len() >= max {
                    return Err(HeadFailure::Refused(head::HeadError::TooLarge));
                }
            }
            self.buffer.reserve(READ_BUFFER_BYTES);
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(length) if length > 0 => {}
                _ => return Err(HeadFailure::Io),
            }
        }
    }
}

/// Runs the handler: its response, or 500 when it panicked. Writes
/// `100 Continue` when the handler begins to read; tells whether it did.
async fn handle<S: Service>(
    service: &S,
    request: Request,
    write: &mut OwnedWriteHalf,
    proceeded: Option<oneshot::Receiver<()>>,
) -> Result<(Response, bool), End> {
    let mut handler = pin!(caught(service, request));
    let Some(mut proceeded) = proceeded else {
        return Ok((handler.await, false));
    };
    tokio::select! {
        biased;
        Ok(()) = &mut proceeded => {
            let line = write.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            line.await.map_err(|_| End::Broken)?;
        }
        response = &mut handler => {
            // The body may have been there already: then it needs no `100`.
            return Ok((response, proceeded.try_recv().is_ok()));
        }
    }
    Ok((handler.await, true))
}

/// A panic is the handler's own: it costs its request and nothing else.
async fn caught<S: Service>(service: &S, request: Request) -> Response {
    let (method, path) = (request.method.clone(), request.path().to_owned());
    let made = catch_unwind(AssertUnwindSafe(|| service.call(request)));
    let outcome = match made {
        Ok(handler) => {
            let mut handler = pin!(handler);
            std::future::poll_fn(|context| {
                let polled = catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)));
                match polled {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(response)) => Poll::Ready(Some(response)),
                    Err(_) => Poll::Ready(None),
                }
            })
            .await
        }
        Err(_) => None,
    };
    outcome.unwrap_or_else(|| {
        tracing::error!(%method, path, "handler panicked");
        service.panicked()
    })
}

fn reunite(half: ReadingHalf, write: OwnedWriteHalf) -> Option<TakenConnection> {
    let ReadingHalf { socket, buffer } = half;
    let whole = socket.reunite(write).ok()?;
    match whole.into_std() {
        Ok(socket) => Some(TakenConnection {
            socket: OwnedFd::from(socket),
            read_ahead: buffer.freeze(),
        }),
        Err(error) => {
            tracing::warn!(%error, "take a connection over");
            None
        }
    }
}

/// Closes so that the client gets the response: what it still sends is read
/// for a moment. A client that writes into a closed connection takes that for
/// the outcome and may never look at the response.
async fn close<'a>(mut write: OwnedWriteHalf, returned: Returned) -> Result<Connection<'a>, End> {
    let _ = write.shutdown().await;
    if returned.rest.is_some() {
        let _ = timeout(DISCARD_TIMEOUT, returned.linger(LINGER_BYTES)).await;
    }
    Err(End::Closed)
}

/// The writing half and its patience.
struct Writer<'a> {
    socket: OwnedWriteHalf,
    limits: &'a Limits,
}

impl Writer<'_> {
    async fn all(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        while !bytes.is_empty() {
            let write = self.socket.write(bytes);
            match timeout(self.limits.write_stall_timeout, write).await {
                Ok(Ok(length)) if length > 0 => bytes = &bytes[length..],
                _ => return Err(End::Broken),
            }
        }
        Ok(())
    }

    /// Writes a streamed body. Ends early when the client goes away, which
    /// is noticed even while there is nothing to write.
    async fn stream(
        &mut self,
        mut items: mpsc::Receiver<StreamItem>,
        chunked: bool,
        mut returned: oneshot::Receiver<Returned>,
        has_body: bool,
        shutdown: &Shutdown,
    ) -> Result<Returned, End> {
        // A handler that reads its body while it writes has the reading
        // half; the end of the client is then the handler's to notice.
        let mut half = if has_body {
            None
        } else {
            (&mut returned).await.ok()
        };
        let mut watching = half.is_some();
        loop {
            let item = tokio::select! {
                biased;
                item = items.recv() => item,
                alive = watch(half.as_mut()), if watching => {
                    if !alive {
                        return Err(End::Closed);
                    }
                    // A pipelined request: it waits in the buffer.
                    watching = false;
                    continue;
                }
                () = shutdown.asked() => return Err(End::Closed),
            };
            match item {
                Some(StreamItem::Data(data)) if data.is_empty() => {}
                Some(StreamItem::Data(data)) => {
                    let written =
                        async { self.piece(&data, chunked).await.map_err(|_| End::Broken) };
                    tokio::select! {
                        biased;
                        written = written => written?,
                        () = shutdown.asked() => return Err(End::Closed),
                    }
                }
                Some(StreamItem::End) => break,
                None => return Err(End::Broken),
            }
        }
        if chunked {
            self.all(b"0\r\n\r\n").await?;
        }
        match half {
            Some(half) => Ok(half),
            None => returned.await.map_err(|_| End::Closed),
        }
    }

    async fn piece(&mut self, data: &Bytes, chunked: bool) -> io::Result<()> {
        if !chunked {
            return self.socket.write_all(data).await;
        }
        let mut framed = BytesMut::with_capacity(data.len().min(READ_BUFFER_BYTES) + 24);
        framed.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        if data.len() <= READ_BUFFER_BYTES {
            framed.extend_from_slice(data);
            framed.extend_from_slice(b"\r\n");
            return self.socket.write_all(&framed).await;
        }
        self.socket.write_all(&framed).await?;
        self.socket.write_all(data).await?;
        self.socket.write_all(b"\r\n").await
    }
}

/// Whether the client is still there: false at its end, true when it sent
/// something more.
async fn watch(returned: Option<&mut Returned>) -> bool {
    let Some(half) = returned.and_then(|returned| returned.half.as_mut()) else {
        return std::future::pending().await;
    };
    if !half.buffer.is_empty() {
        return true;
    }
    half.buffer.reserve(READ_BUFFER_BYTES);
    matches!(half.socket.read_buf(&mut half.buffer).await, Ok(length) if length > 0)
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
