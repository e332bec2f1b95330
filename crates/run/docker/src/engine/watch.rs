//! The task that follows containers: events, restarts, what goes away by
//! itself.

use std::sync::{Arc, Weak};
use std::time::Duration;

use carrack_containers::{ContainerEvent, ContainerEventKind, ContainerId, Phase};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::events::Subject;
use crate::record::Record;
use crate::restart::Policy;

use super::Engine;
use super::lifecycle::policy;
use super::networks::{BRIDGE, network_id};
use super::slots::Slot;

/// Begins to follow; ends when the engine is dropped.
pub(super) fn follow(engine: &Arc<Engine>, mut happenings: Receiver<ContainerEvent>) {
    let engine = Arc::downgrade(engine);
    tokio::spawn(async move {
        loop {
            match happenings.recv().await {
                Ok(event) => {
                    let Some(engine) = Weak::upgrade(&engine) else {
                        return;
                    };
                    engine.happened(&event);
                }
                Err(RecvError::Lagged(missed)) => {
                    let Some(engine) = Weak::upgrade(&engine) else {
                        return;
                    };
                    tracing::warn!(missed, "fell behind the containers' events");
                    engine.catch_up();
                }
                Err(RecvError::Closed) => return,
            }
        }
    });
}

impl Engine {
    fn happened(self: &Arc<Self>, event: &ContainerEvent) {
        let Some(slot) = self.slots.get(&event.id) else {
            // A build's or a pod's, or one that was forgotten already.
            return;
        };
        let record = slot.record();
        let tell = |action: &str, more: &[(&str, &str)]| {
            self.container_event(&event.id, &record, action, more);
        };
        match &event.kind {
            ContainerEventKind::Started => {
                self.network_event(&event.id, &record, "connect");
                self.volume_events(&event.id, &record, "mount");
                tell("start", &[]);
                if let Some(action) = slot.take_after_start() {
                    tell(action, &[]);
                }
            }
            ContainerEventKind::Exited {
                code,
                requested,
                ran_ms,
                ..
            } => {
                let (exit_code, seconds) = (code.to_string(), (ran_ms / 1000).to_string());
                tell(
                    "die",
                    &[("exitCode", &exit_code), ("execDuration", &seconds)],
                );
                self.network_event(&event.id, &record, "disconnect");
                self.volume_events(&event.id, &record, "unmount");
                if let Some(action) = slot.take_after_exit() {
                    tell(action, &[]);
                }
                self.leave_volumes_later(&record);
                if !requested {
                    self.restart_after(&slot, *code, Duration::from_millis(*ran_ms));
                }
            }
            ContainerEventKind::Signalled(signal) => {
                tell("kill", &[("signal", &signal.to_string())]);
            }
            ContainerEventKind::OutOfMemory => tell("oom", &[]),
            ContainerEventKind::Paused => tell("pause", &[]),
            ContainerEventKind::Unpaused => tell("unpause", &[]),
            ContainerEventKind::Detached => tell("detach", &[]),
            ContainerEventKind::ExecDetached(exec) => tell("exec_detach", &[("execID", exec)]),
            ContainerEventKind::ExecStarted(exec) => {
                let action = format!("exec_start: {}", self.exec_command(exec));
                tell(&action, &[("execID", exec)]);
            }
            ContainerEventKind::ExecExited { exec, code } => {
                let exit_code = code.to_string();
                tell("exec_die", &[("execID", exec), ("exitCode", &exit_code)]);
            }
            ContainerEventKind::Removed => {
                self.forget(&event.id);
                self.leave_volumes_later(&record);
                if record.host_config.auto_remove {
                    let engine = Arc::clone(self);
                    tokio::task::spawn_blocking(move || engine.remove_anonymous_volumes(&record));
                }
            }
        }
    }

    /// After a gap in the events: what is gone is forgotten, what ended is
    /// started again where its policy says so.
    fn catch_up(self: &Arc<Self>) {
        for slot in self.slots.all() {
            match self.containers.get(&slot.id) {
                None => {
                    self.forget(&slot.id);
                }
                Some(view) if view.state.phase == Phase::Exited => {
                    let waiting = slot.restart_state().waiting;
                    if !waiting && !slot.record().stopped_by_hand {
                        self.restart_after(&slot, view.state.exit_code, Duration::ZERO);
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn leave_volumes_later(self: &Arc<Self>, record: &Arc<Record>) {
        if record.volumes().next().is_some() {
            let (engine, record) = (Arc::clone(self), Arc::clone(record));
            tokio::task::spawn_blocking(move || engine.leave_volumes(&record));
        }
    }

    /// Starts what is to run when the daemon starts: what ended while it was
    /// away, and what was running when the machine went down.
    pub(super) fn start_by_policy(self: &Arc<Self>) {
        for slot in self.slots.all() {
            let record = slot.record();
            let Some(view) = self.containers.get(&slot.id) else {
                continue;
            };
            if view.state.phase != Phase::Exited {
                continue;
            }
            let (code, count) = (view.state.exit_code, record.restart_count);
            let wanted =
                policy(&record.host_config).starts_with_daemon(record.stopped_by_hand, code, count);
            if wanted {
                self.start_later(&slot, Duration::ZERO);
            }
        }
    }

    fn restart_after(self: &Arc<Self>, slot: &Arc<Slot>, code: i32, ran: Duration) {
        let delay = slot.with_backoff(|backoff, record| {
            let policy = policy(&record.host_config);
            // Between the request and its end a stop may have been asked for.
            if policy == Policy::No || record.stopped_by_hand {
                return None;
            }
            backoff.after_exit(policy, code, ran)
        });
        if let Some(delay) = delay {
            let count = slot.restart_state().count;
            let record = slot.change(|record| record.restart_count = count);
            self.store_lazily(&slot.id, &record);
            self.start_later(slot, delay);
        }
    }

    fn start_later(self: &Arc<Self>, slot: &Arc<Slot>, delay: Duration) {
        let (engine, waiting) = (Arc::downgrade(self), Arc::clone(slot));
        let given_up = slot.given_up();
        let task = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let Some(engine) = Weak::upgrade(&engine) else {
                return;
            };
            waiting.pending_is_due();
            // In a task of its own: a stop that comes now aborts only the
            // waiting, never a start that is half done.
            tokio::spawn(async move { engine.start_again(&waiting, given_up).await });
        });
        slot.set_pending(task.abort_handle());
    }

    /// Starts a container by its policy, unless that was given up since
    /// `given_up` times were counted.
    async fn start_again(self: &Arc<Self>, slot: &Arc<Slot>, given_up: u64) {
        if slot.given_up() != given_up {
            return;
        }
        match self.start_slot(slot).await {
            Ok(()) => {
                // A stop may have found nothing running just before.
                if slot.given_up() != given_up && slot.record().stopped_by_hand {
                    let stopped = self.containers.stop(&slot.id, None, None).await;
                    tracing::debug!(container = %slot.id, ?stopped, "a restart was given up");
                }
            }
            Err(crate::Error::NotModified(_)) => {}
            Err(error) if self.containers.get(&slot.id).is_none() => {
                tracing::debug!(container = %slot.id, %error, "removed before its restart");
            }
            Err(error) => {
                tracing::warn!(container = %slot.id, %error, "restart a container");
                // A start that failed counts as a run that ended at once.
                self.restart_after(slot, 127, Duration::ZERO);
            }
        }
    }

    /// The record says where it was: one that goes away with its end is gone
    /// by now.
    fn network_event(&self, id: &ContainerId, record: &Record, action: &str) {
        if record.host_config.network_mode == BRIDGE {
            let attributes = [
                ("container", id.as_str()),
                ("name", BRIDGE),
                ("type", "bridge"),
            ];
            self.event(Subject::Network, action, &network_id(BRIDGE), &attributes);
        }
    }

    fn volume_events(&self, id: &ContainerId, record: &Record, action: &str) {
        for point in record
            .mounts
            .iter()
            .filter(|point| !point.volume.is_empty())
        {
            let writable = if point.read_only { "false" } else { "true" };
            let mut attributes = vec![("container", id.as_str()), ("driver", "local")];
            if action == "mount" {
                attributes.push(("destination", point.destination.as_str()));
                attributes.push(("propagation", point.propagation.as_str()));
                attributes.push(("read/write", writable));
            }
            self.event(Subject::Volume, action, &point.volume, &attributes);
        }
    }
}
