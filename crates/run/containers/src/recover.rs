//! What a restarted daemon does: records, supervisors, cgroups, addresses and
//! ports are brought together, and what nobody owns is dropped.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::SystemTime;

use carrack_sandbox::{Adopted, Link, SandboxId};
use carrack_supervision::RunState;
use rustix::fs::OFlags;

use crate::containers::ContainersConfig;
use crate::entry::{Entry, Run};
use crate::record::{Record, RunRecord};
use crate::remove::{TRASH, delete_in_background};
use crate::{ContainerId, Containers, Error, Phase, Result, State, first_process, run};

/// Exit code of a container that was running when the machine died.
const MACHINE_DIED_CODE: i32 = 255;

impl Containers {
    /// Opens the containers of a data root and finds those that run.
    ///
    /// Nothing is told of them before [`Containers::resume`], so that owners
    /// can read what is there and listen first.
    pub async fn open(config: ContainersConfig) -> Result<Self> {
        std::fs::create_dir_all(&config.directory)
            .map_err(|source| Error::file("make", &config.directory, source))?;
        let containers = Self::assemble(config)?;
        let records = containers.records()?;
        let mut supervisors: HashMap<String, Adopted> = HashMap::new();
        let mut parked = Vec::new();
        for adopted in containers.0.config.sandboxes.adopt().await {
            if adopted.hello.container.is_empty() {
                parked.push(adopted);
            } else {
                supervisors.insert(adopted.hello.container.clone(), adopted);
            }
        }
        let mut followed = Vec::new();
        let mut silent = Vec::new();
        let mut ended = Vec::new();
        for record in records {
            let id = record.new.id.clone();
            let entry = containers.insert(record);
            match supervisors.remove(id.as_str()) {
                Some(adopted) => followed.push(containers.take_over(&entry, adopted)),
                None => match containers.silent_run(&entry) {
                    Some(run) => silent.push((entry, run)),
                    None => ended.push(entry),
                },
            }
        }
        containers.restore_network(&silent)?;
        containers.clean(supervisors.into_values().chain(parked));
        let mut gone = Vec::new();
        for entry in ended {
            if containers.settle_ended(&entry).await {
                gone.push(entry);
            }
        }
        *containers.lock_found() = Found {
            running: followed,
            silent,
            gone,
        };
        Ok(containers)
    }

    /// Follows the containers that [`Containers::open`] found, and removes
    /// those that went away with their end. To be called once, inside the
    /// runtime, when owners listen to [`Containers::subscribe`]: what happened
    /// while no daemon looked is told from here on.
    pub fn resume(&self) {
        let Found {
            running,
            silent,
            gone,
        } = std::mem::take(&mut *self.lock_found());
        for entry in gone {
            self.remove_ended(&entry);
            let containers = self.clone();
            tokio::spawn(async move { containers.delete_files(&entry).await });
        }
        for (entry, link) in running {
            run::follow(self.clone(), entry, link);
        }
        for (entry, run) in silent {
            let containers = self.clone();
            tokio::spawn(async move { containers.await_word(entry, run).await });
        }
    }

    /// The run of a container whose supervisor lives and says nothing, as on a
    /// machine in deep trouble: it counts as running until it is known to have
    /// ended, so that nobody starts it a second time.
    fn silent_run(&self, entry: &Entry) -> Option<RunRecord> {
        let record = RunRecord::read(&entry.directory)?;
        let id = SandboxId::parse(&record.sandbox)?;
        if !self.0.config.sandboxes.is_silent(&id) {
            return None;
        }
        entry.lock().state.phase = Phase::Running;
        entry.progress.send_modify(|p| {
            p.active = true;
            p.mounted = true;
        });
        Some(record)
    }

    /// Takes over a supervisor once it speaks; settles its container once it
    /// is gone.
    async fn await_word(self, entry: Arc<Entry>, run: RunRecord) {
        let sandboxes = &self.0.config.sandboxes;
        let heard = match SandboxId::parse(&run.sandbox) {
            Some(id) => sandboxes.reconnect(&id).await,
            None => None,
        };
        match heard {
            Some(adopted) => {
                let (entry, link) = self.take_over(&entry, adopted);
                run::follow(self, entry, link);
            }
            None => {
                entry.progress.send_modify(|p| p.mounted = false);
                if self.settle_ended(&entry).await {
                    self.remove_ended(&entry);
                    self.delete_files(&entry).await;
                }
            }
        }
    }

    fn lock_found(&self) -> MutexGuard<'_, Found> {
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, record: Record) -> Arc<Entry> {
        let Record {
            new,
            state,
            created_at,
            ..
        } = record;
        let id = new.id.clone();
        let directory = self.0.config.directory.join(id.as_str());
        let entry = Entry::new(new, state, created_at, directory);
        self.0
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::clone(&entry));
        entry
    }

    /// A container whose supervisor lives.
    fn take_over(&self, entry: &Arc<Entry>, adopted: Adopted) -> (Arc<Entry>, Link) {
        let record = RunRecord::read(&entry.directory);
        let Adopted {
            id,
            supervisor_pid,
            link,
            hello,
        } = adopted;
        if link.version() != carrack_supervision::PROTOCOL {
            tracing::warn!(
                container = %entry.id,
                supervisor = link.version().0,
                daemon = carrack_supervision::PROTOCOL.0,
                "the container was started by another version of Carrack; restart it to have what is new"
            );
        }
        let (pid, started_ns) = match hello.state {
            RunState::Running { pid, started_ns }
            | RunState::Exited {
                pid, started_ns, ..
            } => (pid, started_ns),
            RunState::Parked { pid } => (pid, 0),
            RunState::Fresh => (0, 0),
        };
        let leaf = self.0.config.sandboxes.leaf(&id).ok();
        let netns = first_process::open(pid, supervisor_pid, "ns/net", OFlags::RDONLY).ok();
        let has_own_network = record.as_ref().is_some_and(|r| r.endpoint.is_some());
        if let Ok(sender) = link.sender() {
            let mut inner = entry.lock();
            let frozen = leaf
                .as_ref()
                .is_some_and(|leaf| leaf.is_frozen().unwrap_or(false));
            inner.state.phase = if frozen {
                Phase::Paused
            } else {
                Phase::Running
            };
            inner.state.pid = pid;
            inner.state.started_at = Some(run::time(started_ns));
            inner.state.ports = record.as_ref().map_or_else(Vec::new, |r| r.ports.clone());
            inner.run = Some(Run {
                sandbox: id,
                supervisor_pid,
                sender: Arc::new(sender),
                endpoint: record.as_ref().and_then(|r| r.endpoint.clone()),
                ports: record.map_or_else(Vec::new, |r| r.ports),
                netns: if has_own_network { netns } else { None },
                oom_file: leaf.as_ref().and_then(|leaf| leaf.oom_file().ok()),
                oom_before: 0,
            });
        }
        self.settle_execs(entry, &hello.execs);
        entry.progress.send_modify(|p| {
            p.active = true;
            p.mounted = true;
        });
        // An end that happened meanwhile is told again.
        let ended = matches!(hello.state, RunState::Exited { .. });
        tracing::info!(container = %entry.id, ended, "took over a container");
        (Arc::clone(entry), link)
    }

    /// Gives the bridge back its addresses and ports.
    fn restore_network(&self, silent: &[(Arc<Entry>, RunRecord)]) -> Result<()> {
        let Some(networks) = &self.0.config.networks else {
            return Ok(());
        };
        let live: Vec<_> = self
            .read_entries()
            .values()
            .filter_map(|entry| {
                let inner = entry.lock();
                let run = inner.run.as_ref()?;
                Some((run.endpoint.clone()?, run.ports.clone()))
            })
            .chain(
                silent
                    .iter()
                    .filter_map(|(_, run)| Some((run.endpoint.clone()?, run.ports.clone()))),
            )
            .collect();
        let report = networks.recover(&live)?;
        tracing::info!(?report, "network recovered");
        Ok(())
    }

    /// Ends supervisors without a container and removes what they left.
    fn clean(&self, orphans: impl Iterator<Item = Adopted>) {
        for orphan in orphans {
            tracing::info!(sandbox = %orphan.id, "ending an orphaned supervisor");
            let _gone = orphan
                .link
                .send(&carrack_supervision::Request::Release, &[]);
        }
        let owned = |id: &SandboxId| self.owns_sandbox(id);
        self.0.config.sandboxes.sweep_orphans(&owned);
        let Ok(files) = std::fs::read_dir(&self.0.config.directory) else {
            return;
        };
        for file in files.flatten() {
            let name = file.file_name();
            let known = name
                .to_str()
                .and_then(ContainerId::parse)
                .is_some_and(|id| self.read_entries().contains_key(&id));
            if known {
                continue;
            }
            let path = file.path();
            crate::start::unmount_shared_memory(&path);
            let trash = if name.as_encoded_bytes().starts_with(TRASH.as_bytes()) {
                path
            } else {
                let trash = path.with_file_name(format!("{TRASH}{}", name.to_string_lossy()));
                match std::fs::rename(&path, &trash) {
                    Ok(()) => trash,
                    Err(_) => path,
                }
            };
            delete_in_background(trash);
        }
    }

    /// A container without a supervisor: it ended, or ended with the machine.
    /// Whether it goes away with that.
    async fn settle_ended(&self, entry: &Arc<Entry>) -> bool {
        let begun_at = RunRecord::written_at(&entry.directory);
        let was_running = was_running(&entry.lock().state, begun_at);
        crate::start::unmount_shared_memory(&entry.directory);
        let mut recorded = true;
        if was_running {
            {
                let mut inner = entry.lock();
                inner.state.phase = Phase::Exited;
                inner.state.pid = 0;
                inner.state.exit_code = MACHINE_DIED_CODE;
                inner.state.error =
                    "the container's supervisor was gone when the daemon came back".to_owned();
                inner.state.finished_at = Some(SystemTime::now());
                inner.state.ports.clear();
            }
            if let Err(error) = self.record_now(entry).await {
                tracing::error!(container = %entry.id, %error, "record the end");
                recorded = false;
            }
            entry.progress.send_modify(|p| {
                p.active = false;
                p.ended += 1;
                p.code = MACHINE_DIED_CODE;
            });
        }
        if recorded {
            RunRecord::remove(&entry.directory);
        }
        let inner = entry.lock();
        inner.new.auto_remove && (was_running || inner.state.started_at.is_some())
    }
}

/// What [`Containers::open`] found and nobody was told of yet.
#[derive(Default)]
pub(crate) struct Found {
    running: Vec<(Arc<Entry>, Link)>,
    /// Those whose supervisors live and say nothing.
    silent: Vec<(Arc<Entry>, RunRecord)>,
    /// Throw-away ones that ended.
    gone: Vec<Arc<Entry>>,
}

/// Whether a run was under way whose supervisor is gone: its end is not on
/// record. `begun_at` is when the file that speaks of it was written, which
/// may be missing or come back after a power cut.
fn was_running(state: &State, begun_at: Option<SystemTime>) -> bool {
    match state.phase {
        Phase::Running | Phase::Paused => true,
        Phase::Exited => {
            begun_at.is_some_and(|begun| state.finished_at.is_none_or(|ended| ended < begun))
        }
        Phase::Created | Phase::Removing | Phase::Dead => begun_at.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_run_without_a_supervisor_counts_unless_its_end_is_on_record() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let check = |phase, finished: Option<u64>, begun: Option<u64>, expected| {
            let state = State {
                phase,
                finished_at: finished.map(at),
                ..State::default()
            };
            let found = was_running(&state, begun.map(at));
            assert_eq!(found, expected, "{phase:?} {finished:?} {begun:?}");
        };
        check(Phase::Created, None, None, false);
        check(Phase::Created, None, Some(5), true);
        // The file was lost with the power.
        check(Phase::Running, None, None, true);
        check(Phase::Paused, Some(3), None, true);
        check(Phase::Exited, Some(7), None, false);
        // The file came back with it.
        check(Phase::Exited, Some(7), Some(5), false);
        // A second run, whose end could not be recorded.
        check(Phase::Exited, Some(7), Some(9), true);
    }
}
