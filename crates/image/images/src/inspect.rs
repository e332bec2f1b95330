//! Everything about one image, its history, its config as it came.

use carrack_oci::{Descriptor, History, ImageConfig, Reference};
use jiff::Timestamp;

use crate::error::Error;
use crate::image::{Image, ImageId};
use crate::{Images, read_image};

/// What `docker image inspect` shows.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The image.
    pub image: Image,
    /// Its whole config, read from its blob.
    pub config: ImageConfig,
    /// Its manifest, where it came with one.
    pub manifest: Option<Descriptor>,
    /// The image that it was built from.
    pub parent: Option<ImageId>,
    /// Its names with tags, in order.
    pub tags: Vec<Reference>,
    /// Its names with digests, in order.
    pub digests: Vec<Reference>,
    /// When it was last given a name.
    pub last_tagged: Option<Timestamp>,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image of this step, where there is one; `<missing>` otherwise.
    pub id: Option<ImageId>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// By what command.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// The names of that image.
    pub tags: Vec<Reference>,
    /// Bytes of the files of its layer.
    pub size: u64,
}

impl Images {
    /// Everything about an image.
    ///
    /// # Errors
    /// Those of [`Images::resolve`], [`Error::Content`], [`Error::Config`].
    pub fn inspect(&self, name: &str) -> Result<Inspection, Error> {
        let (pin, record, references) = {
            let index = self.index();
            let entry = index.resolve(name)?;
            (
                entry.image.pin(),
                entry.record.clone(),
                entry.references.clone(),
            )
        };
        let (_, config) = read_image(&self.0.content, pin.image().id(), &record)?;
        let (digests, tags) = references
            .into_iter()
            .partition(|reference| reference.digest().is_some());
        Ok(Inspection {
            image: pin.image().clone(),
            config,
            manifest: record.manifest,
            parent: record.parent,
            tags,
            digests,
            last_tagged: record.last_tagged,
        })
    }

    /// How an image came to be, the last step first.
    ///
    /// # Errors
    /// Those of [`Images::inspect`], [`Error::History`].
    pub fn history(&self, name: &str) -> Result<Vec<HistoryEntry>, Error> {
        let inspection = self.inspect(name)?;
        let mut steps = steps(&inspection.image, &inspection.config.history)?;
        steps.reverse();
        // The newest steps belong to the image and those it was built from.
        let index = self.index();
        let mut next = Some(inspection.image.id().clone());
        for step in &mut steps {
            let Some(id) = next.take() else {
                break;
            };
            let entry = index.get(&id);
            if let Some(entry) = entry {
                step.tags = entry
                    .references
                    .iter()
                    .filter(|r| r.digest().is_none())
                    .cloned()
                    .collect();
                next.clone_from(&entry.record.parent);
            }
            step.id = Some(id);
        }
        Ok(steps)
    }
}

fn steps(image: &Image, history: &[History]) -> Result<Vec<HistoryEntry>, Error> {
    let mut layers = image.layers().iter();
    history
        .iter()
        .map(|step| {
            let size = if step.empty_layer {
                0
            } else {
                let layer = layers.next().ok_or_else(|| Error::History {
                    id: image.id().clone(),
                })?;
                layer.size
            };
            Ok(HistoryEntry {
                id: None,
                created: step.created.as_deref().and_then(|text| text.parse().ok()),
                created_by: step.created_by.clone().unwrap_or_default(),
                comment: step.comment.clone().unwrap_or_default(),
                tags: Vec::new(),
                size,
            })
        })
        .collect()
}
