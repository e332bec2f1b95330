//! `--pid-file`: whole or not there, as its reader waits for it to appear.

use std::path::Path;

use crate::{Error, Result};

/// Writes a process id.
pub(crate) fn write(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}"));
    std::fs::write(&new, pid.to_string())
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| Error::file("write", path, error))
}
