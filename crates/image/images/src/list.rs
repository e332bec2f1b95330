//! Lists of images.

use std::collections::HashMap;

use carrack_oci::{ChainId, Reference};
use jiff::Timestamp;

use crate::Images;
use crate::error::Error;
use crate::filter::{ListFilter, has_labels};
use crate::image::{Image, ImageId};
use crate::index::{Entry, Index};

/// One line of a list.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The image.
    pub image: Image,
    /// The image that it was built from.
    pub parent: Option<ImageId>,
    /// Its names with tags, in order; with a reference filter those alone
    /// that match it.
    pub tags: Vec<Reference>,
    /// Its names with digests, in order.
    pub digests: Vec<Reference>,
    /// Bytes of its files.
    pub size: u64,
    /// Of these, in layers that other images have too.
    pub shared_size: u64,
    /// When it was last given a name.
    pub last_tagged: Option<Timestamp>,
}

impl Images {
    /// The images that `filter` lets through, the youngest first.
    /// Intermediate ones (without a name, with children) are left out unless
    /// `intermediate` asks for them.
    ///
    /// # Errors
    /// [`Error::NotFound`] and its like for the images of `before` and
    /// `since`.
    pub fn list(
        &self,
        filter: &ListFilter,
        intermediate: Intermediate,
    ) -> Result<Vec<Summary>, Error> {
        let index = self.index();
        let created = |names: &[String]| {
            let times = names
                .iter()
                .map(|name| Ok(index.resolve(name)?.image.created()));
            times.collect::<Result<Vec<_>, Error>>()
        };
        let (before, since) = (created(&filter.before)?, created(&filter.since)?);
        let users = layer_users(&index);
        let mut list: Vec<Summary> = index
            .visible()
            .filter(|entry| {
                let created = entry.image.created();
                before.iter().all(|before| created < *before)
                    && since.iter().all(|since| created > *since)
                    && filter
                        .until
                        .is_none_or(|until| created.is_some_and(|created| created < until))
                    && has_labels(&entry.image.config().labels, &filter.labels)
            })
            .filter_map(|entry| {
                let mut summary = entry.summary(&users);
                if !filter.references.is_empty() {
                    let matching = |reference: &Reference| filter.matches(reference);
                    summary.tags.retain(matching);
                    summary.digests.retain(matching);
                    if summary.tags.is_empty() && summary.digests.is_empty() {
                        return None;
                    }
                }
                let nameless = summary.tags.is_empty() && summary.digests.is_empty();
                let has_children = || index.children(entry.image.id()).next().is_some();
                // Docker's words: one with a digest alone is dangling, and is
                // shown among those that are not, too.
                let shown = match filter.dangling {
                    Some(true) => summary.tags.is_empty() && !has_children(),
                    Some(false) => !nameless,
                    None => !nameless || intermediate == Intermediate::Shown || !has_children(),
                };
                shown.then_some(summary)
            })
            .collect();
        list.sort_by(|a, b| {
            (b.image.created(), a.image.id()).cmp(&(a.image.created(), b.image.id()))
        });
        Ok(list)
    }
}

/// Whether a list shows the images that a build left behind on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intermediate {
    /// `docker images`
    Left,
    /// `docker images --all`
    Shown,
}

impl ListFilter {
    fn matches(&self, reference: &Reference) -> bool {
        let (whole, name) = (reference.familiar(), reference.familiar_name());
        self.references
            .iter()
            .any(|pattern| pattern.matches(&whole) || pattern.matches(&name))
    }
}

impl Entry {
    pub(crate) fn summary(&self, users: &HashMap<ChainId, usize>) -> Summary {
        let (digests, tags) = self
            .references
            .iter()
            .cloned()
            .partition(|reference| reference.digest().is_some());
        let shared = self
            .image
            .layers()
            .iter()
            .filter(|layer| users.get(&layer.chain).is_some_and(|n| *n > 1));
        Summary {
            parent: self.record.parent.clone(),
            tags,
            digests,
            size: self.image.size(),
            shared_size: shared.map(|layer| layer.size).sum(),
            last_tagged: self.record.last_tagged,
            image: self.image.clone(),
        }
    }
}

/// How many images have each chain.
pub(crate) fn layer_users(index: &Index) -> HashMap<ChainId, usize> {
    let mut users = HashMap::new();
    for layer in index.visible().flat_map(|entry| entry.image.layers()) {
        *users.entry(layer.chain.clone()).or_insert(0) += 1;
    }
    users
}
