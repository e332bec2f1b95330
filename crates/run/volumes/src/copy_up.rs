//! Copy-up: an empty volume gets what the image has at its place.
//!
//! The files are copied beside the data first (`.copy`), synced, and then
//! counted by one rename (`.commit`); only then do they move into `_data`,
//! each by a rename within the file system. [`recover`] forgets the first and
//! finishes the second, so a crash leaves an empty volume or a complete one.
//! `_data` itself stays the same directory all the while: another container
//! may have it mounted.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::removal::remove_tree;
use crate::store::sync_directory;
use crate::tree::{self, Copied};
use crate::{DriverOptions, Error, Result, Volume};

const COPY: &str = ".copy";
const COMMIT: &str = ".commit";

/// What a copy-up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyUp {
    /// The volume has files already; nothing was touched.
    NotEmpty,
    /// The image has no directory there; nothing was touched.
    NoSource,
    /// The volume has the image's files, and its directory the owner and
    /// mode of the image's.
    Done {
        /// Files, directories and others.
        entries: u64,
        /// Bytes of files.
        bytes: u64,
    },
}

impl Volume {
    /// Copies the directory `path` of an image into the volume if that is
    /// empty, and has it on disk.
    ///
    /// `rootfs` is a directory descriptor of the image's files; `path` is
    /// resolved within it, as the container would: symlinks, also absolute
    /// ones, stay inside.
    ///
    /// # Errors
    /// [`Error::TooDeep`], [`Error::Io`]; the volume is then still empty, but
    /// for one with driver options, whose files cannot be made beside it.
    pub fn copy_up(&self, rootfs: BorrowedFd<'_>, path: &Path) -> Result<CopyUp> {
        let Some(source) = open_source(rootfs, path)? else {
            return Ok(CopyUp::NoSource);
        };
        let _one_at_a_time = self.lock_copying();
        // One that failed after it counted is finished before anything else.
        recover(self)?;
        let data = self.open_data()?;
        let named = self.mountpoint();
        if !is_empty(data.as_fd()).map_err(Error::io("read", &named))? {
            return Ok(CopyUp::NotEmpty);
        }
        if is_empty(source.as_fd()).map_err(Error::io("read", path))? {
            tree::attributes_of_directory(source.as_fd(), data.as_fd())
                .and_then(|()| rustix::fs::fsync(&data))
                .map_err(Error::io("copy the attributes to", &named))?;
            return Ok(done(Copied::default()));
        }
        // Elsewhere a rename from our directory does not reach, and a tmpfs
        // does not outlive a crash of the machine anyway.
        if *self.driver_options() != DriverOptions::Directory {
            return tree::copy(source.as_fd(), data.as_fd(), path).map(done);
        }
        let copied = self.stage(source.as_fd(), path)?;
        self.finish(data.as_fd())?;
        Ok(done(copied))
    }

    /// The data, for reading the directory.
    fn open_data(&self) -> Result<OwnedFd> {
        self.with_data(open_for_reading)
    }

    /// Copies beside the data; counts once this has returned.
    fn stage(&self, source: BorrowedFd<'_>, named: &Path) -> Result<Copied> {
        let copy = self.directory().join(COPY);
        remove_tree(&copy)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&copy)
            .map_err(Error::io("create", &copy))?;
        let copied =
            open_for_reading(&copy).and_then(|target| tree::copy(source, target.as_fd(), named));
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) => {
                // What remains is removed by the next one, or at start.
                let _left = remove_tree(&copy);
                return Err(error);
            }
        };
        fs::rename(&copy, self.directory().join(COMMIT)).map_err(Error::io("rename", &copy))?;
        sync_directory(self.directory())?;
        Ok(copied)
    }

    /// Moves the files of `.commit` into the data. May be done again.
    fn finish(&self, data: BorrowedFd<'_>) -> Result<()> {
        let commit = self.directory().join(COMMIT);
        let from = open_for_reading(&commit)?;
        move_all(from.as_fd(), data)
            .and_then(|()| tree::attributes_of_directory(from.as_fd(), data))
            .and_then(|()| rustix::fs::fsync(data))
            .map_err(Error::io("move the files of", &commit))?;
        remove_tree(&commit)?;
        sync_directory(self.directory())
    }
}

/// Undoes or finishes a copy-up that a crash interrupted.
pub(crate) fn recover(volume: &Volume) -> Result<()> {
    remove_tree(&volume.directory().join(COPY))?;
    match fs::symlink_metadata(volume.directory().join(COMMIT)) {
        Ok(_) => volume.finish(open_for_reading(&volume.mountpoint())?.as_fd()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("look at", volume.directory())(error)),
    }
}

/// The image's directory at `path`; `None` where there is none.
fn open_source(rootfs: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>> {
    let opened = rustix::fs::openat2(
        rootfs,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    match opened {
        Ok(source) => Ok(Some(source)),
        // Not there, a file, or a circle of symlinks: nothing to copy.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(Error::io("open", PathBuf::from(path))(errno)),
    }
}

fn open_for_reading(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(Error::io("open", path))
}

fn is_empty(directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    for entry in Dir::read_from(directory)? {
        if !is_dot(entry?.file_name()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Moves each entry; one that a running container has made in the meantime
/// stays as it is.
fn move_all(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_dot(name) {
            continue;
        }
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

fn done(copied: Copied) -> CopyUp {
    CopyUp::Done {
        entries: copied.entries,
        bytes: copied.bytes,
    }
}
