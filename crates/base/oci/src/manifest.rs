//! Manifests and indexes, OCI's and Docker's schema 2, from hostile bytes.
//!
//! Source: image-spec `manifest.md`, `image-index.md`. A document that is both
//! (or says that it is one and has the form of the other) is refused, since
//! two readers would see two images in it (CVE-2021-41190).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::descriptor::{Descriptor, media_type};
use crate::nullable::null_default;
use crate::platform::Platform;

/// Largest manifest or index that is read, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// Most layers of one image. Overlay mounts and registries stop far below.
pub const MAX_LAYERS: usize = 512;
/// Most entries of one index.
pub const MAX_INDEX_ENTRIES: usize = 4096;

/// Annotation of an index's entry: tag of the image in an OCI layout.
pub const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation of an index's entry: containerd's and Docker's full reference.
pub const ANNOTATION_IMAGE_NAME: &str = "io.containerd.image.name";

/// One image: its config and its layers from the lowest up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// Type of an artifact that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image's config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
    /// Free key–value data.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, mostly one a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What this document is.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// Type of an artifact that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its entries.
    #[serde(default, deserialize_with = "null_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
    /// Free key–value data.
    #[serde(
        default,
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Either document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyManifest {
    /// One image.
    Manifest(Box<Manifest>),
    /// A list.
    Index(Index),
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// More than [`MAX_MANIFEST_BYTES`].
    #[error("manifest of {bytes} bytes is larger than {MAX_MANIFEST_BYTES}")]
    TooLarge {
        /// What was given.
        bytes: usize,
    },
    /// No JSON of the expected form.
    #[error("manifest cannot be parsed")]
    Parse(#[source] serde_json::Error),
    /// Neither list nor image, both, or not what it says.
    #[error("manifest is ambiguous: {reason}")]
    Ambiguous {
        /// What contradicts what.
        reason: &'static str,
    },
    /// Schema 1, or something from the future.
    #[error("manifest schema version {version} is not supported")]
    SchemaVersion {
        /// What it says.
        version: u32,
    },
    /// More than [`MAX_LAYERS`] or [`MAX_INDEX_ENTRIES`].
    #[error("manifest has {count} entries, more than {max}")]
    TooMany {
        /// What was given.
        count: usize,
        /// The bound.
        max: usize,
    },
}

/// Which of the telling keys are there, without building their values.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default, deserialize_with = "null_default")]
    media_type: String,
    #[serde(default, deserialize_with = "null_default")]
    schema_version: u32,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl AnyManifest {
    /// Reads a manifest or an index; which one is told by its form, and what
    /// it says about itself must agree.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(bytes: &[u8]) -> Result<AnyManifest, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(ManifestError::Parse)?;
        if shape.schema_version != 2 {
            let version = shape.schema_version;
            return Err(ManifestError::SchemaVersion { version });
        }
        let ambiguous = |reason| Err(ManifestError::Ambiguous { reason });
        let image = shape.config.is_some() || shape.layers.is_some() || shape.fs_layers.is_some();
        if image && shape.manifests.is_some() {
            return ambiguous("it has the keys of an image and of an index");
        }
        if image {
            if media_type::is_index(&shape.media_type) {
                return ambiguous("it says that it is an index and has the keys of an image");
            }
            let manifest: Box<Manifest> =
                serde_json::from_slice(bytes).map_err(ManifestError::Parse)?;
            bound(manifest.layers.len(), MAX_LAYERS)?;
            return Ok(AnyManifest::Manifest(manifest));
        }
        if media_type::is_manifest(&shape.media_type) {
            return ambiguous("it says that it is an image and has not the keys of one");
        }
        if shape.manifests.is_none() && !media_type::is_index(&shape.media_type) {
            return ambiguous("it has the keys of neither an image nor an index");
        }
        let index: Index = serde_json::from_slice(bytes).map_err(ManifestError::Parse)?;
        bound(index.manifests.len(), MAX_INDEX_ENTRIES)?;
        Ok(AnyManifest::Index(index))
    }
}

impl Manifest {
    /// An OCI manifest of `config` and `layers`.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: media_type::MANIFEST.to_owned(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Whether this is a runnable image, and not an attestation, a chart or
    /// another artifact that uses the form.
    pub fn is_image(&self) -> bool {
        media_type::is_config(&self.config.media_type)
            && self
                .layers
                .iter()
                .all(|layer| media_type::is_layer(&layer.media_type))
    }
}

impl Index {
    /// An OCI index of `manifests`.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: media_type::INDEX.to_owned(),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The entry that serves `wanted` best; entries that name no platform
    /// come after all that do and fit.
    pub fn choose(&self, wanted: &Platform) -> Option<&Descriptor> {
        self.manifests
            .iter()
            .filter(|entry| !is_attestation(entry))
            .filter_map(|entry| match &entry.platform {
                Some(platform) => Some((wanted.rank(platform)?, entry)),
                None => Some((u32::MAX, entry)),
            })
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, entry)| entry)
    }
}

/// BuildKit stores provenance beside the images, marked by this annotation.
pub fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key("vnd.docker.reference.type")
}

fn bound(count: usize, max: usize) -> Result<(), ManifestError> {
    if count > max {
        return Err(ManifestError::TooMany { count, max });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(json: &str) -> Result<AnyManifest, String> {
        AnyManifest::parse(json.replace("$D", D).as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_both_kinds() {
        let image = parse(
            r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"$D","size":2},
                "layers":null,"annotations":null,"unknown":[1]}"#,
        );
        assert!(
            matches!(image, Ok(AnyManifest::Manifest(m)) if m.layers.is_empty() && m.is_image())
        );
        let index = parse(
            r#"{"schemaVersion":2,"manifests":[{"digest":"$D","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}"#,
        );
        assert!(matches!(index, Ok(AnyManifest::Index(i)) if i.manifests.len() == 1));
        assert!(matches!(
            parse(r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":null}"#),
            Ok(AnyManifest::Index(i)) if i.manifests.is_empty()
        ));
    }

    #[test]
    fn refuses_what_is_two_things() {
        for json in [
            r#"{"schemaVersion":2,"config":{},"manifests":[]}"#,
            r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#,
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{}}"#,
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#,
            r#"{"schemaVersion":2}"#,
        ] {
            assert!(
                parse(json)
                    .unwrap_err()
                    .starts_with("manifest is ambiguous"),
                "{json}"
            );
        }
    }

    #[test]
    fn refuses_hostile_documents() {
        for json in [
            "",
            "null",
            "[]",
            r#"{"schemaVersion":2,"mediaType":"a","mediaType":"b","manifests":[]}"#,
            r#"{"schemaVersion":2,"config":{"digest":"$D","size":-1}}"#,
            r#"{"schemaVersion":2,"config":{"digest":"$D","size":18446744073709551616}}"#,
            r#"{"schemaVersion":2,"config":{"digest":"sha256:../..","size":1}}"#,
            r#"{"schemaVersion":2,"config":{"size":1}}"#,
        ] {
            assert_eq!(
                parse(json),
                Err("manifest cannot be parsed".to_owned()),
                "{json}"
            );
        }
        assert_eq!(
            parse(r#"{"schemaVersion":1,"fsLayers":[]}"#),
            Err("manifest schema version 1 is not supported".to_owned())
        );
        assert!(AnyManifest::parse(&vec![b' '; MAX_MANIFEST_BYTES + 1]).is_err());
        let deep = format!(r#"{{"schemaVersion":2,"x":{}"#, "[".repeat(100_000));
        assert!(parse(&deep).is_err());
        let layer = r#"{"digest":"$D","size":1},"#.repeat(MAX_LAYERS + 1);
        let many = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"$D","size":1}},"layers":[{}]}}"#,
            layer.trim_end_matches(',')
        );
        assert_eq!(
            parse(&many),
            Err("manifest has 513 entries, more than 512".to_owned())
        );
    }

    #[test]
    fn chooses_the_platform() {
        let entry = |platform: Option<&str>| {
            let mut entry = Descriptor::new(
                media_type::MANIFEST,
                Digest::of(platform.unwrap_or("").as_bytes()),
                1,
            );
            entry.platform = platform.map(|text| text.parse().unwrap());
            entry
        };
        let index = Index::new(vec![
            entry(None),
            entry(Some("linux/arm64")),
            entry(Some("linux/386")),
            entry(Some("linux/amd64")),
        ]);
        let chosen = |text: &str| {
            index
                .choose(&text.parse().unwrap())
                .and_then(|d| d.platform.clone())
                .map(|p| p.to_string())
        };
        assert_eq!(chosen("linux/amd64").as_deref(), Some("linux/amd64"));
        assert_eq!(chosen("linux/arm64").as_deref(), Some("linux/arm64"));
        assert_eq!(chosen("linux/s390x"), None);
        assert!(
            Index::new(vec![entry(Some("linux/arm64"))])
                .choose(&"linux/amd64".parse().unwrap())
                .is_none()
        );
    }

    #[test]
    fn knows_layers() {
        for (text, expected) in [
            (media_type::LAYER_ZSTD, true),
            (media_type::DOCKER_LAYER_GZIP, true),
            (
                "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                true,
            ),
            ("application/vnd.oci.image.layer.v1.tar+xz", false),
            ("application/vnd.in-toto+json", false),
        ] {
            assert_eq!(media_type::is_layer(text), expected, "{text}");
        }
    }
}
