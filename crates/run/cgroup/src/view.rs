//! Where a leaf is found on the host, for showing it inside a container.

use std::path::{Path, PathBuf};

use crate::{Leaf, Version};

/// One hierarchy's directory of a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafLocation {
    /// v1 or v2.
    pub version: Version,
    /// Where the hierarchy is mounted on the host.
    pub mount_point: PathBuf,
    /// The leaf's directory below it.
    pub path: PathBuf,
}

impl Leaf {
    /// The leaf's directory in every hierarchy that has it.
    #[must_use]
    pub fn locations(&self) -> Vec<LeafLocation> {
        self.parent
            .0
            .mounted
            .hierarchies
            .iter()
            .enumerate()
            .filter(|(index, _)| self.directories[*index].is_some())
            .map(|(index, hierarchy)| LeafLocation {
                version: hierarchy.version,
                mount_point: Path::new(&hierarchy.mount_point).to_owned(),
                path: self.location(index),
            })
            .collect()
    }
}
