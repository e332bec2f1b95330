//! The directories' modes and times, which hold only once nothing is written
//! into them any more. A layer may have a million directories, so what does
//! not fit a small buffer waits in an unnamed file.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fchmod, futimens, openat};
use rustix::io::Errno;

use super::attributes;
use super::parents::resolve;
use crate::error::Context;
use crate::tar::Timestamp;
use crate::tree::OPEN_DIRECTORY;
use crate::{Action, TreeError};

/// Records kept in memory, in bytes.
const MEMORY_MAX: usize = 256 * 1024;
/// Seconds, nanoseconds, mode, length of the path.
const RECORD_LEN: usize = 8 + 4 + 2 + 2;
/// Bits without which a directory could not be filled.
const OWNER_ALL: u32 = 0o700;

/// What is left to do when all entries are written.
#[derive(Default)]
pub(super) struct DirectoryTimes {
    memory: Vec<u8>,
    spilled: Option<File>,
}

impl DirectoryTimes {
    /// Notes a directory. A later note for the same path wins.
    pub(super) fn note(
        &mut self,
        root: BorrowedFd<'_>,
        path: &[u8],
        mtime: Timestamp,
        mode: u32,
    ) -> Result<(), TreeError> {
        let (mode, len) = match (u16::try_from(mode), u16::try_from(path.len())) {
            (Ok(mode), Ok(len)) => (mode, len),
            _ => return Err(io::Error::from(Errno::NAMETOOLONG)).context(Action::KeepTimes, path),
        };
        if self.memory.len() + RECORD_LEN + path.len() > MEMORY_MAX {
            self.spill(root).context(Action::KeepTimes, path)?;
        }
        self.memory.extend(mtime.seconds.to_ne_bytes());
        self.memory.extend(mtime.nanoseconds.to_ne_bytes());
        self.memory.extend(mode.to_ne_bytes());
        self.memory.extend(len.to_ne_bytes());
        self.memory.extend(path);
        Ok(())
    }

    /// Sets all of them. What is no directory any more is left alone.
    pub(super) fn apply(mut self, root: BorrowedFd<'_>) -> Result<(), TreeError> {
        if let Some(mut file) = self.spilled.take() {
            file.rewind().context(Action::KeepTimes, b"")?;
            apply_all(root, BufReader::new(file))?;
        }
        apply_all(root, &self.memory[..])
    }

    fn spill(&mut self, root: BorrowedFd<'_>) -> io::Result<()> {
        let file = match &mut self.spilled {
            Some(file) => file,
            none => none.insert(unnamed_file(root)?),
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        Ok(())
    }
}

/// On the destination's own file system where that can do it: the system's
/// temporary directory is often memory.
fn unnamed_file(root: BorrowedFd<'_>) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match openat(root, ".", flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(File::from(file)),
        Err(_) => tempfile::tempfile(),
    }
}

fn apply_all(root: BorrowedFd<'_>, mut records: impl Read) -> Result<(), TreeError> {
    let mut path = Vec::new();
    while let Some((mtime, mode)) =
        read_record(&mut records, &mut path).context(Action::KeepTimes, b"")?
    {
        let dir: OwnedFd = match resolve(root, &path, OPEN_DIRECTORY) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => return Err(error).context(Action::SetTimes, &path),
        };
        fchmod(&dir, Mode::from_raw_mode(mode)).context(Action::SetMode, &path)?;
        futimens(&dir, &attributes::times(mtime)).context(Action::SetTimes, &path)?;
    }
    Ok(())
}

fn read_record(
    records: &mut impl Read,
    path: &mut Vec<u8>,
) -> io::Result<Option<(Timestamp, u32)>> {
    let mut record = [0; RECORD_LEN];
    match records.read_exact(&mut record) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (seconds, rest) = record.split_first_chunk().expect("invariant: 16 bytes");
    let (nanoseconds, rest) = rest.split_first_chunk().expect("invariant: 8 bytes");
    let (mode, rest) = rest.split_first_chunk().expect("invariant: 4 bytes");
    let (len, _) = rest.split_first_chunk().expect("invariant: 2 bytes");
    path.resize(usize::from(u16::from_ne_bytes(*len)), 0);
    records.read_exact(path)?;
    let mtime = Timestamp {
        seconds: i64::from_ne_bytes(*seconds),
        nanoseconds: u32::from_ne_bytes(*nanoseconds),
    };
    Ok(Some((mtime, u32::from(u16::from_ne_bytes(*mode)))))
}

/// The mode that a directory has while entries are written into it.
pub(super) fn mode_while_filled(mode: u32) -> u32 {
    mode | OWNER_ALL
}
