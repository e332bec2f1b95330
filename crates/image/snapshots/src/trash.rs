//! Deleting large trees without anybody waiting for it.
//!
//! What is to go is renamed into the trash, which takes no time; a thread
//! that exists only while there is something to do deletes it. The directory
//! itself is the queue, so that a daemon killed meanwhile goes on when it
//! starts again.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use carrack_archive::tree;
use rustix::fs::{Mode, OFlags, RawDir, RenameFlags, openat, renameat_with};
use rustix::io::Errno;

/// Names tried for what is thrown away; those of an earlier run may be there.
const NAME_TRIES_MAX: u32 = 10_000;

/// A directory whose content is being deleted.
#[derive(Debug)]
pub(crate) struct Trash {
    shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    dir: OwnedFd,
    cancelled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Something was put in since the worker last looked.
    filled: bool,
}

impl Trash {
    /// Takes the directory over and begins to delete what is in it.
    pub(crate) fn new(dir: OwnedFd) -> Trash {
        let trash = Trash {
            shared: Arc::new(Shared {
                dir,
                cancelled: AtomicBool::new(false),
                state: Mutex::default(),
            }),
            worker: Mutex::default(),
            next: AtomicU64::new(0),
        };
        trash.start();
        trash
    }

    /// Throws `name` in `parent` away; it is gone from there on return.
    pub(crate) fn put(&self, parent: impl AsFd, name: &str) -> io::Result<()> {
        for _ in 0..NAME_TRIES_MAX {
            let number = self.next.fetch_add(1, Ordering::Relaxed).to_string();
            let flags = RenameFlags::NOREPLACE;
            match renameat_with(parent.as_fd(), name, &self.shared.dir, number, flags) {
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    self.start();
                    return Ok(());
                }
            }
        }
        Err(Errno::EXIST.into())
    }

    fn start(&self) {
        let mut state = self
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.filled = true;
        if state.running {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let worker = thread::Builder::new()
            .name("snapshot-trash".to_owned())
            .spawn(move || shared.empty());
        // Without a thread it stays until the next one, or the next start.
        if let Ok(worker) = worker {
            state.running = true;
            let mut slot = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
            *slot = Some(worker);
        }
    }
}

impl Drop for Trash {
    /// Stops within one file's deletion; the rest is for the next start.
    fn drop(&mut self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = worker.take() {
            // A panic there has nothing to tell here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn empty(&self) {
        loop {
            {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if !state.filled || self.cancelled.load(Ordering::Relaxed) {
                    state.running = false;
                    return;
                }
                state.filled = false;
            }
            for name in self.names() {
                // What cannot be deleted now is tried again at the next start.
                let _ = tree::remove_unless(&self.dir, &name, &self.cancelled);
            }
        }
    }

    fn names(&self) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(dir) = openat(&self.dir, ".", flags, Mode::empty()) else {
            return names;
        };
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.to_vec());
            }
        }
        names
    }
}
