//! `docker save`: an archive that is both a docker archive and an OCI layout,
//! as Docker writes them since version 25; and an OCI layout in a directory.
//!
//! Blobs go out as they came in, so an image keeps its manifest's digest on
//! its way through an archive. The same images give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use carrack_archive::tar::{Entry, Kind, TarWriter, TimePrecision};
use carrack_content::Lease;
use carrack_oci::manifest::{ANNOTATION_IMAGE_NAME, ANNOTATION_REF_NAME};
use carrack_oci::{Descriptor, Digest, Index, Manifest, Reference, media_type};
use serde::Serialize;

use crate::Images;
use crate::error::Error;
use crate::event::Action;
use crate::image::{Image, ImageId, ImagePin};
use crate::index::lookup_form;
use crate::record::ImageRecord;

const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Bytes written to the destination at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// One image on its way out.
struct Leaving {
    pin: ImagePin,
    record: ImageRecord,
    references: BTreeSet<Reference>,
}

/// Everything of an archive but the blobs in the store.
struct Documents {
    /// Small blobs that are not in the store.
    made: BTreeMap<Digest, Vec<u8>>,
    /// Blobs in the store, with their sizes.
    stored: BTreeMap<Digest, u64>,
    files: BTreeMap<&'static str, Vec<u8>>,
}

/// One image of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<ImageId>,
}

impl Images {
    /// Writes the images that `names` mean to a tar stream. A name without a
    /// tag stands for all tags of its repository, as docker has it.
    ///
    /// # Errors
    /// Those of [`Images::resolve`] and [`Error::Content`] for a blob that is
    /// gone, before anything is written; [`Error::WriteArchive`].
    pub fn save(&self, names: &[String], destination: impl Write) -> Result<(), Error> {
        let lease = self.0.content.lease();
        let leaving = self.leaving(names)?;
        let documents = documents(&lease, &leaving)?;

        let destination = BufWriter::with_capacity(BUFFER_BYTES, destination);
        let mut tar = TarWriter::new(destination, TimePrecision::Seconds);
        let mut directories = BTreeSet::from(["blobs".to_owned()]);
        let all: BTreeSet<&Digest> = documents
            .stored
            .keys()
            .chain(documents.made.keys())
            .collect();
        directories.extend(
            all.iter()
                .map(|digest| format!("blobs/{}", digest.algorithm())),
        );
        for directory in directories {
            tar.append(&Entry::new(directory, Kind::Directory))
                .map_err(Error::WriteArchive)?;
        }
        for digest in all {
            let mut entry = Entry::new(blob_path(digest), Kind::Regular);
            if let Some(bytes) = documents.made.get(digest) {
                entry.size = bytes.len() as u64;
                tar.append_with_data(&entry, &mut bytes.as_slice())
            } else {
                entry.size = documents.stored.get(digest).copied().unwrap_or_default();
                let mut blob = self.0.content.open_blob(digest)?;
                tar.append_with_data(&entry, &mut blob)
            }
            .map_err(Error::WriteArchive)?;
        }
        for (name, bytes) in &documents.files {
            let mut entry = Entry::new(*name, Kind::Regular);
            entry.size = bytes.len() as u64;
            tar.append_with_data(&entry, &mut bytes.as_slice())
                .map_err(Error::WriteArchive)?;
        }
        tar.finish().map_err(Error::WriteArchive)?;
        self.tell_saved(&leaving);
        Ok(())
    }

    /// Writes the images that `names` mean as an OCI layout into `dir`, which
    /// is made where it is not there; files of an older layout are replaced.
    ///
    /// # Errors
    /// As [`Images::save`], and [`Error::Directory`].
    pub fn save_directory(&self, names: &[String], dir: &Path) -> Result<(), Error> {
        let lease = self.0.content.lease();
        let leaving = self.leaving(names)?;
        let documents = documents(&lease, &leaving)?;
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Directory { path, source }
        };
        for digest in documents.stored.keys().chain(documents.made.keys()) {
            let path = dir.join(blob_path(digest));
            let parent = path.parent().unwrap_or(dir);
            fs::create_dir_all(parent).map_err(fail(parent))?;
            if let Some(bytes) = documents.made.get(digest) {
                fs::write(&path, bytes).map_err(fail(&path))?;
                continue;
            }
            let mut blob = self.0.content.open_blob(digest)?;
            // Shares the blocks where the file system can.
            let mut copy = File::create(&path).map_err(fail(&path))?;
            std::io::copy(&mut blob, &mut copy).map_err(fail(&path))?;
        }
        // The index last: until it is there the rest means nothing.
        for name in ["oci-layout", "index.json"] {
            let path = dir.join(name);
            if let Some(bytes) = documents.files.get(name) {
                fs::write(&path, bytes).map_err(fail(&path))?;
            }
        }
        self.tell_saved(&leaving);
        Ok(())
    }

    fn leaving(&self, names: &[String]) -> Result<Vec<Leaving>, Error> {
        let index = self.index();
        let mut leaving: Vec<Leaving> = Vec::new();
        let mut add = |id: &ImageId, reference: Option<&Reference>| {
            let Some(entry) = index.get(id) else {
                return;
            };
            let references = reference.filter(|r| r.digest().is_none()).cloned();
            match leaving
                .iter_mut()
                .find(|other| other.pin.image().id() == id)
            {
                Some(other) => other.references.extend(references),
                None => leaving.push(Leaving {
                    pin: entry.image.pin(),
                    record: entry.record.clone(),
                    references: references.into_iter().collect(),
                }),
            }
        };
        for name in names {
            let reference: Option<Reference> = name.parse().ok();
            let name_only = reference
                .as_ref()
                .filter(|reference| reference.is_name_only());
            let tags: Vec<_> = name_only
                .map(|repository| index.in_repository(repository))
                .unwrap_or_default()
                .into_iter()
                .filter(|(reference, _)| reference.digest().is_none())
                .collect();
            if tags.is_empty() {
                let id = index.resolve(name)?.image.id();
                let reference = reference.map(lookup_form);
                let is_its_name = |r: &&Reference| index.by_reference(r) == Some(id);
                add(id, reference.as_ref().filter(is_its_name));
            }
            for (reference, id) in tags {
                add(id, Some(reference));
            }
        }
        Ok(leaving)
    }

    fn tell_saved(&self, leaving: &[Leaving]) {
        for one in leaving {
            self.tell(Action::Save, one.pin.image());
        }
    }
}

fn documents(lease: &Lease, leaving: &[Leaving]) -> Result<Documents, Error> {
    let mut documents = Documents {
        made: BTreeMap::new(),
        stored: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    let mut items = Vec::new();
    let mut entries = Vec::new();
    let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for one in leaving {
        for digest in one.record.blobs() {
            if !lease.pin(digest)? {
                let digest = digest.clone();
                return Err(carrack_content::Error::NotFound { digest }.into());
            }
            documents
                .stored
                .insert(digest.clone(), lease.store().stat(digest)?.size);
        }
        let image = one.pin.image();
        let manifest = match &one.record.manifest {
            Some(manifest) => manifest.clone(),
            None => {
                let (descriptor, bytes) = make_manifest(&one.record)?;
                documents.made.insert(descriptor.digest.clone(), bytes);
                descriptor
            }
        };
        entries.extend(index_entries(image, &manifest, &one.references));
        for (reference, layer) in one
            .references
            .iter()
            .zip(std::iter::repeat(one.record.layers.last()))
        {
            if let (Some(tag), Some(layer)) = (reference.tag(), layer) {
                let tags = repositories.entry(reference.familiar_name()).or_default();
                tags.insert(tag.to_owned(), layer.blob.digest.hex().to_owned());
            }
        }
        let parent = one.record.parent.clone();
        items.push(Item {
            config: blob_path(&one.record.config.digest),
            repo_tags: one.references.iter().map(Reference::familiar).collect(),
            layers: one
                .record
                .layers
                .iter()
                .map(|layer| blob_path(&layer.blob.digest))
                .collect(),
            parent: parent
                .filter(|parent| leaving.iter().any(|other| other.pin.image().id() == parent)),
        });
    }
    documents.files.insert("oci-layout", OCI_LAYOUT.to_vec());
    documents
        .files
        .insert("index.json", encode(&Index::new(entries))?);
    documents.files.insert("manifest.json", encode(&items)?);
    if !repositories.is_empty() {
        documents
            .files
            .insert("repositories", encode(&repositories)?);
    }
    Ok(documents)
}

/// A manifest for an image that came without one.
fn make_manifest(record: &ImageRecord) -> Result<(Descriptor, Vec<u8>), Error> {
    let layers = record
        .layers
        .iter()
        .map(|layer| layer.blob.clone())
        .collect();
    let bytes = encode(&Manifest::new(record.config.clone(), layers))?;
    let descriptor = Descriptor::new(media_type::MANIFEST, Digest::of(&bytes), bytes.len() as u64);
    Ok((descriptor, bytes))
}

/// One entry a name, or one without a name.
fn index_entries(
    image: &Image,
    manifest: &Descriptor,
    references: &BTreeSet<Reference>,
) -> Vec<Descriptor> {
    let mut entry = manifest.clone();
    entry.platform = Some(image.platform().clone()).filter(|platform| !platform.os.is_empty());
    if references.is_empty() {
        return vec![entry];
    }
    references
        .iter()
        .map(|reference| {
            let mut entry = entry.clone();
            entry
                .annotations
                .insert(ANNOTATION_IMAGE_NAME.to_owned(), reference.to_string());
            if let Some(tag) = reference.tag() {
                entry
                    .annotations
                    .insert(ANNOTATION_REF_NAME.to_owned(), tag.to_owned());
            }
            entry
        })
        .collect()
}

fn encode(document: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(document).map_err(Error::Encode)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}
