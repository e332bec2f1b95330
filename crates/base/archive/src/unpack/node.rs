//! Making what an entry describes, at one name in one open directory.

use std::io::{BufRead, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dev, FileType, Gid, Mode as FileMode, OFlags, Stat, Uid, XattrFlags, fchmod, fchown,
    fsetxattr, ftruncate, futimens, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat,
    unlinkat,
};
use rustix::io::{Errno, pwrite};

use super::name::TreePath;
use super::{Mode, Options, Overwrite, Ownership, Unpacker, attributes, times};
use crate::error::{Context, shown};
use crate::tar::{Data, Device, Entry, Extent, Kind, TarReader};
use crate::tree::{self, OPEN_DIRECTORY};
use crate::xattrs::OVERLAY_OPAQUE;
use crate::{Action, ArchiveError, TreeError};

/// Times that a name is cleared which someone else keeps filling.
const CREATE_TRIES_MAX: u32 = 8;
/// Mode of a directory that no entry describes.
const IMPLIED_MODE: u32 = 0o755;

/// Where an entry goes.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The directory that holds it.
    pub(super) dir: BorrowedFd<'a>,
    /// Its name there.
    pub(super) name: &'a [u8],
    /// Its whole path below the root.
    pub(super) path: &'a [u8],
}

impl Place<'_> {
    fn stat(&self) -> Result<Option<Stat>, TreeError> {
        match statat(self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).context(Action::Stat, self.path),
        }
    }
}

/// What was in the way of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replaced {
    Nothing,
    /// A whiteout of the same layer: what comes instead hides the layers
    /// below as well.
    Whiteout,
}

impl Unpacker<'_> {
    pub(super) fn directory(&mut self, place: Place<'_>, entry: &Entry) -> Result<(), TreeError> {
        let replaced = self.make_directory(&place)?;
        let dir = openat(place.dir, place.name, OPEN_DIRECTORY, FileMode::empty())
            .context(Action::Open, place.path)?;
        if replaced == Replaced::Whiteout {
            set_opaque(dir.as_fd(), place.path)?;
        }
        self.summary.ignored_xattrs +=
            set_directory(dir.as_fd(), entry, self.options.ownership, place.path)?;
        self.times
            .note(self.root, place.path, entry.mtime, entry.mode)
    }

    /// Makes a directory, or keeps the one that is there.
    fn make_directory(&mut self, place: &Place<'_>) -> Result<Replaced, TreeError> {
        let mut replaced = Replaced::Nothing;
        for _ in 0..CREATE_TRIES_MAX {
            match mkdirat(place.dir, place.name, FileMode::RWXU) {
                Ok(()) => return Ok(replaced),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error).context(Action::CreateDirectory, place.path),
            }
            match place.stat()? {
                Some(stat) if is_directory(&stat) => return Ok(replaced),
                Some(_) if self.options.overwrite == Overwrite::SameKind => {
                    return Err(TreeError::OverwriteNonDirectory {
                        path: shown(place.path),
                    });
                }
                Some(stat) => replaced = self.clear(place, &stat)?,
                None => {}
            }
        }
        Err(Errno::EXIST).context(Action::CreateDirectory, place.path)
    }

    pub(super) fn file<R: Read>(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), TreeError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Nobody else opens it before it has its owner.
        let mode = FileMode::RUSR | FileMode::WUSR;
        let file = self.create(&place, Action::CreateFile, |place| {
            openat(place.dir, place.name, flags, mode)
        })?;
        write_data(&file, entry, reader.data(), place.path)?;
        self.summary.ignored_xattrs += attributes::set_open(
            file.as_fd(),
            entry,
            entry.mode,
            self.options.ownership,
            place.path,
        )?;
        futimens(&file, &attributes::times(entry.mtime)).context(Action::SetTimes, place.path)
    }

    pub(super) fn symlink(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        target: &[u8],
    ) -> Result<(), TreeError> {
        self.create(&place, Action::CreateSymlink, |place| {
            symlinkat(target, place.dir, place.name)
        })?;
        self.set_named(place, entry, FileType::Symlink)
    }

    pub(super) fn node(&mut self, place: Place<'_>, entry: &Entry) -> Result<(), TreeError> {
        let (kind, device, action) = match entry.kind {
            Kind::CharDevice(device) => (FileType::CharacterDevice, device, Action::CreateDevice),
            Kind::BlockDevice(device) => (FileType::BlockDevice, device, Action::CreateDevice),
            _ => (
                FileType::Fifo,
                Device { major: 0, minor: 0 },
                Action::CreateFifo,
            ),
        };
        let dev: Dev = makedev(device.major, device.minor);
        let mode = FileMode::from_raw_mode(entry.mode);
        self.create(&place, action, |place| {
            mknodat(place.dir, place.name, kind, mode, dev)
        })?;
        self.set_named(place, entry, kind)
    }

    fn set_named(
        &mut self,
        place: Place<'_>,
        entry: &Entry,
        kind: FileType,
    ) -> Result<(), TreeError> {
        let Place { dir, name, path } = place;
        let ownership = self.options.ownership;
        self.summary.ignored_xattrs +=
            attributes::set_named(dir, name, entry, kind, ownership, path)?;
        Ok(())
    }

    /// Gives an earlier entry another name. Its target is found below the
    /// root as any name is, and is itself linked where it is a link; owner,
    /// mode and times are the target's own already.
    pub(super) fn hard_link(&mut self, place: Place<'_>, target: &[u8]) -> Result<(), TreeError> {
        let missing = || TreeError::LinkTarget {
            path: shown(place.path),
            target: shown(target),
        };
        let path = TreePath::parse(target)?;
        let (parent, name) = path.split().ok_or_else(missing)?;
        let dir: Rc<OwnedFd> = match self.parents.open_existing(parent) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            Err(error) => return Err(error).context(Action::OpenParent, target),
        };
        let source = Place {
            dir: dir.as_fd(),
            name,
            path: path.as_bytes(),
        };
        let stat = source.stat()?.ok_or_else(missing)?;
        let layer = self.options.mode == Mode::Layer;
        if is_directory(&stat) || (layer && is_whiteout(&stat)) {
            return Err(missing());
        }
        // A link to itself: clearing the way would take the target away.
        if let Some(there) = place.stat()?
            && (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)
        {
            return Ok(());
        }
        self.create(&place, Action::CreateHardLink, |place| {
            linkat(
                source.dir,
                source.name,
                place.dir,
                place.name,
                AtFlags::empty(),
            )
        })
    }

    /// A whiteout hides the layers below alone, never what its own layer
    /// has, whichever of the two comes first.
    pub(super) fn whiteout(&mut self, parent: &[u8], hidden: &[u8]) -> Result<(), TreeError> {
        let dir = self.parent(parent)?;
        let path = [parent, if parent.is_empty() { b"" } else { b"/" }, hidden].concat();
        let place = Place {
            dir: dir.as_fd(),
            name: hidden,
            path: &path,
        };
        match place.stat()? {
            None => {
                let mode = FileMode::empty();
                mknodat(
                    place.dir,
                    hidden,
                    FileType::CharacterDevice,
                    mode,
                    makedev(0, 0),
                )
                .context(Action::CreateWhiteout, &path)
            }
            Some(stat) if is_directory(&stat) => {
                let dir = openat(place.dir, hidden, OPEN_DIRECTORY, FileMode::empty())
                    .context(Action::Open, &path)?;
                set_opaque(dir.as_fd(), &path)
            }
            Some(_) => Ok(()),
        }
    }

    pub(super) fn opaque(&mut self, dir: &[u8]) -> Result<(), TreeError> {
        if dir.is_empty() {
            self.summary.opaque_root = true;
        }
        let parent = self.parent(dir)?;
        set_opaque(open_again(parent.as_fd())?.as_fd(), dir)
    }

    /// Makes something new at a place, and clears the place where that is
    /// taken: an existing file is never written through.
    fn create<T>(
        &mut self,
        place: &Place<'_>,
        action: Action,
        mut make: impl FnMut(&Place<'_>) -> Result<T, Errno>,
    ) -> Result<T, TreeError> {
        for _ in 0..CREATE_TRIES_MAX {
            match make(place) {
                Err(Errno::EXIST) => {}
                result => return result.context(action, place.path),
            }
            let Some(stat) = place.stat()? else { continue };
            if is_directory(&stat) && self.options.overwrite == Overwrite::SameKind {
                return Err(TreeError::OverwriteDirectory {
                    path: shown(place.path),
                });
            }
            self.clear(place, &stat)?;
        }
        Err(Errno::EXIST).context(action, place.path)
    }

    /// Takes away what an entry replaces.
    fn clear(&mut self, place: &Place<'_>, stat: &Stat) -> Result<Replaced, TreeError> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                tree::remove(place.dir, place.name)?;
                self.parents.forget();
            }
            kind => {
                match unlinkat(place.dir, place.name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error).context(Action::Replace, place.path),
                }
                if kind == FileType::Symlink {
                    self.parents.forget();
                }
            }
        }
        if self.options.mode == Mode::Layer && is_whiteout(stat) {
            Ok(Replaced::Whiteout)
        } else {
            Ok(Replaced::Nothing)
        }
    }
}

/// Makes a directory that only a longer name speaks of: mode 0755, as docker
/// does. In a layer, a whiteout of the same layer may have its name.
pub(super) fn make_implied(place: &Place<'_>, options: &Options) -> Result<(), TreeError> {
    let make = || mkdirat(place.dir, place.name, FileMode::RWXU);
    let mut replaced = Replaced::Nothing;
    match make() {
        Ok(()) => {}
        Err(Errno::EXIST) => match place.stat()? {
            Some(stat) if options.mode == Mode::Layer && is_whiteout(&stat) => {
                unlinkat(place.dir, place.name, AtFlags::empty())
                    .context(Action::Replace, place.path)?;
                make().context(Action::CreateDirectory, place.path)?;
                replaced = Replaced::Whiteout;
            }
            // Made by someone else meanwhile, or no directory: resolving it
            // again tells.
            _ => return Ok(()),
        },
        Err(error) => return Err(error).context(Action::CreateDirectory, place.path),
    }
    let dir = openat(place.dir, place.name, OPEN_DIRECTORY, FileMode::empty())
        .context(Action::Open, place.path)?;
    if replaced == Replaced::Whiteout {
        set_opaque(dir.as_fd(), place.path)?;
    }
    if let Ownership::Fixed { uid, gid } = options.ownership {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        fchown(&dir, Some(uid), Some(gid)).context(Action::SetOwner, place.path)?;
    }
    fchmod(&dir, FileMode::from_raw_mode(IMPLIED_MODE)).context(Action::SetMode, place.path)
}

/// Sets a directory's attributes, but for what waits until it is filled.
pub(super) fn set_directory(
    dir: BorrowedFd<'_>,
    entry: &Entry,
    ownership: Ownership,
    path: &[u8],
) -> Result<u64, TreeError> {
    let mode = times::mode_while_filled(entry.mode);
    attributes::set_open(dir, entry, mode, ownership, path)
}

/// Opens a directory that is there as a place only, for changing it.
pub(super) fn open_again(dir: BorrowedFd<'_>) -> Result<OwnedFd, TreeError> {
    openat(dir, ".", OPEN_DIRECTORY, FileMode::empty()).context(Action::Open, b".")
}

fn set_opaque(dir: BorrowedFd<'_>, path: &[u8]) -> Result<(), TreeError> {
    fsetxattr(dir, OVERLAY_OPAQUE, b"y", XattrFlags::empty()).context(Action::CreateWhiteout, path)
}

/// Writes a file's bytes where they belong; holes stay holes.
fn write_data<R: Read>(
    file: &OwnedFd,
    entry: &Entry,
    mut data: Data<'_, R>,
    path: &[u8],
) -> Result<(), TreeError> {
    let whole = [Extent {
        offset: 0,
        len: entry.size,
    }];
    let extents = match &entry.kind {
        Kind::Sparse { extents } => {
            ftruncate(file, entry.size).context(Action::WriteFile, path)?;
            extents
        }
        _ => &whole[..],
    };
    for extent in extents {
        let mut offset = extent.offset;
        let mut left = extent.len;
        while left > 0 {
            let bytes = data.fill_buf().map_err(ArchiveError::from_read)?;
            let len = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if len == 0 {
                return Err(ArchiveError::Truncated.into());
            }
            let written = match pwrite(file, &bytes[..len], offset) {
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error).context(Action::WriteFile, path),
            };
            data.consume(written);
            offset += written as u64;
            left -= written as u64;
        }
    }
    Ok(())
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// overlayfs' whiteout.
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
