//! Clients that wait for the end, and how they are told.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use carrack_supervision::{AwaitExit, Event};
use rustix::net::SendFlags;

use crate::control::Passed;
use crate::event_loop::{EventLoop, Interest, Role, Token};

/// Waiting clients of one container.
const MAX_WAITERS: usize = 1024;

struct Waiter {
    socket: OwnedFd,
    reply: AwaitExit,
}

/// All waiting clients.
#[derive(Default)]
pub(crate) struct Waiters(BTreeMap<Token, Waiter>);

impl Waiters {
    pub(crate) fn add(
        &mut self,
        events: &mut EventLoop,
        socket: OwnedFd,
        reply: AwaitExit,
    ) -> io::Result<()> {
        if self.0.len() >= MAX_WAITERS {
            return Err(io::Error::other(format!(
                "more than {MAX_WAITERS} waiting clients"
            )));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        let token = events.watch(&socket, Role::Waiter, Interest::READ)?;
        self.0.insert(token, Waiter { socket, reply });
        Ok(())
    }

    /// A waiting client has nothing to say: a byte or an end means that it is
    /// gone.
    pub(crate) fn drop_gone(&mut self, events: &mut EventLoop, token: Token) {
        if let Some(waiter) = self.0.remove(&token) {
            events.forget(&waiter.socket, token);
        }
    }

    /// Tells those who wait for the end, or for the removal.
    pub(crate) fn tell(&mut self, events: &mut EventLoop, removed: bool, code: i32) {
        for token in self.tokens(removed) {
            if let Some(waiter) = self.0.remove(&token) {
                events.forget(&waiter.socket, token);
                answer(&waiter, code);
            }
        }
    }

    /// Gives those who wait for the removal to `pass`; one that it does not
    /// take waits on.
    pub(crate) fn hand_back(
        &mut self,
        events: &mut EventLoop,
        mut pass: impl FnMut(&mut EventLoop, &Event, &OwnedFd) -> Passed,
    ) {
        for token in self.tokens(true) {
            let Some(waiter) = self.0.get(&token) else {
                continue;
            };
            let event = Event::HandedBack(waiter.reply.clone());
            if pass(events, &event, &waiter.socket) == Passed::Yes {
                self.drop_gone(events, token);
            }
        }
    }

    fn tokens(&self, removed: bool) -> Vec<Token> {
        let waiters = self.0.iter().filter(|(_, w)| w.reply.removed == removed);
        waiters.map(|(token, _)| *token).collect()
    }
}

/// One HTTP chunk and the last one; a socket that cannot take so few bytes
/// belongs to a client that is gone.
fn answer(waiter: &Waiter, code: i32) {
    let code = code.to_string();
    let length = waiter.reply.before.len() + code.len() + waiter.reply.after.len();
    let mut bytes = format!("{length:x}\r\n").into_bytes();
    bytes.extend_from_slice(&waiter.reply.before);
    bytes.extend_from_slice(code.as_bytes());
    bytes.extend_from_slice(&waiter.reply.after);
    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    let _gone = rustix::net::send(waiter.socket.as_fd(), &bytes, SendFlags::NOSIGNAL);
    let _gone = rustix::net::shutdown(&waiter.socket, rustix::net::Shutdown::Write);
}
