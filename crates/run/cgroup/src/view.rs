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

/// How a leaf is shown at `/sys/fs/cgroup` of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Each v1 hierarchy's directory, and links between names.
    V1 {
        /// Name under `/sys/fs/cgroup` and the leaf's path.
        hierarchies: Vec<(String, String)>,
        /// Link name and target.
        links: Vec<(String, String)>,
    },
    /// v2: the leaf's path.
    V2(String),
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

    /// How the leaf is shown inside a container.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let locations = self.locations();
        let v1 = locations.iter().filter(|l| l.version == Version::V1);
        let hierarchies: Vec<(String, String)> = v1
            .filter_map(|location| {
                let name = location.mount_point.file_name()?.to_str()?.to_owned();
                Some((name, location.path.display().to_string()))
            })
            .collect();
        if hierarchies.is_empty() {
            let first = locations.first();
            return Shown::V2(first.map_or_else(String::new, |l| l.path.display().to_string()));
        }
        // Programs look for a co-mounted controller under its own name.
        let shared = hierarchies.iter().filter(|(name, _)| name.contains(','));
        let links = shared
            .flat_map(|(name, _)| name.split(',').map(|part| (part.to_owned(), name.clone())))
            .collect();
        Shown::V1 { hierarchies, links }
    }
}
