//! A directory into a tar stream.
//!
//! `image/snapshots` packs layers for a `docker save`, the façades what
//! `docker cp` asks for. Goes by descriptors, one component at a time, never
//! following a link; names come in their byte order, so that the same tree
//! gives the same bytes. Sockets have no form in an archive and are left out.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode as FileMode, OFlags, RawDir, Stat, fstat, major, minor, openat,
    readlinkat, statat,
};
use rustix::io::Errno;

use crate::error::{Context, shown};
use crate::tar::{Device, Entry, Kind, TarWriter, Timestamp};
use crate::tree::{Descent, FileId, Names, OPEN_DIRECTORY};
use crate::unpack::Mode;
use crate::xattrs::Target;
use crate::{Action, ArchiveError, Limits, TreeError};

const DIRECTORY_BUFFER_LEN: usize = 32 * 1024;
const FILE_BUFFER_LEN: usize = 64 * 1024;
/// Files with several names of which more are to come; beyond that each
/// further name is written as a file of its own.
const LINKED_MAX: usize = 1 << 18;
const ROOT_MODE: u32 = 0o755;
const WHITEOUT_PREFIX: &[u8] = b".wh.";

/// How a tree is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// [`Mode::Layer`] turns overlayfs' whiteouts and opaque directories back
    /// into names.
    pub mode: Mode,
    /// How much of it is taken.
    pub limits: Limits,
}

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries written.
    pub entries: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Sockets, and what went away meanwhile.
    pub skipped: u64,
}

/// Packs everything below `dir`. Names are relative, as `etc/passwd`.
///
/// A layer whose root is more than a bare directory (another mode or owner,
/// attributes, opaque) begins with an entry for it.
pub fn pack_below<W: Write>(
    dir: impl AsFd,
    destination: &mut TarWriter<W>,
    options: &Options,
) -> Result<Summary, TreeError> {
    let mut packer = Packer::new(destination, options);
    let top = openat(dir, ".", OPEN_DIRECTORY, FileMode::empty()).context(Action::Open, b".")?;
    if options.mode == Mode::Layer {
        packer.root(top.as_fd())?;
    }
    packer.below(top, Vec::new())?;
    Ok(packer.summary)
}

/// Packs `name`, one component in `parent`, whatever it is, with everything
/// below it. The entries' names begin with `rebase` instead of `name` where
/// that is given (docker's rebase of a copied directory).
pub fn pack_entry<W: Write>(
    parent: impl AsFd,
    name: &[u8],
    rebase: Option<&[u8]>,
    destination: &mut TarWriter<W>,
    options: &Options,
) -> Result<Summary, TreeError> {
    let mut packer = Packer::new(destination, options);
    let path = rebase.unwrap_or(name).to_vec();
    if let Some(dir) = packer.entry(parent.as_fd(), name, &path, Missing::IsError)? {
        packer.below(dir, path)?;
    }
    Ok(packer.summary)
}

/// What it means that a name is gone when it is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It was asked for.
    IsError,
    /// It was only found in a directory.
    IsSkipped,
}

/// As `stat` has it, whose width differs between architectures.
#[cfg(target_arch = "x86_64")]
type LinkCount = u64;
#[cfg(not(target_arch = "x86_64"))]
type LinkCount = u32;

struct Packer<'a, W> {
    destination: &'a mut TarWriter<W>,
    options: Options,
    summary: Summary,
    /// Files seen of which more names are to come: where the first one is,
    /// and how many are left.
    linked: HashMap<FileId, (Vec<u8>, LinkCount)>,
}

/// A directory on the way.
struct Level {
    names: Names,
    /// Length of its own path.
    path_len: usize,
}

impl<W: Write> Packer<'_, W> {
    fn new<'a>(destination: &'a mut TarWriter<W>, options: &Options) -> Packer<'a, W> {
        Packer {
            destination,
            options: *options,
            summary: Summary::default(),
            linked: HashMap::new(),
        }
    }

    /// Writes an entry for a layer's own root where that says anything.
    fn root(&mut self, top: BorrowedFd<'_>) -> Result<(), TreeError> {
        let stat = fstat(top).context(Action::Stat, b".")?;
        let mut entry = described(b".".to_vec(), Kind::Directory, &stat);
        let target = Target::Open(top);
        entry.xattrs = target.portable().context(Action::ReadXattr, b".")?;
        let plain =
            entry.mode == ROOT_MODE && (entry.uid, entry.gid) == (0, 0) && entry.xattrs.is_empty();
        if !plain {
            self.write(&entry)?;
        }
        if target.is_opaque().context(Action::ReadXattr, b".")? {
            self.write_whiteout(b".wh..wh..opq".to_vec(), &entry)?;
        }
        Ok(())
    }

    /// Packs what is below `top`, whose own entry is written.
    fn below(&mut self, top: OwnedFd, mut path: Vec<u8>) -> Result<(), TreeError> {
        let mut descent = Descent::new();
        let names = list(top.as_fd(), &path)?;
        let path_len = path.len();
        descent.enter(top, Level { names, path_len })?;
        while let Some((dir, level)) = descent.current() {
            path.truncate(level.path_len);
            let Some(name) = level.names.pop() else {
                descent.leave()?;
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if let Some(below) = self.entry(dir, name, &path, Missing::IsSkipped)? {
                let names = list(below.as_fd(), &path)?;
                let path_len = path.len();
                descent.enter(below, Level { names, path_len })?;
            }
        }
        Ok(())
    }

    /// Writes one entry; gives the directory to go down into.
    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        missing: Missing,
    ) -> Result<Option<OwnedFd>, TreeError> {
        let stat = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if missing == Missing::IsSkipped => {
                self.summary.skipped += 1;
                return Ok(None);
            }
            Err(error) => return Err(error).context(Action::Stat, path),
        };
        if self.options.mode == Mode::Layer && name.starts_with(WHITEOUT_PREFIX) {
            return Err(TreeError::Unrepresentable { path: shown(path) });
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.directory(dir, name, path),
            FileType::RegularFile => self.file(dir, name, path)?,
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::new()).context(Action::ReadLink, path)?;
                let target = target.into_bytes();
                self.named(dir, name, path, &stat, Kind::Symlink { target })?;
            }
            FileType::CharacterDevice if self.options.mode == Mode::Layer && stat.st_rdev == 0 => {
                let at = path.len() - name.len();
                let whiteout = [&path[..at], WHITEOUT_PREFIX, name].concat();
                let entry = described(Vec::new(), Kind::Regular, &stat);
                self.write_whiteout(whiteout, &entry)?;
            }
            FileType::CharacterDevice => {
                self.named(dir, name, path, &stat, Kind::CharDevice(device(&stat)))?;
            }
            FileType::BlockDevice => {
                self.named(dir, name, path, &stat, Kind::BlockDevice(device(&stat)))?;
            }
            FileType::Fifo => self.named(dir, name, path, &stat, Kind::Fifo)?,
            FileType::Socket | FileType::Unknown => self.summary.skipped += 1,
        }
        Ok(None)
    }

    fn directory(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<OwnedFd>, TreeError> {
        let below = openat(dir, name, OPEN_DIRECTORY, FileMode::empty());
        let below = below.context(Action::Open, path)?;
        let stat = fstat(&below).context(Action::Stat, path)?;
        let mut entry = described(path.to_vec(), Kind::Directory, &stat);
        let target = Target::Open(below.as_fd());
        entry.xattrs = target.portable().context(Action::ReadXattr, path)?;
        self.write(&entry)?;
        if self.options.mode == Mode::Layer
            && target.is_opaque().context(Action::ReadXattr, path)?
        {
            self.write_whiteout([path, b"/.wh..wh..opq"].concat(), &entry)?;
        }
        Ok(Some(below))
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<(), TreeError> {
        // Not blocking, should a pipe have taken the name meanwhile.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(dir, name, flags, FileMode::empty()).context(Action::Open, path)?;
        let stat = fstat(&file).context(Action::Stat, path)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(TreeError::Changed { path: shown(path) });
        }
        if let Some(target) = self.linked_before(&stat, path) {
            return self.write(&described(path.to_vec(), Kind::HardLink { target }, &stat));
        }
        let mut entry = described(path.to_vec(), Kind::Regular, &stat);
        entry.size = stat.st_size.cast_unsigned();
        let target = Target::Open(file.as_fd());
        entry.xattrs = target.portable().context(Action::ReadXattr, path)?;
        self.count(&entry)?;
        let mut data = BufReader::with_capacity(FILE_BUFFER_LEN, std::fs::File::from(file));
        Ok(self.destination.append_with_data(&entry, &mut data)?)
    }

    /// A link, device or pipe.
    fn named(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
        kind: Kind,
    ) -> Result<(), TreeError> {
        if let Some(target) = self.linked_before(stat, path) {
            return self.write(&described(path.to_vec(), Kind::HardLink { target }, stat));
        }
        let mut entry = described(path.to_vec(), kind, stat);
        let target = Target::Named(dir, name);
        entry.xattrs = target.portable().context(Action::ReadXattr, path)?;
        self.write(&entry)
    }

    /// The first name of a file of which `path` is another one.
    fn linked_before(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let id = FileId::of(stat);
        match self.linked.get_mut(&id) {
            Some((_, left)) if *left == 1 => self.linked.remove(&id).map(|(first, _)| first),
            Some((first, left)) => {
                *left -= 1;
                Some(first.clone())
            }
            None => {
                if self.linked.len() < LINKED_MAX {
                    self.linked.insert(id, (path.to_vec(), stat.st_nlink - 1));
                }
                None
            }
        }
    }

    /// A whiteout is an empty file that only its name makes one.
    fn write_whiteout(&mut self, path: Vec<u8>, of: &Entry) -> Result<(), TreeError> {
        let mut entry = Entry::new(path, Kind::Regular);
        entry.mode = 0o600;
        entry.mtime = of.mtime;
        self.write(&entry)
    }

    fn write(&mut self, entry: &Entry) -> Result<(), TreeError> {
        self.count(entry)?;
        Ok(self.destination.append(entry)?)
    }

    fn count(&mut self, entry: &Entry) -> Result<(), TreeError> {
        let Limits {
            max_entries,
            max_bytes,
            max_path_len,
        } = self.options.limits;
        let limit = |what, limit| Err(ArchiveError::Limit { what, limit }.into());
        self.summary.entries += 1;
        self.summary.bytes = self.summary.bytes.saturating_add(entry.size);
        if self.summary.entries > max_entries {
            limit("entries", max_entries)
        } else if self.summary.bytes > max_bytes {
            limit("bytes", max_bytes)
        } else if entry.path.len() > max_path_len {
            limit("length of a name", max_path_len as u64)
        } else {
            Ok(())
        }
    }
}

/// Names in a directory, smallest first.
fn list(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Names, TreeError> {
    let mut names = Names::default();
    let mut buffer = [MaybeUninit::uninit(); DIRECTORY_BUFFER_LEN];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.context(Action::ReadDirectory, path)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn described(path: Vec<u8>, kind: Kind, stat: &Stat) -> Entry {
    Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: stat.st_mtime_nsec as u32,
        },
        size: 0,
        xattrs: Vec::new(),
    }
}

fn device(stat: &Stat) -> Device {
    Device {
        major: major(stat.st_rdev),
        minor: minor(stat.st_rdev),
    }
}
