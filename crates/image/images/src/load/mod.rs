//! `docker load`: image archives and OCI layouts, from a stream or a
//! directory.
//!
//! What comes is hostile until it is verified, and comes in any order through
//! a reader that cannot seek. So all files of an archive are first spooled
//! into the blob store ([`spool`]), in bounded memory; then the documents
//! among them are read ([`docker`], [`layout`]) and give a list of images;
//! then layers are unpacked, several at a time, and verified; then images are
//! recorded. Whatever fails, nothing of it is recorded, and what was spooled
//! is collected.

mod docker;
mod layout;
mod spool;

use std::io::Read;
use std::path::Path;

use carrack_archive::Decoder;
use carrack_content::Lease;
use carrack_oci::{Descriptor, Platform, Reference};

use crate::Images;
use crate::add::NewImage;
use crate::error::Error;
use crate::event::Action;
use crate::image::{Image, ImageId};
use crate::index::lookup_form;
use crate::layers::{LAYER_LIMITS, ProgressSink};

use spool::Files;
pub(crate) use spool::read_error;

/// Most images of one archive.
const MAX_IMAGES: usize = 4096;
/// Most layers of all images of one archive, each as often as an image has it.
const MAX_ALL_LAYERS: usize = 1 << 16;
/// Most bytes of all configs of one archive: what they say stays in memory.
const MAX_ALL_CONFIGS_BYTES: u64 = 32 << 20;

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The machine whose images are wanted; others are left out. By default
    /// this one where there is a choice, and any where there is none.
    pub platform: Option<Platform>,
}

/// What was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The images in the archive's order.
    pub images: Vec<LoadedImage>,
}

/// One image that was loaded.
#[derive(Clone, Debug)]
pub struct LoadedImage {
    /// The image.
    pub image: Image,
    /// The names that it got.
    pub references: Vec<Reference>,
    /// Names that others had before.
    pub replaced: Vec<(Reference, ImageId)>,
}

impl Images {
    /// Loads all images of a docker archive or OCI layout in a tar stream,
    /// which may be compressed as a whole.
    ///
    /// The stream is read to its end.
    ///
    /// # Errors
    /// [`Error::ReadArchive`] and the other archive errors,
    /// [`Error::Content`] for blobs that are not what their names say,
    /// [`Error::Snapshots`] for layers that are not what the config says,
    /// [`Error::State`]. Nothing is left then.
    pub fn load(
        &self,
        source: impl Read,
        options: &LoadOptions,
        progress: &ProgressSink<'_>,
    ) -> Result<Loaded, Error> {
        self.load_files(options, progress, |lease| {
            let decoder =
                Decoder::new(source, LAYER_LIMITS.max_bytes).map_err(Error::ReadArchive)?;
            spool::from_tar(lease, decoder)
        })
    }

    /// Loads all images of a docker archive or OCI layout in a directory.
    ///
    /// # Errors
    /// As [`Images::load`], and [`Error::Directory`].
    pub fn load_directory(
        &self,
        dir: &Path,
        options: &LoadOptions,
        progress: &ProgressSink<'_>,
    ) -> Result<Loaded, Error> {
        self.load_files(options, progress, |lease| spool::from_directory(lease, dir))
    }

    fn load_files(
        &self,
        options: &LoadOptions,
        progress: &ProgressSink<'_>,
        spool: impl FnOnce(&Lease) -> Result<Files, Error>,
    ) -> Result<Loaded, Error> {
        let lease = self.0.content.lease();
        let outcome = spool(&lease).and_then(|files| {
            let images = plan(&files, &lease, options)?;
            self.add_all(&lease, images, progress)
        });
        drop(lease);
        // Also after success: other platforms' blobs came along.
        self.collect_leftovers();
        let loaded = outcome?;
        for one in &loaded.images {
            self.tell(Action::Load, &one.image);
        }
        Ok(loaded)
    }

    fn add_all(
        &self,
        lease: &Lease,
        new: Vec<NewImage>,
        progress: &ProgressSink<'_>,
    ) -> Result<Loaded, Error> {
        let mut candidates = Vec::with_capacity(new.len());
        for image in new {
            let references = image.references.clone();
            candidates.push((self.look_into(image)?, references));
        }
        let images: Vec<&Image> = candidates
            .iter()
            .map(|(candidate, _)| &candidate.image)
            .collect();
        let _chains = self.unpack(&images, progress)?;
        let mut loaded = Vec::with_capacity(candidates.len());
        for (candidate, references) in candidates {
            let references: Vec<Reference> = references.into_iter().map(lookup_form).collect();
            let id = candidate.image.id();
            let replaced = {
                let index = self.index();
                let other = |reference: &Reference| {
                    index
                        .by_reference(reference)
                        .filter(|old| *old != id)
                        .cloned()
                };
                references
                    .iter()
                    .filter_map(|r| Some((r.clone(), other(r)?)))
                    .collect()
            };
            let image = self.record(lease, candidate)?;
            loaded.push(LoadedImage {
                image,
                references,
                replaced,
            });
        }
        Ok(Loaded { images: loaded })
    }
}

impl Loaded {
    /// Docker's lines about it, which clients parse.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for one in &self.images {
            for (reference, old) in &one.replaced {
                lines.push(format!(
                    "The image {} already exists, renaming the old one with ID {old} to empty string\n",
                    reference.familiar()
                ));
            }
            for reference in &one.references {
                lines.push(format!("Loaded image: {}\n", reference.familiar()));
            }
            if one.references.is_empty() {
                lines.push(format!("Loaded image ID: {}\n", one.image.id()));
            }
        }
        lines
    }
}

/// What the images of one archive take so far.
#[derive(Debug, Default)]
struct Budget {
    images: usize,
    layers: usize,
    configs_bytes: u64,
}

impl Budget {
    /// Adds an image, before anything of it is kept.
    fn take(&mut self, config: &Descriptor, layers: usize) -> Result<(), Error> {
        self.images += 1;
        self.layers += layers;
        self.configs_bytes = self.configs_bytes.saturating_add(config.size);
        let reason = if self.images > MAX_IMAGES {
            "too many images"
        } else if self.layers > MAX_ALL_LAYERS {
            "too many layers in all"
        } else if self.configs_bytes > MAX_ALL_CONFIGS_BYTES {
            "configs are too large in all"
        } else {
            return Ok(());
        };
        Err(Error::ArchiveName {
            reason,
            name: config.digest.to_string(),
        })
    }
}

/// The images that the files make up. A `manifest.json` is believed first: it
/// is what every `docker load` reads, and archives of Docker 25 have indexes
/// beside it that lack the layers.
fn plan(files: &Files, lease: &Lease, options: &LoadOptions) -> Result<Vec<NewImage>, Error> {
    let images = if files.has("manifest.json") {
        docker::plan(files, lease, options)?
    } else if files.has("index.json") {
        layout::plan(files, lease, options)?
    } else {
        return Err(Error::NotAnImageArchive);
    };
    // One image under two entries is one image with both names.
    let mut merged: Vec<NewImage> = Vec::with_capacity(images.len());
    for image in images {
        match merged
            .iter_mut()
            .find(|other| other.config.digest == image.config.digest)
        {
            Some(other) => other.references.extend(image.references),
            None => merged.push(image),
        }
    }
    Ok(merged)
}
