//! Writes a tar stream: POSIX ustar, with a PAX header where an entry needs
//! one. The same entries give the same bytes.

use std::io::{self, Read, Write};

use super::entry::{Entry, Kind, Timestamp};
use super::header::{self, Header, OCTAL_7_MAX, OCTAL_11_MAX};
use super::{BLOCK_LEN, pax};
use crate::ArchiveError;
use crate::error::shown;

/// Bytes copied at a time.
const BUFFER_LEN: usize = 64 * 1024;
const NAME_LEN_MAX: usize = 100;
const PREFIX_LEN_MAX: usize = 155;

/// How exactly times of modification are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimePrecision {
    /// Whole seconds, as layers have them.
    #[default]
    Seconds,
    /// A PAX record where there is more.
    Nanoseconds,
}

/// Writes entries to a stream.
#[derive(Debug)]
pub struct TarWriter<W> {
    destination: W,
    precision: TimePrecision,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// Writes to `destination`, in pieces: give it something buffered.
    pub fn new(destination: W, precision: TimePrecision) -> TarWriter<W> {
        TarWriter {
            destination,
            precision,
            buffer: Vec::new(),
        }
    }

    /// Writes an entry without data: anything but a file with bytes in it.
    pub fn append(&mut self, entry: &Entry) -> Result<(), ArchiveError> {
        self.append_with_data(entry, &mut io::empty())
    }

    /// Writes an entry and `entry.size` bytes of `data`. A sparse file is
    /// written as a regular one, so `data` has its holes as zeros.
    ///
    /// [`ArchiveError::ShortData`] when `data` ends before; what was written
    /// is then no archive. More than that is left in `data`.
    pub fn append_with_data(
        &mut self,
        entry: &Entry,
        data: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let size = match entry.kind {
            Kind::Regular | Kind::Sparse { .. } => entry.size,
            _ => 0,
        };
        self.write_headers(entry, size)?;
        self.write_data(entry, size, data)
    }

    /// Writes the archive's end and gives the destination back.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        self.write(&[0; 2 * BLOCK_LEN])?;
        self.destination.flush().map_err(ArchiveError::Write)?;
        Ok(self.destination)
    }

    fn write_headers(&mut self, entry: &Entry, size: u64) -> Result<(), ArchiveError> {
        let (header, records) = encode(entry, size, self.precision);
        if !records.is_empty() {
            let mut extended = Header::zeroed();
            extended.set_name(b"PaxHeaders.0/entry", b"");
            extended.set_type_flag(b'x');
            extended.set_number(header::MODE, 0o644);
            for field in [header::UID, header::GID, header::MTIME] {
                extended.set_number(field, 0);
            }
            extended.set_number(header::SIZE, records.len() as u64);
            extended.seal();
            self.write(&extended.0)?;
            self.write(&records)?;
            self.write_padding(records.len() as u64)?;
        }
        self.write(&header.0)
    }

    fn write_data(
        &mut self,
        entry: &Entry,
        size: u64,
        data: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let mut left = size;
        if left > 0 {
            self.buffer.resize(BUFFER_LEN, 0);
        }
        while left > 0 {
            let wanted = left.min(BUFFER_LEN as u64) as usize;
            match data.read(&mut self.buffer[..wanted]) {
                Ok(0) => {
                    return Err(ArchiveError::ShortData {
                        path: shown(&entry.path),
                    });
                }
                Ok(read) => {
                    self.destination
                        .write_all(&self.buffer[..read])
                        .map_err(ArchiveError::Write)?;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::from_read(error)),
            }
        }
        self.write_padding(size)
    }

    fn write_padding(&mut self, len: u64) -> Result<(), ArchiveError> {
        let padding = (len.wrapping_neg() % BLOCK_LEN as u64) as usize;
        self.write(&[0; BLOCK_LEN][..padding])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.destination
            .write_all(bytes)
            .map_err(ArchiveError::Write)
    }
}

/// The header of an entry, and the PAX records it needs.
fn encode(entry: &Entry, size: u64, precision: TimePrecision) -> (Header, Vec<u8>) {
    let mut header = Header::zeroed();
    let mut records = Vec::new();

    let mut path = entry.path.clone();
    if entry.kind == Kind::Directory && path.last() != Some(&b'/') {
        path.push(b'/');
    }
    match split(&path) {
        Some((prefix, name)) => header.set_name(name, prefix),
        None => {
            pax::write_record(&mut records, b"path", &path);
            header.set_name(&path[..NAME_LEN_MAX], b"");
        }
    }
    if let Kind::HardLink { target } | Kind::Symlink { target } = &entry.kind {
        let len = target.len().min(NAME_LEN_MAX);
        header.set_link_name(&target[..len]);
        if len < target.len() {
            pax::write_record(&mut records, b"linkpath", target);
        }
    }
    header.set_type_flag(type_flag(&entry.kind));
    header.set_number(header::MODE, u64::from(entry.mode & 0o7777));

    let mut number = |field, value: u64, max, key: &[u8]| {
        if value > max {
            pax::write_record(&mut records, key, value.to_string().as_bytes());
            header.set_number(field, 0);
        } else {
            header.set_number(field, value);
        }
    };
    number(header::UID, u64::from(entry.uid), OCTAL_7_MAX, b"uid");
    number(header::GID, u64::from(entry.gid), OCTAL_7_MAX, b"gid");
    number(header::SIZE, size, OCTAL_11_MAX, b"size");

    let (major, minor) = match entry.kind {
        Kind::CharDevice(device) | Kind::BlockDevice(device) => (device.major, device.minor),
        _ => (0, 0),
    };
    header.set_number(header::DEV_MAJOR, u64::from(major));
    header.set_number(header::DEV_MINOR, u64::from(minor));

    let mtime = match precision {
        TimePrecision::Nanoseconds => entry.mtime,
        TimePrecision::Seconds => Timestamp {
            nanoseconds: 0,
            ..entry.mtime
        },
    };
    match u64::try_from(mtime.seconds) {
        Ok(seconds) if seconds <= OCTAL_11_MAX => {
            header.set_number(header::MTIME, seconds);
            if mtime.nanoseconds != 0 {
                let text = pax::format_timestamp(mtime);
                pax::write_record(&mut records, b"mtime", text.as_bytes());
            }
        }
        _ => {
            header.set_number(header::MTIME, 0);
            let text = pax::format_timestamp(mtime);
            pax::write_record(&mut records, b"mtime", text.as_bytes());
        }
    }

    let mut xattrs: Vec<_> = entry.xattrs.iter().collect();
    xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    for xattr in xattrs {
        pax::write_xattr(&mut records, xattr);
    }
    header.seal();
    (header, records)
}

fn type_flag(kind: &Kind) -> u8 {
    match kind {
        Kind::Regular | Kind::Sparse { .. } => b'0',
        Kind::HardLink { .. } => b'1',
        Kind::Symlink { .. } => b'2',
        Kind::CharDevice(_) => b'3',
        Kind::BlockDevice(_) => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// Splits a path at a slash into a prefix and a name that fit a header.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME_LEN_MAX {
        return Some((b"", path));
    }
    // The earliest slash that leaves a name short enough; never the one that
    // marks a directory.
    let from = path.len() - NAME_LEN_MAX - 1;
    let slash = from
        + path[from..path.len() - 1]
            .iter()
            .position(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && prefix.len() <= PREFIX_LEN_MAX).then_some((prefix, name))
}
