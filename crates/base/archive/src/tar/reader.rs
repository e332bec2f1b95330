//! Reads a tar stream entry by entry.

use std::io::{self, BufRead, BufReader, Read};

use super::entry::{Device, Entry, Kind, Timestamp};
use super::header::{self, Header, OCTAL_11_MAX};
use super::pax::{self, BadRecord, Pax};
use super::{BLOCK_LEN, sparse};
use crate::error::shown;
use crate::{ArchiveError, Limits};

/// Bytes read from the source at a time.
const BUFFER_LEN: usize = 128 * 1024;
/// Largest minor and major number of a device (`dev_t` of Linux).
const MAJOR_MAX: i64 = 0xfff;
const MINOR_MAX: i64 = 0xf_ffff;

/// Reads entries from a stream, in bounded memory.
///
/// It stops at the two blocks of zeros that end an archive, or where the
/// stream ends between two entries; what stands behind the end stays in the
/// source (see [`TarReader::into_inner`]).
#[derive(Debug)]
pub struct TarReader<R> {
    source: BufReader<R>,
    limits: Limits,
    /// Bytes taken from the source so far.
    offset: u64,
    /// Stored bytes of the current entry that were not read yet.
    left: u64,
    /// Padding behind them.
    padding: usize,
    entries: u64,
    bytes: u64,
    /// What a global header said; it holds until the next one.
    global: Pax,
    done: bool,
}

/// Headers that describe the entry behind them.
#[derive(Default)]
struct Pending {
    pax: Option<Pax>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_path.is_none() && self.long_link.is_none()
    }
}

impl<R: Read> TarReader<R> {
    /// Reads from `source`, which is uncompressed.
    pub fn new(source: R, limits: Limits) -> TarReader<R> {
        TarReader {
            source: BufReader::with_capacity(BUFFER_LEN, source),
            limits,
            offset: 0,
            left: 0,
            padding: 0,
            entries: 0,
            bytes: 0,
            global: Pax::default(),
            done: false,
        }
    }

    /// The next entry, or `None` at the archive's end. Data of the entry
    /// before that was not read is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.skip_data()?;
        let mut pending = Pending::default();
        while !self.done {
            let offset = self.offset;
            let Some(header) = self.read_header()? else {
                self.done = true;
                break;
            };
            match header.type_flag() {
                b'x' | b'X' => {
                    let pax = self.read_pax(&header, offset)?;
                    once(&mut pending.pax, pax, "extended header", offset)?;
                }
                b'g' => {
                    self.count_entry()?;
                    let pax = self.read_pax(&header, offset)?;
                    if pax.moves_or_renames() {
                        let what = "global header that names or sizes entries";
                        return Err(ArchiveError::Contradiction { what, offset });
                    }
                    self.global = pax;
                }
                b'L' => {
                    let path = self.read_long_name(&header, offset)?;
                    once(&mut pending.long_path, path, "long name", offset)?;
                }
                b'K' => {
                    let target = self.read_long_name(&header, offset)?;
                    once(&mut pending.long_link, target, "long link", offset)?;
                }
                // GNU's volume label: a remark.
                b'V' => {
                    self.count_entry()?;
                    self.left = self.size_field(&header, offset)?;
                    self.padding = padding(self.left);
                    self.skip_data()?;
                }
                _ => {
                    self.count_entry()?;
                    return self.entry(&header, offset, pending).map(Some);
                }
            }
        }
        if pending.is_empty() {
            Ok(None)
        } else {
            Err(ArchiveError::Truncated)
        }
    }

    /// Stored bytes of the entry returned last.
    pub fn data(&mut self) -> Data<'_, R> {
        Data { reader: self }
    }

    /// Gives the source back. Up to [`BufReader`]'s buffer of bytes behind
    /// the last entry were taken from it.
    pub fn into_inner(self) -> R {
        self.source.into_inner()
    }

    /// Entries so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Sum of the sizes of the entries so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn entry(
        &mut self,
        header: &Header,
        offset: u64,
        pending: Pending,
    ) -> Result<Entry, ArchiveError> {
        let Pending {
            pax,
            long_path,
            long_link,
        } = pending;
        let mut pax = pax.unwrap_or_default();
        let flag = header.type_flag();

        let path = agree(pax.path.take(), long_path, "names", offset)?;
        let path = match (pax.sparse.name.take(), path) {
            (Some(name), _) if matches!(flag, 0 | b'0' | b'7') => name,
            (_, Some(path)) => path,
            _ => header.path(),
        };
        self.check_name(&path, "path", offset)?;
        let link = agree(pax.link_path.take(), long_link, "link targets", offset)?;

        let stored = self.stored_size(header, &pax, offset)?;
        let kind = match flag {
            // Before POSIX, a directory was a file with a slash behind it.
            0 if path.last() == Some(&b'/') => Kind::Directory,
            // A file for some readers, a directory for others.
            b'0' | b'7' | b'S' if path.last() == Some(&b'/') => {
                let what = "a file, and a directory's name";
                return Err(ArchiveError::Contradiction { what, offset });
            }
            0 | b'0' | b'7' | b'S' => Kind::Regular,
            b'1' | b'2' => {
                let target = link.unwrap_or_else(|| header.link_name().to_vec());
                self.check_name(&target, "link target", offset)?;
                match flag {
                    b'1' => Kind::HardLink { target },
                    _ => Kind::Symlink { target },
                }
            }
            b'3' => Kind::CharDevice(device(header, offset)?),
            b'4' => Kind::BlockDevice(device(header, offset)?),
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => {
                return Err(ArchiveError::EntryKind {
                    kind: char::from(flag),
                    path: shown(&path),
                });
            }
        };

        let mut entry = Entry {
            path,
            kind,
            mode: mode(header, offset)?,
            uid: self.id(header, header::UID, pax.uid, self.global.uid, offset)?,
            gid: self.id(header, header::GID, pax.gid, self.global.gid, offset)?,
            mtime: match pax.mtime.or(self.global.mtime) {
                Some(mtime) => mtime,
                None => Timestamp {
                    seconds: field(header, header::MTIME, offset)?,
                    nanoseconds: 0,
                },
            },
            size: 0,
            xattrs: std::mem::take(&mut pax.xattrs),
        };
        match &entry.kind {
            Kind::Regular => {
                self.left = stored;
                self.padding = padding(stored);
                entry.size = stored;
                self.read_sparse(header, offset, pax, &mut entry)?;
            }
            // Historic tars give a hard link its file's size, and no data.
            Kind::HardLink { .. } => {}
            // Some readers skip data here, others do not.
            _ if stored != 0 => {
                let what = "a size, and a kind that has no data";
                return Err(ArchiveError::Contradiction { what, offset });
            }
            _ => {}
        }
        self.count_bytes(entry.size)?;
        Ok(entry)
    }

    /// The one size that all readers agree on. POSIX lets the extended
    /// header win; some readers believe the other one, and then find headers
    /// where there is data.
    fn stored_size(&self, header: &Header, pax: &Pax, offset: u64) -> Result<u64, ArchiveError> {
        let plain = self.size_field(header, offset)?;
        match pax.size {
            None => Ok(plain),
            Some(size) if size == plain || size > OCTAL_11_MAX => Ok(size),
            Some(_) => Err(ArchiveError::Contradiction {
                what: "sizes",
                offset,
            }),
        }
    }

    /// Finds out whether a regular file is a sparse one, and reads its map.
    fn read_sparse(
        &mut self,
        header: &Header,
        offset: u64,
        pax: Pax,
        entry: &mut Entry,
    ) -> Result<(), ArchiveError> {
        const FIELD: &str = "sparse map";
        let bad = || ArchiveError::Field {
            field: FIELD,
            offset,
        };
        let (extents, real_size) = if header.type_flag() == b'S' {
            let real_size = field(header, header::GNU_REAL_SIZE, offset)?;
            let real_size = u64::try_from(real_size).map_err(|_| bad())?;
            let mut extents = Vec::new();
            let mut more = sparse::from_header(header, &mut extents).ok_or_else(bad)?;
            while more {
                let block = self.read_block()?.ok_or(ArchiveError::Truncated)?;
                more = sparse::from_extension(&block, &mut extents).ok_or_else(bad)?;
                // An empty block that asks for another would never end.
                if more && block[..24] == [0; 24] {
                    return Err(bad());
                }
            }
            (extents, real_size)
        } else if pax.sparse.version == Some((1, 0)) {
            let real_size = pax.sparse.real_size.ok_or_else(bad)?;
            (self.read_sparse_map(bad)?, real_size)
        } else if let Some(extents) = pax.sparse.extents {
            (extents, pax.sparse.real_size.ok_or_else(bad)?)
        } else if pax.sparse.version.is_some() || pax.sparse.real_size.is_some() {
            return Err(bad());
        } else {
            return Ok(());
        };
        if !sparse::is_consistent(&extents, real_size, self.left)
            || i64::try_from(real_size).is_err()
        {
            return Err(bad());
        }
        entry.size = real_size;
        entry.kind = Kind::Sparse { extents };
        Ok(())
    }

    fn read_sparse_map(
        &mut self,
        bad: impl Fn() -> ArchiveError,
    ) -> Result<Vec<super::Extent>, ArchiveError> {
        let mut map = sparse::MapReader::default();
        loop {
            self.left = self.left.checked_sub(BLOCK_LEN as u64).ok_or_else(&bad)?;
            let block = self.read_block()?.ok_or(ArchiveError::Truncated)?;
            if map.feed(&block).ok_or_else(&bad)? {
                return Ok(map.finish());
            }
        }
    }

    fn id(
        &self,
        header: &Header,
        which: header::Field,
        pax: Option<u32>,
        global: Option<u32>,
        offset: u64,
    ) -> Result<u32, ArchiveError> {
        if let Some(id) = pax.or(global) {
            return Ok(id);
        }
        let id = field(header, which, offset)?;
        match u32::try_from(id) {
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(ArchiveError::Field {
                field: which.0,
                offset,
            }),
        }
    }

    fn size_field(&self, header: &Header, offset: u64) -> Result<u64, ArchiveError> {
        let size = field(header, header::SIZE, offset)?;
        u64::try_from(size).map_err(|_| ArchiveError::Field {
            field: header::SIZE.0,
            offset,
        })
    }

    fn check_name(&self, name: &[u8], what: &'static str, offset: u64) -> Result<(), ArchiveError> {
        if name.is_empty() {
            return Err(ArchiveError::Field {
                field: what,
                offset,
            });
        }
        if name.len() > self.limits.max_path_len {
            return Err(ArchiveError::Limit {
                what: "length of a name",
                limit: self.limits.max_path_len as u64,
            });
        }
        Ok(())
    }

    fn count_entry(&mut self) -> Result<(), ArchiveError> {
        if self.entries >= self.limits.max_entries {
            return Err(ArchiveError::Limit {
                what: "entries",
                limit: self.limits.max_entries,
            });
        }
        self.entries += 1;
        Ok(())
    }

    fn count_bytes(&mut self, size: u64) -> Result<(), ArchiveError> {
        let bytes = self.bytes.checked_add(size);
        match bytes.filter(|bytes| *bytes <= self.limits.max_bytes) {
            Some(bytes) => {
                self.bytes = bytes;
                Ok(())
            }
            None => Err(ArchiveError::Limit {
                what: "bytes",
                limit: self.limits.max_bytes,
            }),
        }
    }

    /// The next header that is not blank, or `None` at the end.
    fn read_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let offset = self.offset;
        let Some(block) = self.read_block()? else {
            return Ok(None);
        };
        let header = Header(block);
        if header.is_blank() {
            // One blank block, then the end, is what careless writers leave;
            // one blank block amid entries ends the archive for some readers
            // and not for others.
            return match self.read_block()?.map(Header) {
                None => Ok(None),
                Some(second) if second.is_blank() => Ok(None),
                Some(_) => Err(ArchiveError::Contradiction {
                    what: "an end, and more behind it",
                    offset,
                }),
            };
        }
        if !header.checksum_matches() {
            return Err(ArchiveError::Checksum { offset });
        }
        Ok(Some(header))
    }

    fn read_pax(&mut self, header: &Header, offset: u64) -> Result<Pax, ArchiveError> {
        let data = self.read_extension(header, offset, pax::HEADER_LEN_MAX)?;
        Pax::parse(&data).map_err(|BadRecord(field)| ArchiveError::Field { field, offset })
    }

    fn read_long_name(&mut self, header: &Header, offset: u64) -> Result<Vec<u8>, ArchiveError> {
        // With the NUL behind it.
        let limit = self.limits.max_path_len as u64 + 1;
        let mut name = self.read_extension(header, offset, limit)?;
        let end = name.iter().position(|byte| *byte == 0);
        let end = end.unwrap_or(name.len());
        if name[end..].iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Field {
                field: "long name",
                offset,
            });
        }
        name.truncate(end);
        Ok(name)
    }

    fn read_extension(
        &mut self,
        header: &Header,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<u8>, ArchiveError> {
        let len = self.size_field(header, offset)?;
        if len > limit {
            return Err(ArchiveError::Limit {
                what: "length of an extended header",
                limit,
            });
        }
        self.left = len;
        self.padding = padding(len);
        let mut data = Vec::with_capacity(len as usize);
        self.data()
            .read_to_end(&mut data)
            .map_err(ArchiveError::from_read)?;
        self.skip_data()?;
        Ok(data)
    }

    /// The next block, or `None` where the stream ends in front of it.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK_LEN]>, ArchiveError> {
        let mut block = [0; BLOCK_LEN];
        let mut filled = 0;
        while filled < BLOCK_LEN {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ArchiveError::Truncated),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::from_read(error)),
            }
        }
        self.offset += BLOCK_LEN as u64;
        Ok(Some(block))
    }

    fn skip_data(&mut self) -> Result<(), ArchiveError> {
        let mut left = self.left + self.padding as u64;
        while left > 0 {
            let available = match self.source.fill_buf() {
                Ok([]) => return Err(ArchiveError::Truncated),
                Ok(bytes) => bytes.len() as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArchiveError::from_read(error)),
            };
            let taken = available.min(left);
            self.source.consume(taken as usize);
            self.offset += taken;
            left -= taken;
        }
        self.left = 0;
        self.padding = 0;
        Ok(())
    }
}

/// Stored bytes of one entry. A stream that ends among them is an error of
/// the read that meets it.
#[derive(Debug)]
pub struct Data<'a, R> {
    reader: &'a mut TarReader<R>,
}

impl<R: Read> BufRead for Data<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.reader.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.reader.source.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                ArchiveError::Truncated,
            ));
        }
        let len = bytes.len() as u64;
        Ok(&bytes[..len.min(self.reader.left) as usize])
    }

    fn consume(&mut self, len: usize) {
        let len = self.reader.left.min(len as u64);
        self.reader.source.consume(len as usize);
        self.reader.left -= len;
        self.reader.offset += len;
    }
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let len = available.len().min(buffer.len());
        buffer[..len].copy_from_slice(&available[..len]);
        self.consume(len);
        Ok(len)
    }
}

fn padding(len: u64) -> usize {
    (len.wrapping_neg() % BLOCK_LEN as u64) as usize
}

fn field(header: &Header, which: header::Field, offset: u64) -> Result<i64, ArchiveError> {
    header.number(which).ok_or(ArchiveError::Field {
        field: which.0,
        offset,
    })
}

fn mode(header: &Header, offset: u64) -> Result<u32, ArchiveError> {
    // Some writers put the file's type above the permission bits.
    match u32::try_from(field(header, header::MODE, offset)?) {
        Ok(mode) => Ok(mode & 0o7777),
        Err(_) => Err(ArchiveError::Field {
            field: header::MODE.0,
            offset,
        }),
    }
}

fn device(header: &Header, offset: u64) -> Result<Device, ArchiveError> {
    let part = |which: header::Field, max: i64| {
        let number = field(header, which, offset)?;
        match u32::try_from(number) {
            Ok(part) if number <= max => Ok(part),
            _ => Err(ArchiveError::Field {
                field: which.0,
                offset,
            }),
        }
    };
    Ok(Device {
        major: part(header::DEV_MAJOR, MAJOR_MAX)?,
        minor: part(header::DEV_MINOR, MINOR_MAX)?,
    })
}

fn once<T>(
    slot: &mut Option<T>,
    value: T,
    what: &'static str,
    offset: u64,
) -> Result<(), ArchiveError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ArchiveError::Contradiction { what, offset }),
    }
}

/// A name that two headers may give must be one name: readers differ in
/// which of them they believe.
fn agree(
    pax: Option<Vec<u8>>,
    gnu: Option<Vec<u8>>,
    what: &'static str,
    offset: u64,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    match (pax, gnu) {
        (Some(pax), Some(gnu)) if pax != gnu => Err(ArchiveError::Contradiction { what, offset }),
        (pax, gnu) => Ok(pax.or(gnu)),
    }
}
