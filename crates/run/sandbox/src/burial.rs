//! What is done for a sandbox that is over.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use carrack_cgroup::{Leaf, LeafName};
use carrack_network::EndpointId;
use carrack_supervision::Request;
use rustix::fs::AtFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::pool::{Inner, describe};
use crate::{Sandbox, SandboxId};

/// How long a supervisor that is no container may take to end after its
/// connection.
const END_BOUND: Duration = Duration::from_secs(15);

impl Inner {
    /// Destroys a sandbox that no container came into, in the background.
    pub(crate) fn discard(self: &Arc<Self>, sandbox: Sandbox) {
        let inner = Arc::clone(self);
        tokio::spawn(async move { inner.destroy(sandbox).await });
    }

    /// Destroys a sandbox that no container came into.
    pub(crate) async fn destroy(self: &Arc<Self>, sandbox: Sandbox) {
        let _under_way = self.burials.read().await;
        let Sandbox {
            id,
            supervisor_pid,
            link,
            leaf,
            endpoint,
            netns,
            ..
        } = sandbox;
        // A supervisor that is not a container ends with its connection.
        drop((link, leaf));
        await_end(supervisor_pid).await;
        self.clean(&id, endpoint.map(|e| e.id), netns).await;
    }

    /// Destroys what there is of a sandbox that could not be made, in the
    /// background.
    pub(crate) fn give_up(
        self: &Arc<Self>,
        id: SandboxId,
        supervisor_pid: Option<i32>,
        leaf: Leaf,
    ) {
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let _under_way = inner.burials.read().await;
            if let Some(pid) = supervisor_pid {
                await_end(pid).await;
            }
            drop(leaf);
            inner.clean(&id, None, None).await;
        });
    }

    /// Cleans up after a container. Its supervisor was let go of and may still
    /// have clients that read: what it holds is nobody else's, so nothing
    /// waits for it.
    pub(crate) async fn bury(
        self: &Arc<Self>,
        id: &SandboxId,
        supervisor_pid: i32,
        endpoint: Option<EndpointId>,
        netns: Option<OwnedFd>,
    ) {
        let _under_way = self.burials.read().await;
        let child = if self.foundlings.has(id) {
            None
        } else {
            open_process(supervisor_pid)
        };
        if !child.as_ref().is_some_and(reap)
            // Its connection may have been lost before it was let go of; one
            // that is about to end does not mind to hear it twice.
            && let Some(socket) = self.connection(id)
        {
            let _ended = carrack_supervision::send(&socket, &Request::Release, &[]);
        }
        if let Some(Ok(child)) = child.map(crate::link::watch) {
            tokio::spawn(async move {
                let _ended = child.readable().await;
                reap(child.get_ref());
            });
        }
        self.clean(id, endpoint, netns).await;
    }

    async fn clean(
        self: &Arc<Self>,
        id: &SandboxId,
        endpoint: Option<EndpointId>,
        netns: Option<OwnedFd>,
    ) {
        let inner = Arc::clone(self);
        let id = id.clone();
        let cleaned = tokio::task::spawn_blocking(move || {
            if let Ok(name) = LeafName::new(id.as_str())
                && let Ok(leaf) = inner.config.cgroup.open_leaf(&name)
            {
                inner.sweep(&id, &leaf);
            } else {
                inner.forget(&id);
            }
            let shared = netns
                .as_ref()
                .is_some_and(|netns| inner.tenants.any_but(&id, netns));
            match (&inner.config.networks, endpoint) {
                (Some(networks), Some(endpoint)) if shared => {
                    if let Err(error) = networks.disconnect(&[endpoint]) {
                        tracing::warn!(sandbox = %id, error = %describe(&error), "delete link");
                    }
                }
                (Some(networks), Some(endpoint)) => networks.release(&[endpoint]),
                _ => {}
            }
            if let Some(netns) = netns {
                drop(inner.graveyard.bury(netns));
                inner.taken.notify_one();
            }
        });
        if cleaned.await.is_err() {
            tracing::error!("cleaning up after a sandbox panicked");
        }
    }

    /// Waits for what is being cleaned up, at most as long as a supervisor may
    /// take to end.
    pub(crate) async fn await_burials(&self) {
        let _bounded = tokio::time::timeout(END_BOUND, self.burials.write()).await;
    }

    /// Kills what is left in a leaf, removes it and the socket. Blocks for up
    /// to seconds.
    pub(crate) fn sweep(&self, id: &SandboxId, leaf: &Leaf) {
        let killed = leaf.kill_all();
        if let Err(error) = killed.and_then(|()| leaf.remove()) {
            tracing::warn!(sandbox = %id, error = %describe(&error), "remove control group");
        }
        self.forget(id);
    }

    /// Removes the socket, and what is known of a sandbox.
    pub(crate) fn forget(&self, id: &SandboxId) {
        self.tenants.move_out(id);
        self.foundlings.forget(id);
        match rustix::fs::unlinkat(&self.directory, id.as_str(), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => tracing::warn!(sandbox = %id, %errno, "remove supervisor's socket"),
        }
    }
}

/// A child, whose id is its own until it is reaped.
fn open_process(pid: i32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(pid)?;
    rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK).ok()
}

/// Reaps a child; whether it was over.
fn reap(child: &OwnedFd) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let reaped = rustix::process::waitid(WaitId::PidFd(child.as_fd()), options);
    matches!(reaped, Ok(Some(_)))
}

/// Waits for a child to end and reaps it; kills it when it does not.
async fn await_end(pid: i32) {
    let Some(process) = open_process(pid) else {
        return;
    };
    let Ok(watched) = crate::link::watch(process) else {
        return;
    };
    if tokio::time::timeout(END_BOUND, watched.readable())
        .await
        .is_err()
    {
        tracing::warn!(supervisor = pid, "supervisor does not end; killing it");
        let _ended = rustix::process::pidfd_send_signal(watched.get_ref(), Signal::KILL);
        let _bounded = tokio::time::timeout(END_BOUND, watched.readable()).await;
    }
    reap(watched.get_ref());
}
