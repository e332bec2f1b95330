//! The log of one container: JSON lines as Docker's `json-file` writes them,
//! rotated by size.

use std::io;
use std::os::fd::OwnedFd;

use carrack_supervision::LogFile;
use rustix::fs::{Mode, OFlags};

use crate::event_loop::Output;
use crate::log_line;

/// A line is cut into records of this length at most.
const MAX_RECORD_BYTES: usize = 16 << 10;

/// Where output goes.
pub(crate) struct Log {
    directory: OwnedFd,
    settings: LogFile,
    file: OwnedFd,
    size_bytes: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Log {
    /// Opens the log for appending.
    pub(crate) fn open(directory: OwnedFd, settings: LogFile) -> io::Result<Self> {
        let file = open_file(&directory, &settings.name)?;
        let size_bytes = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        Ok(Self {
            directory,
            settings,
            file,
            size_bytes,
            stdout: Vec::new(),
            stderr: Vec::new(),
        })
    }

    /// Records output: a record for each whole line, the rest is kept until
    /// its line ends or [`MAX_RECORD_BYTES`] are there.
    pub(crate) fn write(&mut self, which: Output, bytes: &[u8], now_ns: u64) {
        let mut pending = std::mem::take(self.pending(which));
        let mut records = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = line;
            while !rest.is_empty() {
                let room = MAX_RECORD_BYTES - pending.len();
                let (part, more) = rest.split_at(room.min(rest.len()));
                pending.extend_from_slice(part);
                rest = more;
                if pending.ends_with(b"\n") || pending.len() == MAX_RECORD_BYTES {
                    self.add(&mut records, &pending, which, now_ns);
                    pending.clear();
                }
            }
        }
        if pending.is_empty() {
            pending = Vec::new();
        }
        *self.pending(which) = pending;
        self.append(&records);
    }

    /// Adds a record to those that are written at once; a file that would
    /// grow beyond its size gets what there is, and the record starts a new
    /// one.
    fn add(&mut self, records: &mut Vec<u8>, text: &[u8], which: Output, now_ns: u64) {
        let before = records.len();
        log_line::append(records, text, stream_name(which), now_ns);
        let grown = self.size_bytes.saturating_add(records.len() as u64);
        if before > 0 && grown > self.settings.max_size_bytes {
            self.append(&records[..before]);
            records.drain(..before);
        }
    }

    /// Records what is left of an output that ended.
    pub(crate) fn end(&mut self, which: Output, now_ns: u64) {
        let pending = std::mem::take(self.pending(which));
        if !pending.is_empty() {
            let mut records = Vec::new();
            log_line::append(&mut records, &pending, stream_name(which), now_ns);
            self.append(&records);
        }
    }

    /// Output that is not recorded yet, as its line is not whole.
    pub(crate) fn begun(&self, which: Output) -> &[u8] {
        match which {
            Output::Stdout => &self.stdout,
            Output::Stderr => &self.stderr,
        }
    }

    fn pending(&mut self, which: Output) -> &mut Vec<u8> {
        match which {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    /// Writes whole records. A disk that is full loses records, not the
    /// container.
    fn append(&mut self, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        let length = records.len() as u64;
        if self.size_bytes > 0
            && self.size_bytes.saturating_add(length) > self.settings.max_size_bytes
        {
            // On failure the old file simply goes on.
            let _too_large = self.rotate();
        }
        let mut rest = records;
        while !rest.is_empty() {
            match rustix::io::write(&self.file, rest) {
                Ok(count) => rest = &rest[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        if rest.is_empty() {
            self.size_bytes += length;
        } else if rest.len() < records.len() {
            // A part of a record would spoil the next one as well.
            let _still_full = rustix::fs::ftruncate(&self.file, self.size_bytes);
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let name = &self.settings.name;
        for number in (1..self.settings.max_files.saturating_sub(1)).rev() {
            // A number that is missing has nothing to move.
            let _missing = rustix::fs::renameat(
                &self.directory,
                format!("{name}.{number}"),
                &self.directory,
                format!("{name}.{}", number + 1),
            );
        }
        if self.settings.max_files > 1 {
            rustix::fs::renameat(
                &self.directory,
                name.as_str(),
                &self.directory,
                format!("{name}.1"),
            )?;
        } else {
            rustix::fs::unlinkat(&self.directory, name.as_str(), rustix::fs::AtFlags::empty())?;
        }
        self.file = open_file(&self.directory, name)?;
        self.size_bytes = 0;
        Ok(())
    }
}

fn stream_name(which: Output) -> &'static str {
    match which {
        Output::Stdout => "stdout",
        Output::Stderr => "stderr",
    }
}

fn open_file(directory: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        directory,
        name,
        OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::from_raw_mode(0o640),
    )?)
}
