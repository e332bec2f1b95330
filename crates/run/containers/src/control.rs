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

    /// Asks the process to end, and kills it when it has not after a while;
    /// one that is being started, once it runs. `None` takes what the
    /// container was made with; a negative time waits for ever.
    pub async fn stop(
        &self,
        id: &ContainerId,
        signal: Option<i32>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let entry = self.entry(id)?;
        if !entry.is_active() {
            // A start may be under way.
            drop(entry.operation.lock().await);
        }
        if !entry.is_active() {
            return Err(Error::NotRunning(id.clone()));
        }
        let (signal, timeout_s) = {
            let inner = entry.lock();
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
        let (sender, must_thaw, sandbox) = {
            let mut inner = entry.lock();
            let active = matches!(inner.state.phase, Phase::Running | Phase::Paused);
            let is_deadly = is_deadly(signal, inner.new.stop_signal);
            let Some(run) = inner.run.as_ref().filter(|_| active) else {
                return Err(Error::NotRunning(entry.id.clone()));
            };
            let found = (
                Arc::clone(&run.sender),
                is_deadly && inner.state.phase == Phase::Paused,
                run.sandbox.clone(),
            );
            if is_deadly {
                inner.end_requested = true;
                // Seen by a pause that is under way; see there.
                inner.deadly_signals += 1;
            }
            found
        };
        // Before the end that it may be.
        self.announce(&entry.id, ContainerEventKind::Signalled(signal));
        let target = Target::Container;
        send(entry, &sender, &Request::Signal { target, signal })?;
        if must_thaw {
            self.set_frozen(sandbox, false).await?;
            self.note_thawed(entry);
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
        let signals_before = entry.lock().deadly_signals;
        self.set_frozen(sandbox.clone(), true).await?;
        if self.note_paused(&entry, signals_before) {
            Ok(())
        } else {
            // A signal that was sent meanwhile took it for running; frozen,
            // not even SIGKILL would reach it on v1.
            self.set_frozen(sandbox, false).await?;
            Err(Error::NotRunning(id.clone()))
        }
    }

    /// Notes that a container was frozen, unless it was told to end since
    /// `signals_before` were counted.
    fn note_paused(&self, entry: &Entry, signals_before: u64) -> bool {
        let mut inner = entry.lock();
        if inner.deadly_signals != signals_before {
            return false;
        }
        // It may have ended meanwhile.
        if inner.state.phase == Phase::Running {
            inner.state.phase = Phase::Paused;
            drop(inner);
            self.announce(&entry.id, ContainerEventKind::Paused);
        }
        true
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
        self.note_thawed(&entry);
        Ok(())
    }

    fn note_thawed(&self, entry: &Entry) {
        let mut inner = entry.lock();
        // It may have ended meanwhile.
        if inner.state.phase == Phase::Paused {
            inner.state.phase = Phase::Running;
            drop(inner);
            self.announce(&entry.id, ContainerEventKind::Unpaused);
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

#[cfg(test)]
mod tests {
    use carrack_supervision::Request;

    use super::*;
    use crate::testing::{World, container, phase};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stop_signal_of_any_number_thaws() {
        let Some(world) = World::new("a_stop_signal_thaws") else {
            return;
        };
        let mut new = container();
        new.stop_signal = libc::SIGUSR1;
        let running = world.running(&new).await;
        let leaf = world.leaf(&running);
        let mut adoption = running.adopted(&world, &[]).await;
        let containers = adoption.containers;
        containers.pause(&new.id).await.expect("pause");
        assert!(leaf.is_frozen().expect("frozen"));
        assert_eq!(phase(&containers, &new.id), Some(Phase::Paused));
        // Another signal waits for the thaw.
        containers.kill(&new.id, libc::SIGUSR2).await.expect("kill");
        assert!(leaf.is_frozen().expect("frozen"));
        containers.kill(&new.id, libc::SIGUSR1).await.expect("kill");
        assert!(!leaf.is_frozen().expect("thawed"));
        assert_eq!(phase(&containers, &new.id), Some(Phase::Running));
        let target = Target::Container;
        let signal = libc::SIGUSR1;
        let wanted = Request::Signal { target, signal };
        adoption.connection.until(|request| *request == wanted);
        leaf.remove().expect("remove");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pause_gives_way_to_a_signal_that_was_sent_meanwhile() {
        let Some(world) = World::new("a_pause_gives_way") else {
            return;
        };
        let new = container();
        let adoption = world.running(&new).await.adopted(&world, &[]).await;
        let containers = adoption.containers;
        let entry = containers.entry(&new.id).expect("entry");
        let before = entry.lock().deadly_signals;
        containers.kill(&new.id, libc::SIGTERM).await.expect("kill");
        assert!(!containers.note_paused(&entry, before));
        assert_eq!(entry.phase(), Phase::Running);
        // One that ignored it is paused as any other later.
        let before = entry.lock().deadly_signals;
        assert!(containers.note_paused(&entry, before));
        assert_eq!(entry.phase(), Phase::Paused);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stop_waits_for_a_start_that_is_under_way() {
        let Some(world) = World::new("a_stop_waits_for_a_start") else {
            return;
        };
        let new = container();
        let containers = world.open().await;
        containers.create(new.clone()).await.expect("create");
        let entry = containers.entry(&new.id).expect("entry");
        let starting = entry.operation.lock().await;
        let mut stopping = std::pin::pin!(containers.stop(&new.id, None, None));
        let now = std::future::ready(());
        tokio::select! {
            biased;
            outcome = &mut stopping => panic!("answered at once: {outcome:?}"),
            () = now => {}
        }
        drop(starting);
        assert!(matches!(stopping.await, Err(Error::NotRunning(_))));
    }
}
