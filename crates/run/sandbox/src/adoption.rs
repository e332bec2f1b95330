//! Supervisors that an earlier daemon left behind.
//!
//! One that accepts a connection lives, and its container with it, however
//! long a machine in trouble takes to let it speak: its socket and its leaf
//! are nobody's to remove.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrack_supervision::{Event, Hello, RunState};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::SandboxId;
use crate::link::{Link, LinkEvent};
use crate::pool::Inner;

/// How long supervisors that are left from before may take to say hello, all
/// of them at once.
const HELLO_BOUND: Duration = Duration::from_secs(60);
/// Pause before a supervisor is called again that took no call.
const CALL_AGAIN: Duration = Duration::from_millis(100);

/// A supervisor that an earlier daemon started.
#[derive(Debug)]
pub struct Adopted {
    /// The sandbox.
    pub id: SandboxId,
    /// Its supervisor's process id.
    pub supervisor_pid: i32,
    /// The connection.
    pub link: Link,
    /// What it says of itself.
    pub hello: Hello,
}

/// What is known of supervisors that are not this daemon's children.
#[derive(Debug, Default)]
pub(crate) struct Foundlings(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// Those that said hello. Their process ids are never used: they are not
    /// kept from being another's, as a child's are.
    adopted: HashSet<SandboxId>,
    /// Those that accept and say nothing.
    silent: HashSet<SandboxId>,
}

impl Foundlings {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a supervisor is no child of this daemon.
    pub(crate) fn has(&self, id: &SandboxId) -> bool {
        self.lock().adopted.contains(id)
    }

    pub(crate) fn forget(&self, id: &SandboxId) {
        let mut found = self.lock();
        found.adopted.remove(id);
        found.silent.remove(id);
    }
}

/// Who listens on a supervisor's socket.
enum Call {
    Connected(OwnedFd),
    /// Somebody, who takes no more connections just now.
    Busy,
    Nobody,
}

/// How adoption of one supervisor went.
enum Answer {
    Hello(Box<Adopted>),
    Nobody,
    Silence,
}

impl Inner {
    /// Calls all supervisors that have a socket.
    pub(crate) async fn adopt(self: &Arc<Self>) -> Vec<Adopted> {
        let bound = Instant::now() + HELLO_BOUND;
        let mut calls = JoinSet::new();
        for id in self.socket_names() {
            let inner = Arc::clone(self);
            calls.spawn(async move {
                let answer = inner.greet(&id, bound).await;
                (id, answer)
            });
        }
        let mut adopted = Vec::new();
        while let Some(answered) = calls.join_next().await {
            match answered {
                Ok((_, Answer::Hello(supervisor))) => {
                    self.note(&supervisor);
                    adopted.push(*supervisor);
                }
                Ok((id, Answer::Nobody)) => self.forget(&id),
                Ok((id, Answer::Silence)) => {
                    tracing::error!(
                        sandbox = %id,
                        "a supervisor lives but says nothing; its container is left alone, \
                         restart the daemon once the machine is well"
                    );
                    self.foundlings.lock().silent.insert(id);
                }
                Err(error) => tracing::error!(%error, "adopting a supervisor panicked"),
            }
        }
        adopted
    }

    /// Calls one supervisor until it says hello; `None` once it is gone.
    pub(crate) async fn reconnect(self: &Arc<Self>, id: &SandboxId) -> Option<Adopted> {
        loop {
            match self.greet(id, Instant::now() + HELLO_BOUND).await {
                Answer::Hello(supervisor) => return Some(*supervisor),
                Answer::Nobody => return None,
                Answer::Silence => tracing::warn!(sandbox = %id, "a supervisor says nothing"),
            }
        }
    }

    /// Whether a sandbox belongs to a supervisor that lives without a word.
    pub(crate) fn is_silent(&self, id: &SandboxId) -> bool {
        self.foundlings.lock().silent.contains(id) && !matches!(self.call(id), Call::Nobody)
    }

    /// A connection to a supervisor, if it takes one at once.
    pub(crate) fn connection(&self, id: &SandboxId) -> Option<OwnedFd> {
        match self.call(id) {
            Call::Connected(socket) => Some(socket),
            Call::Busy | Call::Nobody => None,
        }
    }

    fn note(&self, supervisor: &Adopted) {
        let Adopted { id, hello, .. } = supervisor;
        self.foundlings.lock().adopted.insert(id.clone());
        if let RunState::Running { pid, .. } = hello.state
            && let Ok(netns) = std::fs::File::open(format!("/proc/{pid}/ns/net"))
        {
            self.tenants.move_in(id, &netns);
        }
    }

    async fn greet(&self, id: &SandboxId, bound: Instant) -> Answer {
        loop {
            match self.call(id) {
                Call::Nobody => return Answer::Nobody,
                Call::Busy => {}
                Call::Connected(socket) => {
                    let heard = timeout_at(bound, hear(socket)).await;
                    if let Ok(Some((link, hello))) = heard {
                        return Answer::Hello(Box::new(Adopted {
                            id: id.clone(),
                            supervisor_pid: i32::try_from(hello.supervisor_pid).unwrap_or(0),
                            link,
                            hello,
                        }));
                    }
                }
            }
            if Instant::now() >= bound {
                return Answer::Silence;
            }
            // It hung up, or had no room: it is about to end, or in trouble.
            sleep(CALL_AGAIN).await;
        }
    }

    fn call(&self, id: &SandboxId) -> Call {
        let connect = || -> Result<OwnedFd, Errno> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            rustix::net::connect(&socket, &SocketAddrUnix::new(self.socket_path(id))?)?;
            Ok(socket)
        };
        match connect() {
            Ok(socket) => Call::Connected(socket),
            Err(Errno::CONNREFUSED | Errno::NOENT) => Call::Nobody,
            // A full backlog says so; anything else is a shortage here.
            Err(_) => Call::Busy,
        }
    }
}

/// The first words on a connection; nothing if it ends before them.
async fn hear(socket: OwnedFd) -> Option<(Link, Hello)> {
    let mut link = Link::new(socket).ok()?;
    loop {
        match link.next().await {
            LinkEvent::Event(Event::Hello(hello)) => return Some((link, hello)),
            LinkEvent::Event(_) | LinkEvent::HandedBack(..) => {}
            LinkEvent::Closed => return None,
        }
    }
}

/// Who else lives in a network namespace.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Mutex<HashMap<SandboxId, Inode>>);

/// Namespace files are of one file system.
type Inode = u64;

impl Tenants {
    /// A sandbox joins a namespace.
    pub(crate) fn move_in(&self, id: &SandboxId, netns: impl std::os::fd::AsFd) {
        if let Some(inode) = inode(netns) {
            self.lock().insert(id.clone(), inode);
        }
    }

    pub(crate) fn move_out(&self, id: &SandboxId) {
        self.lock().remove(id);
    }

    /// Whether any sandbox but `owner` lives there.
    pub(crate) fn any_but(&self, owner: &SandboxId, netns: impl std::os::fd::AsFd) -> bool {
        let inode = inode(netns);
        self.lock()
            .iter()
            .any(|(id, lives_in)| id != owner && Some(*lives_in) == inode)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SandboxId, Inode>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inode(netns: impl std::os::fd::AsFd) -> Option<Inode> {
    let stat: io::Result<_> = rustix::fs::fstat(netns).map_err(io::Error::from);
    stat.ok().map(|stat| stat.st_ino)
}
