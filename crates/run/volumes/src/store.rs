//! All volumes below one root.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use crate::metadata::Metadata;
use crate::removal::remove_tree;
use crate::volume::DATA;
use crate::{
    ANONYMOUS_LABEL, DRIVER, DriverOptions, Error, ListFilter, Pin, PruneFilter, Result, Volume,
    VolumeName, copy_up,
};

/// A volume that is being made; names never start with a dot.
const NEW: &str = ".new-";
/// A volume that is being removed.
const TRASH: &str = ".trash-";
/// Docker's modes: only root gets as far as the names below the root.
const ROOT_MODE: u32 = 0o701;
const DATA_MODE: u32 = 0o755;

/// The volumes below a root; one value a process, shared.
#[derive(Debug)]
pub struct Volumes {
    root: PathBuf,
    /// Held for memory only, and for the rename that removes a volume.
    volumes: Mutex<BTreeMap<VolumeName, Arc<Volume>>>,
    /// Held while a volume with a chosen name is written.
    naming: Mutex<()>,
}

/// What [`Volumes::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// The volumes.
    pub volumes: Volumes,
    /// Directories that could not be read or cleaned; they are left alone,
    /// the rest works.
    pub problems: Vec<Error>,
}

/// What a volume is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRequest {
    /// Absent or empty: anonymous, with a random name.
    pub name: Option<String>,
    /// Absent or empty: `local`.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Whether a create request made something: docker sends its event then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there; request's labels and options do not count.
    Existing,
}

/// What to do about a volume that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// An error.
    No,
    /// Fine (`docker volume rm -f`). A used volume stays all the same.
    Yes,
}

/// What a prune removed.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Names.
    pub removed: Vec<VolumeName>,
    /// Bytes that they held.
    pub reclaimed_bytes: u64,
    /// Volumes that could not be removed; the others were.
    pub problems: Vec<Error>,
}

impl Volumes {
    /// Reads the volumes below `root`, `<data root>/volumes`, which is made
    /// if need be, and finishes or undoes what a crash left.
    ///
    /// # Errors
    /// [`Error::Io`] where the root itself cannot be used.
    pub fn open(root: &Path) -> Result<Opened> {
        DirBuilder::new()
            .recursive(true)
            .mode(ROOT_MODE)
            .create(root)
            .map_err(Error::io("create", root))?;
        let mut volumes = BTreeMap::new();
        let mut problems = Vec::new();
        for entry in fs::read_dir(root).map_err(Error::io("read", root))? {
            let entry = entry.map_err(Error::io("read", root))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with(NEW) || name.starts_with(TRASH) {
                problems.extend(remove_tree(&entry.path()).err());
                continue;
            }
            match restore(root, &name) {
                Ok(Some(volume)) => {
                    volumes.insert(volume.name().clone(), Arc::new(volume));
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        Ok(Opened {
            volumes: Self {
                root: root.to_owned(),
                volumes: Mutex::new(volumes),
                naming: Mutex::new(()),
            },
            problems,
        })
    }

    /// Makes a volume, or gives the one of that name. It is on disk when this
    /// returns.
    ///
    /// The [`Pin`] keeps it from being removed; drop it once the user of the
    /// volume appears in what the `users` closures say.
    ///
    /// # Errors
    /// [`Error`] for a wrong name, driver or option; [`Error::Io`].
    pub fn create(&self, request: CreateRequest) -> Result<(Pin, Created)> {
        let given = request.name.filter(|name| !name.is_empty());
        let anonymous = given.is_none().then(VolumeName::anonymous);
        if let Some(driver) = request.driver.filter(|driver| !driver.is_empty())
            && driver != DRIVER
        {
            let random = || anonymous.as_ref().map(ToString::to_string);
            return Err(Error::Driver {
                name: given.clone().or_else(random).unwrap_or_default(),
                driver,
            });
        }
        let mut labels = request.labels;
        let name = match (anonymous, &given) {
            (Some(random), _) => {
                labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
                random
            }
            (None, name) => VolumeName::parse(name.as_deref().unwrap_or_default())?,
        };
        DriverOptions::parse(name.as_str(), &request.options)?;

        // Two random names never meet: those are written side by side.
        let _one_at_a_time = given
            .is_some()
            .then(|| self.naming.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(volume) = self.lock().get(&name) {
            return Ok((volume.pin(), Created::Existing));
        }
        let metadata = Metadata::new(name.clone(), labels, request.options);
        self.write(&metadata)?;
        let volume = Arc::new(Volume::new(&self.root, metadata)?);
        let pin = volume.pin();
        self.lock().insert(name, volume);
        Ok((pin, Created::New))
    }

    /// The volume of that name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn get(&self, name: &str) -> Result<Arc<Volume>> {
        VolumeName::parse(name)
            .ok()
            .and_then(|parsed| self.lock().get(&parsed).cloned())
            .ok_or_else(|| Error::NotFound {
                name: name.to_owned(),
            })
    }

    /// Opens a volume for a user to come: what its options ask for is mounted
    /// and stays while the pin lives; see [`Volume::release`].
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Io`].
    pub fn enter(&self, name: &str) -> Result<Pin> {
        let pin = {
            let parsed = VolumeName::parse(name);
            let volumes = self.lock();
            let volume = parsed.ok().and_then(|parsed| volumes.get(&parsed).cloned());
            volume.map(|volume| volume.pin())
        };
        let pin = pin.ok_or_else(|| Error::NotFound {
            name: name.to_owned(),
        })?;
        pin.open()?;
        Ok(pin)
    }

    /// Every volume.
    pub fn all(&self) -> Vec<Arc<Volume>> {
        self.lock().values().cloned().collect()
    }

    /// The volumes that the filter means, by name. `users` says which
    /// containers use a volume.
    pub fn list(
        &self,
        filter: &ListFilter,
        users: impl Fn(&VolumeName) -> Vec<String>,
    ) -> Vec<Arc<Volume>> {
        let volumes: Vec<Arc<Volume>> = self.lock().values().cloned().collect();
        volumes
            .into_iter()
            .filter(|volume| filter.matches(volume))
            .filter(|volume| {
                filter
                    .dangling
                    .is_none_or(|dangling| users(volume.name()).is_empty() == dangling)
            })
            .collect()
    }

    /// Removes a volume and its data. It is gone for good when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] unless forced; [`Error::InUse`] when `users` names
    /// anybody or it is pinned; [`Error::Mounted`] when something foreign is
    /// mounted within it: what is there is left alone, and the rest is removed
    /// when the volumes are opened again without it; [`Error::Io`].
    pub fn remove(
        &self,
        name: &str,
        force: Force,
        users: impl FnOnce(&VolumeName) -> Vec<String>,
    ) -> Result<()> {
        let volume = match self.get(name) {
            Ok(volume) => volume,
            Err(Error::NotFound { .. }) if force == Force::Yes => return Ok(()),
            Err(error) => return Err(error),
        };
        let trash = {
            let mut volumes = self.lock();
            // Somebody else may have removed it, or begun to use it.
            if !volumes
                .get(volume.name())
                .is_some_and(|there| Arc::ptr_eq(there, &volume))
            {
                return Ok(());
            }
            let users = users(volume.name());
            if !users.is_empty() || volume.is_pinned() {
                return Err(Error::InUse {
                    name: volume.name().clone(),
                    users,
                });
            }
            let trash = self.move_away(&volume)?;
            volumes.remove(volume.name());
            trash
        };
        sync_directory(&self.root)?;
        remove_tree(&trash)
    }

    /// Removes what the filter means and nobody uses.
    pub fn prune(
        &self,
        filter: &PruneFilter,
        users: impl Fn(&VolumeName) -> Vec<String>,
    ) -> Pruned {
        let volumes: Vec<Arc<Volume>> = self.lock().values().cloned().collect();
        let mut pruned = Pruned::default();
        for volume in volumes {
            let name = volume.name();
            if !filter.matches(&volume) || !users(name).is_empty() {
                continue;
            }
            let bytes = volume.usage().map_or(0, |usage| usage.bytes);
            match self.remove(name.as_str(), Force::Yes, &users) {
                Ok(()) => {
                    pruned.removed.push(name.clone());
                    pruned.reclaimed_bytes = pruned.reclaimed_bytes.saturating_add(bytes);
                }
                // Somebody began to use it.
                Err(Error::InUse { .. }) => {}
                Err(problem) => pruned.problems.push(problem),
            }
        }
        pruned
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Arc<Volume>>> {
        // The map changes in one step after the disk did: a poisoned one is
        // still true.
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a volume on disk: under another name first, so that it is there
    /// whole or not at all.
    fn write(&self, metadata: &Metadata) -> Result<()> {
        let new = self
            .root
            .join(format!("{NEW}{}", carrack_sys::random::hex_id()));
        let written = self
            .fill(&new, metadata)
            .and_then(|()| self.name_it(&new, &metadata.name));
        if written.is_err() {
            // What remains is removed when the daemon starts again.
            let _left = remove_tree(&new);
        }
        written
    }

    fn fill(&self, new: &Path, metadata: &Metadata) -> Result<()> {
        make_directory(new, ROOT_MODE)?;
        make_directory(&new.join(DATA), DATA_MODE)?;
        metadata.write(new)?;
        sync_directory(new)
    }

    fn name_it(&self, new: &Path, name: &VolumeName) -> Result<()> {
        let path = self.root.join(name);
        match rename_new(new, &path) {
            // A directory that holds no volume: `open` passed it over.
            Err(Errno::EXIST) => {
                rustix::fs::rmdir(&path)
                    .and_then(|()| rename_new(new, &path))
                    .map_err(Error::io("replace", &path))?;
            }
            result => result.map_err(Error::io("create", &path))?,
        }
        sync_directory(&self.root)
    }

    /// Takes the volume's directory out of sight, in one step.
    fn move_away(&self, volume: &Volume) -> Result<PathBuf> {
        let trash = self
            .root
            .join(format!("{TRASH}{}", carrack_sys::random::hex_id()));
        volume.move_away(|directory| match rename_new(directory, &trash) {
            Ok(()) | Err(Errno::NOENT) => Ok(trash),
            Err(errno) => Err(Error::io("remove", directory)(errno)),
        })
    }
}

/// The volume in `<root>/<name>`, if there is one.
fn restore(root: &Path, name: &str) -> Result<Option<Volume>> {
    let directory = root.join(name);
    let Some(metadata) = Metadata::read(&directory)? else {
        return Ok(None);
    };
    if metadata.name.as_str() != name {
        return Err(Error::io("use", directory)(io::Error::other(format!(
            "its volume.json is that of {}",
            metadata.name
        ))));
    }
    let volume = Volume::new(root, metadata)?;
    copy_up::recover(&volume)?;
    Ok(Some(volume))
}

/// A directory with exactly this mode, whatever the umask.
fn make_directory(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(Error::io("create", path))
}

fn rename_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        from,
        rustix::fs::CWD,
        to,
        RenameFlags::NOREPLACE,
    )
}

pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("sync", path))
}
