//! Removing containers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use carrack_archive::tree;
use carrack_sandbox::SandboxId;
use rustix::fs::{Mode, OFlags};

use crate::entry::Entry;
use crate::shelf::Keeping;
use crate::{ContainerEventKind, ContainerId, Containers, Error, Phase, Result, run};

/// Files being deleted carry this before their name.
pub(crate) const TRASH: &str = ".trash-";
/// How long a killed container may take to end.
const END_BOUND: Duration = Duration::from_secs(15);

/// What may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// One that does not run.
    OnlyStopped,
    /// One that runs too: it is killed.
    Force,
}

impl Containers {
    /// Removes a container, its writable layer and its log. Gone from the disk
    /// when this returns, but for files, which go in the background.
    pub async fn remove(&self, id: &ContainerId, removal: Removal) -> Result<()> {
        let entry = self.entry(id)?;
        let is_running = || Error::RemoveRunning {
            name: entry.lock().new.network.endpoint_name.clone(),
        };
        let was_active = entry.is_active();
        if removal == Removal::OnlyStopped && was_active {
            return Err(is_running());
        }
        // A start that is under way comes first; none can begin from here on.
        let _turn = entry.operation.lock().await;
        if entry.progress.borrow().removed {
            // One that was running went away with its end, as it was made to.
            return if was_active {
                Ok(())
            } else {
                Err(Error::NotFound(id.to_string()))
            };
        }
        if entry.is_active() {
            if removal == Removal::OnlyStopped {
                return Err(is_running());
            }
            match self.kill(id, libc::SIGKILL).await {
                Ok(()) | Err(Error::NotRunning(_) | Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
            let mut progress = entry.progress.subscribe();
            let ended = progress.wait_for(|now| !now.active);
            if tokio::time::timeout(END_BOUND, ended).await.is_err() {
                return Err(Error::Internal(format!(
                    "container {id} does not end after SIGKILL"
                )));
            }
            if entry.progress.borrow().removed {
                return Ok(());
            }
        }
        let before = std::mem::replace(&mut entry.lock().state.phase, Phase::Removing);
        let keeping = Keeping::of(entry.lock().new.auto_remove);
        if let Err(error) = self.delete_record(id, keeping).await {
            entry.lock().state.phase = before;
            return Err(error);
        }
        self.forget(&entry);
        let containers = self.clone();
        let entry = Arc::clone(&entry);
        tokio::spawn(async move {
            let mut progress = entry.progress.subscribe();
            drop(progress.wait_for(|p| !p.mounted).await);
            containers.delete_files(&entry).await;
        });
        Ok(())
    }

    /// Removes a container at its own end. Its record goes before all else
    /// that says it ran, so that a crash leaves either a run whose end is to
    /// be settled or files that nobody owns.
    pub(crate) fn remove_ended(&self, entry: &Arc<Entry>) {
        if let Err(error) = self.delete_record_file(&entry.id) {
            tracing::warn!(container = %entry.id, %error, "delete the record");
        }
        entry.lock().state.phase = Phase::Removing;
        self.forget(entry);
    }

    /// Takes a container out of memory and tells everybody, once.
    fn forget(&self, entry: &Arc<Entry>) {
        if entry.progress.borrow().removed {
            return;
        }
        let execs: Vec<String> = entry.lock().execs.drain().map(|(exec, _)| exec).collect();
        self.forget_execs(execs);
        self.0
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&entry.id);
        run::answer_early(entry);
        entry.progress.send_modify(|p| {
            p.active = false;
            p.removed = true;
        });
        self.announce(&entry.id, ContainerEventKind::Removed);
    }

    /// Deletes a container's directory: first its name, then what it holds.
    pub(crate) async fn delete_files(&self, entry: &Entry) {
        let trash = self.0.config.directory.join(format!("{TRASH}{}", entry.id));
        match std::fs::rename(&entry.directory, &trash) {
            Ok(()) => delete_in_background(trash),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(container = %entry.id, %error, "move files away");
            }
        }
    }

    /// Whether a sandbox belongs to a container that runs.
    pub(crate) fn owns_sandbox(&self, id: &SandboxId) -> bool {
        self.read_entries().values().any(|entry| {
            entry
                .lock()
                .run
                .as_ref()
                .is_some_and(|run| run.sandbox == *id)
        })
    }
}

pub(crate) fn delete_in_background(path: PathBuf) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = delete(&path) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(path = %path.display(), error, "delete files");
        }
    });
}

/// Deletes what a container may have built: deeper than a thread's stack or
/// a process's descriptors reach.
pub(crate) fn delete(path: &Path) -> std::io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, flags, Mode::empty())?;
    tree::remove(parent, name.as_encoded_bytes()).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deeper_than_a_stack_or_descriptors_is_deleted() {
        const LEVELS: usize = 20_000;
        let temporary = tempfile::tempdir().expect("a directory");
        let victim = temporary.path().join("victim");
        std::fs::create_dir(&victim).expect("mkdir");
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let mut current = rustix::fs::open(&victim, flags, Mode::empty()).expect("open");
        for _ in 0..LEVELS {
            rustix::fs::mkdirat(&current, "d", Mode::RWXU).expect("mkdir");
            current = rustix::fs::openat(&current, "d", flags, Mode::empty()).expect("open");
        }
        drop(current);
        // A recursive walk would need more stack than this.
        let path = victim.clone();
        let deleting = std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || delete(&path));
        deleting
            .expect("thread")
            .join()
            .expect("no panic")
            .expect("deleted");
        assert!(!victim.exists());
        delete(&victim).expect("nothing is fine");
    }
}
