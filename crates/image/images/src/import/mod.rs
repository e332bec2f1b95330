//! `docker import`: a root file system becomes an image of one layer.

mod changes;
mod words;

use std::io::{self, Read};

use carrack_archive::Decoder;
use carrack_content::{Expected, Ingest, Lease};
use carrack_oci::{
    ContainerConfig, Descriptor, DiffId, Digester, History, ImageConfig, Platform, Reference,
    RootFs, media_type,
};
use jiff::Timestamp;

use crate::add::NewImage;
use crate::error::Error;
use crate::event::Action;
use crate::index::lookup_form;
use crate::layers::{LAYER_LIMITS, ProgressSink};
use crate::load::read_error;
use crate::{Image, Images};

pub(crate) use changes::apply as apply_changes;

/// Bytes read at a time.
const PIECE_BYTES: usize = 128 << 10;

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// A name; the tag is `latest` where it has none.
    pub reference: Option<String>,
    /// Dockerfile instructions to apply to the config.
    pub changes: Vec<String>,
    /// Comment of the image and of its history.
    pub message: Option<String>,
    /// What machine it is for; this one by default.
    pub platform: Option<Platform>,
}

impl Images {
    /// Makes an image of the tar stream `rootfs`, plain or compressed.
    ///
    /// # Errors
    /// [`Error::Reference`], [`Error::Change`] before anything is read;
    /// [`Error::Decompress`], [`Error::Snapshots`], [`Error::Content`],
    /// [`Error::State`], and nothing is left.
    pub fn import(
        &self,
        rootfs: impl Read,
        options: ImportOptions,
        progress: &ProgressSink<'_>,
    ) -> Result<Image, Error> {
        let reference = match &options.reference {
            Some(name) => {
                let reference: Reference = name.parse()?;
                if reference.digest().is_some() {
                    return Err(Error::TagWithDigest);
                }
                Some(lookup_form(reference))
            }
            None => None,
        };
        let mut config = ContainerConfig::default();
        apply_changes(&mut config, &options.changes)?;

        let lease = self.0.content.lease();
        let outcome =
            self.import_under(&lease, rootfs, options, config, reference.clone(), progress);
        drop(lease);
        match outcome {
            Ok(image) => {
                if let Some(reference) = reference {
                    self.0
                        .events
                        .image(Action::Tag, &image, &reference.familiar());
                }
                self.tell(Action::Import, &image);
                Ok(image)
            }
            Err(error) => {
                self.collect_leftovers();
                Err(error)
            }
        }
    }

    fn import_under(
        &self,
        lease: &Lease,
        rootfs: impl Read,
        options: ImportOptions,
        config: ContainerConfig,
        reference: Option<Reference>,
        progress: &ProgressSink<'_>,
    ) -> Result<Image, Error> {
        let (layer, diff_id) = take_in(lease, rootfs)?;
        let created = Some(Timestamp::now().to_string());
        let comment = Some(
            options
                .message
                .filter(|m| !m.is_empty())
                .unwrap_or_else(|| "Imported from -".to_owned()),
        );
        let config = ImageConfig {
            platform: options.platform.unwrap_or_else(Platform::current),
            created: created.clone(),
            comment: comment.clone(),
            config,
            rootfs: RootFs::of(vec![diff_id]),
            history: vec![History {
                created,
                comment,
                ..History::default()
            }],
            ..ImageConfig::default()
        };
        let bytes = serde_json::to_vec(&config).map_err(Error::Encode)?;
        let stored = lease.ingest(bytes.as_slice(), Expected::default())?;
        let new = NewImage {
            config: Descriptor::new(media_type::CONFIG, stored.digest, stored.size),
            manifest: None,
            layers: vec![layer],
            parent: None,
            references: reference.into_iter().collect(),
        };
        self.add(lease, new, progress)
    }
}

/// Stores a layer as it comes, and finds out its diffID on the way.
fn take_in(lease: &Lease, rootfs: impl Read) -> Result<(Descriptor, DiffId), Error> {
    let mut tee = Tee {
        source: rootfs,
        ingest: lease.begin(Expected::default())?,
        failure: None,
    };
    let mut digester = Digester::default();
    let decoded = decode(&mut tee, &mut digester);
    if let Some(error) = tee.failure.take() {
        return Err(error.into());
    }
    let media_type = decoded?;
    let stored = tee.ingest.finish()?;
    let layer = Descriptor::new(media_type, stored.digest, stored.size);
    Ok((layer, DiffId(digester.finish())))
}

fn decode(tee: &mut impl Read, digester: &mut Digester) -> Result<&'static str, Error> {
    let mut decoder =
        Decoder::new(&mut *tee, LAYER_LIMITS.max_bytes).map_err(Error::ReadArchive)?;
    let media_type = layer_media_type(decoder.compression());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => digester.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(error)),
        }
    }
    drop(decoder);
    // What stands behind the compressed stream belongs to the blob as well.
    io::copy(tee, &mut io::sink()).map_err(read_error)?;
    Ok(media_type)
}

/// The OCI media type of a layer of this compression.
pub(crate) fn layer_media_type(compression: carrack_archive::Compression) -> &'static str {
    match compression {
        carrack_archive::Compression::Gzip => media_type::LAYER_GZIP,
        carrack_archive::Compression::Zstd => media_type::LAYER_ZSTD,
        _ => media_type::LAYER,
    }
}

/// Gives on what it reads, and stores it.
struct Tee<'lease, R> {
    source: R,
    ingest: Ingest<'lease>,
    /// Why storing failed; the reader sees an I/O error alone.
    failure: Option<carrack_content::Error>,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        match self.ingest.append(&buffer[..read]) {
            Ok(()) => Ok(read),
            Err(error) => {
                self.failure = Some(error);
                Err(io::Error::other("cannot store the layer"))
            }
        }
    }
}
