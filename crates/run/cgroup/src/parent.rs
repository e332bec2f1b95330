//! The engine's own group in every hierarchy.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;

use crate::detect::{Hierarchy, Mounted, parse_controllers};
use crate::{Controller, ControllerSet, Error, GroupPath, Hierarchies, LeafName, Version, file};

/// A group that holds leaves and no processes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Parent(pub(crate) Arc<ParentGroups>);

#[derive(Debug)]
pub(crate) struct ParentGroups {
    pub(crate) mounted: Arc<Mounted>,
    pub(crate) path: GroupPath,
    /// One a hierarchy, in the order of `mounted.hierarchies`.
    pub(crate) directories: Vec<OwnedFd>,
}

impl Hierarchies {
    /// Makes or opens the group at `path` in every hierarchy.
    ///
    /// On v2 the controllers are handed down from the root of the mount to the
    /// group, so that its leaves have them; a controller that cannot be handed
    /// down is absent from [`Parent::capabilities`]. Groups on the way that
    /// hold processes refuse this: [`Error::InnerProcesses`]. On v1 the
    /// `cpuset` group inherits CPUs and memory nodes and passes them on.
    pub fn parent(&self, path: &GroupPath) -> Result<Parent, Error> {
        let mounted = Arc::clone(&self.0);
        let directories = mounted
            .hierarchies
            .iter()
            .map(|hierarchy| open_path(hierarchy, path))
            .collect::<Result<_, _>>()?;
        Ok(Parent(Arc::new(ParentGroups {
            mounted,
            path: path.clone(),
            directories,
        })))
    }
}

impl Parent {
    /// Path of the group below each hierarchy's root.
    #[must_use]
    pub fn path(&self) -> &GroupPath {
        &self.0.path
    }

    /// The hierarchies that it is in.
    #[must_use]
    pub fn hierarchies(&self) -> Hierarchies {
        Hierarchies(Arc::clone(&self.0.mounted))
    }

    /// Names of the leaves that exist in any hierarchy, for cleaning up after
    /// a crash. Groups whose names could not be ours are left out.
    pub fn leaves(&self) -> Result<Vec<LeafName>, Error> {
        let mut names = BTreeSet::new();
        for (index, directory) in self.0.directories.iter().enumerate() {
            let children =
                file::child_directories(directory.as_fd()).map_err(|source| Error::Read {
                    path: self.0.location(index),
                    source,
                })?;
            names.extend(
                children
                    .iter()
                    .filter_map(|name| LeafName::new(name.to_str().ok()?).ok()),
            );
        }
        Ok(names.into_iter().collect())
    }

    /// Removes the group itself where it has no leaf left; the groups above it
    /// stay. A group that is gone already is no error.
    pub fn remove(&self) -> Result<(), Error> {
        let mut failures = Vec::new();
        for (index, hierarchy) in self.0.mounted.hierarchies.iter().enumerate() {
            let Err(error) = rustix::fs::unlinkat(
                hierarchy.root(),
                self.0.path.as_str(),
                rustix::fs::AtFlags::REMOVEDIR,
            ) else {
                continue;
            };
            if error != Errno::NOENT {
                failures.push((self.0.location(index), error.into()));
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::Remove {
                name: self.0.path.to_string(),
                failures,
            })
        }
    }
}

impl ParentGroups {
    /// For messages: where the group is in one hierarchy.
    pub(crate) fn location(&self, index: usize) -> PathBuf {
        self.mounted.hierarchies[index]
            .mount_point
            .join(self.path.as_str())
    }

    /// The group's directory in the hierarchy of a controller.
    pub(crate) fn directory(&self, controller: Controller) -> Option<BorrowedFd<'_>> {
        let index = self.mounted.index_of(controller)?;
        Some(self.directories[index].as_fd())
    }
}

/// Walks from the root of a hierarchy, making what is missing.
fn open_path(hierarchy: &Hierarchy, path: &GroupPath) -> Result<OwnedFd, Error> {
    let mut location = hierarchy.mount_point.clone();
    let mut current: Option<OwnedFd> = None;
    for component in path.components() {
        let above = current
            .as_ref()
            .map_or_else(|| hierarchy.root(), AsFd::as_fd);
        if hierarchy.version == Version::V2 {
            hand_down(above, hierarchy.controllers, &location)?;
        }
        location.push(component);
        match file::make_directory(above, component) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(Error::Create {
                    path: location,
                    source,
                });
            }
        }
        let opened = file::open_directory(above, component).map_err(|source| Error::Open {
            path: location.clone(),
            source,
        })?;
        if hierarchy.version == Version::V1 && hierarchy.controllers.contains(Controller::Cpuset) {
            pass_on_cpuset(above, opened.as_fd(), &location)?;
        }
        current = Some(opened);
    }
    let group = current.expect("invariant: a group path has at least one component");
    if hierarchy.version == Version::V2 {
        hand_down(group.as_fd(), hierarchy.controllers, &location)?;
    }
    Ok(group)
}

/// Enables in a v2 group's children the controllers that it has and they lack.
fn hand_down(
    group: BorrowedFd<'_>,
    wanted: ControllerSet,
    location: &std::path::Path,
) -> Result<(), Error> {
    const FILE: &str = "cgroup.subtree_control";
    let read = |name: &str| {
        file::read(group, name)
            .map(|text| parse_controllers(&text))
            .map_err(|source| Error::Read {
                path: location.join(name),
                source,
            })
    };
    let available = read("cgroup.controllers")?;
    let missing: ControllerSet = available
        .without(read(FILE)?)
        .iter()
        .filter(|controller| wanted.contains(*controller))
        .collect();
    let enable = |controllers: &mut dyn Iterator<Item = Controller>| {
        let words: Vec<String> = controllers
            .map(|controller| format!("+{}", controller.name(Version::V2)))
            .collect();
        file::write(group, FILE, &words.join(" "))
    };
    if missing.is_empty() || enable(&mut missing.iter()).is_ok() {
        return Ok(());
    }
    // All together were refused: take those that can be had. One that cannot
    // (real-time threads in the way of cpu, say) shows in the capabilities.
    for controller in missing.iter() {
        match enable(&mut std::iter::once(controller)) {
            Err(source) if Errno::from_io_error(&source) == Some(Errno::BUSY) => {
                return Err(Error::InnerProcesses {
                    path: location.to_owned(),
                    source,
                });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A v1 `cpuset` group starts empty and takes no task before it has CPUs and
/// nodes. `cgroup.clone_children` makes the kernel copy them into each leaf.
fn pass_on_cpuset(
    above: BorrowedFd<'_>,
    group: BorrowedFd<'_>,
    location: &std::path::Path,
) -> Result<(), Error> {
    inherit_cpuset(above, group, location)?;
    file::write(group, "cgroup.clone_children", "1").map_err(|source| Error::Refused {
        file: "cgroup.clone_children".to_owned(),
        value: "1".to_owned(),
        source,
    })
}

/// Fills empty `cpuset` files from the group above.
pub(crate) fn inherit_cpuset(
    above: BorrowedFd<'_>,
    group: BorrowedFd<'_>,
    location: &std::path::Path,
) -> Result<(), Error> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let read = |directory| {
            file::read(directory, name).map_err(|source| Error::Read {
                path: location.join(name),
                source,
            })
        };
        if !read(group)?.trim().is_empty() {
            continue;
        }
        let inherited = read(above)?.trim().to_owned();
        file::write(group, name, &inherited).map_err(|source| Error::Refused {
            file: name.to_owned(),
            value: inherited,
            source,
        })?;
    }
    Ok(())
}
