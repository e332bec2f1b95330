//! Reading a bundle.

use std::io::Read;
use std::path::{Path, PathBuf};

use carrack_oci::runtime::{Process, Spec};
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Longest configuration: Docker's default filter takes 100 KiB.
const MAX_BYTES: u64 = 16 << 20;

/// A bundle's configuration with its paths made absolute.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Absolute.
    pub(crate) path: PathBuf,
    /// Absolute.
    pub(crate) rootfs: PathBuf,
    /// `config.json`.
    pub(crate) spec: Spec,
}

/// Reads a bundle.
pub(crate) fn read(path: &Path) -> Result<Bundle> {
    let path = std::path::absolute(path).map_err(|error| Error::file("find", path, error))?;
    let config = path.join("config.json");
    let mut spec: Spec = read_json(&config)?;
    check_version(&spec)?;
    let root = spec.root.as_mut();
    let root = root.ok_or_else(|| Error::Usage("root: is missing".to_owned()))?;
    let rootfs = path.join(&root.path);
    let rootfs = rootfs
        .canonicalize()
        .map_err(|error| Error::file("find the root", &rootfs, error))?;
    root.path = rootfs.display().to_string();
    for mount in &mut spec.mounts {
        let is_bind = mount
            .kind
            .as_deref()
            .is_none_or(|kind| matches!(kind, "" | "none" | "bind"))
            || mount
                .options
                .iter()
                .any(|o| matches!(o.as_str(), "bind" | "rbind"));
        if let Some(source) = mount.source.as_mut().filter(|_| is_bind)
            && !source.starts_with('/')
        {
            *source = path.join(&source).display().to_string();
        }
    }
    Ok(Bundle { path, rootfs, spec })
}

/// Reads a process, as `exec --process` gives it.
pub(crate) fn read_process(path: &Path) -> Result<Process> {
    read_json(path)
}

/// Reads a bounded JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let failed = |error| Error::file("read", path, error);
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(failed(std::io::Error::other(format!(
            "it is longer than {MAX_BYTES} bytes"
        ))));
    }
    serde_json::from_slice(&text).map_err(|error| failed(error.into()))
}

/// Any 1.x is read as what is known of it.
fn check_version(spec: &Spec) -> Result<()> {
    let major = spec.oci_version.split('.').next();
    if major == Some("1") {
        Ok(())
    } else {
        Err(Error::Usage(format!(
            "ociVersion: {:?} is not a version of the specification that is known (1.x)",
            spec.oci_version
        )))
    }
}
