//! The collector. Why it is safe beside ingests is told in the crate's docs.

use std::collections::HashSet;
use std::sync::PoisonError;

use carrack_oci::Digest;

use crate::{Error, Store};

/// The blobs that an owner refers to.
pub type Roots = HashSet<Digest>;

/// What a collection freed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs deleted.
    pub blobs: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
}

impl Store {
    /// Deletes the blobs that are neither roots nor were pinned since before
    /// `roots` was called. Ingests and leases go on meanwhile; a second
    /// collection waits for the first.
    ///
    /// A blob that cannot be deleted does not keep the others; the first such
    /// error is returned at the end.
    ///
    /// # Errors
    /// What `roots` returns (nothing is deleted then), [`Error::List`],
    /// [`Error::Delete`].
    pub fn collect<E: From<Error>>(
        &self,
        roots: impl FnOnce() -> Result<Roots, E>,
    ) -> Result<Collected, E> {
        let _one_at_a_time = self
            .0
            .collecting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.pins().begin_collection();
        let _end = EndCollection(self);
        let roots = roots()?;
        let mut collected = Collected::default();
        let mut failure = None;
        for (digest, stat) in self.list()? {
            if roots.contains(&digest) {
                continue;
            }
            match self.collect_blob(&digest) {
                Ok(false) => {}
                Ok(true) => {
                    collected.blobs += 1;
                    collected.bytes += stat.size;
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(collected), |error| Err(error.into()))
    }

    fn collect_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let pins = self.pins();
        if pins.was_pinned(digest) {
            return Ok(false);
        }
        let trash = self.take_away(digest)?;
        drop(pins);
        match trash {
            Some(trash) => self.discard(digest, &trash).map(|()| true),
            None => Ok(false),
        }
    }
}

/// Stops remembering pins, however the collection ends.
struct EndCollection<'a>(&'a Store);

impl Drop for EndCollection<'_> {
    fn drop(&mut self) {
        self.0.pins().end_collection();
    }
}
