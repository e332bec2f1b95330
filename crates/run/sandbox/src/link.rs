//! The daemon's end of a supervisor's connection.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use carrack_supervision::{
    AwaitExit, Batch, Event, FrameError, FrameReader, PROTOCOL, ProtocolVersion, Received, Request,
};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime.
#[expect(
    deprecated,
    reason = "an OwnedFd keeps its descriptor for as long as it lives, which is what the unsafe successor asks for"
)]
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// What comes from a supervisor.
#[derive(Debug)]
pub enum LinkEvent {
    /// An event.
    Event(Event),
    /// A client that waits for a removal is the daemon's again.
    HandedBack(AwaitExit, OwnedFd),
    /// The connection is over: the supervisor ended.
    Closed,
}

/// A connection to one supervisor. Sending is possible from anywhere; events
/// are taken by one reader.
#[derive(Debug)]
pub struct Link {
    socket: AsyncFd<OwnedFd>,
    reader: FrameReader,
    version: ProtocolVersion,
}

impl Link {
    /// Takes a connected socket; must be called inside a runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: watch(socket)?,
            reader: FrameReader::default(),
            version: PROTOCOL,
        })
    }

    /// A second handle of the same connection, to send on.
    pub fn sender(&self) -> io::Result<Sender> {
        Ok(Sender {
            socket: self.socket.get_ref().try_clone()?,
            version: self.version,
        })
    }

    /// Sends a request; blocks for at most the time a supervisor takes to
    /// read, which is what it does between events.
    pub fn send(&self, request: &Request, with: &[BorrowedFd<'_>]) -> Result<(), FrameError> {
        send_known(self.socket.get_ref(), self.version, request, with)
    }

    /// Sends requests together; see [`Link::send`].
    pub fn send_batch(&self, batch: &Batch<'_>) -> Result<(), FrameError> {
        batch.send(self.socket.get_ref())
    }

    /// The protocol that the supervisor speaks, known after its first event.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Whether the supervisor is there, as far as one system call tells.
    pub(crate) fn is_open(&self) -> bool {
        let mut byte = [0; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match rustix::net::recv(self.socket.get_ref(), &mut byte, flags) {
            Ok((count, _)) => count > 0,
            Err(errno) => matches!(errno, Errno::AGAIN | Errno::INTR),
        }
    }

    /// The next event. A frame that cannot be read counts as the end.
    ///
    /// Cancel safe: what was read is kept.
    pub async fn next(&mut self) -> LinkEvent {
        loop {
            match self.reader.message::<Event>() {
                Ok(Some(Received {
                    message,
                    mut descriptors,
                    version,
                })) => {
                    self.version = version;
                    return match (message, descriptors.pop()) {
                        (Event::HandedBack(reply), Some(socket)) => {
                            LinkEvent::HandedBack(reply, socket)
                        }
                        (event, _) => LinkEvent::Event(event),
                    };
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "supervisor's frame");
                    return LinkEvent::Closed;
                }
            }
            let Ok(mut ready) = self.socket.readable().await else {
                return LinkEvent::Closed;
            };
            match ready.try_io(|socket| self.reader.fill(socket.get_ref().as_fd())) {
                Ok(Ok(true)) | Err(_) => {}
                Ok(Ok(false) | Err(_)) => return LinkEvent::Closed,
            }
        }
    }
}

/// Sends requests to a supervisor whose events somebody else reads.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
    version: ProtocolVersion,
}

impl Sender {
    /// Sends a request; see [`Link::send`].
    pub fn send(&self, request: &Request, with: &[BorrowedFd<'_>]) -> Result<(), FrameError> {
        send_known(&self.socket, self.version, request, with)
    }
}

/// Sends what the supervisor's version knows.
fn send_known(
    socket: &OwnedFd,
    speaks: ProtocolVersion,
    request: &Request,
    with: &[BorrowedFd<'_>],
) -> Result<(), FrameError> {
    let needs = request.since();
    if needs > speaks {
        return Err(FrameError::TooOld { needs, speaks });
    }
    carrack_supervision::send(socket, request, with)
}
