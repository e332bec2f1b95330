//! Docker archives: a `manifest.json` that lists images by the names of
//! their files.
//!
//! Source: moby `image/spec/v1.2.md` "Combined Image JSON + Filesystem
//! Changeset Format".

use std::io::Read;

use carrack_archive::Compression;
use carrack_content::{Ingested, Lease};
use carrack_oci::config::MAX_CONFIG_BYTES;
use carrack_oci::manifest::MAX_LAYERS;
use carrack_oci::{AnyManifest, Descriptor, Manifest, Reference, media_type};
use serde::Deserialize;

use super::spool::Files;
use super::{LoadOptions, layout};
use crate::add::{NewImage, parse_config};
use crate::error::Error;
use crate::image::ImageId;
use crate::import::layer_media_type;

/// Most images of one archive.
const MAX_IMAGES: usize = 4096;

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
    if items.len() > MAX_IMAGES {
        return Err(Error::ArchiveName {
            reason: "too many images",
            name: NAME.to_owned(),
        });
    }
    let manifests = layout_manifests(files, lease);
    let mut images = Vec::with_capacity(items.len());
    let mut left_out = 0;
    for item in items {
        match image(files, lease, item, &manifests, options)? {
            Some(image) => images.push(image),
            None => left_out += 1,
        }
    }
    if images.is_empty() && left_out > 0 {
        let platform = options
            .platform
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        return Err(Error::NoImageForPlatform { platform });
    }
    // A parent that did not come along is none.
    let ids: Vec<ImageId> = images
        .iter()
        .map(|image: &NewImage| ImageId(image.config.digest.clone()))
        .collect();
    for (image, id) in images.iter_mut().zip(&ids) {
        image.parent = image
            .parent
            .take()
            .filter(|parent| ids.contains(parent) && parent != id);
    }
    Ok(images)
}

fn image(
    files: &Files,
    lease: &Lease,
    item: Item,
    manifests: &[(Descriptor, Manifest)],
    options: &LoadOptions,
) -> Result<Option<NewImage>, Error> {
    let config = files.blob(&item.config)?;
    let bytes = lease
        .store()
        .read_blob(&config.digest, MAX_CONFIG_BYTES as u64)?;
    let parsed = parse_config(&bytes, &item.config)?;
    if let Some(wanted) = &options.platform
        && wanted.rank(&parsed.platform).is_none()
    {
        return Ok(None);
    }
    let names = item.layers.unwrap_or_default();
    let expected = parsed.rootfs.diff_ids.len();
    if names.len() != expected || names.len() > MAX_LAYERS {
        return Err(Error::LayerCount {
            expected,
            actual: names.len(),
        });
    }
    let blobs: Vec<&Ingested> = names
        .iter()
        .map(|name| files.blob(name))
        .collect::<Result<_, _>>()?;
    let mut references = Vec::new();
    for name in item.repo_tags.unwrap_or_default() {
        let reference: Reference = name.parse()?;
        if reference.tag().is_none() {
            return Err(Error::ArchiveTag { name });
        }
        references.push(reference);
    }
    // An OCI layout in the same archive may know the manifest that this image
    // had in its registry.
    let same = |(_, manifest): &&(Descriptor, Manifest)| {
        manifest.config.digest == config.digest
            && std::iter::zip(&manifest.layers, &blobs)
                .all(|(layer, blob)| layer.digest == blob.digest)
            && manifest.layers.len() == blobs.len()
    };
    let (manifest, layers) = match manifests.iter().find(same) {
        Some((descriptor, manifest)) => (Some(descriptor.clone()), manifest.layers.clone()),
        None => {
            let layers = blobs
                .into_iter()
                .map(|blob| describe(lease, blob))
                .collect::<Result<_, _>>()?;
            (None, layers)
        }
    };
    Ok(Some(NewImage {
        config: Descriptor::new(media_type::CONFIG, config.digest.clone(), config.size),
        manifest,
        layers,
        parent: item.parent.and_then(|parent| parent.parse().ok()),
        references,
    }))
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

/// The manifests of the layout beside, those that can be read: they are a
/// gain and no need.
fn layout_manifests(files: &Files, lease: &Lease) -> Vec<(Descriptor, Manifest)> {
    let Ok(bytes) = files.document("index.json") else {
        return Vec::new();
    };
    let Ok(AnyManifest::Index(index)) = AnyManifest::parse(bytes) else {
        return Vec::new();
    };
    let mut manifests = Vec::new();
    layout::visit_manifests(
        files,
        lease,
        &index.manifests,
        &mut |descriptor, manifest| {
            manifests.push((descriptor.clone(), manifest));
        },
    );
    manifests
}
