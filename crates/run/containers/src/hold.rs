//! Clients that want the log first and then what follows it.
//!
//! The supervisor takes such a client at once and holds it back; the daemon
//! replays the log up to the moment that the supervisor names and lets it go.
//! Nothing is lost or said twice between the two.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use carrack_sandbox::Sender;
use carrack_supervision::{Request, Target};
use tokio::sync::oneshot;

use crate::attach::{attach_message, keep_early};
use crate::entry::Entry;
use crate::{AttachRequest, ContainerId, Containers, Error, Result};

/// How long a supervisor may take to say that it holds a client.
const HOLD_BOUND: Duration = Duration::from_secs(10);

/// A client that is attached and gets nothing until this is dropped.
#[derive(Debug)]
pub struct Hold {
    until: SystemTime,
    number: u64,
    sender: Arc<Sender>,
}

impl Hold {
    /// What the log has up to this moment is not sent to the client; all that
    /// comes later is.
    pub fn until(&self) -> SystemTime {
        self.until
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A supervisor that is gone has let its clients go.
        let _gone = self.sender.send(&Request::LetGo(self.number), &[]);
    }
}

impl Containers {
    /// Attaches a client and holds it back; `None` while there is no
    /// supervisor. The socket is the supervisor's afterwards; what the caller
    /// keeps of it is for the log.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Link`]; [`Error::Internal`] when the
    /// supervisor refuses.
    pub async fn hold(
        &self,
        id: &ContainerId,
        request: &AttachRequest,
        socket: &OwnedFd,
    ) -> Result<Option<Hold>> {
        let entry = self.entry(id)?;
        let (tell, told) = oneshot::channel();
        let (sender, number, framed) = {
            let mut inner = entry.lock();
            let Some(run) = &inner.run else {
                return Ok(None);
            };
            let sender = Arc::clone(&run.sender);
            let number = inner.next_hold;
            inner.next_hold += 1;
            inner.holds.insert(number, tell);
            (sender, number, !inner.new.stdio.terminal)
        };
        let mut attach = attach_message(Target::Container, request.clone(), framed);
        attach.held = Some(number);
        let sent = sender.send(&Request::Attach(attach), &[socket.as_fd()]);
        let held = match sent {
            Ok(()) => tokio::time::timeout(HOLD_BOUND, told).await,
            Err(source) => {
                entry.lock().holds.remove(&number);
                let id = id.clone();
                return Err(Error::Link { id, source });
            }
        };
        entry.lock().holds.remove(&number);
        match held {
            Ok(Ok(until)) => Ok(Some(Hold {
                until,
                number,
                sender,
            })),
            Ok(Err(_)) | Err(_) => Err(Error::Internal(format!(
                "the supervisor of container {id} does not take the client"
            ))),
        }
    }

    /// Keeps a client until the start. Gives its socket back when there is a
    /// supervisor, which can hold it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::TooMany`].
    pub fn attach_before_start(
        &self,
        id: &ContainerId,
        request: &AttachRequest,
        socket: OwnedFd,
    ) -> Result<Option<OwnedFd>> {
        let entry = self.entry(id)?;
        let mut inner = entry.lock();
        if inner.run.is_some() {
            return Ok(Some(socket));
        }
        keep_early(&entry, &mut inner, request.clone(), socket)?;
        Ok(None)
    }
}

/// A supervisor holds a client.
pub(crate) fn held(entry: &Entry, number: u64, until: SystemTime) {
    if let Some(waiting) = entry.lock().holds.remove(&number) {
        // Whoever asked may have given up.
        let _gone = waiting.send(until);
    }
}
