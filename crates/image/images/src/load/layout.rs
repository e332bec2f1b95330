//! OCI image layouts: an `index.json` that lists manifests by digest.
//!
//! Source: image-spec `image-layout.md`. Of several platforms of one image
//! the wanted one is chosen; the others' blobs may be missing.

use carrack_content::Lease;
use carrack_oci::manifest::{
    ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME, MAX_LAYERS, MAX_MANIFEST_BYTES, is_attestation,
};
use carrack_oci::{AnyManifest, Descriptor, Manifest, Platform, Reference, media_type};

use super::LoadOptions;
use super::spool::Files;
use crate::add::NewImage;
use crate::error::Error;

/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;

pub(super) fn plan(
    files: &Files,
    lease: &Lease,
    options: &LoadOptions,
) -> Result<Vec<NewImage>, Error> {
    const NAME: &str = "index.json";
    let index = match parse(NAME, files.document(NAME)?)? {
        AnyManifest::Index(index) => index,
        AnyManifest::Manifest(_) => return Err(Error::NotAnImageArchive),
    };
    let entries: Vec<&Descriptor> = index
        .manifests
        .iter()
        .filter(|entry| !is_attestation(entry))
        .collect();
    // Entries of one name are one image for several platforms; so are, maybe,
    // those without a name.
    let mut names: Vec<Option<Reference>> = Vec::new();
    for entry in &entries {
        let name = name_of(entry)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut images = Vec::new();
    for name in names {
        let mut group = Vec::new();
        for &entry in &entries {
            if name_of(entry)? == name {
                group.push(entry);
            }
        }
        for entry in choose(&group, options) {
            if let Some(image) = resolve(files, lease, entry, name.as_ref(), options, 0)? {
                images.push(image);
            }
        }
    }
    if images.is_empty() {
        return Err(no_image(options));
    }
    Ok(images)
}

/// The manifests that `entries` lead to and that can be read, through nested
/// indexes.
pub(super) fn visit_manifests(
    files: &Files,
    lease: &Lease,
    entries: &[Descriptor],
    found: &mut dyn FnMut(&Descriptor, Manifest),
) {
    let mut waiting: Vec<(Descriptor, usize)> =
        entries.iter().map(|entry| (entry.clone(), 0)).collect();
    while let Some((entry, depth)) = waiting.pop() {
        match read(files, lease, &entry) {
            Ok(AnyManifest::Manifest(manifest)) => found(&entry, *manifest),
            Ok(AnyManifest::Index(index)) if depth < MAX_DEPTH && waiting.len() < MAX_LAYERS => {
                waiting.extend(index.manifests.into_iter().map(|entry| (entry, depth + 1)));
            }
            _ => {}
        }
    }
}

fn resolve(
    files: &Files,
    lease: &Lease,
    entry: &Descriptor,
    name: Option<&Reference>,
    options: &LoadOptions,
    depth: usize,
) -> Result<Option<NewImage>, Error> {
    let manifest = match read(files, lease, entry)? {
        AnyManifest::Manifest(manifest) => *manifest,
        AnyManifest::Index(index) => {
            if depth >= MAX_DEPTH {
                return Err(Error::ArchiveName {
                    reason: "indexes are nested too deep",
                    name: entry.digest.to_string(),
                });
            }
            let entries: Vec<&Descriptor> = index
                .manifests
                .iter()
                .filter(|entry| !is_attestation(entry))
                .collect();
            let chosen = choose(&entries, options)
                .into_iter()
                .next()
                .ok_or_else(|| no_image(options))?;
            return resolve(files, lease, chosen, name, options, depth + 1);
        }
    };
    // Charts, signatures and the like use the form of images.
    if !manifest.is_image() {
        return Ok(None);
    }
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        check_size(files, blob)?;
    }
    Ok(Some(NewImage {
        manifest: Some(Descriptor::new(
            manifest_type(entry, &manifest),
            entry.digest.clone(),
            entry.size,
        )),
        config: manifest.config,
        layers: manifest.layers,
        parent: None,
        references: name.cloned().into_iter().collect(),
    }))
}

/// The entries that serve best; without a wish, a single one serves anyway.
fn choose<'a>(entries: &[&'a Descriptor], options: &LoadOptions) -> Vec<&'a Descriptor> {
    if let ([only], None) = (entries, &options.platform) {
        return vec![only];
    }
    let wanted = options.platform.clone().unwrap_or_else(Platform::current);
    let rank = |entry: &Descriptor| match &entry.platform {
        Some(platform) => wanted.rank(platform),
        None => Some(u32::MAX),
    };
    let best = entries.iter().filter_map(|entry| rank(entry)).min();
    let serves = |entry: &&&Descriptor| best.is_some() && rank(entry) == best;
    entries.iter().filter(serves).copied().collect()
}

fn read(files: &Files, lease: &Lease, entry: &Descriptor) -> Result<AnyManifest, Error> {
    check_size(files, entry)?;
    let bytes = lease
        .store()
        .read_blob(&entry.digest, MAX_MANIFEST_BYTES as u64)?;
    parse(entry.digest.as_str(), &bytes)
}

fn check_size(files: &Files, blob: &Descriptor) -> Result<(), Error> {
    let actual = files.layout_blob(&blob.digest)?.size;
    if actual != blob.size {
        return Err(carrack_content::Error::WrongSize {
            expected: blob.size,
            actual,
        }
        .into());
    }
    Ok(())
}

fn parse(name: &str, bytes: &[u8]) -> Result<AnyManifest, Error> {
    AnyManifest::parse(bytes).map_err(|source| Error::Manifest {
        name: name.to_owned(),
        source,
    })
}

fn manifest_type<'a>(entry: &'a Descriptor, manifest: &'a Manifest) -> &'a str {
    [&manifest.media_type, &entry.media_type]
        .into_iter()
        .find(|media_type| !media_type.is_empty())
        .map_or(media_type::MANIFEST, String::as_str)
}

/// containerd's and Docker's annotation is a whole reference; the layout's
/// own one may be a tag alone, which names nothing here.
fn name_of(entry: &Descriptor) -> Result<Option<Reference>, Error> {
    if let Some(name) = entry.annotations.get(ANNOTATION_IMAGE_NAME) {
        return Ok(Some(name.parse()?));
    }
    match entry.annotations.get(ANNOTATION_REF_NAME) {
        Some(name) if name.contains([':', '/']) => Ok(name.parse().ok()),
        _ => Ok(None),
    }
}

fn no_image(options: &LoadOptions) -> Error {
    let platform = options.platform.clone().unwrap_or_else(Platform::current);
    Error::NoImageForPlatform {
        platform: platform.to_string(),
    }
}
