//! One entry, as its headers together describe it.

/// Metadata of one entry. Names are bytes as they stand in the archive: a
/// reader vouches for their length and that they contain no NUL, and for
/// nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, not empty; `..` and a leading `/` included if it has them.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-user-ID, set-group-ID and sticky: `0o7777`.
    pub mode: u32,
    /// Owner; never `u32::MAX`, which system calls take for "unchanged".
    pub uid: u32,
    /// Group; never `u32::MAX`.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// Size of a regular file as `stat` will show it, holes included, in
    /// bytes; 0 for all others.
    pub size: u64,
    /// Extended attributes.
    pub xattrs: Vec<Xattr>,
}

impl Entry {
    /// An entry of root's, from 1970, with the ordinary mode of its kind.
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind) -> Entry {
        let mode = match kind {
            Kind::Directory => 0o755,
            Kind::Symlink { .. } => 0o777,
            _ => 0o644,
        };
        Entry {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: Timestamp::EPOCH,
            size: 0,
            xattrs: Vec::new(),
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file with all its bytes in the archive.
    Regular,
    /// A file with holes: the extents alone are in the archive, one behind
    /// the other. They ascend, do not touch each other's bytes, and lie
    /// within the size.
    Sparse {
        /// Where the stored bytes belong.
        extents: Vec<Extent>,
    },
    /// Another name of an entry before it.
    HardLink {
        /// That entry's name, not empty.
        target: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// What it says, not empty.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A directory.
    Directory,
}

/// A device's number, within Linux's bounds (12 and 20 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// A run of stored bytes of a sparse file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length, not 0.
    pub len: u64,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// With its namespace, as `security.capability`; 1 to 255 bytes, no NUL.
    pub name: Vec<u8>,
    /// Any bytes.
    pub value: Vec<u8>,
}

/// A point in time, before 1970 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds since 1970, rounded down.
    pub seconds: i64,
    /// Nanoseconds on top, below 10⁹.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// 1970-01-01 00:00:00 UTC.
    pub const EPOCH: Timestamp = Timestamp {
        seconds: 0,
        nanoseconds: 0,
    };
}
