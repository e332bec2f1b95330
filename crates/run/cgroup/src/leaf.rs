//! One container's group in every hierarchy, held as directory descriptors.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::parent::inherit_cpuset;
use crate::{Controller, Error, LeafName, Parent, Version, file};

/// A container's group. Dropping it closes descriptors and removes nothing:
/// see [`Leaf::remove`].
#[derive(Debug)]
pub struct Leaf {
    pub(crate) parent: Parent,
    pub(crate) name: LeafName,
    /// One a hierarchy; `None` where a crash left the leaf incomplete.
    pub(crate) directories: Vec<Option<OwnedFd>>,
    /// Whether the default device rules, as the pool writes them, are in force.
    pub(crate) has_default_devices: AtomicBool,
}

impl Parent {
    /// Makes a leaf in every hierarchy; ready for processes when it returns.
    ///
    /// [`Error::Create`] of kind `Conflict` when the name is taken. What was
    /// made before a failure is removed again.
    pub fn create_leaf(&self, name: &LeafName) -> Result<Leaf, Error> {
        let mut leaf = Leaf {
            parent: self.clone(),
            name: name.clone(),
            directories: Vec::with_capacity(self.0.directories.len()),
            has_default_devices: AtomicBool::new(false),
        };
        for index in 0..self.0.directories.len() {
            match self.create_in(index, name) {
                Ok(directory) => leaf.directories.push(Some(directory)),
                Err(error) => {
                    leaf.undo();
                    return Err(error);
                }
            }
        }
        Ok(leaf)
    }

    /// Opens what exists of a leaf, after a restart.
    ///
    /// [`Error::Open`] of kind `NotFound` when no hierarchy has it.
    pub fn open_leaf(&self, name: &LeafName) -> Result<Leaf, Error> {
        let mut directories = Vec::with_capacity(self.0.directories.len());
        for (index, parent) in self.0.directories.iter().enumerate() {
            match file::open_directory(parent.as_fd(), name.as_str()) {
                Ok(directory) => directories.push(Some(directory)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => directories.push(None),
                Err(source) => {
                    return Err(Error::Open {
                        path: self.0.location(index).join(name.as_str()),
                        source,
                    });
                }
            }
        }
        if directories.iter().all(Option::is_none) {
            return Err(Error::Open {
                path: self.0.location(0).join(name.as_str()),
                source: io::Error::from(io::ErrorKind::NotFound),
            });
        }
        Ok(Leaf {
            parent: self.clone(),
            name: name.clone(),
            directories,
            has_default_devices: AtomicBool::new(false),
        })
    }

    fn create_in(&self, index: usize, name: &LeafName) -> Result<OwnedFd, Error> {
        let parent = self.0.directories[index].as_fd();
        let hierarchy = &self.0.mounted.hierarchies[index];
        let location = || self.0.location(index).join(name.as_str());
        file::make_directory(parent, name.as_str()).map_err(|source| Error::Create {
            path: location(),
            source,
        })?;
        let filled = file::open_directory(parent, name.as_str())
            .map_err(|source| Error::Open {
                path: location(),
                source,
            })
            .and_then(|directory| {
                if hierarchy.version == Version::V1
                    && hierarchy.controllers.contains(Controller::Cpuset)
                {
                    inherit_cpuset(parent, directory.as_fd(), &location())?;
                }
                Ok(directory)
            });
        if filled.is_err() {
            // The first error is the one to report.
            let _ = file::remove_directory(parent, name.as_str());
        }
        filled
    }
}

impl Leaf {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &LeafName {
        &self.name
    }

    /// The group that it stands in.
    #[must_use]
    pub fn parent(&self) -> &Parent {
        &self.parent
    }

    /// Path below each hierarchy's root, as `/proc/PID/cgroup` shows it.
    #[must_use]
    pub fn cgroup_path(&self) -> String {
        format!("/{}/{}", self.parent.path(), self.name)
    }

    /// For messages: where it is in one hierarchy.
    pub(crate) fn location(&self, index: usize) -> PathBuf {
        self.parent.0.location(index).join(self.name.as_str())
    }

    /// For messages: where it is for a controller.
    pub(crate) fn location_of(&self, controller: Controller) -> PathBuf {
        let index = self.parent.0.mounted.index_of(controller).unwrap_or(0);
        self.location(index)
    }

    /// Its directory for a controller.
    pub(crate) fn directory(&self, controller: Controller) -> Result<BorrowedFd<'_>, Error> {
        self.parent
            .0
            .mounted
            .index_of(controller)
            .and_then(|index| self.directories[index].as_ref())
            .map(AsFd::as_fd)
            .ok_or(Error::NoController(controller))
    }

    /// Its directory in the v2 hierarchy, where one is mounted.
    pub(crate) fn unified(&self) -> Option<(usize, BorrowedFd<'_>)> {
        let index = self.parent.0.mounted.unified()?;
        Some((index, self.directories[index].as_ref()?.as_fd()))
    }

    pub(crate) fn version_of(&self, controller: Controller) -> Option<Version> {
        self.parent.0.mounted.layout.version_of(controller)
    }

    /// Reads a file of a controller.
    pub(crate) fn read(&self, controller: Controller, name: &str) -> Result<String, Error> {
        file::read(self.directory(controller)?, name).map_err(|source| Error::Read {
            path: self.location_of(controller).join(name),
            source,
        })
    }

    /// Reads a file that some kernels lack.
    pub(crate) fn read_optional(
        &self,
        controller: Controller,
        name: &str,
    ) -> Result<Option<String>, Error> {
        match file::read(self.directory(controller)?, name) {
            Ok(text) => Ok(Some(text)),
            Err(error) if missing(&error) => Ok(None),
            Err(source) => Err(Error::Read {
                path: self.location_of(controller).join(name),
                source,
            }),
        }
    }

    /// Takes back a creation that failed half-way.
    fn undo(&self) {
        for (index, _) in self.directories.iter().enumerate() {
            let parent = self.parent.0.directories[index].as_fd();
            // The error that is reported is the one that led here.
            let _ = file::remove_directory(parent, self.name.as_str());
        }
    }
}

/// The file is not there, or its kind of accounting is off.
pub(crate) fn missing(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::OPNOTSUPP)
    )
}
