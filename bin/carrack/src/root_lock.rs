//! One engine for each directory of an engine's.
//!
//! A second one on the same exec root would take the first one's supervisors
//! for its own, and end every container of which it has no record.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::Context;

/// A directory that is this process's for as long as this lives.
#[derive(Debug)]
#[must_use]
pub(crate) struct RootLock {
    _file: File,
}

/// Takes a directory, by a file in it that stays: removing it would let two
/// engines hold two files of one name. `flag` is what another directory is
/// named by.
pub(crate) fn take(root: &Path, name: &str, flag: &str) -> anyhow::Result<RootLock> {
    let path = root.join(name);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another engine, process {}, uses {}\n\
             hint: stop it first, or give this one a directory of its own with {flag}",
            holder(&mut file),
            root.display(),
        ),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock {}", path.display()));
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(RootLock { _file: file })
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(pid)) => pid.to_string(),
        // It has the lock and has not written yet.
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::take;

    #[test]
    fn a_directory_is_one_engines() {
        let root = tempfile::tempdir().unwrap();
        let first = take(root.path(), "exec.lock", "--exec-root").unwrap();
        let refused = take(root.path(), "exec.lock", "--exec-root").unwrap_err();
        let expected = format!(
            "another engine, process {}, uses {}\n\
             hint: stop it first, or give this one a directory of its own with --exec-root",
            std::process::id(),
            root.path().display()
        );
        assert_eq!(refused.to_string(), expected);
        // The other name is for one directory that is both roots.
        let _other = take(root.path(), "data.lock", "--data-root").unwrap();
        drop(first);
        let _again = take(root.path(), "exec.lock", "--exec-root").unwrap();
    }
}
