//! Loopback relays of published TCP ports.
//!
//! Connections from other hosts go through the kernel's NAT; those from the
//! host's own loopback cannot (there is no `route_localnet` for IPv6), so the
//! supervisor, which holds the listening sockets anyway to reserve the ports,
//! carries them. It reads nothing of what it carries.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use carrack_supervision::{RelayProtocol, Relays};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType};

use crate::event_loop::{EventLoop, Interest, Role, Token};
use crate::relay_udp::Datagrams;

/// Connections carried at once; others wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 512;
/// Bytes kept in each direction of a connection.
const BUFFER_BYTES: usize = 32 << 10;

struct Listener {
    socket: OwnedFd,
    target: SocketAddr,
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    bytes: Vec<u8>,
    /// The source sends no more.
    ended: bool,
    /// The end was passed on.
    closed: bool,
}

struct Connection {
    sides: [Side; 2],
    /// `flows[i]` goes from side i to the other.
    flows: [Flow; 2],
    connecting: bool,
}

struct Side {
    socket: OwnedFd,
    token: Token,
    /// Whether it is watched: one that has nothing to do is not, or the end of
    /// its peer would wake us for ever.
    watched: bool,
}

/// All relays of one container.
#[derive(Default)]
pub(crate) struct Relay {
    listeners: BTreeMap<Token, Listener>,
    connections: BTreeMap<u64, Connection>,
    sides: BTreeMap<Token, (u64, usize)>,
    next: u64,
    reserved: Vec<OwnedFd>,
    pub(crate) datagrams: Datagrams,
}

impl Relay {
    /// Begins to relay on bound sockets.
    pub(crate) fn add(
        &mut self,
        events: &mut EventLoop,
        relays: &Relays,
        sockets: Vec<OwnedFd>,
    ) -> io::Result<()> {
        for (entry, socket) in relays.entries.iter().zip(sockets) {
            match entry.protocol {
                RelayProtocol::Tcp => {
                    rustix::io::ioctl_fionbio(&socket, true)?;
                    let token = events.watch(&socket, Role::RelayListener, Interest::READ)?;
                    let target = entry.target;
                    self.listeners.insert(token, Listener { socket, target });
                }
                RelayProtocol::Udp => self.datagrams.add(events, socket, entry.target)?,
                RelayProtocol::Reserve => self.reserved.push(socket),
            }
        }
        Ok(())
    }

    /// Takes a connection and opens its other half. An error means that no
    /// descriptor is free.
    pub(crate) fn accept(&mut self, events: &mut EventLoop, token: Token) -> io::Result<()> {
        let Some(listener) = self.listeners.get(&token) else {
            return Ok(());
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let client = match rustix::net::accept_with(&listener.socket, flags) {
            Ok(client) => client,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            // It left again.
            Err(_) => return Ok(()),
        };
        // A target that cannot be reached ends the client's connection, as a
        // closed port would.
        if let Ok((server, connecting)) = connect(listener.target) {
            let _too_many_descriptors = self.open(events, client, server, connecting);
        }
        if self.connections.len() >= MAX_CONNECTIONS {
            self.watch_listeners(events, Interest::NONE);
        }
        Ok(())
    }

    /// Listens, or does not; with as many connections as there may be it does
    /// not in any case.
    pub(crate) fn listen(&self, events: &EventLoop, interest: Interest) {
        if self.connections.len() < MAX_CONNECTIONS {
            self.watch_listeners(events, interest);
        }
    }

    fn open(
        &mut self,
        events: &mut EventLoop,
        client: OwnedFd,
        server: OwnedFd,
        connecting: bool,
    ) -> io::Result<()> {
        let id = self.next;
        self.next += 1;
        let first = events.watch(&client, Role::RelaySide, Interest::NONE)?;
        let second = match events.watch(&server, Role::RelaySide, Interest::NONE) {
            Ok(token) => token,
            Err(error) => {
                events.forget(&client, first);
                return Err(error);
            }
        };
        self.sides.insert(first, (id, 0));
        self.sides.insert(second, (id, 1));
        let mut connection = Connection {
            sides: [
                Side {
                    socket: client,
                    token: first,
                    watched: true,
                },
                Side {
                    socket: server,
                    token: second,
                    watched: true,
                },
            ],
            flows: [Flow::default(), Flow::default()],
            connecting,
        };
        connection.update_interest(events);
        self.connections.insert(id, connection);
        Ok(())
    }

    fn watch_listeners(&self, events: &EventLoop, interest: Interest) {
        for (token, listener) in &self.listeners {
            events.change(&listener.socket, *token, interest);
        }
    }

    /// One side of a connection is ready.
    pub(crate) fn ready(
        &mut self,
        events: &mut EventLoop,
        token: Token,
        readable: bool,
        writable: bool,
    ) {
        let Some(&(id, side)) = self.sides.get(&token) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let alive = connection.step(side, readable, writable);
        if alive {
            connection.update_interest(events);
        } else {
            self.close(events, id);
        }
    }

    fn close(&mut self, events: &mut EventLoop, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            for side in &connection.sides {
                self.sides.remove(&side.token);
                events.forget(&side.socket, side.token);
            }
            if self.connections.len() + 1 == MAX_CONNECTIONS {
                self.watch_listeners(events, Interest::READ);
            }
        }
    }

    /// Closes every socket: the container is gone.
    pub(crate) fn clear(&mut self, events: &mut EventLoop) {
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(events, id);
        }
        for (token, listener) in std::mem::take(&mut self.listeners) {
            events.forget(&listener.socket, token);
        }
        self.datagrams.clear(events);
        self.reserved.clear();
    }
}

/// Opens a connection without waiting for it.
fn connect(target: SocketAddr) -> Result<(OwnedFd, bool), Errno> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) => Ok((socket, false)),
        Err(Errno::INPROGRESS) => Ok((socket, true)),
        Err(errno) => Err(errno),
    }
}

impl Connection {
    /// Moves what can be moved; false when the connection is over.
    fn step(&mut self, side: usize, readable: bool, writable: bool) -> bool {
        let other = 1 - side;
        if side == 1 && self.connecting && writable {
            if !matches!(
                rustix::net::sockopt::socket_error(&self.sides[1].socket),
                Ok(Ok(()))
            ) {
                return false;
            }
            self.connecting = false;
        }
        if readable && !self.connecting && !self.receive(side) {
            return false;
        }
        if writable && !self.send(other) {
            return false;
        }
        if !self.connecting && !self.send(side) {
            return false;
        }
        !(self.flows[0].closed && self.flows[1].closed)
    }

    /// Reads from a side into its flow.
    fn receive(&mut self, side: usize) -> bool {
        let flow = &mut self.flows[side];
        if flow.ended || flow.bytes.len() >= BUFFER_BYTES {
            return true;
        }
        let mut buffer = [0_u8; BUFFER_BYTES];
        match rustix::io::read(&self.sides[side].socket, &mut buffer) {
            Ok(0) => flow.ended = true,
            Ok(count) => flow.bytes.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return false,
        }
        true
    }

    /// Writes a flow to the side that it goes to.
    fn send(&mut self, from: usize) -> bool {
        let to = 1 - from;
        let flow = &mut self.flows[from];
        while !flow.bytes.is_empty() {
            match rustix::net::send(
                self.sides[to].socket.as_fd(),
                &flow.bytes,
                SendFlags::NOSIGNAL,
            ) {
                Ok(count) => {
                    flow.bytes.drain(..count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        flow.bytes = Vec::new();
        if flow.ended && !flow.closed {
            flow.closed = true;
            let _gone = rustix::net::shutdown(&self.sides[to].socket, Shutdown::Write);
        }
        true
    }

    fn update_interest(&mut self, events: &EventLoop) {
        let flows = &self.flows;
        for (index, side) in self.sides.iter_mut().enumerate() {
            let incoming = &flows[index];
            let outgoing = &flows[1 - index];
            let interest = Interest {
                read: !self.connecting && !incoming.ended && incoming.bytes.len() < BUFFER_BYTES,
                write: !outgoing.bytes.is_empty() || (index == 1 && self.connecting),
            };
            match (side.watched, interest != Interest::NONE) {
                (true, true) => events.change(&side.socket, side.token, interest),
                (true, false) => events.pause(&side.socket),
                (false, true) => events.resume(&side.socket, side.token, interest),
                (false, false) => {}
            }
            side.watched = interest != Interest::NONE;
        }
    }
}
