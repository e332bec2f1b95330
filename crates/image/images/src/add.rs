//! Adding images whose blobs are in the store.

use carrack_content::Lease;
use carrack_oci::config::MAX_CONFIG_BYTES;
use carrack_oci::{Descriptor, Digest, Digester, ImageConfig, Reference, chain_ids};
use jiff::Timestamp;

use crate::error::Error;
use crate::event::Action;
use crate::image::{Image, ImageId, Layer};
use crate::layers::ProgressSink;
use crate::record::{IMAGES, ImageRecord, LayerRecord, REFERENCES, ReferenceRecord, Visibility};
use crate::{Images, index};

/// An image whose blobs a lease pins.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Its config; the digest becomes the image's ID.
    pub config: Descriptor,
    /// Its manifest, where it came with one.
    pub manifest: Option<Descriptor>,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// The image that it was built from, for docker's classic builds.
    pub parent: Option<ImageId>,
    /// Names to give it, each with a tag or a digest; whoever has them loses
    /// them.
    pub references: Vec<Reference>,
}

/// A new image that was looked into and not yet recorded.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub image: Image,
    new: NewImage,
}

impl Images {
    /// Unpacks the layers that are not unpacked yet, verifies their diffIDs,
    /// and records the image durably.
    ///
    /// `lease` must pin all the blobs. On an error nothing is recorded; what
    /// was unpacked is for [`Images::collect`].
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::OtherOs`], [`Error::LayerCount`],
    /// [`Error::Snapshots`], [`Error::Content`], [`Error::State`].
    pub fn add(
        &self,
        lease: &Lease,
        new: NewImage,
        progress: &ProgressSink<'_>,
    ) -> Result<Image, Error> {
        let candidate = self.look_into(new)?;
        let _chains = self.unpack(&[&candidate.image], progress)?;
        self.record(lease, candidate)
    }

    /// Reads the config and sees whether it and the layers agree.
    pub(crate) fn look_into(&self, new: NewImage) -> Result<Candidate, Error> {
        let new = NewImage {
            config: bare(&new.config),
            manifest: new.manifest.as_ref().map(bare),
            layers: new.layers.iter().map(bare).collect(),
            ..new
        };
        let id = ImageId(new.config.digest.clone());
        let bytes = self.0.content.read_blob(&id.0, MAX_CONFIG_BYTES as u64)?;
        let config = parse_config(&bytes, id.as_str())?;
        let os = &config.platform.os;
        if !os.is_empty() && os != "linux" {
            return Err(Error::OtherOs { os: os.clone() });
        }
        let unknown_sizes: Vec<LayerRecord> = new
            .layers
            .iter()
            .cloned()
            .map(|blob| LayerRecord { blob, size: 0 })
            .collect();
        let image = image_of(id, &config, &unknown_sizes)?;
        Ok(Candidate { image, new })
    }

    /// Records a candidate whose layers are unpacked. The lease is asked for
    /// to show that it is still held: the record must be visible before it
    /// goes.
    pub(crate) fn record(&self, lease: &Lease, candidate: Candidate) -> Result<Image, Error> {
        let Candidate { image, new } = candidate;
        let id = image.id().clone();
        for digest in new
            .manifest
            .iter()
            .chain([&new.config])
            .chain(&new.layers)
            .map(|blob| &blob.digest)
        {
            if !lease.pin(digest)? {
                let digest = digest.clone();
                return Err(carrack_content::Error::NotFound { digest }.into());
            }
        }
        let layers = image.layers().iter().map(|layer| {
            Ok(LayerRecord {
                blob: layer.blob.clone(),
                size: self.snapshot_size(&layer.chain)?,
            })
        });
        let layers: Vec<LayerRecord> = layers.collect::<Result<_, Error>>()?;

        let _changing = self.change();
        let known = self.index().get(&id).map(|entry| entry.record.clone());
        let tagged_now = (!new.references.is_empty()).then(Timestamp::now);
        let record = match known {
            // The blobs that are there already serve as well.
            Some(known) if self.has_blobs(&known)? => ImageRecord {
                last_tagged: tagged_now.or(known.last_tagged),
                visibility: Visibility::Visible,
                ..known
            },
            known => ImageRecord {
                config: new.config,
                manifest: new.manifest,
                layers,
                parent: known
                    .as_ref()
                    .and_then(|known| known.parent.clone())
                    .or(new.parent),
                last_tagged: tagged_now.or(known.and_then(|known| known.last_tagged)),
                visibility: Visibility::Visible,
            },
        };
        let bytes = self.0.content.read_blob(&id.0, MAX_CONFIG_BYTES as u64)?;
        let config = parse_config(&bytes, id.as_str())?;
        let image = image_of(id.clone(), &config, &record.layers)?;
        let references: Vec<Reference> =
            new.references.into_iter().map(index::lookup_form).collect();
        {
            let (id, record, references) = (id.clone(), record.clone(), references.clone());
            self.0.state.write_durable(move |w| {
                w.put(&IMAGES, &id, &record)?;
                let image = id;
                for reference in &references {
                    w.put(
                        &REFERENCES,
                        reference,
                        &ReferenceRecord {
                            image: image.clone(),
                        },
                    )?;
                }
                Ok::<_, Error>(())
            })?;
        }
        let mut index = self.index_mut();
        index.insert(image, record);
        for reference in references {
            index.tag(reference, &id);
        }
        let image = index.get(&id).map(|entry| entry.image.clone());
        image.ok_or_else(|| Error::NotFound {
            name: id.to_string(),
        })
    }

    fn has_blobs(&self, record: &ImageRecord) -> Result<bool, Error> {
        for digest in record.blobs() {
            if !self.0.content.contains(digest)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells of an image that came in.
    pub(crate) fn tell(&self, action: Action, image: &Image) {
        self.0.events.image(action, image, image.id().as_str());
    }
}

/// What is kept of a descriptor. The rest of one may be as large as the whole
/// document that it stands in.
pub(crate) fn bare(descriptor: &Descriptor) -> Descriptor {
    Descriptor::new(
        &descriptor.media_type,
        descriptor.digest.clone(),
        descriptor.size,
    )
}

pub(crate) fn parse_config(bytes: &[u8], name: &str) -> Result<ImageConfig, Error> {
    ImageConfig::parse(bytes).map_err(|source| Error::Config {
        name: name.to_owned(),
        source,
    })
}

/// The digest of `bytes` by the algorithm of `like`.
pub(crate) fn digest_like(like: &Digest, bytes: &[u8]) -> Digest {
    let mut digester = Digester::new(like.algorithm());
    digester.update(bytes);
    digester.finish()
}

/// Puts an image together from its config and its layers' blobs.
pub(crate) fn image_of(
    id: ImageId,
    config: &ImageConfig,
    layers: &[LayerRecord],
) -> Result<Image, Error> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        return Err(Error::LayerCount {
            expected: diff_ids.len(),
            actual: layers.len(),
        });
    }
    let layers = std::iter::zip(diff_ids, chain_ids(diff_ids))
        .zip(layers)
        .map(|((diff_id, chain), layer)| Layer {
            blob: layer.blob.clone(),
            diff_id: diff_id.clone(),
            chain,
            size: layer.size,
        })
        .collect();
    let created = config.created.as_deref().and_then(|text| text.parse().ok());
    Ok(Image::new(
        id,
        config.platform.clone(),
        created,
        config.config.clone(),
        layers,
    ))
}
