//! Clients of a container: attached and waiting ones.
//!
//! Their sockets go to the supervisor, which outlives the daemon. What comes
//! before the start is kept here until there is a supervisor.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use carrack_sandbox::Sender;
use carrack_supervision::{Attach, AwaitExit, Batch, FrameError, Request, Target};

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
                    bounded(&entry, inner.early_attaches.len())?;
                    inner.early_attaches.push((request, socket));
                    return Ok(());
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
                    bounded(&entry, inner.early_waits.len())?;
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
            if let Ok(status) = containers.wait(&id, condition).await {
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

fn bounded(entry: &Entry, count: usize) -> Result<()> {
    if count < MAX_EARLY_CLIENTS {
        Ok(())
    } else {
        Err(Error::TooMany {
            id: entry.id.clone(),
            what: "clients that wait for its start",
            bound: MAX_EARLY_CLIENTS,
        })
    }
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
