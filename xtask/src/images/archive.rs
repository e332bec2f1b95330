//! Writes one layer tar as an image: docker-archive or OCI layout.
//!
//! Called by the recipes. Written against the documented layouts and on purpose
//! not with Carrack's own crates, so that a mistake there cannot hide here.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Layout of the file written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What `docker save` writes: `manifest.json`, config, `layer.tar`.
    Docker,
    /// An OCI image layout in a tar, its layer compressed with gzip.
    OciGzip,
}

/// What an image says about itself beside its one layer.
pub(super) struct Image<'a> {
    /// Repository and tag.
    pub(super) name: &'a str,
    /// The `config` object: Cmd, Env, Entrypoint and so on.
    pub(super) config: Value,
    /// What history says made the layer.
    pub(super) created_by: &'a str,
}

/// A fixed date: the same recipe gives the same digest.
pub(super) const CREATED: &str = "2025-01-01T00:00:00Z";
/// The same date in seconds since 1970.
pub(super) const CREATED_EPOCH_S: u64 = 1_735_689_600;

/// Writes `layer` (an uncompressed tar) as an image to `dest`.
pub(super) fn write(image: &Image<'_>, layer: &Path, dest: &Path, form: Form) -> Result<()> {
    let diff_id = sha256_file(layer)?;
    let config = serde_json::to_vec(&json!({
        "created": CREATED,
        "architecture": "amd64",
        "os": "linux",
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
        "history": [{"created": CREATED, "created_by": image.created_by}],
    }))?;
    let out = File::create(dest).with_context(|| format!("creating {}", dest.display()))?;
    let mut tar = tar::Builder::new(BufWriter::new(out));
    match form {
        Form::Docker => docker(&mut tar, image, &config, layer, &diff_id)?,
        Form::OciGzip => oci(&mut tar, image, &config, layer)?,
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

fn docker<W: Write>(
    tar: &mut tar::Builder<W>,
    image: &Image<'_>,
    config: &[u8],
    layer: &Path,
    diff_id: &str,
) -> Result<()> {
    let config_name = format!("{}.json", sha256(config));
    let layer_name = format!("{diff_id}/layer.tar");
    let manifest = serde_json::to_vec(&json!([{
        "Config": config_name, "RepoTags": [image.name], "Layers": [layer_name],
    }]))?;
    append_bytes(tar, "manifest.json", &manifest)?;
    append_bytes(tar, &config_name, config)?;
    append_file(tar, &layer_name, layer)
}

fn oci<W: Write>(
    tar: &mut tar::Builder<W>,
    image: &Image<'_>,
    config: &[u8],
    layer: &Path,
) -> Result<()> {
    let gz = layer.with_extension("tar.gz");
    let mut encoder = flate2::GzBuilder::new().mtime(0).write(
        BufWriter::new(File::create(&gz)?),
        flate2::Compression::default(),
    );
    io::copy(&mut BufReader::new(File::open(layer)?), &mut encoder)?;
    encoder.finish()?.flush()?;
    let (layer_digest, config_digest) = (sha256_file(&gz)?, sha256(config));
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": format!("sha256:{config_digest}"), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": format!("sha256:{layer_digest}"), "size": gz.metadata()?.len()}],
    }))?;
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": format!("sha256:{}", sha256(&manifest)), "size": manifest.len(),
            "annotations": {"io.containerd.image.name": format!("docker.io/library/{}", image.name),
                "org.opencontainers.image.ref.name": image.name.rsplit(':').next()}}],
    }))?;
    append_bytes(tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append_bytes(tar, "index.json", &index)?;
    append_bytes(
        tar,
        &format!("blobs/sha256/{}", sha256(&manifest)),
        &manifest,
    )?;
    append_bytes(tar, &format!("blobs/sha256/{config_digest}"), config)?;
    append_file(tar, &format!("blobs/sha256/{layer_digest}"), &gz)
}

/// Header of an entry owned by root, dated [`CREATED`].
pub(super) fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut h = tar::Header::new_gnu();
    h.set_entry_type(kind);
    h.set_mode(mode);
    h.set_size(size);
    h.set_uid(0);
    h.set_gid(0);
    h.set_mtime(CREATED_EPOCH_S);
    h
}

fn append_bytes<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut h = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
    tar.append_data(&mut h, name, bytes)?;
    Ok(())
}

fn append_file<W: Write>(tar: &mut tar::Builder<W>, name: &str, path: &Path) -> Result<()> {
    let file = File::open(path)?;
    let mut h = header(tar::EntryType::Regular, 0o644, file.metadata()?.len());
    tar.append_data(&mut h, name, BufReader::new(file))?;
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buf)?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buf[..n]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
