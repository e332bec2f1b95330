//! The snapshots at rest.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use carrack_archive::tar::{TarWriter, TimePrecision};
use carrack_archive::{ArchiveError, Limits, pack, unpack};
use carrack_oci::{Algorithm, ChainId, DiffId, Digester};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, fchmod, mkdirat, openat, renameat_with, syncfs};
use rustix::io::Errno;

use crate::Error;
use crate::claims::Claims;
use crate::record::{Record, boot_id};
use crate::trash::Trash;

const NEW: &str = ".new";
const TRASH: &str = ".trash";
const FS: &str = "fs";
/// Bytes taken behind an archive's end; tar pads to 10 KiB.
const TAIL_LEN_MAX: u64 = 64 << 20;
/// Bytes read of it at a time.
const TAIL_BUFFER_LEN: usize = 64 * 1024;
/// Layers hold programs that are set-user-ID in a container: nobody else on
/// the machine may reach them.
const ROOT_MODE: Mode = Mode::RWXU;
/// Mode of a layer's root, of which its archive may say otherwise.
const FS_MODE: u32 = 0o755;

/// Unpacked layers by chainID. Shared by reference between threads; one
/// process at a time may have a root open.
#[derive(Debug)]
pub struct Snapshots {
    root: PathBuf,
    dir: OwnedFd,
    new: OwnedFd,
    trash: Trash,
    boot: String,
    next: AtomicU64,
    claims: Claims,
    known: Mutex<HashMap<ChainId, Known>>,
}

#[derive(Debug)]
struct Known {
    record: Record,
    /// Tells a snapshot from a later one of the same name.
    number: u64,
}

/// What is known of a snapshot without looking at its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its name: the layer and all below it.
    pub chain: ChainId,
    /// The layer it was unpacked from.
    pub diff_id: DiffId,
    /// Sum of its files' sizes.
    pub bytes: u64,
    /// Entries of its archive.
    pub entries: u64,
    /// It hides every layer below it: an overlay ends with this one.
    pub opaque_root: bool,
    /// It survives a power cut.
    pub synced: bool,
}

/// What all snapshots take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub snapshots: u64,
    /// Sum of their files' sizes.
    pub bytes: u64,
}

impl Snapshots {
    /// Opens the snapshots below `root`, making it where it is missing.
    ///
    /// What an earlier run left unfinished, and what may have lost pages in a
    /// power cut, goes to the trash, whose deletion goes on in the background.
    /// A snapshot that cannot be looked at for another reason is an error: it
    /// may be below a running container.
    pub fn open(root: impl Into<PathBuf>) -> Result<Snapshots, Error> {
        let root = root.into();
        let failed = |source: io::Error| Error::Open {
            path: root.clone(),
            source,
        };
        let open = || -> io::Result<Snapshots> {
            fs::create_dir_all(&root)?;
            let dir = openat(CWD, &root, OPEN_DIR, Mode::empty())?;
            fchmod(&dir, ROOT_MODE)?;
            let new = make_and_open(&dir, NEW)?;
            let trash = Trash::new(make_and_open(&dir, TRASH)?);
            let boot = boot_id()?;
            for entry in fs::read_dir(root.join(NEW))? {
                trash.put(&new, &entry?.file_name().to_string_lossy())?;
            }
            let mut known = HashMap::new();
            for entry in fs::read_dir(&root)? {
                let name = entry?.file_name();
                let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                    continue;
                };
                match load(&dir, name, &boot)? {
                    Some((chain, record)) => {
                        known.insert(chain, Known { record, number: 0 });
                    }
                    None => trash.put(&dir, name)?,
                }
            }
            Ok(Snapshots {
                root: root.clone(),
                dir,
                new,
                trash,
                boot,
                next: AtomicU64::new(1),
                claims: Claims::default(),
                known: Mutex::new(known),
            })
        };
        open().map_err(failed)
    }

    /// Unpacks a layer under the name `chain`, if it is not there already.
    ///
    /// `source` is the layer's uncompressed tar stream; it is read to its end
    /// and must hash to `diff_id`. Only then does the snapshot get its name:
    /// an error leaves nothing. Several threads may unpack at once; for the
    /// same chain one does and the others wait for it.
    pub fn unpack(
        &self,
        chain: &ChainId,
        diff_id: &DiffId,
        source: impl Read,
        limits: Limits,
    ) -> Result<SnapshotInfo, Error> {
        let _claim = self.claims.claim(chain);
        if let Some(info) = self.info(chain) {
            return match info.diff_id == *diff_id {
                true => Ok(info),
                false => Err(Error::DiffId {
                    expected: diff_id.clone(),
                    actual: info.diff_id,
                }),
            };
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = number.to_string();
        mkdirat(&self.new, &*name, Mode::RWXU).map_err(|error| Error::store(chain, error))?;
        let result = self.fill(chain, diff_id, &name, number, source, limits);
        if result.is_err() {
            // It is where the next start looks, should even this fail.
            let _ = self.trash.put(&self.new, &name);
        }
        result
    }

    /// Unpacks into a directory without a name and gives it one.
    fn fill(
        &self,
        chain: &ChainId,
        diff_id: &DiffId,
        name: &str,
        number: u64,
        source: impl Read,
        limits: Limits,
    ) -> Result<SnapshotInfo, Error> {
        let stored = |error: io::Error| Error::store(chain, error);
        let dir = openat(&self.new, name, OPEN_DIR, Mode::empty())
            .map_err(|error| stored(error.into()))?;
        let fs = make_and_open(&dir, FS).map_err(stored)?;
        fchmod(&fs, Mode::from_raw_mode(FS_MODE)).map_err(|error| stored(error.into()))?;

        let source = Hashing {
            source,
            digester: Digester::new(diff_id.0.algorithm()),
        };
        let options = unpack::Options::layer(limits);
        let (summary, mut source) = unpack::unpack(&fs, source, &options)
            .map_err(|source| Error::unpack(diff_id, source))?;
        source.drain(diff_id)?;
        let actual = DiffId(source.digester.finish());
        if actual != *diff_id {
            return Err(Error::DiffId {
                expected: diff_id.clone(),
                actual,
            });
        }

        let record = Record::new(diff_id.clone(), summary, &self.boot);
        record.write(&dir).map_err(stored)?;
        let mut known = self.known();
        match renameat_with(
            &self.new,
            name,
            &self.dir,
            chain.hex(),
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {
                let info = info(chain, &record);
                known.insert(chain.clone(), Known { record, number });
                Ok(info)
            }
            // Whoever waited too long for the other: both have the same.
            Err(Errno::EXIST) if known.contains_key(chain) => {
                self.trash.put(&self.new, name).map_err(stored)?;
                Ok(info(chain, &record))
            }
            Err(error) => Err(stored(error.into())),
        }
    }

    /// Whether the snapshot is there.
    pub fn contains(&self, chain: &ChainId) -> bool {
        self.known().contains_key(chain)
    }

    /// What is known of a snapshot.
    pub fn info(&self, chain: &ChainId) -> Option<SnapshotInfo> {
        self.known()
            .get(chain)
            .map(|known| info(chain, &known.record))
    }

    /// Directory with the layer's own changes, as overlayfs takes it; exists
    /// only if the snapshot does.
    pub fn layer_path(&self, chain: &ChainId) -> PathBuf {
        self.root.join(chain.hex()).join(FS)
    }

    /// All snapshots, by name.
    pub fn list(&self) -> Vec<SnapshotInfo> {
        let known = self.known();
        let mut list: Vec<_> = known
            .iter()
            .map(|(chain, known)| info(chain, &known.record))
            .collect();
        list.sort_by(|a, b| a.chain.cmp(&b.chain));
        list
    }

    /// What all of them take, from their records.
    pub fn usage(&self) -> Usage {
        let known = self.known();
        Usage {
            snapshots: known.len() as u64,
            bytes: known.values().map(|known| known.record.bytes).sum(),
        }
    }

    /// Removes a snapshot: its name is gone on return, its files follow in
    /// the background. [`Error::NotFound`] when there is none.
    ///
    /// The caller knows that no overlay has it: removing a layer under a
    /// mount takes files from a container.
    pub fn remove(&self, chain: &ChainId) -> Result<(), Error> {
        let mut known = self.known();
        if !known.contains_key(chain) {
            return Err(Error::NotFound {
                chain: chain.clone(),
            });
        }
        match self.trash.put(&self.dir, chain.hex()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(Error::Remove {
                    chain: chain.clone(),
                    source,
                });
            }
        }
        known.remove(chain);
        Ok(())
    }

    /// Syncs the file system and marks what was written before as safe from
    /// a power cut; gives how many snapshots that were. Takes as long as the
    /// disk does: for when nobody waits.
    pub fn mark_synced(&self) -> Result<u64, Error> {
        let pending: Vec<(ChainId, u64)> = self
            .known()
            .iter()
            .filter(|(_, known)| known.record.unsynced_in_boot.is_some())
            .map(|(chain, known)| (chain.clone(), known.number))
            .collect();
        if pending.is_empty() {
            return Ok(0);
        }
        syncfs(&self.dir).map_err(|error| Error::Sync {
            source: error.into(),
        })?;
        let mut marked = 0;
        for (chain, number) in pending {
            // Under the lock: what has the name now must be what was synced.
            let mut known = self.known();
            let Some(known) = known.get_mut(&chain).filter(|known| known.number == number) else {
                continue;
            };
            let record = known.record.synced();
            let dir = openat(&self.dir, chain.hex(), OPEN_DIR, Mode::empty());
            let dir = dir.map_err(|error| Error::store(&chain, error))?;
            record
                .write(dir)
                .map_err(|error| Error::store(&chain, error))?;
            known.record = record;
            marked += 1;
        }
        Ok(marked)
    }

    /// Writes a snapshot as a layer's tar stream, uncompressed.
    ///
    /// The same snapshot gives the same bytes; not those that it was unpacked
    /// from, so not the same diffID.
    pub fn pack_layer<W: Write>(&self, chain: &ChainId, destination: W) -> Result<W, Error> {
        if !self.contains(chain) {
            return Err(Error::NotFound {
                chain: chain.clone(),
            });
        }
        let failed = |source| Error::Pack {
            chain: chain.clone(),
            source,
        };
        let path = Path::new(chain.hex()).join(FS);
        let fs = openat(&self.dir, path, OPEN_DIR, Mode::empty())
            .map_err(|error| Error::store(chain, error))?;
        let mut writer = TarWriter::new(destination, TimePrecision::Seconds);
        let options = pack::Options {
            mode: unpack::Mode::Layer,
            limits: Limits::DEFAULT,
        };
        pack::pack_below(fs, &mut writer, &options).map_err(failed)?;
        writer.finish().map_err(|error| failed(error.into()))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ChainId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const OPEN_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

fn make_and_open(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    match mkdirat(dir.as_fd(), name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(openat(dir, name, OPEN_DIR, Mode::empty())?)
}

/// What a directory below the root holds, if it is a snapshot to trust.
fn load(root: &OwnedFd, name: &str, boot: &str) -> io::Result<Option<(ChainId, Record)>> {
    let chain = [Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .find(|algorithm| algorithm.hex_len() == name.len())
        .and_then(|algorithm| format!("{algorithm}:{name}").parse().ok());
    let Some(chain) = chain else {
        return Ok(None);
    };
    let Some(dir) = found(openat(root, name, OPEN_DIR, Mode::empty()))? else {
        return Ok(None);
    };
    if found(openat(&dir, FS, OPEN_DIR, Mode::empty()))?.is_none() {
        return Ok(None);
    }
    Ok(Record::read(dir, boot)?.map(|record| (chain, record)))
}

/// What was opened; none where there is nothing of the kind. Any other failure
/// (no descriptors left, a bad disk) says nothing about what is there.
pub(crate) fn found(opened: rustix::io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn info(chain: &ChainId, record: &Record) -> SnapshotInfo {
    SnapshotInfo {
        chain: chain.clone(),
        diff_id: record.diff_id.clone(),
        bytes: record.bytes,
        entries: record.entries,
        opaque_root: record.opaque_root,
        synced: record.unsynced_in_boot.is_none(),
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    source: R,
    digester: Digester,
}

impl<R: Read> Hashing<R> {
    /// Reads what stands behind the archive's end: it counts for the digest.
    fn drain(&mut self, diff_id: &DiffId) -> Result<(), Error> {
        let mut buffer = vec![0; TAIL_BUFFER_LEN];
        let mut tail = 0_u64;
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => tail += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::read(diff_id, error)),
            }
            if tail > TAIL_LEN_MAX {
                let what = "bytes behind the archive's end";
                let limit = TAIL_LEN_MAX;
                return Err(Error::unpack(diff_id, ArchiveError::Limit { what, limit }));
            }
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.digester.update(&buffer[..read]);
        Ok(read)
    }
}
