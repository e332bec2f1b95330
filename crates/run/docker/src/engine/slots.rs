//! Docker's side of each container, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use carrack_containers::ContainerId;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::naming::{FindError, Index};
use crate::record::Record;
use crate::restart::Backoff;
use crate::{Error, Result};

use super::exec::ExecOptions;

/// Execs of a container before those are looked for that are known no more.
const EXECS_MAX: usize = 1000;

/// All slots by id and name.
#[derive(Debug, Default)]
pub(super) struct Slots(RwLock<Index<Arc<Slot>>>);

/// One container.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: ContainerId,
    inner: Mutex<Inner>,
    /// Whether it was removed and that was told.
    forgotten: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    record: Arc<Record>,
    backoff: Backoff,
    pending: Option<AbortHandle>,
    /// Counts restarts that were given up, so that one which was due already
    /// knows.
    given_up: u64,
    /// What is told once the next end was: a stop's event follows its die.
    after_exit: Option<&'static str>,
    /// Likewise after the next start.
    after_start: Option<&'static str>,
    execs: HashMap<String, ExecOptions>,
}

/// What restarts are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestartState {
    /// It waits for its next start.
    pub waiting: bool,
    /// Restarts so far.
    pub count: u64,
}

impl Slot {
    pub(super) fn new(id: ContainerId, record: Record) -> Arc<Self> {
        let backoff = Backoff::after(record.restart_count);
        Arc::new(Self {
            id,
            inner: Mutex::new(Inner {
                record: Arc::new(record),
                backoff,
                pending: None,
                given_up: 0,
                after_exit: None,
                after_start: None,
                execs: HashMap::new(),
            }),
            forgotten: watch::Sender::new(false),
        })
    }

    pub(super) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.lock().record)
    }

    pub(super) fn restart_state(&self) -> RestartState {
        let inner = self.lock();
        RestartState {
            waiting: inner.pending.is_some(),
            count: inner.backoff.restarts,
        }
    }

    /// Changes the record in memory; what it is now.
    pub(super) fn change(&self, change: impl FnOnce(&mut Record)) -> Arc<Record> {
        let mut inner = self.lock();
        change(Arc::make_mut(&mut inner.record));
        Arc::clone(&inner.record)
    }

    /// Decides about a restart under the lock.
    pub(super) fn with_backoff<T>(&self, decide: impl FnOnce(&mut Backoff, &Record) -> T) -> T {
        let mut inner = self.lock();
        let Inner {
            backoff, record, ..
        } = &mut *inner;
        decide(backoff, record)
    }

    /// Notes the task that waits to start it.
    pub(super) fn set_pending(&self, task: AbortHandle) {
        if let Some(before) = self.lock().pending.replace(task) {
            before.abort();
        }
    }

    /// The waiting task begins to start it.
    pub(super) fn pending_is_due(&self) {
        self.lock().pending = None;
    }

    /// How often a restart was given up.
    pub(super) fn given_up(&self) -> u64 {
        self.lock().given_up
    }

    /// Gives up a restart; whether one was waiting.
    pub(super) fn cancel_restart(&self) -> bool {
        let mut inner = self.lock();
        inner.given_up += 1;
        match inner.pending.take() {
            Some(task) => {
                task.abort();
                true
            }
            None => false,
        }
    }

    /// Somebody started it: restarts are counted anew.
    pub(super) fn reset_backoff(&self) {
        self.lock().backoff = Backoff::default();
    }

    /// Has `action` told after the next end, or nothing.
    pub(super) fn tell_after_exit(&self, action: Option<&'static str>) {
        self.lock().after_exit = action;
    }

    /// Likewise after the next start.
    pub(super) fn tell_after_start(&self, action: Option<&'static str>) {
        self.lock().after_start = action;
    }

    /// Its removal was told.
    pub(super) fn note_forgotten(&self) {
        self.forgotten.send_replace(true);
    }

    /// Waits until its removal was told.
    pub(super) async fn forgotten(&self) {
        // The sender is ours, so that it does not end before.
        let mut forgotten = self.forgotten.subscribe();
        let _told = forgotten.wait_for(|told| *told).await;
    }

    pub(super) fn take_after_exit(&self) -> Option<&'static str> {
        self.lock().after_exit.take()
    }

    pub(super) fn take_after_start(&self) -> Option<&'static str> {
        self.lock().after_start.take()
    }

    /// Notes what an exec was asked to be. Beyond a bound those go that
    /// `run/containers`, which keeps as many, does not know any more.
    pub(super) fn add_exec(
        &self,
        exec: String,
        options: ExecOptions,
        is_known: impl Fn(&str) -> bool,
    ) {
        let mut inner = self.lock();
        if inner.execs.len() >= EXECS_MAX {
            inner.execs.retain(|other, _| is_known(other));
        }
        inner.execs.insert(exec, options);
    }

    /// What an exec was asked to be; nothing for one that was started through
    /// an earlier daemon.
    pub(super) fn exec(&self, exec: &str) -> ExecOptions {
        self.lock().execs.get(exec).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    pub(super) fn insert(&self, slot: Arc<Slot>) -> Result<()> {
        let name = slot.record().name.clone();
        let id = slot.id.to_string();
        let inserted = self.write().insert(&id, &name, slot);
        inserted.map_err(|holder| Error::NameTaken { name, holder })
    }

    pub(super) fn remove(&self, id: &ContainerId) -> Option<Arc<Slot>> {
        self.write().remove(id.as_str())
    }

    pub(super) fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        let renamed = self.write().rename(id.as_str(), name);
        renamed.map_err(|holder| Error::NameTaken {
            name: name.to_owned(),
            holder,
        })
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.read().has_name(name)
    }

    pub(super) fn find(&self, reference: &str) -> Result<Arc<Slot>> {
        let index = self.read();
        match index.find(reference) {
            Ok(id) => index
                .get(id)
                .cloned()
                .ok_or_else(|| Error::NoSuchContainer(reference.to_owned())),
            Err(FindError::NotFound) => Err(Error::NoSuchContainer(reference.to_owned())),
            Err(FindError::Ambiguous) => Err(Error::AmbiguousContainer(reference.to_owned())),
        }
    }

    pub(super) fn get(&self, id: &ContainerId) -> Option<Arc<Slot>> {
        self.read().get(id.as_str()).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Slot>> {
        self.read().values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Index<Arc<Slot>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index<Arc<Slot>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_execs_that_are_known_no_more_make_room() {
        let slot = Slot::new(ContainerId::random(), Record::default());
        let options = |name: &str| ExecOptions {
            cmd: vec![name.to_owned()],
            ..ExecOptions::default()
        };
        for at in 0..EXECS_MAX {
            let name = at.to_string();
            slot.add_exec(name.clone(), options(&name), |_| true);
        }
        slot.add_exec("last".to_owned(), options("last"), |other| other != "7");
        assert_eq!(slot.exec("7"), ExecOptions::default());
        for name in ["0", "8", "999", "last"] {
            assert_eq!(slot.exec(name).cmd, [name]);
        }
        assert_eq!(slot.lock().execs.len(), EXECS_MAX);
    }
}
