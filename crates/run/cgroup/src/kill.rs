//! Listing and killing what runs in a leaf.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::leaf::missing;
use crate::{Controller, Error, Leaf, file};

/// Most processes that are listed; a container with more has no pids limit.
pub const PROCESSES_LIMIT: usize = 1 << 20;
/// A process id and its line feed take eleven bytes at most.
const PROCESSES_FILE_MAX: usize = PROCESSES_LIMIT * 11;

/// Deepest nested group that is looked into.
pub(crate) const NESTING_MAX: usize = 1024;

/// Rounds of freeze, kill, thaw. One is enough where freezing works; without,
/// each catches what was forked during the one before.
const KILL_ROUNDS: usize = 10;

/// How long one round waits for the group to stand still.
const KILL_FREEZE_BOUND: Duration = Duration::from_millis(500);

const PROCESSES_FILE: &str = "cgroup.procs";
const KILL_FILE: &str = "cgroup.kill";

impl Leaf {
    /// Process ids in the leaf and in the groups made below it, ascending, as
    /// seen from this process's pid namespace. Zombies are not listed.
    pub fn processes(&self) -> Result<Vec<u32>, Error> {
        // Every hierarchy has all of them; one is enough. pids and freezer are
        // the ones that nobody leaves out.
        let index = [Controller::Pids, Controller::Freezer, Controller::Memory]
            .into_iter()
            .filter_map(|controller| self.parent.0.mounted.index_of(controller))
            .find(|index| self.directories[*index].is_some())
            .or_else(|| self.directories.iter().position(Option::is_some));
        match index {
            Some(index) => self.processes_in(index),
            None => Ok(Vec::new()),
        }
    }

    /// Sends SIGKILL to every process, in nested groups too, paused or not.
    ///
    /// Returns when the signals are sent; the ends arrive where the processes
    /// are waited for.
    pub fn kill_all(&self) -> Result<(), Error> {
        let Some((index, unified)) = self.unified() else {
            return self.kill_one_by_one();
        };
        match file::write(unified, KILL_FILE, "1") {
            Ok(()) => {}
            Err(source) if missing(&source) => return self.kill_one_by_one(),
            Err(source) => {
                return Err(Error::Kill {
                    path: self.location(index),
                    source,
                });
            }
        }
        if self.parent.0.mounted.layout.v1.is_empty() {
            return Ok(());
        }
        // Beside v1: whoever was moved into v1 alone, and a v1 freezer, in
        // which a killed process stays.
        let listed = self.processes()?;
        let killed: BTreeSet<u32> = self.processes_in(index)?.into_iter().collect();
        if listed.iter().any(|pid| !killed.contains(pid)) {
            return self.kill_one_by_one();
        }
        if self.is_frozen().unwrap_or(false) {
            self.thaw()?;
        }
        Ok(())
    }

    pub(crate) fn kill_one_by_one(&self) -> Result<(), Error> {
        for _ in 0..KILL_ROUNDS {
            // While the group stands still nobody forks and no pid is used anew.
            let frozen = self.freeze_within(KILL_FREEZE_BOUND).is_ok();
            let killed = self.processes().and_then(|pids| {
                pids.iter().try_for_each(|pid| self.kill(*pid))?;
                Ok(pids.len())
            });
            if frozen {
                self.thaw()?;
            }
            if killed? == 0 || frozen {
                return Ok(());
            }
        }
        Ok(())
    }

    fn kill(&self, pid: u32) -> Result<(), Error> {
        // 0 is a process outside of this pid namespace.
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(source) => Err(Error::Kill {
                path: self.location_of(Controller::Freezer),
                source: source.into(),
            }),
        }
    }

    fn processes_in(&self, index: usize) -> Result<Vec<u32>, Error> {
        let Some(directory) = &self.directories[index] else {
            return Ok(Vec::new());
        };
        let mut pids = BTreeSet::new();
        collect(directory.as_fd(), NESTING_MAX, &mut pids).map_err(|source| Error::Read {
            path: self.location(index).join(PROCESSES_FILE),
            source,
        })?;
        if pids.len() > PROCESSES_LIMIT {
            return Err(Error::TooManyProcesses {
                path: self.location(index),
                limit: PROCESSES_LIMIT,
            });
        }
        Ok(pids.into_iter().collect())
    }
}

/// The processes of a group and of those below it. A group that vanishes on the
/// way has none.
fn collect(group: BorrowedFd<'_>, depth: usize, pids: &mut BTreeSet<u32>) -> io::Result<()> {
    match file::read_within(group, PROCESSES_FILE, PROCESSES_FILE_MAX) {
        Ok(text) => pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok())),
        Err(error) if gone(&error) => return Ok(()),
        Err(error) => return Err(error),
    }
    if depth == 0 || pids.len() > PROCESSES_LIMIT {
        return Ok(());
    }
    for name in file::child_directories(group)? {
        match file::open_directory(group, name.as_c_str()) {
            Ok(child) => collect(child.as_fd(), depth - 1, pids)?,
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A group removed under our hands; v2 answers `EOPNOTSUPP` for the processes
/// of a threaded group, which its domain lists.
fn gone(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP)
    )
}
