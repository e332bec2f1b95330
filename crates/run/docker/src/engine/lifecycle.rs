//! Start, stop and what lies between, rename and remove.

use std::sync::Arc;
use std::time::Duration;

use carrack_containers::{ContainerId, ExitStatus, Phase, Removal, WaitCondition};
use carrack_oci::ErrorKind;

use crate::config::HostConfig;
use crate::events::Subject;
use crate::mounts::{MountPoint, PointKind, propagation};
use crate::record::Record;
use crate::restart::Policy;
use crate::signals;
use crate::{Error, Result};

use super::Engine;
use super::create::checked_name;
use super::slots::Slot;
use super::volumes::VolumesInUse;

const SIGKILL: i32 = 9;
/// How long a removal waits until what came before it was told.
const FOLLOWER_BOUND: Duration = Duration::from_secs(1);

/// How a container is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Kill it when it runs.
    pub force: bool,
    /// Remove its anonymous volumes.
    pub volumes: bool,
    /// Remove a link instead; refused.
    pub link: bool,
}

/// What comes after a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Stay,
    /// Its next start.
    StartAgain,
}

impl Engine {
    /// Starts a container; returns when its program runs.
    pub async fn start(self: &Arc<Self>, reference: &str) -> Result<()> {
        let slot = self.slots.find(reference)?;
        slot.cancel_restart();
        slot.reset_backoff();
        self.forget_stopped_by_hand(&slot).await?;
        self.start_slot(&slot).await
    }

    /// Starts without forgetting about restarts.
    pub(super) async fn start_slot(self: &Arc<Self>, slot: &Arc<Slot>) -> Result<()> {
        let record = slot.record();
        let started = self.try_start(slot, &record).await;
        // One that was not even tried did not end.
        let untried = |error: &Error| {
            matches!(
                error,
                Error::NotModified(_)
                    | Error::Containers(
                        carrack_containers::Error::StartPaused
                            | carrack_containers::Error::Removing(_)
                    )
            )
        };
        if record.host_config.auto_remove && started.as_ref().is_err_and(|error| !untried(error)) {
            // A container that could not start ended.
            let options = RemoveOptions {
                force: true,
                volumes: true,
                link: false,
            };
            let _gone_already = self.remove_slot(slot, options).await;
        }
        started
    }

    async fn try_start(self: &Arc<Self>, slot: &Arc<Slot>, record: &Arc<Record>) -> Result<()> {
        if let Some(image) = self.image_to_unpack(record) {
            let images = self.images.clone();
            tokio::task::spawn_blocking(move || images.ensure_unpacked(&image)).await??;
        }
        let _in_use = if needs_preparation(record) {
            let engine = Arc::clone(self);
            let record = Arc::clone(record);
            tokio::task::spawn_blocking(move || engine.prepare_mounts(&record)).await??
        } else {
            VolumesInUse::default()
        };
        match self.containers.start(&slot.id).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotModified => {
                Err(Error::NotModified("started"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes missing sources of `-v` and mounts volumes with options.
    fn prepare_mounts(self: &Arc<Self>, record: &Record) -> Result<VolumesInUse> {
        let to_make = |point: &&MountPoint| point.kind == PointKind::Bind && point.create_source;
        for point in record.mounts.iter().filter(to_make) {
            let made = std::fs::create_dir_all(&point.source);
            let exists = std::path::Path::new(&point.source).exists();
            if let Err(error) = made
                && !exists
            {
                return Err(Error::MakeSource {
                    path: point.source.clone(),
                    source: error,
                });
            }
        }
        for point in &record.mounts {
            propagation::check(point)?;
        }
        self.enter_volumes(record)
    }

    /// Stops a container. [`Error::NotModified`] when it does not run.
    pub async fn stop(
        &self,
        reference: &str,
        signal: Option<&str>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let signal = signal.map(parse_signal).transpose()?;
        let slot = self.slots.find(reference)?;
        let stopped = self.stop_slot(&slot, signal, timeout_s, Then::Stay).await;
        stopped.map_err(|error| match error {
            Error::NotModified(_) => error,
            error => Error::Stop {
                name: reference.to_owned(),
                source: Box::new(error),
            },
        })
    }

    async fn stop_slot(
        &self,
        slot: &Arc<Slot>,
        signal: Option<i32>,
        timeout_s: Option<i64>,
        then: Then,
    ) -> Result<()> {
        self.note_stopped_by_hand(slot).await?;
        let was_waiting = slot.cancel_restart();
        if self.is_active(slot) {
            slot.tell_after_exit(Some("stop"));
        }
        let stopped = match then {
            Then::Stay => self.containers.stop(&slot.id, signal, timeout_s).await,
            Then::StartAgain => {
                let stopped = self
                    .containers
                    .stop_for_restart(&slot.id, signal, timeout_s);
                stopped.await
            }
        };
        if stopped.is_err() {
            slot.tell_after_exit(None);
        }
        match stopped {
            Ok(()) => Ok(()),
            Err(carrack_containers::Error::NotRunning(_)) if was_waiting => Ok(()),
            Err(carrack_containers::Error::NotRunning(_)) => Err(Error::NotModified("stopped")),
            Err(error) => Err(error.into()),
        }
    }

    /// `unless-stopped` must know after a restart of the daemon.
    async fn note_stopped_by_hand(&self, slot: &Arc<Slot>) -> Result<()> {
        let record = slot.record();
        if record.stopped_by_hand || policy(&record.host_config) == Policy::No {
            return Ok(());
        }
        let record = slot.change(|record| record.stopped_by_hand = true);
        self.store(&slot.id, &record).await
    }

    /// A stop was on disk when it was answered, so this must be before a start
    /// is: a daemon that dies later restarts the container by its policy.
    async fn forget_stopped_by_hand(&self, slot: &Arc<Slot>) -> Result<()> {
        if !slot.record().stopped_by_hand {
            return Ok(());
        }
        let record = slot.change(|record| record.stopped_by_hand = false);
        let stored = self.store(&slot.id, &record).await;
        if stored.is_err() {
            slot.change(|record| record.stopped_by_hand = true);
        }
        stored
    }

    /// Stops a container and starts it again.
    pub async fn restart(
        self: &Arc<Self>,
        reference: &str,
        signal: Option<&str>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let signal = signal.map(parse_signal).transpose()?;
        let slot = self.slots.find(reference)?;
        slot.cancel_restart();
        let restarted = self.restart_slot(&slot, signal, timeout_s).await;
        restarted.map_err(|error| Error::Restart {
            name: reference.to_owned(),
            source: Box::new(error),
        })
    }

    async fn restart_slot(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        signal: Option<i32>,
        timeout_s: Option<i64>,
    ) -> Result<()> {
        let stopped = self.stop_slot(slot, signal, timeout_s, Then::StartAgain);
        match stopped.await {
            Ok(()) | Err(Error::NotModified(_)) => {}
            Err(error) => return Err(error),
        }
        slot.tell_after_start(Some("restart"));
        match self.start(slot.id.as_str()).await {
            // Somebody else was faster.
            Ok(()) | Err(Error::NotModified(_)) => Ok(()),
            Err(error) => {
                slot.tell_after_start(None);
                Err(error)
            }
        }
    }

    /// Sends a signal; SIGKILL unless one is named.
    pub async fn kill(&self, reference: &str, signal: Option<&str>) -> Result<()> {
        let signal = signal.map_or(Ok(SIGKILL), parse_signal)?;
        let slot = self.slots.find(reference)?;
        let is_end = signal == SIGKILL || Some(signal) == self.stop_signal(&slot);
        if is_end {
            self.note_stopped_by_hand(&slot).await?;
            slot.cancel_restart();
        }
        Ok(self.containers.kill(&slot.id, signal).await?)
    }

    fn stop_signal(&self, slot: &Slot) -> Option<i32> {
        self.containers
            .get(&slot.id)
            .map(|view| view.new.stop_signal)
    }

    /// Freezes every process of a container.
    pub async fn pause(&self, reference: &str) -> Result<()> {
        let slot = self.slots.find(reference)?;
        if slot.restart_state().waiting {
            return Err(Error::Restarting(slot.id.clone()));
        }
        Ok(self.containers.pause(&slot.id).await?)
    }

    /// Thaws them.
    pub async fn unpause(&self, reference: &str) -> Result<()> {
        let slot = self.slots.find(reference)?;
        Ok(self.containers.unpause(&slot.id).await?)
    }

    /// Waits, inside this process.
    pub async fn wait(&self, reference: &str, condition: WaitCondition) -> Result<ExitStatus> {
        let slot = self.slots.find(reference)?;
        Ok(self.containers.wait(&slot.id, condition).await?)
    }

    /// Changes the size of a container's terminal.
    pub async fn resize(&self, reference: &str, rows: u16, columns: u16) -> Result<()> {
        let slot = self.slots.find(reference)?;
        if !self.is_active(&slot) {
            return Err(carrack_containers::Error::NotRunning(slot.id.clone()).into());
        }
        match self.containers.resize(&slot.id, rows, columns).await {
            // Docker does nothing then and says so to nobody.
            Err(carrack_containers::Error::NoTerminal(_)) => return Ok(()),
            outcome => outcome?,
        }
        let (height, width) = (rows.to_string(), columns.to_string());
        let size = [("height", height.as_str()), ("width", width.as_str())];
        self.container_event(&slot.id, &slot.record(), "resize", &size);
        Ok(())
    }

    /// Gives a container another name.
    pub async fn rename(&self, reference: &str, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::rule("Neither old nor new names may be empty"));
        }
        let slot = self.slots.find(reference)?;
        let old = slot.record().name.clone();
        if name.strip_prefix('/').unwrap_or(name) == old {
            return Err(Error::rule(
                "Renaming a container with the same name as its current name",
            ));
        }
        // Docker shows the name with its slash here.
        let slashed = format!("/{}", name.strip_prefix('/').unwrap_or(name));
        let refused = |error| Error::Rename(Box::new(error));
        let new = checked_name(&slashed).map_err(refused)?;
        self.slots.rename(&slot.id, &new).map_err(refused)?;
        let record = slot.change(|record| record.name.clone_from(&new));
        if let Err(error) = self.store(&slot.id, &record).await {
            slot.change(|record| record.name.clone_from(&old));
            // Somebody may have taken the old name meanwhile: then it keeps
            // the new one until the daemon starts again.
            let _best_effort = self.slots.rename(&slot.id, &old);
            return Err(error);
        }
        let old = format!("/{old}");
        self.container_event(&slot.id, &record, "rename", &[("oldName", &old)]);
        Ok(())
    }

    /// Removes a container.
    pub async fn remove(self: &Arc<Self>, reference: &str, options: RemoveOptions) -> Result<()> {
        let slot = self.slots.find(reference)?;
        if options.link {
            return Err(Error::rule(
                "Conflict, cannot remove the default link name of the container",
            ));
        }
        let removed = self.remove_slot(&slot, options).await;
        removed.map_err(|error| Error::Remove {
            name: reference.to_owned(),
            source: Box::new(error),
        })
    }

    pub(super) async fn remove_slot(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        options: RemoveOptions,
    ) -> Result<()> {
        if !options.force {
            self.refuse_active(slot)?;
        }
        slot.cancel_restart();
        let removal = if options.force {
            Removal::Force
        } else {
            Removal::OnlyStopped
        };
        match self.containers.remove(&slot.id, removal).await {
            Ok(()) => {}
            // Started meanwhile.
            Err(carrack_containers::Error::RemoveRunning { .. }) => {
                return Err(Error::StillActive("running"));
            }
            Err(error) => return Err(error.into()),
        }
        self.forget_in_turn(slot).await;
        if options.volumes {
            let engine = Arc::clone(self);
            let record = slot.record();
            tokio::task::spawn_blocking(move || engine.remove_anonymous_volumes(&record)).await?;
        }
        Ok(())
    }

    /// What runs is removed by force alone.
    fn refuse_active(&self, slot: &Slot) -> Result<()> {
        if slot.restart_state().waiting {
            return Err(Error::StillActive("restarting"));
        }
        match self.containers.get(&slot.id).map(|view| view.state.phase) {
            Some(Phase::Running) => Err(Error::StillActive("running")),
            Some(Phase::Paused) => Err(Error::StillPaused),
            _ => Ok(()),
        }
    }

    /// Lets the task that follows containers tell the end before the removal;
    /// forgets the container itself where that task is slow.
    async fn forget_in_turn(self: &Arc<Self>, slot: &Arc<Slot>) {
        let forgotten = slot.forgotten();
        let _slow = tokio::time::timeout(FOLLOWER_BOUND, forgotten).await;
        self.forget(&slot.id);
    }

    /// Takes a removed container out of memory; whoever does it first tells.
    pub(super) fn forget(self: &Arc<Self>, id: &ContainerId) -> Option<Arc<Slot>> {
        let slot = self.slots.remove(id)?;
        slot.cancel_restart();
        let record = slot.record();
        self.container_event(id, &record, "destroy", &[]);
        self.collect_image_of(&record);
        slot.note_forgotten();
        Some(slot)
    }

    /// Removes the volumes that were made for a container alone.
    pub(super) fn remove_anonymous_volumes(&self, record: &Record) {
        for point in record.mounts.iter().filter(|point| point.anonymous) {
            let removed =
                self.volumes
                    .remove(&point.volume, carrack_volumes::Force::Yes, |volume| {
                        self.volume_users(volume.as_str())
                    });
            match removed {
                Ok(()) => {
                    self.event(
                        Subject::Volume,
                        "destroy",
                        &point.volume,
                        &[("driver", "local")],
                    );
                }
                // Somebody else mounts it by its name.
                Err(carrack_volumes::Error::InUse { .. }) => {}
                Err(error) => tracing::warn!(volume = point.volume, %error, "remove a volume"),
            }
        }
    }

    pub(super) fn is_active(&self, slot: &Slot) -> bool {
        let view = self.containers.get(&slot.id);
        view.is_some_and(|view| matches!(view.state.phase, Phase::Running | Phase::Paused))
    }

    /// Writes a record to disk.
    pub(super) async fn store(&self, id: &ContainerId, record: &Record) -> Result<()> {
        let value = serde_json::to_value(record).map_err(Error::Record)?;
        Ok(self.containers.set_owner_data(id, value).await?)
    }

    /// Lets a record reach the disk with the next durable change.
    pub(super) fn store_lazily(&self, id: &ContainerId, record: &Record) {
        match serde_json::to_value(record) {
            Ok(value) => self.containers.set_owner_data_lazily(id, value),
            Err(error) => tracing::error!(container = %id, %error, "encode a record"),
        }
    }
}

/// Whether a start has to look at mounts first: not for most containers.
fn needs_preparation(record: &Record) -> bool {
    record.mounts.iter().any(|point| match point.kind {
        PointKind::Bind => point.create_source || propagation::needs_source(point),
        PointKind::Volume => true,
        PointKind::Tmpfs => false,
    })
}

/// The policy of a host config that was checked when it was taken.
pub(super) fn policy(host: &HostConfig) -> Policy {
    Policy::parse(&host.restart_policy).unwrap_or_default()
}

fn parse_signal(text: &str) -> Result<i32> {
    signals::parse(text).ok_or_else(|| Error::rule(format!("Invalid signal: {text}")))
}
