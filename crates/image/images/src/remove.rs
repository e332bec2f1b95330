//! Untagging, deleting, pruning, and collecting what is left over.
//!
//! The rules and sentences are docker's (Engine API, `ImageDelete`): a name
//! is taken away first; the image goes with its last name, unless something
//! needs it. What docker would keep for its containers' sake as layers of
//! theirs, stays here as a hidden record (see the crate's docs).

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;

use carrack_oci::{ChainId, Reference};

use crate::Images;
use crate::error::{Error, Force};
use crate::event::Action;
use crate::filter::PruneFilter;
use crate::image::{Image, ImageId};
use crate::index::lookup_form;
use crate::record::{IMAGES, ImageRecord, REFERENCES, Visibility};

/// A container that uses an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageUse {
    /// It runs; its ID.
    Running(String),
    /// It does not; its ID.
    Stopped(String),
}

/// Tells who uses an image, a running container before a stopped one.
///
/// It is asked while records are being changed: it must not call back into
/// this crate, and who calls this crate must not hold a lock that it takes.
pub type Uses<'a> = dyn Fn(&ImageId) -> Option<ImageUse> + 'a;

/// How to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// In spite of stopped containers and several names.
    pub force: bool,
    /// Leave the images that it was built from.
    pub keep_parents: bool,
}

/// One line of what a removal did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(Reference),
    /// An image is gone.
    Deleted(ImageId),
    /// A layer is gone, since no other image has it.
    DeletedLayer(ChainId),
}

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// In order.
    pub removed: Vec<Removed>,
    /// Bytes of layers and blobs that were freed.
    pub reclaimed_bytes: u64,
}

/// What a collection freed, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// Blobs.
    pub blobs_bytes: u64,
    /// Unpacked layers.
    pub snapshots_bytes: u64,
}

impl Images {
    /// Removes a name, or an image by its ID with all its names.
    ///
    /// What is not needed any more is freed before this returns.
    ///
    /// # Errors
    /// Those of [`Images::resolve`], [`Error::ReferenceInUse`],
    /// [`Error::DeleteConflict`], [`Error::State`].
    pub fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
        uses: &Uses<'_>,
    ) -> Result<Vec<Removed>, Error> {
        let mut removed = Vec::new();
        let outcome = self.remove_named(name, options, uses, &mut removed);
        if removed
            .iter()
            .any(|line| matches!(line, Removed::Deleted(_)))
        {
            self.collect(uses)?;
        }
        outcome.map(|()| removed)
    }

    /// Removes dangling images, or all that no container uses.
    ///
    /// # Errors
    /// [`Error::PruneRunning`]; conflicts keep an image and are no errors.
    pub fn prune(&self, filter: &PruneFilter, uses: &Uses<'_>) -> Result<Pruned, Error> {
        if self.0.pruning.swap(true, Ordering::AcqRel) {
            return Err(Error::PruneRunning);
        }
        let _running = Running(self);
        let candidates: Vec<(ImageId, BTreeSet<Reference>)> = {
            let index = self.index();
            index
                .visible()
                .filter(|entry| {
                    let intermediate = entry.references.is_empty()
                        && index.children(entry.image.id()).next().is_some();
                    !intermediate
                        && filter.takes(&entry.image.config().labels, entry.image.created())
                })
                .map(|entry| (entry.image.id().clone(), entry.references.clone()))
                .collect()
        };
        let mut removed = Vec::new();
        for (id, references) in candidates {
            let tagged = references.iter().any(|reference| reference.tag().is_some());
            if tagged && filter.dangling_only {
                continue;
            }
            let names = if references.is_empty() {
                vec![id.to_string()]
            } else {
                references.iter().map(Reference::to_string).collect()
            };
            for name in names {
                // One that is needed after all stays; so does one that
                // somebody else removed meanwhile.
                match self.remove_named(&name, RemoveOptions::default(), uses, &mut removed) {
                    Ok(())
                    | Err(
                        Error::ReferenceInUse { .. }
                        | Error::DeleteConflict { .. }
                        | Error::NotFound { .. },
                    ) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let freed = self.collect(uses)?;
        let reclaimed_bytes = freed.blobs_bytes + freed.snapshots_bytes;
        self.0.events.pruned(reclaimed_bytes);
        Ok(Pruned {
            removed,
            reclaimed_bytes,
        })
    }

    /// Frees what nothing refers to: removed images whose last container is
    /// gone, blobs, snapshots. Everything else goes on meanwhile.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::Content`], [`Error::Snapshots`].
    pub fn collect(&self, uses: &Uses<'_>) -> Result<Collection, Error> {
        self.drop_hidden(uses)?;
        let snapshots_bytes = self.collect_snapshots();
        let blobs = self
            .0
            .content
            .collect(|| Ok::<_, Error>(self.index().roots()))?;
        Ok(Collection {
            blobs_bytes: blobs.bytes,
            snapshots_bytes: snapshots_bytes?,
        })
    }

    /// What a failed load or import left; the failure itself is what is told.
    pub(crate) fn collect_leftovers(&self) {
        let _ = self.collect_snapshots();
        let _ = self
            .0
            .content
            .collect(|| Ok::<_, Error>(self.index().roots()));
    }

    fn remove_named(
        &self,
        name: &str,
        options: RemoveOptions,
        uses: &Uses<'_>,
        removed: &mut Vec<Removed>,
    ) -> Result<(), Error> {
        let _changing = self.change();
        let (image, references) = {
            let index = self.index();
            let entry = index.resolve(name)?;
            (entry.image.clone(), entry.references.clone())
        };
        let id = image.id();
        let is_a_name = |name: &str| match name.parse() {
            Ok(reference) => self.index().by_reference(&lookup_form(reference)).is_some(),
            Err(_) => false,
        };
        let begins_id = id.as_str().starts_with(name) || id.0.hex().starts_with(name);
        let by_id = begins_id && !is_a_name(name);
        let single = is_single_name(&references);
        if by_id {
            if single {
                self.check_conflicts(&image, options, uses, Names::Ignored)?;
                self.untag_all(&image, &references, removed)?;
            }
        } else {
            if !options.force
                && single
                && let Some(ImageUse::Running(container) | ImageUse::Stopped(container)) = uses(id)
            {
                return Err(Error::ReferenceInUse {
                    name: name.to_owned(),
                    container: short(&container),
                    image: id.short().to_owned(),
                });
            }
            let reference = lookup_form(name.parse()?);
            let mut gone = BTreeSet::from([reference.clone()]);
            let left = |gone: &BTreeSet<Reference>| {
                references.difference(gone).cloned().collect::<Vec<_>>()
            };
            // With the last tag of a repository go its digests.
            let same_repository =
                |other: &Reference| other.without_version() == reference.without_version();
            if reference.digest().is_none()
                && !left(&gone)
                    .iter()
                    .any(|r| r.digest().is_none() && same_repository(r))
            {
                gone.extend(left(&gone).into_iter().filter(same_repository));
            }
            self.untag_all(&image, &gone, removed)?;
            if !left(&gone).is_empty() {
                return Ok(());
            }
            // Nobody asked for the image itself to go: it stays quietly.
            if self
                .check_conflicts(&image, options, uses, Names::Checked)
                .is_err()
            {
                return Ok(());
            }
        }
        self.delete(&image, options, uses, removed)
    }

    /// Deletes an image and then, quietly, those it was built from, as far as
    /// nothing needs them.
    fn delete(
        &self,
        image: &Image,
        options: RemoveOptions,
        uses: &Uses<'_>,
        removed: &mut Vec<Removed>,
    ) -> Result<(), Error> {
        let mut parent = self.delete_one(image, options, uses, removed)?;
        while let Some(image) = parent
            .filter(|_| !options.keep_parents)
            .and_then(|parent| self.by_id(&parent))
        {
            parent = match self.delete_one(&image, RemoveOptions::default(), uses, removed) {
                Err(Error::DeleteConflict { .. }) => return Ok(()),
                other => other?,
            };
        }
        Ok(())
    }

    /// Deletes one image; gives the one it was built from.
    fn delete_one(
        &self,
        image: &Image,
        options: RemoveOptions,
        uses: &Uses<'_>,
        removed: &mut Vec<Removed>,
    ) -> Result<Option<ImageId>, Error> {
        self.check_conflicts(image, options, uses, Names::Checked)?;
        let references = self.references(image.id()).into_iter().collect();
        self.untag_all(image, &references, removed)?;
        let id = image.id().clone();
        let Some(record) = self.index().get(&id).map(|entry| entry.record.clone()) else {
            return Ok(None);
        };
        let parent = record.parent.clone();
        let hidden = ImageRecord {
            visibility: Visibility::Hidden,
            parent: None,
            ..record.clone()
        };
        // From here on no name leads to it, so no pin can come.
        self.index_mut().set_record(&id, hidden.clone());
        let outcome = if is_needed(image, uses) {
            self.put_record(&id, &hidden)
        } else {
            self.delete_record(&id)
                .map(|()| drop(self.index_mut().remove(&id)))
        };
        if let Err(error) = outcome {
            self.index_mut().set_record(&id, record);
            return Err(error);
        }
        self.0.events.deleted(&id);
        removed.push(Removed::Deleted(id));
        let needed = self.index().chains();
        let gone = image
            .chain_from_top()
            .filter(|chain| !needed.contains(*chain));
        removed.extend(gone.cloned().map(Removed::DeletedLayer));
        Ok(parent)
    }

    fn check_conflicts(
        &self,
        image: &Image,
        options: RemoveOptions,
        uses: &Uses<'_>,
        names: Names,
    ) -> Result<(), Error> {
        let conflict = |force, reason| {
            Err(Error::DeleteConflict {
                image: image.id().short().to_owned(),
                force,
                reason,
            })
        };
        let index = self.index();
        if index.children(image.id()).next().is_some() {
            return conflict(
                Force::Refused,
                "image has dependent child images".to_owned(),
            );
        }
        let named = index
            .get(image.id())
            .is_some_and(|entry| !entry.references.is_empty());
        drop(index);
        let used = uses(image.id());
        if let Some(ImageUse::Running(container)) = &used {
            let reason = format!(
                "image is being used by running container {}",
                short(container)
            );
            return conflict(Force::Refused, reason);
        }
        if options.force {
            return Ok(());
        }
        if named && names == Names::Checked {
            return conflict(
                Force::Helps,
                "image is referenced in multiple repositories".to_owned(),
            );
        }
        if let Some(ImageUse::Stopped(container)) = &used {
            let reason = format!(
                "image is being used by stopped container {}",
                short(container)
            );
            return conflict(Force::Helps, reason);
        }
        Ok(())
    }

    fn untag_all(
        &self,
        image: &Image,
        gone: &BTreeSet<Reference>,
        removed: &mut Vec<Removed>,
    ) -> Result<(), Error> {
        if gone.is_empty() {
            return Ok(());
        }
        {
            let gone = gone.clone();
            self.0.state.write_durable(move |w| {
                for reference in &gone {
                    w.delete(&REFERENCES, reference);
                }
                Ok::<_, Error>(())
            })?;
        }
        // Tags before digests.
        let (digests, tags): (Vec<_>, Vec<_>) = gone
            .iter()
            .partition(|reference| reference.digest().is_some());
        for reference in tags.into_iter().chain(digests) {
            self.index_mut().untag(reference);
            self.tell(Action::Untag, image);
            removed.push(Removed::Untagged(reference.clone()));
        }
        Ok(())
    }

    fn drop_hidden(&self, uses: &Uses<'_>) -> Result<(), Error> {
        let _changing = self.change();
        let hidden: Vec<Image> = {
            let index = self.index();
            index
                .all()
                .filter(|entry| !entry.is_visible())
                .map(|entry| entry.image.clone())
                .collect()
        };
        for image in hidden {
            if !is_needed(&image, uses) {
                self.delete_record(image.id())?;
                self.index_mut().remove(image.id());
            }
        }
        Ok(())
    }

    fn put_record(&self, id: &ImageId, record: &ImageRecord) -> Result<(), Error> {
        let (id, record) = (id.clone(), record.clone());
        Ok(self
            .0
            .state
            .write_durable(move |w| w.put(&IMAGES, &id, &record))?)
    }

    fn delete_record(&self, id: &ImageId) -> Result<(), Error> {
        let id = id.clone();
        self.0.state.write_durable(move |w| {
            w.delete(&IMAGES, &id);
            Ok::<_, Error>(())
        })
    }
}

/// Whether the image's own names count as a conflict.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Checked,
    Ignored,
}

/// Whether a hidden image is still needed. Pins are looked at first: who
/// drops one has made a use that is visible by then.
fn is_needed(image: &Image, uses: &Uses<'_>) -> bool {
    image.is_pinned() || uses(image.id()).is_some()
}

/// Whether all names are of one repository, with at most one tag.
fn is_single_name(references: &BTreeSet<Reference>) -> bool {
    let repositories: HashSet<Reference> =
        references.iter().map(Reference::without_version).collect();
    let tags = references
        .iter()
        .filter(|reference| reference.digest().is_none())
        .count();
    references.len() == 1 || (repositories.len() == 1 && tags <= 1)
}

fn short(container: &str) -> String {
    container.chars().take(12).collect()
}

/// Ends a prune, however it ends.
struct Running<'a>(&'a Images);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.pruning.store(false, Ordering::Release);
    }
}
