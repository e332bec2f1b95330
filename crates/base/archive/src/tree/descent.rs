//! The way down from a directory, with few descriptors however deep it goes.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, fstat, openat};

use super::{FileId, OPEN_DIRECTORY};
use crate::error::{Context, shown};
use crate::{Action, TreeError};

/// Directories on the way that stay open; those above are opened again from
/// below, by `..`, when the walk comes back to them.
const OPEN_MAX: usize = 32;

/// A stack of directories from the one where the walk began, each with what
/// the walk keeps for it.
pub(crate) struct Descent<T> {
    levels: Vec<(FileId, T)>,
    /// The deepest of them.
    open: VecDeque<OwnedFd>,
}

impl<T> Descent<T> {
    pub(crate) fn new() -> Descent<T> {
        Descent {
            levels: Vec::new(),
            open: VecDeque::new(),
        }
    }

    /// Goes down into a directory that the caller opened below the current
    /// one.
    pub(crate) fn enter(&mut self, dir: OwnedFd, level: T) -> Result<(), TreeError> {
        let stat = fstat(&dir).context(Action::Stat, b".")?;
        self.levels.push((FileId::of(&stat), level));
        self.open.push_back(dir);
        if self.open.len() > OPEN_MAX {
            self.open.pop_front();
        }
        Ok(())
    }

    /// The current directory and what is kept for it; `None` when the walk
    /// has come out at the top.
    pub(crate) fn current(&mut self) -> Option<(BorrowedFd<'_>, &mut T)> {
        let (_, level) = self.levels.last_mut()?;
        let dir = self
            .open
            .back()
            .expect("invariant: the current one is open");
        Some((dir.as_fd(), level))
    }

    /// Goes back up; gives what was kept for the directory that was left.
    ///
    /// [`TreeError::Changed`] when it is not where it was any more: going on
    /// would mean walking wherever it was moved to.
    pub(crate) fn leave(&mut self) -> Result<T, TreeError> {
        let (_, level) = self.levels.pop().expect("invariant: entered before");
        let left = self.open.pop_back().expect("invariant: entered before");
        if self.open.is_empty()
            && let Some((id, _)) = self.levels.last()
        {
            let above =
                openat(&left, "..", OPEN_DIRECTORY, Mode::empty()).context(Action::Open, b"..")?;
            let stat = fstat(&above).context(Action::Stat, b"..")?;
            if FileId::of(&stat) != *id {
                return Err(TreeError::Changed { path: shown(b"..") });
            }
            self.open.push_back(above);
        }
        Ok(level)
    }
}
