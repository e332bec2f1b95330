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

    /// How the v1 hierarchies are shown inside a container: directory name and
    /// the leaf's path of each, and links, name and target, from a controller's
    /// own name to the hierarchy that it shares with others.
    #[must_use]
    pub fn v1_names(&self) -> (Vec<(String, String)>, Vec<(String, String)>) {
        let locations = self.locations();
        let v1 = locations.iter().filter(|l| l.version == Version::V1);
        let hierarchies: Vec<(String, String)> = v1
            .filter_map(|location| {
                let name = location.mount_point.file_name()?.to_str()?.to_owned();
                Some((name, location.path.display().to_string()))
            })
            .collect();
        let shared = hierarchies.iter().filter(|(name, _)| name.contains(','));
        let links = shared
            .flat_map(|(name, _)| name.split(',').map(|part| (part.to_owned(), name.clone())))
            .collect();
        (hierarchies, links)
    }
}
