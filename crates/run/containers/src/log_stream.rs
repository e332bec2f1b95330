//! Reading a container's log, and following it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;

use crate::entry::Entry;
use crate::log_reader::Reader;
use crate::{ContainerId, Containers, Error, LogPolicy, Result};

/// Looks again after this time even if no change was told.
const SAFETY_INTERVAL: Duration = Duration::from_secs(1);

/// Which records are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Records at or after.
    pub since: Option<SystemTime>,
    /// Records at or before.
    pub until: Option<SystemTime>,
    /// The last so many.
    pub tail: Option<u64>,
    /// Go on while the container runs.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Which stream a record is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its stream.
    pub source: LogSource,
    /// When it was written.
    pub at: SystemTime,
    /// Text, with its line feed if the line was whole.
    pub line: Bytes,
}

/// Records, one after the other.
pub struct LogStream {
    entry: Arc<Entry>,
    query: LogQuery,
    reader: Option<Reader>,
    ready: std::collections::VecDeque<LogEntry>,
    watch: Option<AsyncFd<rustix::fd::OwnedFd>>,
}

impl Containers {
    /// Reads a container's log.
    pub fn logs(&self, id: &ContainerId, query: LogQuery) -> Result<LogStream> {
        let entry = self.entry(id)?;
        let none = matches!(entry.lock().new.log, LogPolicy::None);
        let log = entry.directory.join(crate::containers::log_name(id));
        // Watched before it is opened, which the first read does: nothing is
        // missed in between.
        let reader = (!none).then(|| Reader::new(log, query.tail));
        let watch = if query.follow && reader.is_some() {
            watch_directory(&entry.directory).ok()
        } else {
            None
        };
        Ok(LogStream {
            entry,
            query,
            reader,
            ready: std::collections::VecDeque::new(),
            watch,
        })
    }
}

fn watch_directory(directory: &std::path::Path) -> io::Result<AsyncFd<rustix::fd::OwnedFd>> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags)?;
    inotify::add_watch(
        &watch,
        directory,
        inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_FROM,
    )?;
    carrack_sandbox::watch(watch)
}

impl LogStream {
    /// Whether a record was read already, so that [`LogStream::next`] returns
    /// at once.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next record; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<LogEntry>> {
        loop {
            while let Some(entry) = self.ready.pop_front() {
                if self.query.until.is_some_and(|until| entry.at > until) {
                    return None;
                }
                if self.wants(&entry) {
                    return Some(Ok(entry));
                }
            }
            // Asked before reading: what is written before the end is read.
            let over = !self.query.follow || !self.entry.progress.borrow().active;
            let mut reader = self.reader.take()?;
            let read = tokio::task::spawn_blocking(move || {
                let batch = reader.read_batch();
                (reader, batch)
            })
            .await;
            match read {
                Ok((reader, Ok(batch))) => {
                    self.reader = Some(reader);
                    if batch.is_empty() {
                        if over || self.is_past_until() {
                            return None;
                        }
                        self.await_change().await;
                    }
                    self.ready.extend(batch);
                }
                Ok((_, Err(source))) => {
                    return Some(Err(Error::file(
                        "read the log in",
                        &self.entry.directory,
                        source,
                    )));
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    fn wants(&self, entry: &LogEntry) -> bool {
        let stream = match entry.source {
            LogSource::Stdout => self.query.stdout,
            LogSource::Stderr => self.query.stderr,
        };
        stream && self.query.since.is_none_or(|since| entry.at >= since)
    }

    fn is_past_until(&self) -> bool {
        self.query
            .until
            .is_some_and(|until| SystemTime::now() > until)
    }

    async fn await_change(&mut self) {
        let mut progress = self.entry.progress.subscribe();
        if !progress.borrow_and_update().active {
            return;
        }
        let watched = async {
            if let Some(watch) = &self.watch {
                if let Ok(mut ready) = watch.readable().await {
                    let mut buffer = [0_u8; 4096];
                    // What changed does not matter, only that something did.
                    while rustix::io::read(watch.get_ref(), &mut buffer).is_ok_and(|n| n > 0) {}
                    ready.clear_ready();
                }
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = watched => {}
            _ = progress.changed() => {}
            () = tokio::time::sleep(SAFETY_INTERVAL) => {}
        }
    }
}
