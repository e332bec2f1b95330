//! `--pid-file`: whole or not there, as its reader waits for it to appear.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Error, Result};

/// Writes a process id.
pub(crate) fn write(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let unique = now.map_or(0, |since| since.subsec_nanos());
    let new = path.with_file_name(format!(".{name}.{}-{unique}", std::process::id()));
    // Never through something that was put there.
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&new)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&new, path));
    written.map_err(|error| Error::file("write", path, error))
}
