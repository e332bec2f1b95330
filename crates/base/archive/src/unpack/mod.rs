//! A tar stream into a directory, and nowhere else.
//!
//! `image/snapshots` unpacks layers, the façades the archive of a `docker cp`
//! and of an import. The destination is a directory *descriptor*; every name
//! is resolved below it by the kernel, so that neither what the archive says
//! nor what a container does meanwhile leads out of it. Nothing is ever
//! followed, changed or opened by a whole path.
//!
//! Names are treated as docker treats them: `.` and `..` are resolved in the
//! text, absolute names begin at the root, a relative name that climbs above
//! the root is [`TreeError::Breakout`]. Links in the middle of a name are
//! followed as in a chroot; one at its end is replaced. A symbolic link's own
//! target is data, whatever it says. On an error, what was written stays: the
//! caller owns the directory.

mod attributes;
mod name;
mod node;
mod parents;
#[cfg(test)]
mod tests;
mod times;

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use crate::error::shown;
use crate::tar::{Entry, Kind, TarReader};
use crate::{Limits, TreeError};
use name::{LayerName, TreePath};
use parents::Parents;
use times::DirectoryTimes;

/// How an archive is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What its names mean.
    pub mode: Mode,
    /// To whom its files belong.
    pub ownership: Ownership,
    /// What may be overwritten.
    pub overwrite: Overwrite,
    /// How much of it is taken.
    pub limits: Limits,
}

impl Options {
    /// An image layer into its own directory.
    pub fn layer(limits: Limits) -> Options {
        Options {
            mode: Mode::Layer,
            ownership: Ownership::FromArchive,
            overwrite: Overwrite::Anything,
            limits,
        }
    }

    /// A plain archive over what is there.
    pub fn plain(limits: Limits) -> Options {
        Options {
            mode: Mode::Plain,
            ..Options::layer(limits)
        }
    }
}

/// What names in an archive mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An image layer: `.wh.name` and `.wh..wh..opq` become overlayfs' forms,
    /// a 0:0 character device and `trusted.overlay.opaque`. The archive's
    /// root entry sets the destination's own attributes.
    Layer,
    /// Names are names. The archive's root entry is skipped.
    Plain,
}

/// To whom unpacked files belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// As the archive says; needs CAP_CHOWN.
    FromArchive,
    /// Everything to one user and group (docker's `copyUIDGID`).
    Fixed {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// To the caller: nothing is changed.
    Unchanged,
}

/// What may be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Whatever has an entry's name.
    Anything,
    /// No directory by something else and the reverse (docker's
    /// `noOverwriteDirNonDir`).
    SameKind,
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Sum of the files' sizes.
    pub bytes: u64,
    /// Extended attributes that were left out: another machine's labels,
    /// overlayfs' own, or what the file system does not take.
    pub ignored_xattrs: u64,
    /// The layer's root is opaque: it hides everything below it. overlayfs
    /// does not look for the mark there, so whoever stacks layers stops at
    /// this one.
    pub opaque_root: bool,
}

/// Unpacks `source`, an uncompressed tar stream, below `root`.
///
/// Blocks; memory does not grow with the archive. The source is given back
/// so that what stands behind the archive's end can be read; up to 128 KiB of
/// that were read already.
pub fn unpack<R: Read>(
    root: impl AsFd,
    source: R,
    options: &Options,
) -> Result<(Summary, R), TreeError> {
    let root = root.as_fd();
    let mut reader = TarReader::new(source, options.limits);
    let mut unpacker = Unpacker {
        root,
        options: *options,
        parents: Parents::new(root),
        times: DirectoryTimes::default(),
        summary: Summary::default(),
    };
    while let Some(entry) = reader.next_entry()? {
        unpacker.entry(&entry, &mut reader)?;
    }
    unpacker.times.apply(root)?;
    let mut summary = unpacker.summary;
    summary.entries = reader.entries();
    summary.bytes = reader.bytes();
    Ok((summary, reader.into_inner()))
}

struct Unpacker<'a> {
    root: BorrowedFd<'a>,
    options: Options,
    parents: Parents<'a>,
    times: DirectoryTimes,
    summary: Summary,
}

impl Unpacker<'_> {
    fn entry<R: Read>(
        &mut self,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), TreeError> {
        let path = TreePath::parse(&entry.path)?;
        if self.options.mode == Mode::Layer {
            match LayerName::of(&path)? {
                LayerName::Ordinary => {}
                LayerName::Ignored => return Ok(()),
                LayerName::Whiteout { parent, hidden } => return self.whiteout(parent, hidden),
                LayerName::Opaque { dir } => return self.opaque(dir),
            }
        }
        let Some((parent, name)) = path.split() else {
            return self.root_entry(entry);
        };
        let dir = self.parent(parent)?;
        let place = node::Place {
            dir: dir.as_fd(),
            name,
            path: path.as_bytes(),
        };
        match &entry.kind {
            Kind::Directory => self.directory(place, entry),
            Kind::Regular | Kind::Sparse { .. } => self.file(place, entry, reader),
            Kind::Symlink { target } => self.symlink(place, entry, target),
            Kind::HardLink { target } => self.hard_link(place, target),
            Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo => self.node(place, entry),
        }
    }

    /// The directory that an entry goes into, made where it is missing.
    fn parent(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, TreeError> {
        let options = self.options;
        self.parents.open(path, |dir, name, path| {
            node::make_implied(&node::Place { dir, name, path }, &options)
        })
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<(), TreeError> {
        match (&entry.kind, self.options.mode) {
            (Kind::Directory, Mode::Plain) => Ok(()),
            (Kind::Directory, Mode::Layer) => {
                let root = self.root;
                self.summary.ignored_xattrs += node::set_directory(
                    node::open_again(root)?.as_fd(),
                    entry,
                    self.options.ownership,
                    b"",
                )?;
                self.times.note(root, b"", entry.mtime, entry.mode)
            }
            _ => Err(TreeError::Name {
                path: shown(&entry.path),
            }),
        }
    }
}
