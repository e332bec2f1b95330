//! A netlink socket: one send, then the answers the kernel queued while it
//! handled that send.
//!
//! The kernel works inside `sendmsg`, so every answer is there when it
//! returns: nothing here ever waits. A socket belongs to the netns in which
//! it was opened, whatever thread uses it.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send,
    socket_with, sockopt,
};

use super::{ACK, DUMP, Message, Messages, REQUEST};

/// Room for the answers of one exchange, in bytes; the kernel doubles it.
const BUFFER_BYTES: usize = 1 << 20;
/// The kernel makes a dump's messages at most 32 KiB long.
const RECEIVE_BYTES: usize = 64 << 10;
/// A dump that was changed under our hands is asked again this often.
const DUMP_ATTEMPTS: usize = 5;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// What can go wrong between us and the kernel, below any meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetlinkError {
    /// The socket itself failed.
    #[error("netlink socket: {0}")]
    Socket(Errno),
    /// The kernel refused a message.
    #[error("kernel refused: {0}")]
    Refused(Errno),
    /// The kernel did not answer a message that asked for it.
    #[error("kernel gave no answer")]
    Silent,
    /// A list kept changing while it was read.
    #[error("list kept changing while it was read")]
    Unstable,
}

impl NetlinkError {
    /// The kernel's refusal, where it was one.
    pub(crate) fn refusal(self) -> Option<Errno> {
        match self {
            Self::Refused(errno) => Some(errno),
            _ => None,
        }
    }
}

/// An open netlink socket.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    next_sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one in the calling thread's netns.
    pub(crate) fn open(protocol: Option<Protocol>) -> Result<Self, NetlinkError> {
        let descriptor = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )
        .map_err(NetlinkError::Socket)?;
        Ok(Self {
            descriptor,
            next_sequence: 1,
            buffer: Vec::new(),
        })
    }

    /// Makes room for batches: hundreds of messages and their answers.
    pub(crate) fn enlarge(self) -> Self {
        // Without the privilege the default holds, and a batch too large for
        // it is refused as a whole with ENOBUFS.
        let _ = sockopt::set_socket_send_buffer_size_force(&self.descriptor, BUFFER_BYTES);
        let _ = sockopt::set_socket_recv_buffer_size_force(&self.descriptor, BUFFER_BYTES);
        self
    }

    /// An empty list of messages, to be handed to one of the methods below.
    pub(crate) fn messages(&self) -> Messages {
        Messages::new(self.next_sequence)
    }

    /// Sends messages of which those in `expected` ask for an answer, and
    /// gives the kernel's word on each, in that order.
    pub(crate) fn exchange(
        &mut self,
        messages: &Messages,
        expected: &[u32],
    ) -> Result<Vec<Result<(), Errno>>, NetlinkError> {
        self.send(messages)?;
        let first = expected.first().copied().unwrap_or_default();
        let mut answers: Vec<Option<Result<(), Errno>>> = vec![None; expected.len()];
        let mut stray = None;
        self.receive_until_quiet(|message| {
            let Some(errno) = acknowledged(&message) else {
                return;
            };
            let at = message.sequence.wrapping_sub(first) as usize;
            // Most often the expected numbers follow each other.
            let at = match expected.get(at) {
                Some(sequence) if *sequence == message.sequence => Some(at),
                _ => expected
                    .iter()
                    .position(|sequence| *sequence == message.sequence),
            };
            match at {
                Some(at) => answers[at] = Some(errno),
                None => stray = stray.or(errno.err()),
            }
        })?;
        // An answer to a message that had not asked is a refusal of the whole
        // (nfnetlink blames the batch's first message when the commit fails).
        if let Some(errno) = stray {
            return Err(NetlinkError::Refused(errno));
        }
        answers
            .into_iter()
            .map(|answer| answer.ok_or(NetlinkError::Silent))
            .collect()
    }

    /// Sends one request that answers with one message before its
    /// acknowledgement, and hands that message to `read`.
    pub(crate) fn get<T>(
        &mut self,
        kind: u16,
        header: &[u8],
        body: impl FnOnce(&mut super::Attributes<'_>),
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, NetlinkError> {
        let mut messages = self.messages();
        let sequence = messages.push(kind, REQUEST | ACK, header, body);
        self.send(&messages)?;
        let (mut found, mut answer) = (None, None);
        self.receive_until_quiet(|message| {
            if message.sequence != sequence {
                return;
            }
            match acknowledged(&message) {
                Some(errno) => answer = Some(errno),
                None => found = read(&message).or_else(|| found.take()),
            }
        })?;
        match answer {
            Some(Err(errno)) => Err(NetlinkError::Refused(errno)),
            Some(Ok(())) => Ok(found),
            None => Err(NetlinkError::Silent),
        }
    }

    /// Lists what `kind` lists, through `read`.
    pub(crate) fn dump<T>(
        &mut self,
        kind: u16,
        header: &[u8],
        body: impl Fn(&mut super::Attributes<'_>),
        read: impl Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut messages = self.messages();
            let sequence = messages.push(kind, REQUEST | DUMP, header, &body);
            self.send(&messages)?;
            let mut list = Vec::new();
            let (mut end, mut torn) = (None, false);
            self.receive_until_quiet(|message| {
                if message.sequence != sequence {
                    return;
                }
                torn |= message.flags & NLM_F_DUMP_INTR != 0;
                match acknowledged(&message) {
                    Some(errno) => end = Some(errno),
                    None => list.extend(read(&message)),
                }
            })?;
            match end {
                Some(Ok(())) if !torn => return Ok(list),
                Some(Ok(())) | Some(Err(Errno::INTR)) => {}
                Some(Err(errno)) => return Err(NetlinkError::Refused(errno)),
                None => return Err(NetlinkError::Silent),
            }
        }
        Err(NetlinkError::Unstable)
    }

    fn send(&mut self, messages: &Messages) -> Result<(), NetlinkError> {
        self.next_sequence = messages.next_sequence();
        loop {
            match send(&self.descriptor, messages.bytes(), SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(NetlinkError::Socket(errno)),
            }
        }
    }

    fn receive_until_quiet(
        &mut self,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), NetlinkError> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; RECEIVE_BYTES];
        }
        loop {
            match recv(&self.descriptor, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => {
                    let mut bytes = &self.buffer[..length];
                    while let Some((message, rest)) = Message::split(bytes) {
                        each(message);
                        bytes = rest;
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(NetlinkError::Socket(errno)),
            }
        }
    }
}

/// The kernel's word, where the message is one (`NLMSG_ERROR`, `NLMSG_DONE`).
fn acknowledged(message: &Message<'_>) -> Option<Result<(), Errno>> {
    if !matches!(message.kind, NLMSG_ERROR | NLMSG_DONE) {
        return None;
    }
    let code = message
        .payload
        .get(..4)
        .and_then(|bytes| bytes.try_into().ok());
    match i32::from_ne_bytes(code.unwrap_or_default()) {
        code if (-4095..0).contains(&code) => Some(Err(Errno::from_raw_os_error(-code))),
        _ => Some(Ok(())),
    }
}
