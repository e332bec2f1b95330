//! Docker archives: a `manifest.json` that lists images by the names of
//! their files.
//!
//! Source: moby `image/spec/v1.2.md` "Combined Image JSON + Filesystem
//! Changeset Format".

use std::collections::{HashMap, HashSet};
use std::io::Read;

use carrack_archive::Compression;
use carrack_content::{Ingested, Lease};
use carrack_oci::config::MAX_CONFIG_BYTES;
use carrack_oci::{AnyManifest, Descriptor, Digest, History, ImageConfig, Reference, media_type};
use jiff::Timestamp;
use serde::Deserialize;

use super::spool::Files;
use super::{Budget, LoadOptions, layout};
use crate::add::{NewImage, bare, parse_config};
use crate::error::Error;
use crate::image::ImageId;
use crate::import::layer_media_type;

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    #[serde(default)]
    parent: Option<String>,
}

/// An image of the archive whose files are there.
struct Found<'a> {
    config: &'a Ingested,
    layers: Vec<&'a Ingested>,
    parent: Option<ImageId>,
    references: Vec<Reference>,
}

pub(super) fn plan(
    files: &Files,
    lease: &Lease,
    options: &LoadOptions,
) -> Result<Vec<NewImage>, Error> {
    const NAME: &str = "manifest.json";
    let items: Vec<Item> =
        serde_json::from_slice(files.document(NAME)?).map_err(|source| Error::ArchiveJson {
            name: NAME.to_owned(),
            source,
        })?;
    let mut budget = Budget::default();
    let mut found: Vec<Found<'_>> = Vec::new();
    // By their configs: an image may be there twice, and is looked at once.
    let mut places: HashMap<&Digest, Option<usize>> = HashMap::new();
    for item in items {
        let config = files.blob(&item.config)?;
        let place = match places.get(&config.digest) {
            Some(place) => *place,
            None => {
                let image = find(files, lease, config, &item, options, &mut budget)?;
                let place = image.map(|image| {
                    found.push(image);
                    found.len() - 1
                });
                places.insert(&config.digest, place);
                place
            }
        };
        if let Some(place) = place {
            let image = &mut found[place];
            let references = references(item.repo_tags)?;
            image.references.extend(references);
        }
    }
    if found.is_empty() && !places.is_empty() {
        let platform = options
            .platform
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        return Err(Error::NoImageForPlatform { platform });
    }
    let mut manifests = layout_manifests(files, lease, &found);
    let mut images = Vec::with_capacity(found.len());
    for (at, image) in found.into_iter().enumerate() {
        let config = image.config;
        let (manifest, layers) = match manifests.remove(&at) {
            Some((manifest, layers)) => (Some(manifest), layers),
            None => {
                let layers = image.layers.into_iter();
                let layers = layers.map(|blob| describe(lease, blob));
                (None, layers.collect::<Result<_, _>>()?)
            }
        };
        images.push(NewImage {
            config: Descriptor::new(media_type::CONFIG, config.digest.clone(), config.size),
            manifest,
            layers,
            parent: image.parent,
            references: image.references,
        });
    }
    keep_true_parents(lease, &mut images)?;
    Ok(images)
}

/// The files of an item; none when it is for another platform.
fn find<'a>(
    files: &'a Files,
    lease: &Lease,
    config: &'a Ingested,
    item: &Item,
    options: &LoadOptions,
    budget: &mut Budget,
) -> Result<Option<Found<'a>>, Error> {
    let parsed = read_config(lease, &config.digest, &item.config)?;
    if let Some(wanted) = &options.platform
        && wanted.rank(&parsed.platform).is_none()
    {
        return Ok(None);
    }
    let names = item.layers.as_deref().unwrap_or_default();
    let expected = parsed.rootfs.diff_ids.len();
    if names.len() != expected {
        return Err(Error::LayerCount {
            expected,
            actual: names.len(),
        });
    }
    let described = Descriptor::new(media_type::CONFIG, config.digest.clone(), config.size);
    budget.take(&described, names.len())?;
    let layers = names.iter().map(|name| files.blob(name));
    Ok(Some(Found {
        config,
        layers: layers.collect::<Result<_, _>>()?,
        parent: item.parent.as_deref().and_then(|id| id.parse().ok()),
        references: Vec::new(),
    }))
}

fn read_config(lease: &Lease, digest: &Digest, name: &str) -> Result<ImageConfig, Error> {
    let bytes = lease.store().read_blob(digest, MAX_CONFIG_BYTES as u64)?;
    parse_config(&bytes, name)
}

fn references(tags: Option<Vec<String>>) -> Result<Vec<Reference>, Error> {
    let mut references = Vec::new();
    for name in tags.unwrap_or_default() {
        let reference: Reference = name.parse()?;
        if reference.tag().is_none() {
            return Err(Error::ArchiveTag { name });
        }
        references.push(reference);
    }
    Ok(references)
}

/// Believes what is said of parents as docker does: one that did not come
/// along is none, and one that did has the same history but for the last
/// step. So no image is its own ancestor.
fn keep_true_parents(lease: &Lease, images: &mut [NewImage]) -> Result<(), Error> {
    let ids: HashSet<Digest> = images
        .iter()
        .map(|image| image.config.digest.clone())
        .collect();
    for image in images {
        let id = &image.config.digest;
        image.parent = match image.parent.take() {
            Some(parent) if parent.0 != *id && ids.contains(&parent.0) => {
                let child = read_config(lease, id, id.as_str())?.history;
                let history = read_config(lease, &parent.0, parent.as_str())?.history;
                match (&*history, &*child) {
                    // Docker asks for no history. Who came of whom cannot be
                    // told without.
                    ([], []) => None,
                    (before, [steps @ .., _last]) if is_same_history(before, steps) => Some(parent),
                    _ => {
                        return Err(Error::Parent {
                            image: ImageId(id.clone()),
                            parent,
                        });
                    }
                }
            }
            _ => None,
        };
    }
    Ok(())
}

/// Times count as such: they may be written in more than one way.
fn is_same_history(a: &[History], b: &[History]) -> bool {
    let time = |step: &History| step.created.as_deref().map(str::parse::<Timestamp>);
    let same_time = |a: &History, b: &History| match (time(a), time(b)) {
        (Some(Ok(a)), Some(Ok(b))) => a == b,
        _ => a.created == b.created,
    };
    let timeless = |step: &History| History {
        created: None,
        ..step.clone()
    };
    a.len() == b.len()
        && std::iter::zip(a, b).all(|(a, b)| same_time(a, b) && timeless(a) == timeless(b))
}

/// A layer's descriptor; its media type is told by its first bytes.
fn describe(lease: &Lease, blob: &Ingested) -> Result<Descriptor, Error> {
    let mut start = Vec::new();
    let mut file = lease.store().open_blob(&blob.digest)?.take(16);
    file.read_to_end(&mut start)
        .map_err(|source| carrack_content::Error::Read {
            digest: blob.digest.clone(),
            source,
        })?;
    let media_type = layer_media_type(Compression::detect(&start));
    Ok(Descriptor::new(media_type, blob.digest.clone(), blob.size))
}

/// The manifests that the images had in their registries, where an OCI layout
/// in the same archive knows them and they can be read: they are a gain and no
/// need. With them go the layers as they say.
fn layout_manifests(
    files: &Files,
    lease: &Lease,
    images: &[Found<'_>],
) -> HashMap<usize, (Descriptor, Vec<Descriptor>)> {
    let mut manifests = HashMap::new();
    let Ok(bytes) = files.document("index.json") else {
        return manifests;
    };
    let Ok(AnyManifest::Index(index)) = AnyManifest::parse(bytes) else {
        return manifests;
    };
    let places: HashMap<&Digest, usize> = std::iter::zip(images, 0..)
        .map(|(image, at)| (&image.config.digest, at))
        .collect();
    layout::visit_manifests(
        files,
        lease,
        index.manifests,
        &mut |descriptor, manifest| {
            let Some(&at) = places.get(&manifest.config.digest) else {
                return;
            };
            let (blobs, layers) = (&images[at].layers, &manifest.layers);
            let same = blobs.len() == layers.len()
                && std::iter::zip(layers, blobs)
                    .all(|(layer, blob)| (&layer.digest, layer.size) == (&blob.digest, blob.size));
            if same && manifest.is_image() {
                let layers = layers.iter().map(bare).collect();
                manifests.entry(at).or_insert((descriptor, layers));
            }
        },
    );
    manifests
}
