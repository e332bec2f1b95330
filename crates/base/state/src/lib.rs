//! Durable records: a small typed layer over redb.
//!
//! Whoever owns records on disk (images, containers, volumes, …) declares its
//! [`Table`]s and reads and writes through one [`State`] a file. Values are
//! JSON, so that a record can grow fields and be looked at with other tools;
//! keys are texts. This crate must know nothing of what is stored.
//!
//! # Writing
//! One thread commits. Writers queue their closures (the queue holds
//! [`MAX_QUEUED_WRITES`]; a full queue makes callers wait), and what has
//! queued while one commit waits for the disk goes into the next one
//! together: N concurrent writers pay about two syncs, not N. A closure sees
//! the effects of those before it, and either all or none of its own happen.
//!
//! * [`State::write_durable`] returns when the change is on disk.
//! * [`State::write_lazy`] returns when the change is visible. It is lost if
//!   the process or the machine dies before the next durable commit, which
//!   the committing thread makes at the latest [`LAZY_FLUSH_MS`] later.
//!
//! # Reading
//! [`State::read`] sees one consistent snapshot and waits for no writer. It
//! must not be nested, and no write may be waited for inside it: after a
//! failed commit the file is opened anew, which waits for readers.
//!
//! # Failing
//! A commit that failed (a full disk) has happened for none of its writers.
//! The file is then opened again, so that the next write is tried afresh;
//! lazy writes that had not reached the disk are lost with it.
#![forbid(unsafe_code)]

mod committer;
mod error;
mod store;
mod table;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use committer::{Durability, Job, TypedJob};
use store::Store;

pub use error::Error;
pub use table::{Reader, Table, Writer};

/// Writes that wait for the committing thread; further callers block.
pub const MAX_QUEUED_WRITES: usize = 1024;
/// Most writes in one commit.
pub const MAX_WRITES_PER_COMMIT: usize = 256;
/// How long a lazy write may stay in memory alone, in milliseconds.
pub const LAZY_FLUSH_MS: u64 = 1000;
/// Longest value, in bytes of JSON.
pub const MAX_VALUE_BYTES: usize = 16 << 20;

/// An open file of records; clones share it. When the last one is dropped,
/// what is queued is written and the file closed.
#[derive(Clone, Debug)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    /// Gone once dropped, which ends the thread.
    jobs: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl State {
    /// Opens the file at `path`, or makes it, keeping at most `cache_bytes`
    /// of its pages in memory.
    ///
    /// Every page's checksum is verified first, so a file that was damaged
    /// since is refused here and not met later.
    ///
    /// # Errors
    /// [`Error::Foreign`] and [`Error::Corrupt`] for a file that is not a
    /// sound one of ours, [`Error::Newer`] for one of a later version,
    /// [`Error::InUse`] where another process has it open, [`Error::Open`].
    pub fn open(path: &Path, cache_bytes: usize) -> Result<State, Error> {
        let store = Arc::new(Store::open(path, cache_bytes)?);
        let (jobs, queue) = sync_channel(MAX_QUEUED_WRITES);
        let thread = {
            let store = Arc::clone(&store);
            std::thread::Builder::new()
                .name("state".to_owned())
                .stack_size(512 << 10)
                .spawn(move || committer::run(&store, &queue))
                .map_err(|source| Error::StartThread {
                    source: Arc::new(source),
                })?
        };
        Ok(State(Arc::new(Inner {
            store,
            jobs: Some(jobs),
            thread: Some(thread),
        })))
    }

    /// Reads a consistent snapshot.
    ///
    /// # Errors
    /// What `body` returns, and [`Error::Read`] where no snapshot can be had.
    pub fn read<T, E: From<Error>>(
        &self,
        body: impl FnOnce(&Reader) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.store.read(body)
    }

    /// Runs `body` and returns when its changes are on disk.
    ///
    /// # Errors
    /// What `body` returns (nothing of it has happened then), and
    /// [`Error::Commit`].
    ///
    /// # Panics
    /// With what `body` panicked with.
    pub fn write_durable<T, E>(
        &self,
        body: impl FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.wait(Durability::OnDisk, body)
    }

    /// Runs `body` and returns when its changes are visible, not yet on disk.
    ///
    /// # Errors
    /// As [`State::write_durable`].
    ///
    /// # Panics
    /// With what `body` panicked with.
    pub fn write_lazy<T, E>(
        &self,
        body: impl FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.wait(Durability::InMemory, body)
    }

    /// Like [`State::write_durable`], without waiting: `done` is called on the
    /// committing thread and must be quick (wake somebody up). A panic of
    /// `body` reaches it as its payload.
    pub fn submit_durable<T, E>(
        &self,
        body: impl FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static,
        done: impl FnOnce(std::thread::Result<Result<T, E>>) + Send + 'static,
    ) where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.enqueue(TypedJob::boxed(Durability::OnDisk, body, done));
    }

    fn wait<T, E>(
        &self,
        durability: Durability,
        body: impl FnOnce(&mut Writer<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (answer, answered) = sync_channel(1);
        self.enqueue(TypedJob::boxed(durability, body, move |outcome| {
            // The caller waits below; it cannot have gone away.
            let _ = answer.send(outcome);
        }));
        match answered.recv() {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Stopped.into()),
        }
    }

    fn enqueue(&self, job: Box<dyn Job>) {
        if let Some(jobs) = &self.0.jobs
            && let Err(refused) = jobs.send(job)
        {
            refused.0.answer(Err(Error::Stopped));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The last handle may be dropped by a `done` on the thread itself.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
