//! OCI image layouts: an `index.json` that lists manifests by digest.
//!
//! Source: image-spec `image-layout.md`. Of several platforms of one image
//! the wanted one is chosen; the others' blobs may be missing.

use std::collections::{HashMap, HashSet};

use carrack_content::Lease;
use carrack_oci::manifest::{
    ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME, MAX_MANIFEST_BYTES, is_attestation,
};
use carrack_oci::{AnyManifest, Descriptor, Digest, Manifest, Platform, Reference, media_type};

use super::spool::Files;
use super::{Budget, LoadOptions};
use crate::add::{NewImage, bare};
use crate::error::Error;

/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;

/// Most manifests and indexes looked at for what a docker archive does not
/// say itself.
const MAX_VISITED: usize = 4096;

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
    // Entries of one name are one image for several platforms; so are, maybe,
    // those without a name.
    let mut groups: Vec<(Option<Reference>, Vec<&Descriptor>)> = Vec::new();
    let mut places: HashMap<Option<Reference>, usize> = HashMap::new();
    for entry in &index.manifests {
        if is_attestation(entry) {
            continue;
        }
        let name = name_of(entry)?;
        let place = *places.entry(name.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push((name, Vec::new()));
        }
        groups[place].1.push(entry);
    }
    let mut plan = Plan {
        files,
        lease,
        options,
        budget: Budget::default(),
        images: Vec::new(),
        resolved: HashMap::new(),
    };
    for (name, entries) in groups {
        for entry in choose(&entries, options) {
            if let Some(image) = plan.resolve(entry, 0)? {
                plan.images[image].references.extend(name.clone());
            }
        }
    }
    if plan.images.is_empty() {
        return Err(no_image(options));
    }
    Ok(plan.images)
}

/// Shows the manifests that `entries` lead to and that can be read, through
/// nested indexes: each once, [`MAX_VISITED`] in all, one in memory at a time.
pub(super) fn visit_manifests(
    files: &Files,
    lease: &Lease,
    entries: Vec<Descriptor>,
    found: &mut dyn FnMut(Descriptor, Manifest),
) {
    let mut seen = HashSet::new();
    let mut waiting = Vec::new();
    let mut enqueue = |waiting: &mut Vec<_>, entries: Vec<Descriptor>, depth: usize| {
        for entry in entries {
            if seen.len() < MAX_VISITED && seen.insert(entry.digest.clone()) {
                waiting.push((bare(&entry), depth));
            }
        }
    };
    enqueue(&mut waiting, entries, 0);
    while let Some((entry, depth)) = waiting.pop() {
        match read(files, lease, &entry) {
            Ok(AnyManifest::Manifest(manifest)) => {
                found(described(&entry, &manifest), *manifest);
            }
            Ok(AnyManifest::Index(index)) if depth < MAX_DEPTH => {
                enqueue(&mut waiting, index.manifests, depth + 1);
            }
            _ => {}
        }
    }
}

/// The images of a layout, as far as they are found.
struct Plan<'a> {
    files: &'a Files,
    lease: &'a Lease,
    options: &'a LoadOptions,
    budget: Budget,
    images: Vec<NewImage>,
    /// What each entry led to: many names may be those of one image.
    resolved: HashMap<Digest, Option<usize>>,
}

impl Plan<'_> {
    /// The place in `images` of what `entry` leads to; none where that is no
    /// image.
    fn resolve(&mut self, entry: &Descriptor, depth: usize) -> Result<Option<usize>, Error> {
        check_size(self.files, entry)?;
        if let Some(known) = self.resolved.get(&entry.digest) {
            return Ok(*known);
        }
        let found = match read(self.files, self.lease, entry)? {
            AnyManifest::Manifest(manifest) => self.take(entry, &manifest)?,
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
                let chosen = choose(&entries, self.options)
                    .into_iter()
                    .next()
                    .ok_or_else(|| no_image(self.options))?;
                self.resolve(chosen, depth + 1)?
            }
        };
        self.resolved.insert(entry.digest.clone(), found);
        Ok(found)
    }

    fn take(&mut self, entry: &Descriptor, manifest: &Manifest) -> Result<Option<usize>, Error> {
        // Charts, signatures and the like use the form of images.
        if !manifest.is_image() {
            return Ok(None);
        }
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            check_size(self.files, blob)?;
        }
        self.budget.take(&manifest.config, manifest.layers.len())?;
        self.images.push(NewImage {
            manifest: Some(described(entry, manifest)),
            config: bare(&manifest.config),
            layers: manifest.layers.iter().map(bare).collect(),
            parent: None,
            references: Vec::new(),
        });
        Ok(Some(self.images.len() - 1))
    }
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

/// The descriptor of an image's manifest, with the type that the manifest or
/// its entry says.
fn described(entry: &Descriptor, manifest: &Manifest) -> Descriptor {
    let media_type = [&manifest.media_type, &entry.media_type]
        .into_iter()
        .find(|media_type| media_type::is_manifest(media_type))
        .map_or(media_type::MANIFEST, String::as_str);
    Descriptor::new(media_type, entry.digest.clone(), entry.size)
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
