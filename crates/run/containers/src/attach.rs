//! Clients of a container: attached and waiting ones.
//!
//! Their sockets go to the supervisor, which outlives the daemon. What comes
//! before the start is kept here until there is a supervisor.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use carrack_sandbox::Sender;
use carrack_supervision::{Attach, AwaitExit, Batch, FrameError, Request, Target};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::answer::answer;
use crate::containers::is_reached;
use crate::entry::{Entry, Inner};
use crate::{
    AttachRequest, ContainerId, Containers, Error, Phase, Result, WaitCondition, WaitReply,
};

/// Clients of one container that may wait for its start.
const MAX_EARLY_CLIENTS: usize = 64;

impl Containers {
    /// Attaches a client whose response head was sent. Its socket belongs to
    /// the supervisor from here on; before the start it is kept.
    pub async fn attach(
        &self,
        id: &ContainerId,
        request: AttachRequest,
        socket: OwnedFd,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        let sender = {
            let mut inner = entry.lock();
            match &inner.run {
                Some(run) => Arc::clone(&run.sender),
                None => {
                    return keep_early(&entry, &mut inner, request, socket);
                }
            }
        };
        let framed = !entry.lock().new.stdio.terminal;
        send_attach(&entry, &sender, Target::Container, request, &socket, framed)
    }

    /// Lets a waiting client's connection be answered by whoever knows first;
    /// its response head was sent.
    pub async fn hand_over_wait(
        &self,
        id: &ContainerId,
        condition: WaitCondition,
        socket: OwnedFd,
        reply: WaitReply,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        let sender = {
            let mut inner = entry.lock();
            let now = *entry.progress.borrow();
            if is_reached(condition, now, now) {
                drop(inner);
                answer(socket, &reply, now.code);
                return Ok(());
            }
            match supervised(&inner, condition) {
                Some(sender) => sender,
                None if inner.run.is_none() && condition != WaitCondition::Removed
                    || inner.new.auto_remove && inner.run.is_none() =>
                {
                    bounded(&entry, &mut inner.early_waits, |(_, _, socket)| socket)?;
                    inner.early_waits.push((condition, reply, socket));
                    return Ok(());
                }
                None => {
                    drop(inner);
                    self.answer_later(id.clone(), condition, socket, reply);
                    return Ok(());
                }
            }
        };
        send_wait(&entry, &sender, condition, reply, &socket)
    }

    /// Answers from a task of the daemon: for the removal of a container that
    /// does not go away by itself, which needs the daemon anyway.
    fn answer_later(
        &self,
        id: ContainerId,
        condition: WaitCondition,
        socket: OwnedFd,
        reply: WaitReply,
    ) {
        let containers = self.clone();
        tokio::spawn(async move {
            let waited = tokio::select! {
                waited = containers.wait(&id, condition) => waited,
                () = leaving(&socket) => return,
            };
            if let Ok(status) = waited {
                answer(socket, &reply, status.code);
            }
        });
    }

    /// Changes the size of a container's terminal.
    pub async fn resize(&self, id: &ContainerId, rows: u16, columns: u16) -> Result<()> {
        let entry = self.entry(id)?;
        if !entry.lock().new.stdio.terminal {
            return Err(Error::NoTerminal(id.clone()));
        }
        let sender = entry
            .sender()
            .ok_or_else(|| Error::NotRunning(id.clone()))?;
        let target = Target::Container;
        send(
            &entry,
            &sender,
            &Request::Resize {
                target,
                rows,
                columns,
            },
        )
    }
}

/// Keeps a client until the start.
pub(crate) fn keep_early(
    entry: &Entry,
    inner: &mut Inner,
    request: AttachRequest,
    socket: OwnedFd,
) -> Result<()> {
    bounded(entry, &mut inner.early_attaches, |(_, socket)| socket)?;
    inner.early_attaches.push((request, socket));
    Ok(())
}

/// Makes sure that there is room for another client that waits for the start;
/// those that left meanwhile make room.
fn bounded<T>(entry: &Entry, clients: &mut Vec<T>, socket: impl Fn(&T) -> &OwnedFd) -> Result<()> {
    if clients.len() >= MAX_EARLY_CLIENTS {
        clients.retain(|client| !has_left(socket(client)));
    }
    if clients.len() < MAX_EARLY_CLIENTS {
        Ok(())
    } else {
        Err(Error::TooMany {
            id: entry.id.clone(),
            what: "clients that wait for its start",
            bound: MAX_EARLY_CLIENTS,
        })
    }
}

/// Whether a client closed its connection. One that only sends no more waits
/// for the answer.
fn has_left(socket: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let gone = PollFlags::HUP | PollFlags::ERR;
    poll(&mut polled, Some(&Timespec::default())).is_ok() && polled[0].revents().intersects(gone)
}

/// Ends when a client leaves.
async fn leaving(socket: &OwnedFd) {
    if let Ok(watched) = socket.try_clone().and_then(carrack_sandbox::watch) {
        while let Ok(mut ready) = watched.readable().await {
            if has_left(socket) {
                return;
            }
            ready.clear_ready();
        }
    }
    // It cannot be watched, so it is answered in any case.
    std::future::pending().await
}

/// The supervisor that can answer such a wait.
fn supervised(inner: &Inner, condition: WaitCondition) -> Option<Arc<Sender>> {
    let run = inner.run.as_ref()?;
    let possible = match condition {
        WaitCondition::Removed => inner.new.auto_remove,
        WaitCondition::NotRunning | WaitCondition::NextExit => {
            matches!(
                inner.state.phase,
                Phase::Running | Phase::Paused | Phase::Created | Phase::Exited
            )
        }
    };
    possible.then(|| Arc::clone(&run.sender))
}

/// Clients that came before the start.
#[derive(Debug)]
pub(crate) struct Early {
    attaches: Vec<(Request, OwnedFd)>,
    waits: Vec<(Request, OwnedFd)>,
}

impl Early {
    /// Takes them off a container.
    pub(crate) fn take(entry: &Entry) -> Self {
        let (attaches, waits, framed) = {
            let mut inner = entry.lock();
            (
                std::mem::take(&mut inner.early_attaches),
                std::mem::take(&mut inner.early_waits),
                !inner.new.stdio.terminal,
            )
        };
        let attach = |request| Request::Attach(attach_message(Target::Container, request, framed));
        Self {
            attaches: attaches
                .into_iter()
                .map(|(request, socket)| (attach(request), socket))
                .collect(),
            waits: waits
                .into_iter()
                .map(|(condition, reply, socket)| (wait_message(condition, reply), socket))
                .collect(),
        }
    }

    /// Adds them to what is sent to the supervisor: attaches first.
    pub(crate) fn push<'a>(&'a self, batch: &mut Batch<'a>) -> std::result::Result<(), FrameError> {
        for (request, socket) in self.attaches.iter().chain(&self.waits) {
            batch.push(request, &[socket.as_fd()])?;
        }
        Ok(())
    }
}

/// Makes the protocol's attach of a request.
pub(crate) fn attach_message(target: Target, request: AttachRequest, framed: bool) -> Attach {
    Attach {
        target,
        stdin: request.stdin,
        stdout: request.stdout,
        stderr: request.stderr,
        read_ahead: request.read_ahead,
        detach_keys: request.detach_keys,
        framed,
        held: None,
    }
}

fn send_attach(
    entry: &Entry,
    sender: &Sender,
    target: Target,
    request: AttachRequest,
    socket: &OwnedFd,
    framed: bool,
) -> Result<()> {
    let message = Request::Attach(attach_message(target, request, framed));
    sender
        .send(&message, &[socket.as_fd()])
        .map_err(|source| Error::Link {
            id: entry.id.clone(),
            source,
        })
}

fn send_wait(
    entry: &Entry,
    sender: &Sender,
    condition: WaitCondition,
    reply: WaitReply,
    socket: &OwnedFd,
) -> Result<()> {
    sender
        .send(&wait_message(condition, reply), &[socket.as_fd()])
        .map_err(|source| Error::Link {
            id: entry.id.clone(),
            source,
        })
}

/// Keeps a client of the last run that waits for the removal: for the next
/// run, or for whoever removes the container.
pub(crate) fn keep_waiting(entry: &Entry, reply: AwaitExit, socket: OwnedFd) {
    let reply = WaitReply {
        before: reply.before,
        after: reply.after,
    };
    let mut inner = entry.lock();
    if bounded(entry, &mut inner.early_waits, |(_, _, socket)| socket).is_ok() {
        let condition = WaitCondition::Removed;
        inner.early_waits.push((condition, reply, socket));
    } else {
        let code = inner.state.exit_code;
        drop(inner);
        answer(socket, &reply, code);
    }
}

fn wait_message(condition: WaitCondition, reply: WaitReply) -> Request {
    Request::AwaitExit(AwaitExit {
        removed: condition == WaitCondition::Removed,
        before: reply.before,
        after: reply.after,
    })
}

/// Sends a request without descriptors.
pub(crate) fn send(entry: &Entry, sender: &Sender, request: &Request) -> Result<()> {
    sender.send(request, &[]).map_err(|source| Error::Link {
        id: entry.id.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::testing::{World, container, until};

    fn pair() -> (UnixStream, OwnedFd) {
        let (client, socket) = UnixStream::pair().expect("a pair");
        (client, socket.into())
    }

    fn reply() -> WaitReply {
        WaitReply {
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn clients_that_left_before_the_start_make_room() {
        let Some(world) = World::new("clients_that_left_make_room") else {
            return;
        };
        let new = container();
        let containers = world.open().await;
        containers.create(new.clone()).await.expect("create");
        let attach = async |socket| {
            let request = AttachRequest::default();
            containers.attach(&new.id, request, socket).await
        };
        let wait = async |socket| {
            let condition = WaitCondition::NextExit;
            let handed = containers.hand_over_wait(&new.id, condition, socket, reply());
            handed.await
        };
        let mut clients = Vec::new();
        for _ in 0..MAX_EARLY_CLIENTS {
            for kind in 0..2 {
                let (client, socket) = pair();
                // Sending no more is not leaving.
                client.shutdown(std::net::Shutdown::Write).expect("shut");
                clients.push(client);
                let kept = match kind {
                    0 => attach(socket).await,
                    _ => wait(socket).await,
                };
                kept.expect("kept");
            }
        }
        assert!(attach(pair().1).await.is_err());
        assert!(wait(pair().1).await.is_err());
        clients.truncate(clients.len() - 2);
        let (client, socket) = pair();
        attach(socket).await.expect("room");
        let (other, socket) = pair();
        wait(socket).await.expect("room");
        assert!(attach(pair().1).await.is_err());
        drop((client, other));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_leaves_while_it_waits_for_a_removal_is_let_go_of() {
        let Some(world) = World::new("a_client_that_leaves") else {
            return;
        };
        let new = container();
        let containers = world.open().await;
        containers.create(new.clone()).await.expect("create");
        let (client, socket) = pair();
        let inode = rustix::fs::fstat(&socket).expect("stat").st_ino;
        let condition = WaitCondition::Removed;
        let handed = containers.hand_over_wait(&new.id, condition, socket, reply());
        handed.await.expect("handed over");
        drop(client);
        until("its socket is closed", || !is_open(inode)).await;
    }

    fn is_open(inode: u64) -> bool {
        let name = format!("socket:[{inode}]");
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("descriptors");
        let mut links = descriptors.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        links.any(|link| link.as_os_str() == name.as_str())
    }
}
