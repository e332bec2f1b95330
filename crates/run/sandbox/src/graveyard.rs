//! Network namespaces that nobody needs any more.
//!
//! Destroying one slows the making of others from about one millisecond to
//! three, with outliers of fifty (ADR 1), so it waits until no start has
//! happened for a moment; the backlog is bounded.

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Namespaces kept at most: each holds about 0.4 MB of kernel memory.
const MAX_BACKLOG: usize = 32;
/// Quiet time after which they go.
pub(crate) const QUIET: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Graveyard {
    state: Mutex<Buried>,
}

#[derive(Debug)]
struct Buried {
    namespaces: Vec<OwnedFd>,
    last_start: Instant,
}

impl Graveyard {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(Buried {
                namespaces: Vec::new(),
                last_start: Instant::now(),
            }),
        }
    }

    /// A start happened: not now.
    pub(crate) fn started(&self) {
        self.lock().last_start = Instant::now();
    }

    /// Keeps a namespace; gives back all when there are too many.
    pub(crate) fn bury(&self, namespace: OwnedFd) -> Vec<OwnedFd> {
        let mut state = self.lock();
        state.namespaces.push(namespace);
        if state.namespaces.len() > MAX_BACKLOG {
            std::mem::take(&mut state.namespaces)
        } else {
            Vec::new()
        }
    }

    /// All of them, if it is quiet.
    pub(crate) fn take_if_quiet(&self) -> Vec<OwnedFd> {
        let mut state = self.lock();
        if state.last_start.elapsed() >= QUIET {
            std::mem::take(&mut state.namespaces)
        } else {
            Vec::new()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().namespaces.is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Buried> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
