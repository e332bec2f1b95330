//! Loopback relays of published UDP ports: a socket of its own towards the
//! container for each peer, so that answers find their way back.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::event_loop::{EventLoop, Interest, Role, Token};

/// Peers of one port at once; beyond, the one that was silent longest goes.
const MAX_PEERS: usize = 256;
/// A peer that was silent for so long is forgotten.
const IDLE: Duration = Duration::from_secs(90);
/// Largest datagram.
const DATAGRAM_BYTES: usize = 64 << 10;

struct Port {
    socket: OwnedFd,
    target: SocketAddr,
}

struct Peer {
    port: Token,
    address: SocketAddr,
    socket: OwnedFd,
    last: Instant,
}

/// All datagram relays of one container.
#[derive(Default)]
pub(crate) struct Datagrams {
    ports: BTreeMap<Token, Port>,
    peers: BTreeMap<Token, Peer>,
}

impl Datagrams {
    pub(crate) fn add(
        &mut self,
        events: &mut EventLoop,
        socket: OwnedFd,
        target: SocketAddr,
    ) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let token = events.watch(&socket, Role::RelayDatagram, Interest::READ)?;
        self.ports.insert(token, Port { socket, target });
        Ok(())
    }

    /// A port or a peer's socket has a datagram.
    pub(crate) fn ready(&mut self, events: &mut EventLoop, token: Token) {
        let mut buffer = vec![0_u8; DATAGRAM_BYTES];
        if self.ports.contains_key(&token) {
            self.peer_sent(events, token, &mut buffer);
        } else {
            self.answer_peer(events, token, &mut buffer);
        }
    }

    fn peer_sent(&mut self, events: &mut EventLoop, token: Token, buffer: &mut [u8]) {
        let Some(port) = self.ports.get(&token) else {
            return;
        };
        let Ok((count, _, Some(from))) =
            rustix::net::recvfrom(&port.socket, &mut *buffer, RecvFlags::DONTWAIT)
        else {
            return;
        };
        let Ok(address) = SocketAddr::try_from(from) else {
            return;
        };
        let known = self
            .peers
            .iter()
            .find(|(_, p)| p.port == token && p.address == address)
            .map(|(t, _)| *t);
        let target = port.target;
        let Some(peer) = known.or_else(|| self.add_peer(events, token, address, target)) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.last = Instant::now();
            // A datagram may be lost; that is what it is.
            let _lost = rustix::net::send(
                &peer.socket,
                &buffer[..count],
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            );
        }
    }

    fn add_peer(
        &mut self,
        events: &mut EventLoop,
        port: Token,
        address: SocketAddr,
        target: SocketAddr,
    ) -> Option<Token> {
        if self.peers.len() >= MAX_PEERS {
            let oldest = self
                .peers
                .iter()
                .min_by_key(|(_, p)| p.last)
                .map(|(t, _)| *t)?;
            self.remove_peer(events, oldest);
        }
        let family = match target {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None).ok()?;
        rustix::net::connect(&socket, &target).ok()?;
        let token = events
            .watch(&socket, Role::RelayDatagram, Interest::READ)
            .ok()?;
        let last = Instant::now();
        self.peers.insert(
            token,
            Peer {
                port,
                address,
                socket,
                last,
            },
        );
        Some(token)
    }

    fn answer_peer(&mut self, events: &mut EventLoop, token: Token, buffer: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        match rustix::net::recv(&peer.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((count, _)) => {
                peer.last = Instant::now();
                if let Some(port) = self.ports.get(&peer.port) {
                    let _lost = rustix::net::sendto(
                        &port.socket,
                        &buffer[..count],
                        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
                        &peer.address,
                    );
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // The container refused: the port is closed inside.
            Err(_) => self.remove_peer(events, token),
        }
    }

    fn remove_peer(&mut self, events: &mut EventLoop, token: Token) {
        if let Some(peer) = self.peers.remove(&token) {
            events.forget(&peer.socket, token);
        }
    }

    /// Forgets peers that were silent for long.
    pub(crate) fn expire(&mut self, events: &mut EventLoop) {
        let now = Instant::now();
        let silent: Vec<Token> = self
            .peers
            .iter()
            .filter(|(_, p)| now.duration_since(p.last) > IDLE)
            .map(|(t, _)| *t)
            .collect();
        for token in silent {
            self.remove_peer(events, token);
        }
    }

    /// Whether somebody has to be forgotten one day.
    pub(crate) fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    pub(crate) fn clear(&mut self, events: &mut EventLoop) {
        for token in self.peers.keys().copied().collect::<Vec<_>>() {
            self.remove_peer(events, token);
        }
        for (token, port) in std::mem::take(&mut self.ports) {
            events.forget(&port.socket, token);
        }
    }
}
