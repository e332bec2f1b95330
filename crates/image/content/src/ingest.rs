//! Taking a blob in: hash while writing, sync, rename, sync the directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use carrack_oci::{Digest, Digester};

use crate::lease::Lease;
use crate::{Error, MAX_BLOB_BYTES, sync_dir};

/// Bytes read from a source at a time.
const PIECE_BYTES: usize = 128 << 10;

/// What is known of a blob before it is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// Its digest; without it the blob is named by its SHA-256.
    pub digest: Option<&'a Digest>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// A bound where the length is not known; [`MAX_BLOB_BYTES`] otherwise.
    pub max_bytes: Option<u64>,
}

/// A blob that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A blob being written, by [`Write`]; [`Ingest::finish`] makes it one.
/// Dropped without that, it leaves nothing.
#[derive(Debug)]
pub struct Ingest<'lease> {
    lease: &'lease Lease,
    file: File,
    /// `None` once the file has another name.
    path: Option<PathBuf>,
    digester: Digester,
    expected_digest: Option<Digest>,
    expected_size: Option<u64>,
    max_bytes: u64,
    size: u64,
}

impl Lease {
    /// Begins a blob that will be pinned by this lease.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn begin(&self, expected: Expected<'_>) -> Result<Ingest<'_>, Error> {
        let path = self.store().new_ingest_path();
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Error::Write {
                path: path.clone(),
                source,
            })?;
        let algorithm = expected.digest.map(Digest::algorithm).unwrap_or_default();
        Ok(Ingest {
            lease: self,
            file,
            path: Some(path),
            digester: Digester::new(algorithm),
            expected_digest: expected.digest.cloned(),
            expected_size: expected.size,
            max_bytes: expected.max_bytes.unwrap_or(MAX_BLOB_BYTES),
            size: 0,
        })
    }

    /// Takes in all of `source`.
    ///
    /// # Errors
    /// [`Error::ReadSource`], and those of [`Ingest::finish`]. Nothing is left
    /// then.
    pub fn ingest(&self, mut source: impl Read, expected: Expected<'_>) -> Result<Ingested, Error> {
        let mut ingest = self.begin(expected)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match source.read(&mut piece) {
                Ok(0) => return ingest.finish(),
                Ok(read) => ingest.append(&piece[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::ReadSource(error)),
            }
        }
    }
}

impl Ingest<'_> {
    /// Appends `bytes`; more than expected is refused before it is written.
    ///
    /// # Errors
    /// [`Error::WrongSize`], [`Error::TooLarge`], [`Error::Write`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if let Some(expected) = self.expected_size
            && size > expected
        {
            return Err(Error::WrongSize {
                expected,
                actual: size,
            });
        }
        if size > self.max_bytes {
            let max_bytes = self.max_bytes;
            return Err(Error::TooLarge { max_bytes });
        }
        self.digester.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|source| self.write_error(source))?;
        self.size = size;
        Ok(())
    }

    /// Verifies, syncs and names the blob.
    ///
    /// # Errors
    /// [`Error::WrongSize`], [`Error::WrongDigest`], [`Error::Write`].
    pub fn finish(mut self) -> Result<Ingested, Error> {
        let size = self.size;
        if let Some(expected) = self.expected_size
            && size != expected
        {
            return Err(Error::WrongSize {
                expected,
                actual: size,
            });
        }
        let digest = std::mem::take(&mut self.digester).finish();
        if let Some(expected) = self.expected_digest.take()
            && expected != digest
        {
            return Err(Error::WrongDigest {
                expected,
                actual: digest,
            });
        }
        // Pinned before it is looked for: what is there then stays.
        let ingested = Ingested { digest, size };
        let store = self.lease.store();
        let dir = store.blobs_dir(ingested.digest.algorithm());
        if self.lease.pin(&ingested.digest)? {
            // Another ingest may have renamed it this instant.
            sync_dir(&dir).map_err(|source| self.write_error(source))?;
            return Ok(ingested);
        }
        self.file
            .sync_all()
            .map_err(|source| self.write_error(source))?;
        let Some(path) = self.path.take() else {
            return Ok(ingested);
        };
        let renamed =
            fs::rename(&path, store.blob_path(&ingested.digest)).and_then(|()| sync_dir(&dir));
        match renamed {
            Ok(()) => Ok(ingested),
            Err(source) => {
                self.path = Some(path.clone());
                Err(Error::Write { path, source })
            }
        }
    }

    fn write_error(&self, source: io::Error) -> Error {
        Error::Write {
            path: self.path.clone().unwrap_or_default(),
            source,
        }
    }
}

impl Write for Ingest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed now is at the next opening.
            let _ = fs::remove_file(path);
        }
    }
}
