//! What images take on disk.

use std::collections::HashMap;

use crate::Images;
use crate::error::Error;
use crate::list::{Summary, layer_users};

/// What `docker system df` shows of images.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Bytes of the files of all layers, each counted once.
    pub layers_bytes: u64,
    /// Bytes of the blobs from which layers can be unpacked again.
    pub blobs_bytes: u64,
    /// Each image.
    pub images: Vec<ImageUsage>,
}

/// One image's share.
#[derive(Clone, Debug)]
pub struct ImageUsage {
    /// The image, with what it shares.
    pub summary: Summary,
    /// Bytes of the files that go when it goes.
    pub unique_size: u64,
}

impl Images {
    /// Disk usage, from memory but for the blobs.
    ///
    /// # Errors
    /// [`Error::Content`].
    pub fn usage(&self) -> Result<Usage, Error> {
        let blobs_bytes = self
            .0
            .content
            .list()?
            .iter()
            .map(|(_, stat)| stat.size)
            .sum();
        let index = self.index();
        let users = layer_users(&index);
        let layers: HashMap<_, _> = index
            .all()
            .flat_map(|entry| entry.image.layers())
            .map(|layer| (&layer.chain, layer.size))
            .collect();
        let mut images: Vec<ImageUsage> = index
            .visible()
            .map(|entry| {
                let summary = entry.summary(&users);
                ImageUsage {
                    unique_size: summary.size - summary.shared_size,
                    summary,
                }
            })
            .collect();
        images.sort_by_key(|usage| std::cmp::Reverse(usage.summary.image.created()));
        Ok(Usage {
            layers_bytes: layers.values().sum(),
            blobs_bytes,
            images,
        })
    }
}
