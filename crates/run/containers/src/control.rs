//! Signals, stop, pause and new limits.

use std::sync::Arc;
use std::time::Duration;

use carrack_oci::runtime::Resources;
use carrack_sandbox::SandboxId;
use carrack_supervision::{Request, Target};

use crate::attach::send;
use crate::entry::Entry;
use crate::{
    ContainerEventKind, ContainerId, Containers, Error, NewContainer, Phase, Result, WaitCondition,
};

/// How long a process may take to end after SIGKILL.
const KILL_BOUND: Duration = Duration::from_secs(10);

impl Containers {
    /// Sends a signal to the first process.
    pub async fn kill(&self, id: &ContainerId, signal: i32) -> Result<()> {
        let entry = self.entry(id)?;
        self.signal(&entry, signal).await?;
        if signal == libc::SIGKILL {
            self.await_end(&entry, KILL_BOUND).await;
        }
        Ok(())
    }

    /// Asks the process to end, and kills it when it has not after a while.
    /// `None` takes what the container was made with; a negative time waits
    /// for ever.
    pub async fn stop(
        &self,
        id: &ContainerId,
        signal: Option<i32>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        let (signal, timeout_s) = {
            let inner = entry.lock();
            if !matches!(inner.state.phase, Phase::Running | Phase::Paused) {
                return Err(Error::NotRunning(id.clone()));
            }
            (
                signal.unwrap_or(inner.new.stop_signal),
                timeout_s.unwrap_or(inner.new.stop_timeout_s),
            )
        };
        self.signal(&entry, signal).await?;
        let patience = match u64::try_from(timeout_s) {
            Ok(seconds) => Duration::from_secs(seconds.min(u64::from(u32::MAX))),
            Err(_) => Duration::MAX,
        };
        if self.await_end(&entry, patience).await {
            return Ok(());
        }
        match self.signal(&entry, libc::SIGKILL).await {
            Ok(()) | Err(Error::NotRunning(_)) => {}
            Err(error) => return Err(error),
        }
        if self.await_end(&entry, KILL_BOUND).await {
            Ok(())
        } else {
            Err(Error::Internal(format!(
                "container {id} does not end after SIGKILL"
            )))
        }
    }

    /// Stops a container that is started again at once: one that goes away
    /// with its end stays this time.
    pub async fn stop_for_restart(
        &self,
        id: &ContainerId,
        signal: Option<i32>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        entry.lock().kept_at_end = true;
        let stopped = self.stop(id, signal, timeout_s).await;
        if stopped.is_err() {
            entry.lock().kept_at_end = false;
        }
        stopped
    }

    /// Sends a signal, and thaws a paused container so that it can act on it.
    async fn signal(&self, entry: &Arc<Entry>, signal: i32) -> Result<()> {
        let (sender, paused, sandbox) = {
            let mut inner = entry.lock();
            let active = matches!(inner.state.phase, Phase::Running | Phase::Paused);
            let Some(run) = inner.run.as_ref().filter(|_| active) else {
                return Err(Error::NotRunning(entry.id.clone()));
            };
            let found = (
                Arc::clone(&run.sender),
                inner.state.phase == Phase::Paused,
                run.sandbox.clone(),
            );
            inner.end_requested |= is_deadly(signal, inner.new.stop_signal);
            found
        };
        // Before the end that it may be.
        self.announce(&entry.id, ContainerEventKind::Signalled(signal));
        let target = Target::Container;
        send(entry, &sender, &Request::Signal { target, signal })?;
        if paused && is_deadly(signal, libc::SIGTERM) {
            self.set_frozen(sandbox, false).await?;
            let mut inner = entry.lock();
            if inner.state.phase == Phase::Paused {
                inner.state.phase = Phase::Running;
                drop(inner);
                self.announce(&entry.id, ContainerEventKind::Unpaused);
            }
        }
        Ok(())
    }

    /// Waits for the end of the current run; false when it took too long.
    async fn await_end(&self, entry: &Arc<Entry>, patience: Duration) -> bool {
        let ended = self.wait(&entry.id, WaitCondition::NotRunning);
        tokio::time::timeout(patience, ended).await.is_ok()
    }

    /// Freezes every process of the container.
    pub async fn pause(&self, id: &ContainerId) -> Result<()> {
        let entry = self.entry(id)?;
        let _turn = entry.operation.lock().await;
        let sandbox = match running(&entry)? {
            (_, Phase::Paused) => return Err(Error::AlreadyPaused(id.clone())),
            (sandbox, _) => sandbox,
        };
        self.set_frozen(sandbox, true).await?;
        self.finish_phase(
            &entry,
            Phase::Running,
            Phase::Paused,
            ContainerEventKind::Paused,
        );
        Ok(())
    }

    /// Thaws them.
    pub async fn unpause(&self, id: &ContainerId) -> Result<()> {
        let entry = self.entry(id)?;
        let _turn = entry.operation.lock().await;
        let sandbox = match running(&entry)? {
            (sandbox, Phase::Paused) => sandbox,
            _ => return Err(Error::NotPaused(id.clone())),
        };
        self.set_frozen(sandbox, false).await?;
        self.finish_phase(
            &entry,
            Phase::Paused,
            Phase::Running,
            ContainerEventKind::Unpaused,
        );
        Ok(())
    }

    fn finish_phase(&self, entry: &Entry, from: Phase, to: Phase, kind: ContainerEventKind) {
        let mut inner = entry.lock();
        // It may have ended meanwhile.
        if inner.state.phase == from {
            inner.state.phase = to;
            drop(inner);
            self.announce(&entry.id, kind);
        }
    }

    async fn set_frozen(&self, sandbox: SandboxId, frozen: bool) -> Result<()> {
        let leaf = self.0.config.sandboxes.leaf(&sandbox)?;
        tokio::task::spawn_blocking(move || if frozen { leaf.freeze() } else { leaf.thaw() })
            .await??;
        Ok(())
    }

    /// Sets new limits, on the running container and on its record; `change`
    /// brings the owner's data along. On disk when this returns. Limits that
    /// are absent stay as they are.
    pub async fn update(
        &self,
        id: &ContainerId,
        resources: Resources,
        change: impl FnOnce(&mut NewContainer) + Send,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        let _turn = entry.operation.lock().await;
        let sandbox = running(&entry).ok().map(|(sandbox, _)| sandbox);
        if let Some(sandbox) = sandbox {
            let leaf = self.0.config.sandboxes.leaf(&sandbox)?;
            tokio::task::spawn_blocking(move || leaf.apply(&resources)).await??;
        }
        self.change(&entry, change).await
    }
}

/// The sandbox of a container that runs, frozen or not.
pub(crate) fn running(entry: &Entry) -> Result<(SandboxId, Phase)> {
    let inner = entry.lock();
    match (&inner.run, inner.state.phase) {
        (Some(run), phase @ (Phase::Running | Phase::Paused)) => Ok((run.sandbox.clone(), phase)),
        _ => Err(Error::NotRunning(entry.id.clone())),
    }
}

/// Whether a signal is meant to end the container.
fn is_deadly(signal: i32, stop_signal: i32) -> bool {
    signal == libc::SIGKILL || signal == libc::SIGTERM || signal == stop_signal
}
