//! Which descriptor woke us, and what it is for.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use carrack_supervision::Target;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

/// Events taken from the kernel at once.
const BATCH: usize = 16;

/// What a descriptor is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Later daemons connect here.
    Listener,
    /// A daemon's connection.
    Control,
    /// The init's channel.
    InitChannel,
    /// The init ended.
    InitEnd,
    /// An exec's channel.
    ExecChannel(String),
    /// An exec's process ended.
    ExecEnd(String),
    /// Output of a program.
    Output(Target, Output),
    /// Standard input of a program takes bytes again.
    Input(Target),
    /// An attached client.
    Client,
    /// A waiting client.
    Waiter,
    /// A loopback listener.
    RelayListener,
    /// One side of a relayed connection.
    RelaySide,
    /// A datagram socket of a relay.
    RelayDatagram,
}

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output, or a terminal's both.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Identity of a registered descriptor; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(u64);

/// Directions that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Self = Self {
        read: true,
        write: false,
    };
    pub(crate) const NONE: Self = Self {
        read: false,
        write: false,
    };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN | EventFlags::RDHUP, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// What happened to a descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Wake {
    pub(crate) token: Token,
    pub(crate) role: Role,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// Both directions are gone.
    pub(crate) hung_up: bool,
}

/// The set of watched descriptors.
pub(crate) struct EventLoop {
    epoll: OwnedFd,
    roles: BTreeMap<Token, Role>,
    next: u64,
}

impl EventLoop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            roles: BTreeMap::new(),
            next: 1,
        })
    }

    pub(crate) fn watch(
        &mut self,
        fd: impl AsFd,
        role: Role,
        interest: Interest,
    ) -> io::Result<Token> {
        let token = Token(self.next);
        self.next += 1;
        epoll::add(
            &self.epoll,
            fd,
            EventData::new_u64(token.0),
            interest.flags(),
        )?;
        self.roles.insert(token, role);
        Ok(token)
    }

    pub(crate) fn change(&self, fd: impl AsFd, token: Token, interest: Interest) {
        // Fails only for a descriptor that is not watched, and then there is
        // nothing to change.
        let _not_watched = epoll::modify(
            &self.epoll,
            fd,
            EventData::new_u64(token.0),
            interest.flags(),
        );
    }

    /// Watches for bytes to read, but wakes for changes alone: for a descriptor
    /// whose hang-up may be over again and would wake us until then.
    pub(crate) fn await_change(&self, fd: impl AsFd, token: Token) {
        let flags = Interest::READ.flags() | EventFlags::ET;
        let data = EventData::new_u64(token.0);
        let _not_watched = epoll::modify(&self.epoll, fd, data, flags);
    }

    /// Stops watching for a while; unlike no interest at all, which the end of
    /// the other side breaks again and again.
    pub(crate) fn pause(&self, fd: impl AsFd) {
        let _not_watched = epoll::delete(&self.epoll, fd);
    }

    /// Watches again.
    pub(crate) fn resume(&self, fd: impl AsFd, token: Token, interest: Interest) {
        let data = EventData::new_u64(token.0);
        // Fails only for want of kernel memory; the descriptor is then seen no
        // more, and its program's end is all that is left to learn.
        let _starved = epoll::add(&self.epoll, fd, data, interest.flags());
    }

    pub(crate) fn forget(&mut self, fd: impl AsFd, token: Token) {
        let _not_watched = epoll::delete(&self.epoll, fd);
        self.roles.remove(&token);
    }

    /// Waits for events, at most for `bound`.
    pub(crate) fn wait(&self, bound: Option<Duration>) -> io::Result<Vec<Wake>> {
        let bound = bound.map(|b| rustix::event::Timespec {
            tv_sec: i64::try_from(b.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(b.subsec_nanos()),
        });
        let mut events = Vec::with_capacity(BATCH);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), bound.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(events
            .iter()
            .filter_map(|event| {
                let token = Token(event.data.u64());
                let flags = event.flags;
                Some(Wake {
                    token,
                    role: self.roles.get(&token)?.clone(),
                    readable: flags.intersects(
                        EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR,
                    ),
                    writable: flags.intersects(EventFlags::OUT | EventFlags::ERR),
                    hung_up: flags.intersects(EventFlags::HUP | EventFlags::ERR),
                })
            })
            .collect())
    }

    /// Whether a token is still registered: an earlier event of the same batch
    /// may have ended it.
    pub(crate) fn knows(&self, token: Token) -> bool {
        self.roles.contains_key(&token)
    }
}
