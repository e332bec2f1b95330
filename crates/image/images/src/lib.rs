//! The engine's images: names to manifests to unpacked layers.
//!
//! `run/docker`, `run/pods` and `build/builder` call it. Blobs are in
//! `image/content`, unpacked layers in `image/snapshots`, records in
//! `base/state`; this crate holds the three together and knows what docker
//! means by an image. It speaks no wire protocol, and does not fetch.
//!
//! * **Coming in**: [`Images::load`], [`Images::load_directory`],
//!   [`Images::import`], and [`Images::add`] for whoever has put the blobs in
//!   place (pull, build). Blobs are verified and synced, layers unpacked and
//!   their diffIDs verified, and only then is there a durable record.
//! * **Hot path**: [`Images::resolve`] and [`Images::resolve_pinned`] answer
//!   from memory.
//! * **Going out**: [`Images::save`], [`Images::save_directory`].
//! * **Going away**: [`Images::remove`], [`Images::prune`],
//!   [`Images::collect`].
//!
//! # Who keeps what
//! A record keeps its blobs and its layers' snapshots. An image that is
//! removed while a container uses it, or while an [`ImagePin`] is held, stays
//! as a *hidden* record without a name until [`Images::collect`] finds it
//! unused. Snapshots are a cache: what a power cut took is unpacked again from
//! the blobs by [`Images::ensure_unpacked`].
#![forbid(unsafe_code)]

mod add;
mod error;
mod event;
mod filter;
mod glob;
mod image;
mod import;
mod index;
mod inspect;
mod layers;
mod list;
mod load;
mod record;
mod remove;
mod save;
mod tag;
mod usage;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use carrack_content::Store;
use carrack_oci::{ImageConfig, Platform, Reference};
use carrack_snapshots::Snapshots;
use carrack_state::State;

use index::Index;
use layers::Chains;
use record::{IMAGES, ImageRecord, REFERENCES};

pub use add::NewImage;
pub use error::{Error, Force};
pub use event::{Action, Event, EventSink};
pub use filter::{Filters, ListFilter, PruneFilter, parse_instant};
pub use image::{Image, ImageId, ImagePin, Layer};
pub use import::ImportOptions;
pub use inspect::{HistoryEntry, Inspection};
pub use layers::{Progress, ProgressSink};
pub use list::{Intermediate, Summary};
pub use load::{LoadOptions, Loaded, LoadedImage};
pub use remove::{Collection, ImageUse, Pruned, RemoveOptions, Removed, Uses};
pub use usage::{ImageUsage, Usage};

/// The engine's images; clones share them.
#[derive(Clone, Debug)]
pub struct Images(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: State,
    content: Store,
    snapshots: Arc<Snapshots>,
    events: EventSink,
    index: RwLock<Index>,
    /// Held by whoever changes records, so that disk and memory change in one
    /// order. Never held while layers are read or unpacked.
    changing: Mutex<()>,
    chains: Chains,
    pruning: AtomicBool,
}

/// An image that cannot be used: its config is missing or damaged. What layers
/// it has cannot be told either, and a container may run on them: no layer is
/// removed until the image was loaded again.
#[derive(Debug)]
pub struct Broken {
    /// The image.
    pub id: ImageId,
    /// Why.
    pub error: Error,
}

impl Images {
    /// Takes over what the three stores hold. Images whose configs cannot be
    /// read are returned beside, for the log; their blobs are kept.
    ///
    /// # Errors
    /// [`Error::State`].
    pub fn open(
        state: State,
        content: Store,
        snapshots: Arc<Snapshots>,
        events: EventSink,
    ) -> Result<(Images, Vec<Broken>), Error> {
        let (records, references) =
            state.read(|r| Ok::<_, Error>((r.entries(&IMAGES)?, r.entries(&REFERENCES)?)))?;
        let mut index = Index::default();
        let mut broken = Vec::new();
        for (id, record) in records {
            match read_image(&content, &id, &record) {
                Ok((image, _)) => index.insert(image, record),
                Err(error) => {
                    index.broken.insert(id.clone(), record);
                    broken.push(Broken { id, error });
                }
            }
        }
        for (reference, record) in references {
            index.tag(reference, &record.image);
        }
        let images = Images(Arc::new(Inner {
            state,
            content,
            snapshots,
            events,
            index: RwLock::new(index),
            changing: Mutex::default(),
            chains: Chains::default(),
            pruning: AtomicBool::new(false),
        }));
        Ok((images, broken))
    }

    /// The blobs, for whoever adds images.
    pub fn content(&self) -> &Store {
        &self.0.content
    }

    /// The unpacked layers, for whoever mounts them.
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.0.snapshots
    }

    /// The image that `name` means: a name, an ID or the beginning of one.
    ///
    /// # Errors
    /// [`Error::Reference`], [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn resolve(&self, name: &str) -> Result<Image, Error> {
        Ok(self.index().resolve(name)?.image.clone())
    }

    /// [`Images::resolve`], with the promise that what it found is not taken
    /// away before the pin is dropped.
    ///
    /// # Errors
    /// As [`Images::resolve`].
    pub fn resolve_pinned(&self, name: &str) -> Result<ImagePin, Error> {
        Ok(self.index().resolve(name)?.image.pin())
    }

    /// [`Images::resolve_pinned`] for a platform; Docker does not have several
    /// images under one name, so it is this one or none.
    ///
    /// # Errors
    /// As [`Images::resolve`], and [`Error::OtherPlatform`].
    pub fn resolve_for(&self, name: &str, wanted: &Platform) -> Result<ImagePin, Error> {
        let pin = self.resolve_pinned(name)?;
        let mut offered = pin.image().platform().clone();
        if offered.os.is_empty() {
            offered.os = "linux".to_owned();
        }
        // Configs often lack the variant that an index would have told.
        if offered.variant.is_none() {
            offered.variant.clone_from(&wanted.variant);
        }
        match wanted.rank(&offered) {
            Some(_) => Ok(pin),
            None => Err(Error::OtherPlatform {
                name: name.to_owned(),
                wanted: wanted.to_string(),
            }),
        }
    }

    /// An image by its ID, also one that was removed and is kept for the
    /// containers that use it.
    pub fn by_id(&self, id: &ImageId) -> Option<Image> {
        self.index().get(id).map(|entry| entry.image.clone())
    }

    /// Whether an image was removed and is kept for the containers that use
    /// it, until a [`Images::collect`] finds none.
    pub fn is_hidden(&self, id: &ImageId) -> bool {
        self.index()
            .get(id)
            .is_some_and(|entry| !entry.is_visible())
    }

    /// The names of an image, in order.
    pub fn references(&self, id: &ImageId) -> Vec<Reference> {
        let index = self.index();
        let references = index
            .get(id)
            .map(|entry| entry.references.iter().cloned().collect());
        references.unwrap_or_default()
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.0
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads an image's config and puts the image together.
fn read_image(
    content: &Store,
    id: &ImageId,
    record: &ImageRecord,
) -> Result<(Image, ImageConfig), Error> {
    let bytes = content.read_blob(
        &record.config.digest,
        carrack_oci::config::MAX_CONFIG_BYTES as u64,
    )?;
    let actual = add::digest_like(&id.0, &bytes);
    if actual != id.0 {
        return Err(carrack_content::Error::WrongDigest {
            expected: id.0.clone(),
            actual,
        }
        .into());
    }
    let config = add::parse_config(&bytes, id.as_str())?;
    let image = add::image_of(id.clone(), &config, &record.layers)?;
    Ok((image, config))
}

#[cfg(test)]
mod tests;
