//! Test images, made from Debian packages and one compiled program.
//!
//! Called by `./test`, `./demo` and the benches. Nothing is pulled from a
//! registry. Each image is made once and kept in a cache directory under a name
//! that holds the version of its recipe; the same recipe and the same packages
//! give the same bytes, so that digests in tests stay put.

mod archive;
mod recipes;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What can be made, in the order in which `xtask images` makes it.
pub(crate) const NAMES: [&str; 4] = ["static", "busybox", "busybox-oci", "debian"];

/// Where images are kept: `CARRACK_IMAGES`, or the user's cache directory.
pub(crate) fn cache_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("CARRACK_IMAGES") {
        return PathBuf::from(dir);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache"),
        PathBuf::from,
    );
    cache.join("carrack/images")
}

/// Makes the named images (all of them when `names` is empty) and prints the
/// path of each, one a line.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let wanted: Vec<&str> = if names.is_empty() {
        NAMES.to_vec()
    } else {
        names.iter().map(String::as_str).collect()
    };
    for name in wanted {
        println!("{}", ensure(name)?.display());
    }
    Ok(())
}

/// Path of the image `name`, made now when the cache lacks it.
pub(crate) fn ensure(name: &str) -> Result<PathBuf> {
    let dir = cache_dir();
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let dest = dir.join(format!("{name}.tar"));
    let stamp = dir.join(format!("{name}.recipe"));
    if dest.exists() && fs::read_to_string(&stamp).is_ok_and(|s| s == recipes::version(name)) {
        return Ok(dest);
    }
    eprintln!("xtask images: making {name}");
    let work = dir.join(format!(".{name}.{}", std::process::id()));
    remove_dir(&work)?;
    fs::create_dir_all(&work)?;
    let made = make(name, &work);
    let finished = made.and_then(|file| {
        fs::rename(&file, &dest).with_context(|| format!("renaming to {}", dest.display()))?;
        fs::write(&stamp, recipes::version(name))?;
        Ok(())
    });
    remove_dir(&work)?;
    finished.with_context(|| format!("making the image {name}"))?;
    Ok(dest)
}

/// Compiles the static program of the image `static` into `dir`.
pub(crate) fn probe(dir: &Path) -> Result<()> {
    let program = recipes::build_probe(dir)?;
    println!("{}", program.display());
    Ok(())
}

fn make(name: &str, work: &Path) -> Result<PathBuf> {
    match name {
        "static" => recipes::static_probe(work),
        "busybox" => recipes::busybox(work, archive::Form::Docker),
        "busybox-oci" => recipes::busybox(work, archive::Form::OciGzip),
        "debian" => recipes::debian(work),
        other => bail!("no image is called {other}; there are {}", NAMES.join(", ")),
    }
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
