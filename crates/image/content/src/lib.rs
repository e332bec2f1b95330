//! Blobs by digest: a store with leases and an online collector.
//!
//! Owners of images keep their blobs here: `image/images` those of the engine,
//! `registry/repositories` its own in another store. The store knows nothing
//! of manifests; who refers to which blob is the owner's knowledge, given to
//! [`Store::collect`] as roots.
//!
//! ```text
//! <root>/blobs/<algorithm>/<hex>   whole, verified, synced blobs
//! <root>/ingest/<number>           being written, or being deleted
//! ```
//!
//! # A blob is committed by
//! hashing while writing to `ingest/` → syncing the file → renaming it →
//! syncing the directory. What is under `blobs/` is therefore always whole;
//! what is under `ingest/` when the store is opened is left over and removed.
//! One process at a time may have a store open.
//!
//! # Why collecting beside ingests is safe
//! A [`Lease`] pins digests: those ingested under it and those that
//! [`Lease::pin`] was asked for. The owner keeps this **rule**: *a reference
//! to a blob is made while a lease pins the blob, and the lease is dropped
//! only when the reference is visible to `roots()`.*
//!
//! The collector deletes a blob only if it is not among the roots **and** was
//! not pinned at any instant since before `roots()` was called. Take any blob
//! that is referred to when the collector reaches it. Either the lease under
//! which that reference was made was dropped before the collection began:
//! then the reference was visible, and `roots()` has it. Or the lease was
//! alive at some instant since: then the blob is among the pinned. Both ways
//! it stays. Whether a blob is pinned is looked at, and the blob taken away,
//! under one lock, which `pin` takes too: what `pin` said is there cannot go.
#![forbid(unsafe_code)]

mod collect;
mod error;
mod ingest;
mod lease;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use carrack_oci::{Algorithm, Digest};

use lease::Pins;

pub use collect::{Collected, Roots};
pub use error::Error;
pub use ingest::{Expected, Ingest, Ingested};
pub use lease::Lease;

/// Largest blob taken, in bytes: 1 TiB.
pub const MAX_BLOB_BYTES: u64 = 1 << 40;

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// A store of blobs; clones share it.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    next_ingest: AtomicU64,
    pins: Mutex<Pins>,
    collecting: Mutex<()>,
}

/// A blob's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its length in bytes.
    pub size: u64,
}

impl Store {
    /// Opens the store at `root`, making its directories (mode 0700) and
    /// removing what unfinished ingests left.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(root: &Path) -> Result<Store, Error> {
        let store = Store(Arc::new(Inner {
            root: root.to_owned(),
            next_ingest: AtomicU64::new(0),
            pins: Mutex::default(),
            collecting: Mutex::default(),
        }));
        let open = |path: &Path, source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let ingest = store.ingest_dir();
        let made: Vec<PathBuf> = ALGORITHMS
            .map(|algorithm| store.blobs_dir(algorithm))
            .into_iter()
            .chain([ingest.clone()])
            .collect();
        for dir in &made {
            make_dir(dir).map_err(|source| open(dir, source))?;
        }
        for entry in fs::read_dir(&ingest).map_err(|source| open(&ingest, source))? {
            let path = entry.map_err(|source| open(&ingest, source))?.path();
            fs::remove_file(&path).map_err(|source| open(&path, source))?;
        }
        // Made just now, maybe: a blob's own directory sync does not cover
        // the names of the directories above it.
        for dir in [&store.0.root.join("blobs"), &store.0.root] {
            sync_dir(dir).map_err(|source| open(dir, source))?;
        }
        Ok(store)
    }

    /// A new lease that pins nothing yet.
    pub fn lease(&self) -> Lease {
        Lease::new(self.clone())
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Read`].
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        File::open(self.blob_path(digest)).map_err(|source| Error::of_blob(digest, source))
    }

    /// A blob's whole content, which must not be longer than `max_bytes`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooLarge`], [`Error::Read`].
    pub fn read_blob(&self, digest: &Digest, max_bytes: u64) -> Result<Vec<u8>, Error> {
        let size = self.stat(digest)?.size;
        if size > max_bytes {
            return Err(Error::TooLarge { max_bytes });
        }
        fs::read(self.blob_path(digest)).map_err(|source| Error::of_blob(digest, source))
    }

    /// A blob's metadata.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Read`].
    pub fn stat(&self, digest: &Digest) -> Result<Stat, Error> {
        let metadata = fs::metadata(self.blob_path(digest))
            .map_err(|source| Error::of_blob(digest, source))?;
        Ok(Stat {
            size: metadata.len(),
        })
    }

    /// Whether a blob is there. Without a lease that pins it, it may be gone
    /// at once: see [`Lease::pin`].
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn contains(&self, digest: &Digest) -> Result<bool, Error> {
        match self.stat(digest) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a blob, whoever refers to it; one that is not there is fine.
    ///
    /// # Errors
    /// [`Error::Leased`] for a pinned one, [`Error::Delete`].
    pub fn delete(&self, digest: &Digest) -> Result<(), Error> {
        let pins = self.pins();
        if pins.is_pinned(digest) {
            return Err(Error::Leased {
                digest: digest.clone(),
            });
        }
        let trash = self.take_away(digest)?;
        drop(pins);
        trash.map_or(Ok(()), |trash| self.discard(digest, &trash))
    }

    /// All blobs with their sizes, in no order.
    ///
    /// # Errors
    /// [`Error::List`].
    pub fn list(&self) -> Result<Vec<(Digest, Stat)>, Error> {
        let mut blobs = Vec::new();
        for algorithm in ALGORITHMS {
            let dir = self.blobs_dir(algorithm);
            let list = |source| Error::List {
                path: dir.clone(),
                source,
            };
            for entry in fs::read_dir(&dir).map_err(list)? {
                let entry = entry.map_err(list)?;
                let name = entry.file_name();
                let digest = name
                    .to_str()
                    .and_then(|hex| format!("{algorithm}:{hex}").parse().ok());
                let Some(digest) = digest else {
                    continue;
                };
                match entry.metadata() {
                    Ok(metadata) => blobs.push((
                        digest,
                        Stat {
                            size: metadata.len(),
                        },
                    )),
                    // Deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(list(error)),
                }
            }
        }
        Ok(blobs)
    }

    fn pins(&self) -> std::sync::MutexGuard<'_, Pins> {
        self.0.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a blob out of `blobs/`, which is quick whatever its size. Called
    /// under the lock of the pins.
    fn take_away(&self, digest: &Digest) -> Result<Option<PathBuf>, Error> {
        let trash = self.new_ingest_path();
        match fs::rename(self.blob_path(digest), &trash) {
            Ok(()) => Ok(Some(trash)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Delete {
                digest: digest.clone(),
                source,
            }),
        }
    }

    fn discard(&self, digest: &Digest, trash: &Path) -> Result<(), Error> {
        fs::remove_file(trash).map_err(|source| Error::Delete {
            digest: digest.clone(),
            source,
        })
    }

    fn ingest_dir(&self) -> PathBuf {
        self.0.root.join("ingest")
    }

    fn new_ingest_path(&self) -> PathBuf {
        let number = self.0.next_ingest.fetch_add(1, Ordering::Relaxed);
        self.ingest_dir().join(number.to_string())
    }

    fn blobs_dir(&self, algorithm: Algorithm) -> PathBuf {
        self.0.root.join("blobs").join(algorithm.name())
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs_dir(digest.algorithm()).join(digest.hex())
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
