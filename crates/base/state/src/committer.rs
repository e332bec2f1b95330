//! The committing thread: takes what has queued, runs it in one transaction,
//! commits once, answers everybody.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::store::Store;
use crate::table::{Changes, Writer, apply};
use crate::{LAZY_FLUSH_MS, MAX_WRITES_PER_COMMIT};

/// When a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    OnDisk,
    InMemory,
}

/// A queued write whose types are known to itself alone.
pub(crate) trait Job: Send {
    fn durability(&self) -> Durability;
    /// Runs the body; `None` if it changed nothing or failed, which it keeps.
    fn run(&mut self, txn: &redb::WriteTransaction) -> Option<Changes>;
    /// Tells the caller how the commit went.
    fn answer(self: Box<Self>, commit: Result<(), Error>);
}

pub(crate) struct TypedJob<F, D, T, E> {
    durability: Durability,
    body: Option<F>,
    done: D,
    outcome: Option<std::thread::Result<Result<T, E>>>,
}

impl<F, D, T, E> TypedJob<F, D, T, E>
where
    F: FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static,
    D: FnOnce(std::thread::Result<Result<T, E>>) + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    pub(crate) fn boxed(durability: Durability, body: F, done: D) -> Box<dyn Job> {
        Box::new(TypedJob {
            durability,
            body: Some(body),
            done,
            outcome: None,
        })
    }
}

impl<F, D, T, E> Job for TypedJob<F, D, T, E>
where
    F: FnOnce(&mut Writer<'_>) -> Result<T, E> + Send,
    D: FnOnce(std::thread::Result<Result<T, E>>) + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, txn: &redb::WriteTransaction) -> Option<Changes> {
        let body = self.body.take()?;
        let mut writer = Writer::new(txn);
        // A caller's panic is the caller's: it must not end this thread, and
        // the writer's changes are dropped with it.
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut writer)));
        let succeeded = matches!(outcome, Ok(Ok(_)));
        self.outcome = Some(outcome);
        let changes = writer.into_changes();
        (succeeded && !changes.is_empty()).then_some(changes)
    }

    fn answer(self: Box<Self>, commit: Result<(), Error>) {
        let TypedJob { outcome, done, .. } = *self;
        let answer = match (outcome, commit) {
            (Some(Ok(Ok(_))) | None, Err(error)) => Ok(Err(error.into())),
            (Some(outcome), _) => outcome,
            (None, Ok(())) => Ok(Err(Error::Stopped.into())),
        };
        let _: Result<(), Box<dyn Any + Send>> = catch_unwind(AssertUnwindSafe(|| done(answer)));
    }
}

/// Serves the queue until all senders are gone.
pub(crate) fn run(store: &Store, queue: &Receiver<Box<dyn Job>>) {
    // When the first change that is in memory alone was made.
    let mut lazy_since: Option<Instant> = None;
    let mut batch: Vec<Box<dyn Job>> = Vec::new();
    loop {
        match next(queue, lazy_since) {
            Next::Job(job) => batch.push(job),
            Next::Flush => {
                flush(store);
                lazy_since = None;
                continue;
            }
            Next::End => {
                if lazy_since.is_some() {
                    flush(store);
                }
                return;
            }
        }
        batch.extend(queue.try_iter().take(MAX_WRITES_PER_COMMIT - 1));
        let due =
            lazy_since.is_some_and(|since| since.elapsed() >= Duration::from_millis(LAZY_FLUSH_MS));
        let durability = if due
            || batch
                .iter()
                .any(|job| job.durability() == Durability::OnDisk)
        {
            Durability::OnDisk
        } else {
            Durability::InMemory
        };
        let outcome = commit(store, &mut batch, durability);
        if outcome.is_err() {
            store.reopen();
        }
        lazy_since = match (durability, &outcome) {
            (Durability::InMemory, Ok(Committed::Changes)) => {
                lazy_since.or_else(|| Some(Instant::now()))
            }
            // Nothing went to the disk, so what was lazy before still is.
            (_, Ok(Committed::Nothing)) => lazy_since,
            (Durability::OnDisk, Ok(Committed::Changes)) | (_, Err(_)) => None,
        };
        let outcome = outcome.map(|_| ()).map_err(|source| Error::Commit {
            source: Arc::new(source),
        });
        for job in batch.drain(..) {
            job.answer(outcome.clone());
        }
    }
}

enum Next {
    Job(Box<dyn Job>),
    Flush,
    End,
}

fn next(queue: &Receiver<Box<dyn Job>>, lazy_since: Option<Instant>) -> Next {
    let Some(since) = lazy_since else {
        return queue.recv().map_or(Next::End, Next::Job);
    };
    let left = Duration::from_millis(LAZY_FLUSH_MS).saturating_sub(since.elapsed());
    match queue.recv_timeout(left) {
        Ok(job) => Next::Job(job),
        Err(RecvTimeoutError::Timeout) => Next::Flush,
        Err(RecvTimeoutError::Disconnected) => Next::End,
    }
}

/// What a commit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Committed {
    Changes,
    /// No job had any, or all failed.
    Nothing,
}

fn commit(
    store: &Store,
    batch: &mut [Box<dyn Job>],
    durability: Durability,
) -> Result<Committed, redb::Error> {
    let mut txn = store.begin_write()?;
    if durability == Durability::InMemory {
        txn.set_durability(redb::Durability::None)?;
    }
    let mut changed = false;
    for job in batch {
        if let Some(changes) = job.run(&txn) {
            apply(&txn, &changes)?;
            changed = true;
        }
    }
    if !changed {
        txn.abort()?;
        return Ok(Committed::Nothing);
    }
    txn.commit()?;
    Ok(Committed::Changes)
}

/// An empty durable commit takes the lazy ones before it to the disk.
fn flush(store: &Store) {
    let flushed = store.begin_write().and_then(|txn| Ok(txn.commit()?));
    if flushed.is_err() {
        store.reopen();
    }
}
