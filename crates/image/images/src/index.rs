//! All images in memory: what a name means, without touching the disk.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use carrack_content::Roots;
use carrack_oci::{AnyReference, ChainId, Reference};

use crate::error::Error;
use crate::image::{Image, ImageId};
use crate::record::ImageRecord;

#[derive(Debug)]
pub(crate) struct Entry {
    pub image: Image,
    pub record: ImageRecord,
    pub references: BTreeSet<Reference>,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    images: BTreeMap<ImageId, Entry>,
    references: BTreeMap<Reference, ImageId>,
    /// Records whose config cannot be read: not usable, their blobs kept.
    pub broken: BTreeMap<ImageId, ImageRecord>,
}

impl Entry {
    pub(crate) fn is_visible(&self) -> bool {
        self.record.visibility.is_visible()
    }
}

impl Index {
    /// Images that a user sees.
    pub(crate) fn visible(&self) -> impl Iterator<Item = &Entry> {
        self.images.values().filter(|entry| entry.is_visible())
    }

    /// All of them, those kept for containers too.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.images.values()
    }

    pub(crate) fn get(&self, id: &ImageId) -> Option<&Entry> {
        self.images.get(id)
    }

    pub(crate) fn by_reference(&self, reference: &Reference) -> Option<&ImageId> {
        self.references.get(reference)
    }

    /// Names of one repository, in order.
    pub(crate) fn in_repository(&self, repository: &Reference) -> Vec<(&Reference, &ImageId)> {
        self.references
            .range(repository.without_version()..)
            .take_while(|(reference, _)| {
                reference.without_version() == repository.without_version()
            })
            .collect()
    }

    pub(crate) fn children(&self, id: &ImageId) -> impl Iterator<Item = &Entry> {
        let id = id.clone();
        self.visible()
            .filter(move |entry| entry.record.parent.as_ref() == Some(&id))
    }

    pub(crate) fn insert(&mut self, image: Image, record: ImageRecord) {
        let id = image.id().clone();
        self.broken.remove(&id);
        match self.images.get_mut(&id) {
            Some(entry) => {
                entry.image = image.replacing(&entry.image);
                entry.record = record;
            }
            None => {
                let references = BTreeSet::new();
                self.images.insert(
                    id,
                    Entry {
                        image,
                        record,
                        references,
                    },
                );
            }
        }
    }

    pub(crate) fn set_record(&mut self, id: &ImageId, record: ImageRecord) {
        if let Some(entry) = self.images.get_mut(id) {
            entry.record = record;
        }
    }

    /// Takes an image out, with the names that it has.
    pub(crate) fn remove(&mut self, id: &ImageId) -> Option<Entry> {
        let entry = self.images.remove(id)?;
        for reference in &entry.references {
            self.references.remove(reference);
        }
        Some(entry)
    }

    pub(crate) fn tag(&mut self, reference: Reference, id: &ImageId) {
        self.untag(&reference);
        if let Some(entry) = self.images.get_mut(id) {
            entry.references.insert(reference.clone());
            self.references.insert(reference, id.clone());
        }
    }

    pub(crate) fn untag(&mut self, reference: &Reference) -> Option<ImageId> {
        let id = self.references.remove(reference)?;
        if let Some(entry) = self.images.get_mut(&id) {
            entry.references.remove(reference);
        }
        Some(id)
    }

    /// What `name` means: a name, an ID, or the beginning of an ID, in this
    /// order, as docker has it.
    pub(crate) fn resolve(&self, name: &str) -> Result<&Entry, Error> {
        let visible = |id: &ImageId| self.get(id).filter(|entry| entry.is_visible());
        match name.parse()? {
            AnyReference::Digest(digest) => {
                let id = ImageId(digest);
                visible(&id).ok_or_else(|| Error::NotFound {
                    name: id.to_string(),
                })
            }
            AnyReference::Named(reference) => {
                let reference = lookup_form(reference);
                if let Some(entry) = self.by_reference(&reference).and_then(visible) {
                    return Ok(entry);
                }
                self.by_prefix(name)?.ok_or_else(|| Error::NotFound {
                    name: reference.familiar(),
                })
            }
        }
    }

    fn by_prefix(&self, prefix: &str) -> Result<Option<&Entry>, Error> {
        let hex = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if hex.is_empty() || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(None);
        }
        let mut found = self
            .visible()
            .filter(|entry| entry.image.id().0.hex().starts_with(hex));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Error::Ambiguous {
                prefix: prefix.to_owned(),
            }),
            (found, _) => Ok(found),
        }
    }

    /// Every blob that a record refers to.
    pub(crate) fn roots(&self) -> Roots {
        let records = self
            .images
            .values()
            .map(|entry| &entry.record)
            .chain(self.broken.values());
        records.flat_map(ImageRecord::blobs).cloned().collect()
    }

    /// Every snapshot that an image needs.
    pub(crate) fn chains(&self) -> HashSet<ChainId> {
        self.all()
            .flat_map(|entry| entry.image.layers())
            .map(|layer| layer.chain.clone())
            .collect()
    }

    pub(crate) fn needs_chain(&self, chain: &ChainId) -> bool {
        self.all().any(|entry| {
            entry
                .image
                .layers()
                .iter()
                .any(|layer| layer.chain == *chain)
        })
    }
}

/// A name with tag and digest is looked up by its digest, one with neither
/// by `latest`.
pub(crate) fn lookup_form(reference: Reference) -> Reference {
    match reference.digest() {
        Some(digest) if reference.tag().is_some() => reference.with_digest(digest.clone()),
        _ => reference.or_latest(),
    }
}

impl ImageRecord {
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &carrack_oci::Digest> {
        let layers = self.layers.iter().map(|layer| &layer.blob);
        [Some(&self.config), self.manifest.as_ref()]
            .into_iter()
            .flatten()
            .chain(layers)
            .map(|descriptor| &descriptor.digest)
    }
}
