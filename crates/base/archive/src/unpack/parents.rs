//! The directories that entries go into, by descriptor.
//!
//! Every path is resolved by the kernel below the root's descriptor
//! (`RESOLVE_IN_ROOT`, openat2(2), Linux 5.6): links in it are followed as
//! in a chroot, as docker does, so that they lead anywhere but out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::error::Context;
use crate::{Action, TreeError};

/// Directories kept open.
const KEPT_MAX: usize = 32;
/// Times that a resolution is tried which a rename somewhere disturbed.
const RESOLVE_TRIES_MAX: u32 = 128;

const OPEN_PARENT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Directories below a root, those used last kept open.
pub(super) struct Parents<'a> {
    root: BorrowedFd<'a>,
    /// The one used last is the last.
    kept: Vec<(Vec<u8>, Rc<OwnedFd>)>,
}

/// Opens `path` below `root`; empty for the root itself.
pub(super) fn resolve(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..RESOLVE_TRIES_MAX {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            // The kernel cannot tell whether a `..` stayed inside, because
            // something was renamed meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

impl<'a> Parents<'a> {
    pub(super) fn new(root: BorrowedFd<'a>) -> Parents<'a> {
        Parents {
            root,
            kept: Vec::with_capacity(KEPT_MAX),
        }
    }

    /// Opens the directory at `path`; what is missing on the way is made by
    /// `create(parent, name, path)`.
    pub(super) fn open(
        &mut self,
        path: &[u8],
        create: impl FnMut(BorrowedFd<'_>, &[u8], &[u8]) -> Result<(), TreeError>,
    ) -> Result<Rc<OwnedFd>, TreeError> {
        if let Some(at) = self.kept.iter().rposition(|(kept, _)| kept == path) {
            let found = self.kept.remove(at);
            let dir = Rc::clone(&found.1);
            self.kept.push(found);
            return Ok(dir);
        }
        let dir = match resolve(self.root, path, OPEN_PARENT) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => self.open_or_create(path, create)?,
            Err(error) => return Err(error).context(Action::OpenParent, path),
        };
        Ok(self.keep(path, dir))
    }

    /// Opens the directory at `path` where it exists.
    pub(super) fn open_existing(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if let Some((_, dir)) = self.kept.iter().rev().find(|(kept, _)| kept == path) {
            return Ok(Rc::clone(dir));
        }
        let dir = resolve(self.root, path, OPEN_PARENT)?;
        Ok(self.keep(path, dir))
    }

    /// Forgets everything: a directory or a link was replaced, so that paths
    /// may lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    fn keep(&mut self, path: &[u8], dir: OwnedFd) -> Rc<OwnedFd> {
        if self.kept.len() == KEPT_MAX {
            self.kept.remove(0);
        }
        let dir = Rc::new(dir);
        self.kept.push((path.to_vec(), Rc::clone(&dir)));
        dir
    }

    fn open_or_create(
        &self,
        path: &[u8],
        mut create: impl FnMut(BorrowedFd<'_>, &[u8], &[u8]) -> Result<(), TreeError>,
    ) -> Result<OwnedFd, TreeError> {
        let mut above = resolve(self.root, b"", OPEN_PARENT).context(Action::OpenParent, path)?;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = ends.map(|(at, _)| at).chain([path.len()]);
        let mut start = 0;
        for end in ends {
            let so_far = &path[..end];
            let name = &path[start..end];
            above = match resolve(self.root, so_far, OPEN_PARENT) {
                Ok(dir) => dir,
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    create(above.as_fd(), name, so_far)?;
                    resolve(self.root, so_far, OPEN_PARENT).context(Action::OpenParent, path)?
                }
                Err(error) => return Err(error).context(Action::OpenParent, path),
            };
            start = end + 1;
        }
        Ok(above)
    }
}
