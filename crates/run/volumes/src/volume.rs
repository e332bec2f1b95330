//! One volume.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::metadata::Metadata;
use crate::size::{self, Usage};
use crate::{ANONYMOUS_LABEL, DriverOptions, Error, Result, VolumeName};

/// Name of the directory with the data.
pub(crate) const DATA: &str = "_data";

/// A volume: what it is called, and where its data are.
pub struct Volume {
    metadata: Metadata,
    driver_options: DriverOptions,
    /// `<root>/<name>`
    directory: PathBuf,
    /// Held while an image's files are copied into it.
    copying: Mutex<()>,
    /// Held while something is mounted at the data or taken away, and while
    /// the volume is removed; taken after `copying`.
    place: Mutex<Place>,
    pins: AtomicUsize,
}

/// Whether the directory of a volume is where it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    There,
    Removed,
}

/// Keeps a volume from being removed while its user is not written down yet.
#[derive(Debug)]
pub struct Pin(Arc<Volume>);

impl Volume {
    pub(crate) fn new(root: &Path, metadata: Metadata) -> Result<Self> {
        Ok(Self {
            driver_options: DriverOptions::parse(metadata.name.as_str(), &metadata.options)?,
            directory: root.join(&metadata.name),
            metadata,
            copying: Mutex::new(()),
            place: Mutex::new(Place::There),
            pins: AtomicUsize::new(0),
        })
    }

    /// Its name.
    pub fn name(&self) -> &VolumeName {
        &self.metadata.name
    }

    /// When it was made.
    pub fn created(&self) -> SystemTime {
        self.metadata.created()
    }

    /// Its labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.metadata.labels
    }

    /// Options of the driver, as given.
    pub fn options(&self) -> &BTreeMap<String, String> {
        &self.metadata.options
    }

    /// Whether nobody chose its name: goes with its container's `--rm` and
    /// with a prune.
    pub fn is_anonymous(&self) -> bool {
        self.metadata.labels.contains_key(ANONYMOUS_LABEL)
    }

    /// Docker's `Mountpoint`: `<root>/<name>/_data`.
    pub fn mountpoint(&self) -> PathBuf {
        self.directory.join(DATA)
    }

    /// A directory descriptor of the data, `O_PATH`; what the options ask for
    /// is mounted first.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::NotFound`] for one that was removed.
    pub fn open(&self) -> Result<OwnedFd> {
        self.with_data(open_directory)
    }

    /// Unmounts what the options asked for when nobody uses the volume, which
    /// `is_used` says; a tmpfs loses its files, as with docker. Nothing for
    /// other volumes and for one that is pinned.
    ///
    /// Whoever comes to use it pins it first, then opens it, and is one of
    /// those that `is_used` sees before the pin is dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn release(&self, is_used: impl FnOnce() -> bool) -> Result<()> {
        if self.driver_options == DriverOptions::Directory {
            return Ok(());
        }
        let place = self.lock_place();
        // In this order: a user whose pin is gone already is seen by the second.
        if *place == Place::Removed || self.is_pinned() || is_used() {
            return Ok(());
        }
        self.driver_options.unmount(&self.mountpoint())
    }

    /// Whether its data are a mount of their own while it is used.
    pub fn is_mounted_on_use(&self) -> bool {
        self.driver_options != DriverOptions::Directory
    }

    /// What `open` gives for the data, with what the options ask for mounted
    /// there. Two at once would mount twice, and a removal in between would
    /// find a mount that it did not take away.
    pub(crate) fn with_data<T>(&self, open: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let path = self.mountpoint();
        if self.driver_options == DriverOptions::Directory {
            return open(&path);
        }
        let place = self.lock_place();
        if *place == Place::Removed {
            return Err(Error::NotFound {
                name: self.name().to_string(),
            });
        }
        self.driver_options.mount(&path)?;
        open(&path)
    }

    /// Takes the directory away by `rename`, without a mount on it; nothing
    /// is mounted there afterwards.
    pub(crate) fn move_away<T>(&self, rename: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let mut place = self.lock_place();
        self.driver_options.unmount(&self.mountpoint())?;
        let moved = rename(&self.directory)?;
        *place = Place::Removed;
        Ok(moved)
    }

    /// A descriptor (`O_PATH`) of a file or directory within the volume.
    ///
    /// # Errors
    /// [`Error::Subpath`] for a path that is not relative or leaves the
    /// volume, also by a symlink on the way; [`Error::NoSubpath`].
    pub fn open_subpath(&self, subpath: &Path) -> Result<OwnedFd> {
        let invalid = || Error::Subpath {
            subpath: subpath.to_owned(),
        };
        if subpath.as_os_str().is_empty() || subpath.is_absolute() {
            return Err(invalid());
        }
        let root = self.open()?;
        rustix::fs::openat2(
            &root,
            subpath,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(|errno| match errno {
            // A rename in the meantime (EAGAIN) may hide an escape.
            Errno::XDEV | Errno::LOOP | Errno::AGAIN | Errno::INVAL | Errno::NAMETOOLONG => {
                invalid()
            }
            Errno::NOENT | Errno::NOTDIR => Error::NoSubpath {
                name: self.name().clone(),
                subpath: subpath.to_owned(),
            },
            errno => Error::io("open", self.mountpoint().join(subpath))(errno),
        })
    }

    /// Disk use of the data. Walks them: seconds for a large volume.
    ///
    /// # Errors
    /// [`Error::Io`] where the volume cannot be read at all.
    pub fn usage(&self) -> Result<Usage> {
        size::measure(&self.mountpoint())
    }

    /// Keeps it until the pin is dropped.
    pub(crate) fn pin(self: &Arc<Self>) -> Pin {
        self.pins.fetch_add(1, Ordering::AcqRel);
        Pin(Arc::clone(self))
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn driver_options(&self) -> &DriverOptions {
        &self.driver_options
    }

    fn lock_place(&self) -> MutexGuard<'_, Place> {
        // Changed by one assignment: a poisoned one is still true.
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_copying(&self) -> MutexGuard<'_, ()> {
        self.copying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pin {
    /// The volume.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.0
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::AcqRel);
    }
}

impl std::ops::Deref for Pin {
    type Target = Volume;

    fn deref(&self) -> &Volume {
        &self.0
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Volume")
            .field("name", self.name())
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// A directory of ours, `O_PATH`, never through a symlink.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(Error::io("open", path))
}
