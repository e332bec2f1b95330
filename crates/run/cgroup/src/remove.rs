//! Removing a leaf, with the groups that its container made below it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::kill::NESTING_MAX;
use crate::{Error, Leaf, LeafName, Parent, file};

/// How long a group is retried that is still busy. The last process of a leaf
/// leaves it before its end is reported, so that this is for strangers.
pub const REMOVE_BOUND: Duration = Duration::from_secs(2);

const PAUSE_MIN: Duration = Duration::from_micros(200);
const PAUSE_MAX: Duration = Duration::from_millis(50);

type Failures = Vec<(PathBuf, io::Error)>;

impl Leaf {
    /// Removes the leaf from every hierarchy, deepest group first.
    ///
    /// What is gone already is no error. Every hierarchy is tried, and
    /// [`Error::Remove`] has all that stayed. Devices programs go with the v2
    /// group.
    pub fn remove(&self) -> Result<(), Error> {
        self.parent.remove_leaf(&self.name)
    }
}

impl Parent {
    /// The same by name, for what was found by [`Parent::leaves`].
    pub fn remove_leaf(&self, name: &LeafName) -> Result<(), Error> {
        let deadline = Instant::now() + REMOVE_BOUND;
        let mut failures = Failures::new();
        for (index, parent) in self.0.directories.iter().enumerate() {
            let parent = parent.as_fd();
            // Nearly always there is nothing below it and this is all.
            match file::remove_directory(parent, name.as_str()) {
                Ok(()) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => {}
            }
            let location = self.0.location(index).join(name.as_str());
            remove_below(parent, name, &location, deadline, &mut failures);
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(Error::Remove {
                name: format!("{}/{name}", self.path()),
                failures,
            })
        }
    }
}

fn remove_below(
    parent: BorrowedFd<'_>,
    name: &LeafName,
    location: &Path,
    deadline: Instant,
    failures: &mut Failures,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let mut found = Failures::new();
        let root =
            std::ffi::CString::new(name.as_str()).expect("invariant: a leaf name contains no NUL");
        remove_tree(parent, &root, location, NESTING_MAX, &mut found);
        let busy = found
            .iter()
            .any(|(_, error)| Errno::from_io_error(error) == Some(Errno::BUSY));
        if !busy || Instant::now() >= deadline {
            failures.append(&mut found);
            return;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Removes a group and those below it; goes on after a failure.
fn remove_tree(
    parent: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    location: &Path,
    depth: usize,
    failures: &mut Failures,
) {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let already = failures.len();
    if depth > 0 {
        let children = file::open_directory(parent, name).and_then(|group| {
            let names = file::child_directories(group.as_fd())?;
            Ok((group, names))
        });
        match children {
            Ok((group, names)) => {
                for child in names {
                    let below = location.join(child.to_string_lossy().as_ref());
                    remove_tree(group.as_fd(), &child, &below, depth - 1, failures);
                }
            }
            Err(error) if gone(&error) => return,
            Err(error) => failures.push((location.to_owned(), error)),
        }
    }
    if failures.len() > already {
        // Busy because of what is below it, which is reported.
        return;
    }
    match file::remove_directory(parent, name) {
        Ok(()) => {}
        Err(error) if gone(&error) => {}
        Err(error) => failures.push((location.to_owned(), error)),
    }
}
