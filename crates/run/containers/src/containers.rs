//! The registry of containers, and what needs no more than it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use carrack_network::{Endpoint, Networks};
use carrack_runtime::capability;
use carrack_sandbox::Sandboxes;
use carrack_seccomp::Cache;
use carrack_snapshots::Snapshots;
use tokio::sync::broadcast;

use crate::entry::{Entry, Progress};
use crate::mount_points::MountPoints;
use crate::record::{RECORD_VERSION, Record};
use crate::recover::Found;
use crate::{
    ContainerEvent, ContainerEventKind, ContainerId, Error, ExitStatus, NewContainer, Result,
    State, WaitCondition,
};

/// Events that a slow subscriber may be behind.
const EVENT_BACKLOG: usize = 4096;

/// What containers are made with.
pub struct ContainersConfig {
    /// `containers/` of the data root.
    pub directory: PathBuf,
    /// Records.
    pub state: carrack_state::State,
    /// Layers.
    pub snapshots: Arc<Snapshots>,
    /// Sandboxes.
    pub sandboxes: Sandboxes,
    /// The bridge, if there is one.
    pub networks: Option<Arc<Networks>>,
    /// Compiled filters.
    pub seccomp: Cache,
    /// How control groups look on this host.
    pub cgroups: carrack_cgroup::Hierarchies,
    /// `RLIMIT_NOFILE` of containers that ask for none, soft and hard; without
    /// it they inherit the daemon's.
    pub open_files: Option<(u64, u64)>,
}

/// All containers of one daemon; cheap to clone.
#[derive(Clone)]
pub struct Containers(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: ContainersConfig,
    pub(crate) mount_points: MountPoints,
    pub(crate) entries: RwLock<HashMap<ContainerId, Arc<Entry>>>,
    pub(crate) execs: RwLock<HashMap<String, ContainerId>>,
    pub(crate) events: broadcast::Sender<ContainerEvent>,
    pub(crate) available_capabilities: u64,
    /// See [`Containers::resume`].
    pub(crate) found: Mutex<Found>,
}

/// A container as it is at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// How it was made; updates and renames included.
    pub new: Arc<NewContainer>,
    /// What it is doing.
    pub state: State,
    /// When it was made.
    pub created_at: SystemTime,
    /// Its directory on the host.
    pub directory: PathBuf,
    /// Its log, if it has one.
    pub log_path: PathBuf,
    /// Its place on the bridge while it runs.
    pub endpoint: Option<Endpoint>,
    /// Execs that run.
    pub execs: Vec<String>,
}

impl Containers {
    pub(crate) fn assemble(config: ContainersConfig) -> Result<Self> {
        let mount_points = MountPoints::open()?;
        Ok(Self(Arc::new(Shared {
            config,
            mount_points,
            entries: RwLock::default(),
            execs: RwLock::default(),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            available_capabilities: capability::available(),
            found: Mutex::default(),
        })))
    }

    /// A container.
    pub fn get(&self, id: &ContainerId) -> Option<View> {
        self.entry(id).ok().map(|entry| view(&entry))
    }

    /// All containers, in no order.
    pub fn list(&self) -> Vec<View> {
        let entries: Vec<Arc<Entry>> = self.read_entries().values().map(Arc::clone).collect();
        entries.iter().map(|entry| view(entry)).collect()
    }

    /// Every event from now on. A subscriber that falls behind by some
    /// thousands is told so and goes on from there.
    pub fn subscribe(&self) -> broadcast::Receiver<ContainerEvent> {
        self.0.events.subscribe()
    }

    /// Puts a container on record; it is on disk when this returns.
    pub async fn create(&self, new: NewContainer) -> Result<()> {
        let id = new.id.clone();
        let directory = self.0.config.directory.join(id.as_str());
        let created_at = SystemTime::now();
        let state = State::default();
        let entry = Entry::new(new.clone(), state.clone(), created_at, directory.clone());
        {
            let mut entries = self
                .0
                .entries
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if entries.contains_key(&id) {
                return Err(Error::Exists(id));
            }
            entries.insert(id.clone(), Arc::clone(&entry));
        }
        // Taken until the record is on disk, so that nobody starts or removes
        // what may still fail.
        let guard = entry.operation.lock().await;
        let made = std::fs::create_dir(&directory)
            .map_err(|source| Error::file("make", &directory, source));
        let recorded = match made {
            Ok(()) => {
                self.put_record(Record {
                    version: RECORD_VERSION,
                    new,
                    state,
                    created_at,
                })
                .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = recorded {
            self.0
                .entries
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&id);
            // The directory is empty; a later start removes what nobody owns.
            let _best_effort = std::fs::remove_dir(&directory);
            drop(guard);
            return Err(error);
        }
        Ok(())
    }

    /// Replaces the owner's data; on disk when this returns.
    pub async fn set_owner_data(&self, id: &ContainerId, data: serde_json::Value) -> Result<()> {
        let entry = self.entry(id)?;
        self.change(&entry, move |new| new.owner_data = data).await
    }

    /// Replaces the owner's data in memory; it reaches the disk with the next
    /// durable change. For counters that a crash may lose.
    pub fn set_owner_data_lazily(&self, id: &ContainerId, data: serde_json::Value) {
        if let Ok(entry) = self.entry(id) {
            let mut inner = entry.lock();
            Arc::make_mut(&mut inner.new).owner_data = data;
        }
    }

    /// Waits, inside the daemon.
    pub async fn wait(&self, id: &ContainerId, condition: WaitCondition) -> Result<ExitStatus> {
        let entry = self.entry(id)?;
        let mut progress = entry.progress.subscribe();
        let before = *progress.borrow();
        let reached = progress
            .wait_for(|now| is_reached(condition, before, *now))
            .await
            .map_err(|_| Error::NotFound(id.to_string()))?;
        Ok(ExitStatus {
            code: reached.code,
            error: None,
        })
    }

    pub(crate) fn read_entries(
        &self,
    ) -> std::sync::RwLockReadGuard<'_, HashMap<ContainerId, Arc<Entry>>> {
        self.0
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn entry(&self, id: &ContainerId) -> Result<Arc<Entry>> {
        self.read_entries()
            .get(id)
            .cloned()
            .ok_or_else(|| Error::NotFound(id.to_string()))
    }

    pub(crate) fn announce(&self, id: &ContainerId, kind: ContainerEventKind) {
        // Nobody listening is fine.
        let _listeners = self.0.events.send(ContainerEvent {
            id: id.clone(),
            at: SystemTime::now(),
            kind,
        });
    }

    /// Changes how a container was made, durably, then in memory.
    pub(crate) async fn change(
        &self,
        entry: &Arc<Entry>,
        change: impl FnOnce(&mut NewContainer),
    ) -> Result<()> {
        let (mut new, state) = {
            let inner = entry.lock();
            (NewContainer::clone(&inner.new), inner.state.clone())
        };
        change(&mut new);
        let created_at = entry.created_at;
        let record = Record {
            version: RECORD_VERSION,
            new: new.clone(),
            state,
            created_at,
        };
        self.put_record(record).await?;
        entry.lock().new = Arc::new(new);
        Ok(())
    }

    /// Writes what is in memory of a container to disk.
    pub(crate) async fn record_now(&self, entry: &Arc<Entry>) -> Result<()> {
        let record = {
            let inner = entry.lock();
            Record {
                version: RECORD_VERSION,
                new: NewContainer::clone(&inner.new),
                state: inner.state.clone(),
                created_at: entry.created_at,
            }
        };
        self.put_record(record).await
    }
}

/// Whether a wait that began at `before` is over.
pub(crate) fn is_reached(condition: WaitCondition, before: Progress, now: Progress) -> bool {
    match condition {
        WaitCondition::NotRunning => !now.active,
        WaitCondition::NextExit => now.ended > before.ended || now.removed,
        WaitCondition::Removed => now.removed,
    }
}

pub(crate) fn view(entry: &Entry) -> View {
    let inner = entry.lock();
    View {
        new: Arc::clone(&inner.new),
        state: inner.state.clone(),
        created_at: entry.created_at,
        directory: entry.directory.clone(),
        log_path: entry.directory.join(log_name(&entry.id)),
        endpoint: inner.run.as_ref().and_then(|run| run.endpoint.clone()),
        execs: inner
            .execs
            .iter()
            .filter(|(_, exec)| exec.state.running)
            .map(|(id, _)| id.clone())
            .collect(),
    }
}

/// Name of a container's log in its directory, Docker's.
pub(crate) fn log_name(id: &ContainerId) -> String {
    format!("{id}-json.log")
}
