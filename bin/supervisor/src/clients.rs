//! Attached clients: sockets of `docker attach`, `run` and `exec`.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use carrack_supervision::{Attach, Target};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::console::DetachKeys;
use crate::event_loop::{EventLoop, Interest, Output, Role, Token};

/// Bytes kept for a client that does not read; beyond, the program is not
/// read, as a slow terminal would slow it.
const MAX_BEHIND_BYTES: usize = 64 << 10;
/// Clients of one supervisor.
const MAX_CLIENTS: usize = 256;
/// Bytes read from a client at once.
const CHUNK_BYTES: usize = 8 << 10;

/// Frames of the multiplexed stream carry the stream in their first byte.
const STREAM_STDOUT: u8 = 1;
const STREAM_STDERR: u8 = 2;

struct Client {
    socket: OwnedFd,
    target: Target,
    framed: bool,
    stdout: bool,
    stderr: bool,
    /// Its bytes go to standard input.
    reads: bool,
    /// The other side is closed and its socket no longer watched; what it sent
    /// before is still taken.
    left: bool,
    behind: Vec<u8>,
    /// Bytes that came with its request.
    early: Vec<u8>,
    detach: DetachKeys,
    /// Its program ended: close once it has everything.
    ending: bool,
    /// It gets nothing until it is let go of, by this number.
    held: Option<u64>,
}

impl Client {
    fn wants(&self, which: Output) -> bool {
        match which {
            Output::Stdout => self.stdout,
            Output::Stderr => self.stderr,
        }
    }

    /// Puts output behind what it has not taken yet.
    fn keep(&mut self, which: Output, bytes: &[u8]) {
        if self.framed {
            let stream = match which {
                Output::Stdout => STREAM_STDOUT,
                Output::Stderr => STREAM_STDERR,
            };
            // A chunk is far below 4 GiB.
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
            let mut head = [stream, 0, 0, 0, 0, 0, 0, 0];
            head[4..].copy_from_slice(&length);
            self.behind.extend_from_slice(&head);
        }
        self.behind.extend_from_slice(bytes);
    }

    /// What it is watched for.
    fn interest(&self, reading: bool) -> Interest {
        Interest {
            read: reading && !self.ending,
            write: !self.behind.is_empty() && self.held.is_none(),
        }
    }

    fn stop_output(&mut self) {
        self.stdout = false;
        self.stderr = false;
        self.behind = Vec::new();
    }
}

/// Whether a client took bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// At least one.
    Some,
    /// Not one.
    None,
}

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// What it sent before is still to be taken.
    Unread,
    /// It is forgotten.
    Entirely,
}

/// What a client sent.
pub(crate) enum FromClient {
    /// Bytes for standard input.
    Bytes(Vec<u8>),
    /// It sends no more.
    HalfClosed,
    /// It is gone.
    Gone,
    /// It pressed its detach keys; the bytes before them still count.
    Detached(Vec<u8>),
}

/// All attached clients.
#[derive(Default)]
pub(crate) struct Clients(BTreeMap<Token, Client>);

impl Clients {
    /// Adds a client.
    pub(crate) fn add(
        &mut self,
        events: &mut EventLoop,
        socket: OwnedFd,
        attach: &Attach,
    ) -> io::Result<Token> {
        if self.0.len() >= MAX_CLIENTS {
            return Err(io::Error::other(format!(
                "more than {MAX_CLIENTS} attached clients"
            )));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        let token = events.watch(&socket, Role::Client, Interest::READ)?;
        self.0.insert(
            token,
            Client {
                socket,
                target: attach.target.clone(),
                framed: attach.framed,
                stdout: attach.stdout,
                stderr: attach.stderr,
                reads: attach.stdin,
                left: false,
                behind: Vec::new(),
                early: attach.read_ahead.clone(),
                detach: DetachKeys::new(if attach.framed {
                    &[]
                } else {
                    &attach.detach_keys
                }),
                ending: false,
                held: attach.held,
            },
        );
        Ok(token)
    }

    /// Whose streams a client has, and whether it feeds standard input.
    pub(crate) fn target(&self, token: Token) -> Option<(Target, bool)> {
        self.0.get(&token).map(|c| (c.target.clone(), c.reads))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends output to every client of a program that wants it.
    pub(crate) fn send_output(
        &mut self,
        events: &mut EventLoop,
        target: &Target,
        which: Output,
        bytes: &[u8],
    ) {
        let wanting: Vec<Token> = self
            .0
            .iter()
            .filter(|(_, c)| c.target == *target && !c.ending && c.wants(which))
            .map(|(token, _)| *token)
            .collect();
        for token in wanting {
            if let Some(client) = self.0.get_mut(&token) {
                client.keep(which, bytes);
            }
            let _progress = self.flush(events, token);
        }
    }

    /// Whether a client of this program is too far behind.
    pub(crate) fn any_behind(&self, target: &Target) -> bool {
        self.0
            .values()
            .any(|c| c.target == *target && c.behind.len() > MAX_BEHIND_BYTES)
    }

    /// Writes what a client is behind, as far as its socket takes it; says
    /// whether it took anything.
    pub(crate) fn flush(&mut self, events: &mut EventLoop, token: Token) -> Progress {
        let mut progress = Progress::None;
        let Some(client) = self.0.get_mut(&token) else {
            return progress;
        };
        if client.held.is_some() {
            return progress;
        }
        while !client.behind.is_empty() {
            match rustix::net::send(client.socket.as_fd(), &client.behind, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    client.behind.drain(..count);
                    progress = Progress::Some;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // It takes no more, but what it sent may not be read yet; its
                // hang-up ends it.
                Err(_) if client.reads => client.stop_output(),
                Err(_) => {
                    self.remove(events, token);
                    return progress;
                }
            }
        }
        if client.behind.is_empty() {
            client.behind = Vec::new();
            if client.ending {
                self.remove(events, token);
                return progress;
            }
        }
        self.set_interest(events, token, true);
        progress
    }

    /// The other side is closed. Whoever feeds a program is kept until what it
    /// sent is taken, and no longer watched: its hang-up would wake us again
    /// and again while the program does not read.
    pub(crate) fn leave(&mut self, events: &mut EventLoop, token: Token) -> Left {
        match self.0.get_mut(&token) {
            Some(client) if client.reads => {
                client.left = true;
                client.stop_output();
                events.pause(&client.socket);
                Left::Unread
            }
            _ => {
                self.remove(events, token);
                Left::Entirely
            }
        }
    }

    /// Whether a client's other side is closed while its bytes are still read.
    pub(crate) fn has_left(&self, token: Token) -> bool {
        self.0.get(&token).is_some_and(|client| client.left)
    }

    /// Watches a client for what is of use now. `reading` is false while the
    /// program does not take input.
    pub(crate) fn set_interest(&self, events: &EventLoop, token: Token, reading: bool) {
        if let Some(client) = self.0.get(&token) {
            events.change(&client.socket, token, client.interest(reading));
        }
    }

    /// All clients that feed a program.
    pub(crate) fn feeders(&self, target: &Target) -> Vec<Token> {
        self.0
            .iter()
            .filter(|(_, c)| c.target == *target && c.reads)
            .map(|(token, _)| *token)
            .collect()
    }

    /// Reads what a client sent; `None` when there is nothing just now.
    pub(crate) fn read(&mut self, token: Token) -> Option<FromClient> {
        let client = self.0.get_mut(&token)?;
        if !client.early.is_empty() {
            let early = std::mem::take(&mut client.early);
            return Some(Self::filter(client, &early));
        }
        let mut buffer = [0_u8; CHUNK_BYTES];
        let count = loop {
            match rustix::io::read(&client.socket, &mut buffer) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(_) => return Some(FromClient::Gone),
                Ok(count) => break count,
            }
        };
        if count == 0 {
            return Some(FromClient::HalfClosed);
        }
        Some(Self::filter(client, &buffer[..count]))
    }

    fn filter(client: &mut Client, bytes: &[u8]) -> FromClient {
        let (bytes, detached) = client.detach.filter(bytes);
        if detached {
            FromClient::Detached(bytes)
        } else {
            FromClient::Bytes(bytes)
        }
    }

    /// A client sends no more; it is no longer watched for input.
    pub(crate) fn half_close(&mut self, events: &EventLoop, token: Token) {
        if let Some(client) = self.0.get_mut(&token) {
            client.reads = false;
            events.change(&client.socket, token, client.interest(false));
        }
    }

    pub(crate) fn remove(&mut self, events: &mut EventLoop, token: Token) {
        if let Some(client) = self.0.remove(&token) {
            events.forget(&client.socket, token);
            // Another copy of the socket may still be open somewhere for a
            // moment; the client must see the end now.
            let _gone = rustix::net::shutdown(&client.socket, rustix::net::Shutdown::Both);
        }
    }

    /// The program ended: its clients are closed as soon as they have all.
    pub(crate) fn end(&mut self, events: &mut EventLoop, target: &Target) {
        let tokens: Vec<Token> = self
            .0
            .iter()
            .filter(|(_, c)| c.target == *target)
            .map(|(token, _)| *token)
            .collect();
        for token in tokens {
            if let Some(client) = self.0.get_mut(&token) {
                client.ending = true;
            }
            let _progress = self.flush(events, token);
        }
    }

    /// Puts output behind what a client has not taken yet, if it wants it.
    pub(crate) fn keep(&mut self, token: Token, which: Output, bytes: &[u8]) {
        if let Some(client) = self.0.get_mut(&token).filter(|c| c.wants(which)) {
            client.keep(which, bytes);
        }
    }

    /// Holds a client back no longer; which one it was.
    pub(crate) fn let_go(&mut self, number: u64) -> Option<Token> {
        let mut clients = self.0.iter_mut();
        let (token, client) = clients.find(|(_, c)| c.held == Some(number))?;
        client.held = None;
        Some(*token)
    }

    /// Cuts off those that nobody will let go of.
    pub(crate) fn cut_held(&mut self, events: &mut EventLoop) {
        let held = self.0.iter().filter(|(_, c)| c.held.is_some());
        let tokens: Vec<Token> = held.map(|(token, _)| *token).collect();
        for token in tokens {
            self.remove(events, token);
        }
    }

    /// Cuts off all that is left.
    pub(crate) fn clear(&mut self, events: &mut EventLoop) {
        let tokens: Vec<Token> = self.0.keys().copied().collect();
        for token in tokens {
            self.remove(events, token);
        }
    }
}
