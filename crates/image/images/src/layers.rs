//! Unpacked layers of images: making what is missing, removing what nobody
//! needs.
//!
//! A chain is pinned from before its snapshot is looked for until the image
//! that needs it is in the index. The collector takes a snapshot's name away
//! (its files follow in the background) only if it is neither pinned nor
//! needed by the index, in this order, under the lock of the pins.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use carrack_archive::{Decoder, Limits};
use carrack_oci::{ChainId, DiffId};

use crate::Images;
use crate::error::Error;
use crate::image::{Image, Layer};

/// Most layers unpacked at a time.
const MAX_UNPACKING: usize = 8;
/// How many bytes of a blob go by between two reports of progress.
const REPORT_BYTES: u64 = 512 << 10;

/// How far unpacking a layer is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The layer.
    pub diff_id: &'a DiffId,
    /// Bytes of its blob read so far.
    pub current: u64,
    /// Bytes of its blob.
    pub total: u64,
}

/// Is told of progress, from several threads.
pub type ProgressSink<'a> = dyn Fn(Progress<'_>) + Sync + 'a;

/// How often each chain is pinned.
#[derive(Debug, Default)]
pub(crate) struct Chains(Mutex<HashMap<ChainId, usize>>);

/// Keeps snapshots until the image that needs them is in the index.
#[derive(Debug)]
pub(crate) struct ChainGuard<'a> {
    chains: &'a Chains,
    pinned: Vec<ChainId>,
}

impl Images {
    /// Unpacks again what the snapshots lack of an image, after a power cut.
    /// Nothing to do costs one look a layer.
    ///
    /// # Errors
    /// [`Error::Content`] where the blob is gone too, [`Error::Snapshots`].
    pub fn ensure_unpacked(&self, image: &Image) -> Result<(), Error> {
        if self.is_unpacked(image) {
            return Ok(());
        }
        self.unpack(&[image], &|_| {}).map(drop)
    }

    /// Whether [`Images::ensure_unpacked`] has nothing to do: one look a layer
    /// in memory, for whoever must not block.
    pub fn is_unpacked(&self, image: &Image) -> bool {
        let has = |layer: &Layer| self.0.snapshots.contains(&layer.chain);
        image.layers().iter().all(has)
    }

    /// The directories of an image's unpacked layers, as an overlay takes
    /// them: the top one first, down to one that hides all below it.
    pub fn lower_directories(&self, image: &Image) -> Vec<PathBuf> {
        let snapshots = &self.0.snapshots;
        let mut lowers = Vec::with_capacity(image.layers().len());
        for chain in image.chain_from_top() {
            lowers.push(snapshots.layer_path(chain));
            if snapshots.info(chain).is_some_and(|info| info.opaque_root) {
                break;
            }
        }
        lowers
    }

    /// Makes the snapshots that `images` lack, several at a time: layers are
    /// directories of their own, so the order does not matter.
    pub(crate) fn unpack(
        &self,
        images: &[&Image],
        progress: &ProgressSink<'_>,
    ) -> Result<ChainGuard<'_>, Error> {
        let mut seen = HashSet::new();
        let mut missing: Vec<&Layer> = images
            .iter()
            .flat_map(|image| image.layers())
            .filter(|layer| seen.insert(&layer.chain))
            .collect();
        let guard = self
            .0
            .chains
            .pin(missing.iter().map(|layer| layer.chain.clone()).collect());
        missing.retain(|layer| !self.0.snapshots.contains(&layer.chain));
        // The largest first, so that the last one to end is a small one.
        missing.sort_by_key(|layer| std::cmp::Reverse(layer.blob.size));

        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let failure = Mutex::new(None);
        let work = || {
            while let Some(layer) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = self.unpack_layer(layer, progress, &failed);
                if let Err(error) = outcome
                    && !failed.swap(true, Ordering::AcqRel)
                {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = missing.len().min(cores).min(MAX_UNPACKING);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(guard),
        }
    }

    fn unpack_layer(
        &self,
        layer: &Layer,
        progress: &ProgressSink<'_>,
        failed: &AtomicBool,
    ) -> Result<(), Error> {
        if failed.load(Ordering::Acquire) {
            return Err(Error::Cancelled);
        }
        let source = Watched {
            file: self.0.content.open_blob(&layer.blob.digest)?,
            current: 0,
            reported: 0,
            layer,
            progress,
            failed,
        };
        let reader =
            Decoder::new(source, LAYER_LIMITS.max_bytes).map_err(|source| Error::Decompress {
                diff_id: layer.diff_id.clone(),
                source,
            })?;
        let unpacked = self
            .0
            .snapshots
            .unpack(&layer.chain, &layer.diff_id, reader, LAYER_LIMITS);
        unpacked.map(drop).map_err(snapshots_error)
    }

    /// Bytes of the files of an unpacked layer.
    pub(crate) fn snapshot_size(&self, chain: &ChainId) -> Result<u64, Error> {
        match self.0.snapshots.info(chain) {
            Some(info) => Ok(info.bytes),
            None => Err(snapshots_error(carrack_snapshots::Error::NotFound {
                chain: chain.clone(),
            })),
        }
    }

    /// Removes the snapshots that nobody needs; goes on past failures and
    /// returns the first. None while an image is broken: see
    /// [`crate::Broken`].
    pub(crate) fn collect_snapshots(&self) -> Result<u64, Error> {
        if !self.index().broken.is_empty() {
            return Ok(0);
        }
        let mut bytes = 0;
        let mut failure = None;
        for snapshot in self.0.snapshots.list() {
            let chain = &snapshot.chain;
            let pins = self.0.chains.lock();
            if pins.contains_key(chain) || self.index().needs_chain(chain) {
                continue;
            }
            match self.0.snapshots.remove(chain) {
                Ok(()) => bytes += snapshot.bytes,
                // Another collection was quicker.
                Err(carrack_snapshots::Error::NotFound { .. }) => {}
                Err(error) => failure = failure.or(Some(snapshots_error(error))),
            }
        }
        failure.map_or(Ok(bytes), Err)
    }
}

/// Bounds of one layer.
pub(crate) const LAYER_LIMITS: Limits = Limits::DEFAULT;

fn snapshots_error(error: carrack_snapshots::Error) -> Error {
    Error::Snapshots(Box::new(error))
}

impl Chains {
    fn lock(&self) -> MutexGuard<'_, HashMap<ChainId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pin(&self, wanted: Vec<ChainId>) -> ChainGuard<'_> {
        let mut pins = self.lock();
        for chain in &wanted {
            *pins.entry(chain.clone()).or_insert(0) += 1;
        }
        drop(pins);
        ChainGuard {
            chains: self,
            pinned: wanted,
        }
    }
}

impl Drop for ChainGuard<'_> {
    fn drop(&mut self) {
        let mut pins = self.chains.lock();
        for chain in &self.pinned {
            if let Some(count) = pins.get_mut(chain) {
                *count -= 1;
                if *count == 0 {
                    pins.remove(chain);
                }
            }
        }
    }
}

/// A blob's file that tells how far it was read, and ends early when another
/// layer failed.
struct Watched<'a> {
    file: File,
    current: u64,
    reported: u64,
    layer: &'a Layer,
    progress: &'a ProgressSink<'a>,
    failed: &'a AtomicBool,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("another layer failed"));
        }
        let read = self.file.read(buffer)?;
        self.current += read as u64;
        let total = self.layer.blob.size;
        if self.current - self.reported >= REPORT_BYTES || (read > 0 && self.current >= total) {
            self.reported = self.current;
            (self.progress)(Progress {
                diff_id: &self.layer.diff_id,
                current: self.current,
                total,
            });
        }
        Ok(read)
    }
}
