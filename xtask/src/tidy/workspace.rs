//! The workspace as tidy sees it: crates with their rooms, and source files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A member of the workspace.
#[derive(Debug)]
pub(super) struct Crate {
    /// Package name, such as `carrack-oci`.
    pub(super) name: String,
    /// Folder below the root, such as `crates/base/oci`.
    pub(super) folder: String,
    /// Names of all its dependencies, without those of tests and build scripts.
    pub(super) dependencies: Vec<String>,
}

/// The part of the product that a crate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room<'a> {
    /// `crates/<room>/…`
    Crates(&'a str),
    /// `bin/…`
    Bin,
    /// `tests`, `xtask`: outside the product.
    Outside,
}

impl Crate {
    /// Where it stands.
    pub(super) fn room(&self) -> Room<'_> {
        let mut parts = self.folder.split('/');
        match (parts.next(), parts.next()) {
            (Some("crates"), Some(room)) => Room::Crates(room),
            (Some("bin"), _) => Room::Bin,
            _ => Room::Outside,
        }
    }

    /// Whether it speaks a protocol to the outside: a server's, or a user's command line.
    pub(super) fn is_facade(&self) -> bool {
        self.name.ends_with("-api")
            || matches!(
                self.name.as_str(),
                "carrack-cri" | "carrack-cli" | "carrack-ssh"
            )
    }

    /// Folder without `crates/`: how pages call it.
    pub(super) fn short(&self) -> &str {
        self.folder.strip_prefix("crates/").unwrap_or(&self.folder)
    }
}

/// One source file of a crate.
#[derive(Debug)]
pub(super) struct Source {
    /// Path below the root.
    pub(super) path: String,
    /// The crate's folder.
    pub(super) folder: String,
    /// Its whole text.
    pub(super) text: String,
}

impl Source {
    /// The text without what is compiled for tests alone, empty for a file of tests.
    pub(super) fn product(&self) -> &str {
        let parts: Vec<&str> = self.path.split('/').collect();
        let file = parts.last().copied().unwrap_or_default();
        if matches!(file, "tests.rs" | "testing.rs")
            || parts.contains(&"tests")
            || parts.contains(&"testing")
        {
            return "";
        }
        match self.text.find("#[cfg(test)]\nmod tests {") {
            Some(at) => &self.text[..at],
            None => &self.text,
        }
    }
}

/// All members, by folder.
pub(super) fn crates() -> Result<Vec<Crate>> {
    let metadata = crate::metadata()?;
    let root = crate::root();
    let mut crates = Vec::new();
    for package in metadata["packages"].as_array().context("no packages")? {
        let manifest = Path::new(
            package["manifest_path"]
                .as_str()
                .context("no manifest_path")?,
        );
        let folder = manifest
            .parent()
            .and_then(|p| p.strip_prefix(root).ok())
            .context("a member outside")?;
        let dependencies = package["dependencies"]
            .as_array()
            .context("no dependencies")?;
        crates.push(Crate {
            name: package["name"].as_str().context("no name")?.to_owned(),
            folder: folder.to_string_lossy().into_owned(),
            dependencies: dependencies
                .iter()
                .filter(|d| d["kind"].is_null())
                .filter_map(|d| d["name"].as_str().map(str::to_owned))
                .collect(),
        });
    }
    crates.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(crates)
}

/// Every `.rs` file below `src/` of the product's crates.
pub(super) fn sources(crates: &[Crate]) -> Result<Vec<Source>> {
    let root = crate::root();
    let mut sources = Vec::new();
    for member in crates.iter().filter(|c| c.room() != Room::Outside) {
        let mut queue = vec![root.join(&member.folder).join("src")];
        while let Some(dir) = queue.pop() {
            for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
                let path: PathBuf = entry?.path();
                if path.is_dir() {
                    queue.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let below = path.strip_prefix(root).unwrap_or(&path);
                    sources.push(Source {
                        path: below.to_string_lossy().into_owned(),
                        folder: member.folder.clone(),
                        text: fs::read_to_string(&path)?,
                    });
                }
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}
