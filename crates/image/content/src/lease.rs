//! Pins: what must not be collected, though nothing refers to it yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use carrack_oci::Digest;

use crate::{Error, Store};

/// Keeps blobs from being collected until it is dropped: those ingested
/// under it and those it was asked to pin.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    pinned: Mutex<HashSet<Digest>>,
}

/// How many leases pin a digest; during a collection, also what was pinned at
/// any instant of it.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    counts: HashMap<Digest, usize>,
    seen: Option<HashSet<Digest>>,
}

impl Lease {
    pub(crate) fn new(store: Store) -> Lease {
        Lease {
            store,
            pinned: Mutex::default(),
        }
    }

    /// The store that it belongs to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Pins `digest` and says whether the blob is there; one that is, stays.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn pin(&self, digest: &Digest) -> Result<bool, Error> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if pinned.insert(digest.clone()) {
            self.store.pins().add(digest);
        }
        drop(pinned);
        self.store.contains(digest)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let pinned = self
            .pinned
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut pins = self.store.pins();
        for digest in pinned.drain() {
            pins.remove(&digest);
        }
    }
}

impl Pins {
    pub(crate) fn is_pinned(&self, digest: &Digest) -> bool {
        self.counts.contains_key(digest)
    }

    fn add(&mut self, digest: &Digest) {
        *self.counts.entry(digest.clone()).or_insert(0) += 1;
        if let Some(seen) = &mut self.seen {
            seen.insert(digest.clone());
        }
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(count) = self.counts.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(digest);
            }
        }
    }

    /// From now on, remembers what is pinned.
    pub(crate) fn begin_collection(&mut self) {
        self.seen = Some(self.counts.keys().cloned().collect());
    }

    /// Whether `digest` was pinned since then.
    pub(crate) fn was_pinned(&self, digest: &Digest) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.contains(digest))
    }

    pub(crate) fn end_collection(&mut self) {
        self.seen = None;
    }
}
