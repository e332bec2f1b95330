//! What is on disk about an image, beside its blobs.

use carrack_oci::{Descriptor, Reference};
use carrack_state::Table;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::image::ImageId;

/// Images by ID.
pub(crate) const IMAGES: Table<ImageId, ImageRecord> = Table::new("images");
/// Names: `name:tag` and `name@digest`, normalised.
pub(crate) const REFERENCES: Table<Reference, ReferenceRecord> = Table::new("image-references");

/// An image. What its config says is in the config's blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub config: Descriptor,
    /// As it came; an image that came without has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Descriptor>,
    /// Lowest first, as many as the config has diffIDs.
    pub layers: Vec<LayerRecord>,
    /// The image it was built from, where a classic builder said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ImageId>,
    /// When it was last given a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_tagged: Option<Timestamp>,
    /// Removed by its user while containers need it: it has no name, is not
    /// listed, and goes with the last of them.
    #[serde(default, skip_serializing_if = "Visibility::is_visible")]
    pub visibility: Visibility,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub blob: Descriptor,
    /// Bytes of its files.
    pub size: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Visibility {
    #[default]
    Visible,
    Hidden,
}

impl Visibility {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(crate) fn is_visible(&self) -> bool {
        *self == Visibility::Visible
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReferenceRecord {
    pub image: ImageId,
}
