//! An image as the rest of the engine sees it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use carrack_oci::{ChainId, ContainerConfig, Descriptor, DiffId, Digest, DigestError, Platform};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An image's ID: the digest of its config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub Digest);

/// A resolved image: in memory, immutable, cheap to clone. Everything that a
/// start needs is here; history and whatever else a config has is read from
/// disk when asked for ([`crate::Images::inspect`]).
#[derive(Clone, Debug)]
pub struct Image(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: ImageId,
    platform: Platform,
    created: Option<Timestamp>,
    config: Arc<ContainerConfig>,
    layers: Box<[Layer]>,
    /// Holders of [`ImagePin`]s; shared with the values that replace this one.
    pins: Arc<AtomicUsize>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The blob, as it came.
    pub blob: Descriptor,
    /// What it is uncompressed.
    pub diff_id: DiffId,
    /// It and those below, which names its snapshot.
    pub chain: ChainId,
    /// Bytes of its files.
    pub size: u64,
}

/// Keeps an image's layers, whatever is removed meanwhile: for the time
/// between resolving an image and the durable record of who uses it.
#[derive(Debug)]
pub struct ImagePin(Image);

impl Image {
    pub(crate) fn new(
        id: ImageId,
        platform: Platform,
        created: Option<Timestamp>,
        config: ContainerConfig,
        layers: Vec<Layer>,
    ) -> Image {
        Image(Arc::new(Inner {
            id,
            platform,
            created,
            config: Arc::new(config),
            layers: layers.into(),
            pins: Arc::default(),
        }))
    }

    /// Its ID.
    pub fn id(&self) -> &ImageId {
        &self.0.id
    }

    /// What machine it is for.
    pub fn platform(&self) -> &Platform {
        &self.0.platform
    }

    /// When it was made, as it says itself.
    pub fn created(&self) -> Option<Timestamp> {
        self.0.created
    }

    /// How to run it.
    pub fn config(&self) -> &Arc<ContainerConfig> {
        &self.0.config
    }

    /// Its layers, lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.0.layers
    }

    /// The snapshots of its layers, top first: overlayfs's order of lower
    /// directories.
    pub fn chain_from_top(&self) -> impl Iterator<Item = &ChainId> {
        self.0.layers.iter().rev().map(|layer| &layer.chain)
    }

    /// The chainID of all of its layers; none of an image without layers.
    pub fn top(&self) -> Option<&ChainId> {
        self.0.layers.last().map(|layer| &layer.chain)
    }

    /// Bytes of the files of all layers.
    pub fn size(&self) -> u64 {
        self.0.layers.iter().map(|layer| layer.size).sum()
    }

    /// The same, with those who pin `old`.
    pub(crate) fn replacing(&self, old: &Image) -> Image {
        Image(Arc::new(Inner {
            id: self.0.id.clone(),
            platform: self.0.platform.clone(),
            created: self.0.created,
            config: Arc::clone(&self.0.config),
            layers: self.0.layers.clone(),
            pins: Arc::clone(&old.0.pins),
        }))
    }

    /// Called under the index's lock, which removal takes too.
    pub(crate) fn pin(&self) -> ImagePin {
        self.0.pins.fetch_add(1, Ordering::Relaxed);
        ImagePin(self.clone())
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.0.pins.load(Ordering::Acquire) > 0
    }
}

impl ImagePin {
    /// The image that is kept.
    pub fn image(&self) -> &Image {
        &self.0
    }
}

impl Drop for ImagePin {
    fn drop(&mut self) {
        self.0.0.pins.fetch_sub(1, Ordering::Release);
    }
}

impl ImageId {
    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first 12 hexadecimal characters.
    pub fn short(&self) -> &str {
        self.0.short()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ImageId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(ImageId)
    }
}
