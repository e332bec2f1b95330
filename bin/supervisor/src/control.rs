//! Connections of daemons.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use carrack_supervision::{Event, FrameReader, Received, Request, encode};
use carrack_sys::descriptors;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::event_loop::{EventLoop, Interest, Role, Token};

/// Bytes of events kept for a daemon that does not read; beyond, it is cut off
/// and finds the state in the next connection's hello.
const MAX_QUEUED_BYTES: usize = 256 << 10;

struct Link {
    socket: OwnedFd,
    reader: FrameReader,
    queued: Vec<u8>,
    /// The other side reads no more; what it sent may not be read yet.
    deaf: bool,
}

/// What arrived on a connection.
#[derive(Default)]
pub(crate) struct Arrived {
    /// In order.
    pub(crate) requests: Vec<Received<Request>>,
    /// Nothing comes after them.
    pub(crate) over: bool,
}

/// Whether a descriptor went to a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It is the daemon's now.
    Yes,
    /// It stays here.
    No,
}

/// All connections of daemons; there is one, but for the moment of a restart.
pub(crate) struct Control {
    links: BTreeMap<Token, Link>,
    /// The listener's.
    listening: Token,
}

impl Control {
    pub(crate) fn new(events: &mut EventLoop, listener: &OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(listener, true)?;
        Ok(Self {
            links: BTreeMap::new(),
            listening: events.watch(listener, Role::Listener, Interest::READ)?,
        })
    }

    pub(crate) fn add(&mut self, events: &mut EventLoop, socket: OwnedFd) -> io::Result<Token> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let token = events.watch(&socket, Role::Control, Interest::READ)?;
        self.links.insert(
            token,
            Link {
                socket,
                reader: FrameReader::default(),
                queued: Vec::new(),
                deaf: false,
            },
        );
        Ok(token)
    }

    /// Takes a new connection; only root may be on the other side. An error
    /// means that no descriptor is free.
    pub(crate) fn accept(
        &mut self,
        events: &mut EventLoop,
        listener: &OwnedFd,
    ) -> io::Result<Option<Token>> {
        let socket = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            // It left again.
            Err(_) => return Ok(None),
        };
        match rustix::net::sockopt::socket_peercred(&socket) {
            Ok(peer) if peer.uid.is_root() => self.add(events, socket).map(Some),
            _ => Ok(None),
        }
    }

    /// Listens for daemons, or does not.
    pub(crate) fn listen(&self, events: &EventLoop, listener: &OwnedFd, interest: Interest) {
        events.change(listener, self.listening, interest);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Reads what arrived. Requests count even where the connection ended
    /// behind them: a daemon may ask for the last thing and go.
    pub(crate) fn read(&mut self, token: Token) -> Arrived {
        let mut arrived = Arrived::default();
        let Some(link) = self.links.get_mut(&token) else {
            return arrived;
        };
        loop {
            match link.reader.fill(&link.socket) {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return arrived,
                Ok(false) | Err(_) => {
                    arrived.over = true;
                    return arrived;
                }
            }
            loop {
                match link.reader.message() {
                    Ok(Some(request)) => arrived.requests.push(request),
                    Ok(None) => break,
                    // A frame that cannot be read leaves the stream without a
                    // known position.
                    Err(_) => {
                        arrived.over = true;
                        return arrived;
                    }
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, events: &mut EventLoop, token: Token) {
        if let Some(link) = self.links.remove(&token) {
            events.forget(&link.socket, token);
        }
    }

    /// Sends an event to every daemon.
    pub(crate) fn send_all(&mut self, events: &mut EventLoop, event: &Event) {
        let tokens: Vec<Token> = self.links.keys().copied().collect();
        for token in tokens {
            self.send(events, token, event);
        }
    }

    /// Sends an event to one daemon.
    pub(crate) fn send(&mut self, events: &mut EventLoop, token: Token, event: &Event) {
        let Ok(bytes) = encode(event, 0) else {
            return;
        };
        let Some(link) = self.links.get_mut(&token) else {
            return;
        };
        if link.deaf {
            return;
        }
        link.queued.extend_from_slice(&bytes);
        if link.queued.len() > MAX_QUEUED_BYTES {
            self.remove(events, token);
        } else {
            self.flush(events, token);
        }
    }

    /// Sends an event and a descriptor to the daemon that came last. Not
    /// queued: a daemon that is behind does not get it.
    pub(crate) fn pass(
        &mut self,
        events: &mut EventLoop,
        event: &Event,
        descriptor: &OwnedFd,
    ) -> Passed {
        let Some(token) = self.links.keys().next_back().copied() else {
            return Passed::No;
        };
        self.flush(events, token);
        let (Some(link), Ok(bytes)) = (self.links.get_mut(&token), encode(event, 1)) else {
            return Passed::No;
        };
        if link.deaf || !link.queued.is_empty() {
            return Passed::No;
        }
        match descriptors::send_with(link.socket.as_fd(), &bytes, &[descriptor.as_fd()]) {
            Ok(count) => {
                link.queued.extend_from_slice(&bytes[count..]);
                self.flush(events, token);
                Passed::Yes
            }
            Err(_) => Passed::No,
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(crate) fn flush(&mut self, events: &mut EventLoop, token: Token) {
        let Some(link) = self.links.get_mut(&token) else {
            return;
        };
        while !link.queued.is_empty() {
            match rustix::net::send(
                link.socket.as_fd(),
                &link.queued,
                rustix::net::SendFlags::NOSIGNAL,
            ) {
                Ok(count) => {
                    link.queued.drain(..count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    events.change(
                        &link.socket,
                        token,
                        Interest {
                            read: true,
                            write: true,
                        },
                    );
                    return;
                }
                // It is over once its requests are read.
                Err(_) => {
                    link.deaf = true;
                    break;
                }
            }
        }
        link.queued = Vec::new();
        events.change(&link.socket, token, Interest::READ);
    }
}
