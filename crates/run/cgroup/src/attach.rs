//! How processes get into a leaf.
//!
//! A process that has one thread moves itself: it writes `0` to v1's `tasks`
//! files, which takes no system-wide lock (0.15 ms for eight hierarchies,
//! against 7 ms and more by `cgroup.procs`: `docs/adr/001-start-path.md`). On
//! v2 it is born inside by `CLONE_INTO_CGROUP`.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;

use crate::{Error, Leaf, Version, file};

/// How the process comes into the v2 hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V2Membership {
    /// It was cloned with `CLONE_INTO_CGROUP` on [`Leaf::v2_dir_fd`], or forked
    /// by a process that is in the leaf.
    Inherited,
    /// It writes `0` to `cgroup.procs` like to the others, for the price of an
    /// RCU grace period.
    Written,
}

const V1_FILE: &str = "tasks";
const V2_FILE: &str = "cgroup.procs";

impl Leaf {
    /// The files, opened for writing, to each of which a process with one
    /// thread writes `0` to move itself into the leaf.
    ///
    /// A second thread would stay behind: v1's `tasks` moves the caller alone.
    pub fn attach_files(&self, v2: V2Membership) -> Result<Vec<File>, Error> {
        let mut files = Vec::with_capacity(self.directories.len());
        for (index, hierarchy) in self.parent.0.mounted.hierarchies.iter().enumerate() {
            let name = match (hierarchy.version, v2) {
                (Version::V1, _) => V1_FILE,
                (Version::V2, V2Membership::Written) => V2_FILE,
                (Version::V2, V2Membership::Inherited) => continue,
            };
            let Some(directory) = &self.directories[index] else {
                continue;
            };
            let opened = file::open(directory.as_fd(), name, OFlags::WRONLY).map_err(|source| {
                Error::Open {
                    path: self.location(index).join(name),
                    source,
                }
            })?;
            files.push(File::from(opened));
        }
        Ok(files)
    }

    /// The leaf's v2 directory, for `CLONE_INTO_CGROUP`; also where v2 is
    /// mounted beside v1.
    #[must_use]
    pub fn v2_dir_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified().map(|(_, directory)| directory)
    }

    /// Moves another process, all its threads, into the leaf: waits for an RCU
    /// grace period, so never on the path of a start.
    pub fn attach_pid(&self, pid: u32) -> Result<(), Error> {
        for (index, directory) in self.directories.iter().enumerate() {
            let Some(directory) = directory else { continue };
            file::write(directory.as_fd(), V2_FILE, &pid.to_string()).map_err(|source| {
                Error::Attach {
                    pid,
                    path: self.location(index).join(V2_FILE),
                    source,
                }
            })?;
        }
        Ok(())
    }
}
