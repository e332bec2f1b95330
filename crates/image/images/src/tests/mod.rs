//! Promises of the whole crate, on real stores in a directory of their own.

mod archives;
mod faults;
mod hostile;
mod names;
mod removal;
mod saving;

use std::cell::Cell;
use std::path::Path;
use std::sync::{Arc, Mutex};

use carrack_archive::tar::{Entry, Kind, TarWriter, TimePrecision};
use carrack_archive::{Compression, Encoder, Level};
use carrack_oci::{Digest, ImageConfig};

use super::*;

/// The four stores and what was told.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) images: Images,
    events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    pub(super) fn new() -> World {
        World::at(tempfile::tempdir().unwrap())
    }

    fn at(dir: tempfile::TempDir) -> World {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = Arc::clone(&events);
        let state = State::open(&dir.path().join("state.redb"), 1 << 20).unwrap();
        let content = Store::open(&dir.path().join("content")).unwrap();
        let snapshots = Arc::new(Snapshots::open(dir.path().join("snapshots")).unwrap());
        let sink = EventSink::new(move |event| sink.lock().unwrap().push(event));
        let (images, broken) = Images::open(state, content, snapshots, sink).unwrap();
        assert!(broken.is_empty(), "{broken:?}");
        World {
            dir,
            images,
            events,
        }
    }

    /// Closes everything and opens it again.
    pub(super) fn reopen(self) -> World {
        let World {
            dir,
            images,
            events,
        } = self;
        drop((images, events));
        World::at(dir)
    }

    pub(super) fn load(&self, archive: &[u8]) -> Result<Vec<String>, Error> {
        let loaded = self
            .images
            .load(archive, &LoadOptions::default(), &|_| {})?;
        Ok(loaded
            .lines()
            .iter()
            .map(|line| line.trim_end().to_owned())
            .collect())
    }

    pub(super) fn import(&self, name: &str, content: &str) -> Image {
        let options = ImportOptions {
            reference: (!name.is_empty()).then(|| name.to_owned()),
            ..ImportOptions::default()
        };
        self.images
            .import(layer(content).as_slice(), options, &|_| {})
            .unwrap()
    }

    pub(super) fn remove(&self, name: &str) -> Result<Vec<String>, String> {
        self.remove_used(name, RemoveOptions::default(), &|_| None)
    }

    pub(super) fn remove_used(
        &self,
        name: &str,
        options: RemoveOptions,
        uses: &Uses<'_>,
    ) -> Result<Vec<String>, String> {
        match self.images.remove(name, options, uses) {
            Ok(lines) => Ok(lines.iter().map(line).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// All names of visible images, and `<none>`.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .images
            .list(&ListFilter::default(), Intermediate::Shown)
            .unwrap()
            .into_iter()
            .flat_map(|summary| match summary.tags.is_empty() {
                true => vec!["<none>".to_owned()],
                false => summary.tags.iter().map(Reference::familiar).collect(),
            })
            .collect();
        names.sort();
        names
    }

    pub(super) fn blobs(&self) -> usize {
        self.images.content().list().unwrap().len()
    }

    pub(super) fn snapshots(&self) -> usize {
        self.images.snapshots().list().len()
    }

    pub(super) fn assert_empty(&self) {
        assert_eq!(self.names(), [""; 0]);
        assert_eq!(self.blobs(), 0, "blobs are left");
        assert_eq!(self.snapshots(), 0, "snapshots are left");
        let ingest = self.dir.path().join("content/ingest");
        assert_eq!(
            std::fs::read_dir(ingest).unwrap().count(),
            0,
            "ingests are left"
        );
    }

    pub(super) fn told(&self) -> Vec<String> {
        let mut events = self.events.lock().unwrap();
        events
            .drain(..)
            .map(|event| {
                let name = event
                    .attributes
                    .get("name")
                    .or(event.attributes.get("reclaimed"));
                let name = name.cloned().unwrap_or_default();
                let name = match name.parse::<Digest>() {
                    Ok(_) => "<id>".to_owned(),
                    Err(_) => name,
                };
                format!("{} {name}", event.action.as_str())
            })
            .collect()
    }
}

pub(super) fn line(removed: &Removed) -> String {
    match removed {
        Removed::Untagged(reference) => format!("Untagged: {}", reference.familiar()),
        Removed::Deleted(_) => "Deleted: <id>".to_owned(),
        Removed::DeletedLayer(_) => "Deleted: <layer>".to_owned(),
    }
}

/// A layer with one file.
pub(super) fn layer(content: &str) -> Vec<u8> {
    tar(&[("file", content.as_bytes())])
}

pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new(), TimePrecision::Seconds);
    for (name, content) in files {
        let mut entry = match content.strip_prefix(b"-> ") {
            Some(target) => Entry::new(
                *name,
                Kind::Symlink {
                    target: target.to_vec(),
                },
            ),
            None => Entry::new(*name, Kind::Regular),
        };
        if entry.kind == Kind::Regular {
            entry.size = content.len() as u64;
        }
        tar.append_with_data(&entry, &mut &**content).unwrap();
    }
    tar.finish().unwrap()
}

pub(super) fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression, Level::Fast).unwrap();
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image's files, put together as an archive has them.
pub(super) struct Built {
    pub(super) config: Vec<u8>,
    /// As stored.
    pub(super) layers: Vec<Vec<u8>>,
}

impl Built {
    /// An image whose layers hold these contents, compressed in turn.
    pub(super) fn new(label: &str, contents: &[&str], compressions: &[Compression]) -> Built {
        let plain: Vec<Vec<u8>> = contents.iter().map(|content| layer(content)).collect();
        let diff_ids: Vec<String> = plain
            .iter()
            .map(|layer| Digest::of(layer).to_string())
            .collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z",
            "config": {"Env": ["A=b"], "Cmd": ["sh"], "Labels": {"label": label}},
            "history": contents.iter().map(|c| serde_json::json!({"created_by": c})).collect::<Vec<_>>(),
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let compressions = compressions.iter().cycle();
        let layers = plain
            .iter()
            .zip(compressions)
            .map(|(layer, compression)| compress(layer, *compression))
            .collect();
        Built {
            config: serde_json::to_vec(&config).unwrap(),
            layers,
        }
    }

    pub(super) fn plain(label: &str, contents: &[&str]) -> Built {
        Built::new(label, contents, &[Compression::None])
    }

    pub(super) fn id(&self) -> ImageId {
        ImageId(Digest::of(&self.config))
    }

    /// Its manifest in the OCI form.
    pub(super) fn manifest(&self) -> Vec<u8> {
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|layer| {
                let kind = match Compression::detect(layer) {
                    Compression::Gzip => "+gzip",
                    Compression::Zstd => "+zstd",
                    _ => "",
                };
                descriptor(
                    &format!("application/vnd.oci.image.layer.v1.tar{kind}"),
                    layer,
                )
            })
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &self.config),
            "layers": layers,
        });
        serde_json::to_vec(&manifest).unwrap()
    }
}

pub(super) fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({"mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len()})
}

pub(super) fn blob_name(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", Digest::of(bytes).hex())
}

/// A docker archive as docker before 25 wrote it.
pub(super) fn docker_archive(images: &[(&Built, &[&str])]) -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut items = Vec::new();
    for (image, tags) in images {
        let config = format!("{}.json", Digest::of(&image.config).hex());
        files.push((config.clone(), image.config.clone()));
        let mut layers = Vec::new();
        for stored in &image.layers {
            let name = format!("{}/layer.tar", Digest::of(stored).hex());
            let dir = name.trim_end_matches("/layer.tar").to_owned();
            if !files.iter().any(|(other, _)| *other == name) {
                files.push((format!("{dir}/VERSION"), b"1.0".to_vec()));
                files.push((format!("{dir}/json"), b"{}".to_vec()));
                files.push((name.clone(), stored.clone()));
            }
            layers.push(name);
        }
        items.push(serde_json::json!({"Config": config, "RepoTags": tags, "Layers": layers}));
    }
    files.push((
        "manifest.json".to_owned(),
        serde_json::to_vec(&items).unwrap(),
    ));
    files.push(("repositories".to_owned(), b"{}".to_vec()));
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    tar(&files)
}

/// An OCI layout of these blobs under this index.
pub(super) fn oci_archive(index: &serde_json::Value, blobs: &[&[u8]]) -> Vec<u8> {
    let index = serde_json::to_vec(index).unwrap();
    let named: Vec<(String, &[u8])> = blobs
        .iter()
        .map(|bytes| (blob_name(bytes), *bytes))
        .collect();
    let mut files: Vec<(&str, &[u8])> = vec![
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", &index),
    ];
    files.extend(named.iter().map(|(name, bytes)| (name.as_str(), *bytes)));
    tar(&files)
}

/// Writes the files of a tar archive into a directory.
pub(super) fn extract(archive: &[u8], dir: &Path) {
    let mut reader =
        carrack_archive::tar::TarReader::new(archive, carrack_archive::Limits::DEFAULT);
    while let Some(entry) = reader.next_entry().unwrap() {
        let path = dir.join(std::str::from_utf8(&entry.path).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match entry.kind {
            Kind::Regular => {
                let mut file = std::fs::File::create(&path).unwrap();
                std::io::copy(&mut reader.data(), &mut file).unwrap();
            }
            Kind::Symlink { target } => {
                std::os::unix::fs::symlink(std::str::from_utf8(&target).unwrap(), &path).unwrap();
            }
            _ => std::fs::create_dir_all(&path).unwrap(),
        }
    }
}

#[test]
fn keeps_what_it_has_over_a_restart() {
    let world = World::new();
    let image = Built::new("x", &["one", "two"], &[Compression::Gzip]);
    world
        .load(&docker_archive(&[(&image, &["box:1", "other/box:2"])]))
        .unwrap();
    let dangling = world.import("", "three");
    let before = format!("{:?}", world.images.inspect("box:1").unwrap().config);
    let world = world.reopen();
    assert_eq!(world.names(), ["<none>", "box:1", "other/box:2"]);
    let inspection = world.images.inspect("box:1").unwrap();
    assert_eq!(format!("{:?}", inspection.config), before);
    assert_eq!(inspection.image.id(), &image.id());
    assert_eq!(
        inspection.image.size(),
        world.images.resolve("box:1").unwrap().size()
    );
    assert!(inspection.last_tagged.is_some());
    assert!(world.images.by_id(dangling.id()).is_some());
    assert_eq!(
        world.images.collect(&|_| None).unwrap(),
        Collection::default()
    );
    assert_eq!(world.images.resolve("box:1").unwrap().config().env, ["A=b"]);
}

#[test]
fn a_damaged_config_hurts_its_own_image_alone() {
    let world = World::new();
    let (good, bad) = (world.import("good", "1"), world.import("bad", "2"));
    let path = world
        .dir
        .path()
        .join("content/blobs/sha256")
        .join(bad.id().0.hex());
    std::fs::write(path, "{}").unwrap();
    let blobs = world.blobs();
    let World { dir, images, .. } = world;
    drop(images);
    let state = State::open(&dir.path().join("state.redb"), 1 << 20).unwrap();
    let content = Store::open(&dir.path().join("content")).unwrap();
    let snapshots = Arc::new(Snapshots::open(dir.path().join("snapshots")).unwrap());
    let (images, broken) = Images::open(state, content, snapshots, EventSink::none()).unwrap();
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].id, *bad.id());
    assert!(broken[0].error.to_string().starts_with("wrong digest"));
    assert_eq!(images.resolve("good").unwrap().id(), good.id());
    assert!(images.resolve("bad").is_err());
    images.collect(&|_| None).unwrap();
    assert_eq!(
        images.content().list().unwrap().len(),
        blobs,
        "its blobs are kept"
    );
    let other = Built::plain("other", &["3"]);
    let load = |built: &Built| {
        let archive = docker_archive(&[(built, &[])]);
        images.load(archive.as_slice(), &LoadOptions::default(), &|_| {})
    };
    load(&other).unwrap();
    let options = RemoveOptions::default();
    images.remove("good", options, &|_| None).unwrap();
    for layer in bad.layers() {
        let chain = &layer.chain;
        assert!(images.snapshots().contains(chain), "a container has it");
    }
}

#[test]
fn unpacks_again_what_a_power_cut_took() {
    let world = World::new();
    let image = Built::new(
        "x",
        &["one", "two", "three"],
        &[Compression::Zstd, Compression::None],
    );
    world
        .load(&docker_archive(&[(&image, &["box:1"])]))
        .unwrap();
    let image = world.images.resolve("box:1").unwrap();
    for layer in &image.layers()[1..] {
        world.images.snapshots().remove(&layer.chain).unwrap();
    }
    assert_eq!(world.snapshots(), 1);
    assert!(!world.images.is_unpacked(&image));
    world.images.ensure_unpacked(&image).unwrap();
    assert!(world.images.is_unpacked(&image));
    assert_eq!(world.snapshots(), 3);
    world.images.ensure_unpacked(&image).unwrap();
}

#[test]
fn an_overlay_ends_with_the_layer_that_hides_the_others() {
    let world = World::new();
    let layers = [
        layer("hidden"),
        tar(&[(".wh..wh..opq", b""), ("file", b"hides")]),
        layer("top"),
    ];
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| Digest::of(layer).to_string())
        .collect();
    let config = serde_json::json!({"architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let image = Built {
        config: serde_json::to_vec(&config).unwrap(),
        layers: layers.to_vec(),
    };
    world
        .load(&docker_archive(&[(&image, &["box:1"])]))
        .unwrap();
    let image = world.images.resolve("box:1").unwrap();
    let snapshots = world.images.snapshots();
    let expected: Vec<std::path::PathBuf> = image
        .chain_from_top()
        .take(2)
        .map(|chain| snapshots.layer_path(chain))
        .collect();
    assert_eq!(world.images.lower_directories(&image), expected);
}

#[test]
fn reports_progress_and_unpacks_shared_layers_once() {
    let world = World::new();
    let a = Built::plain("a", &["shared", "a"]);
    let b = Built::plain("b", &["shared", "b"]);
    let archive = docker_archive(&[(&a, &["a:1"]), (&b, &["b:1"])]);
    let seen = Mutex::new(std::collections::BTreeMap::<String, usize>::new());
    world
        .images
        .load(archive.as_slice(), &LoadOptions::default(), &|progress| {
            assert!(progress.current <= progress.total);
            *seen
                .lock()
                .unwrap()
                .entry(progress.diff_id.to_string())
                .or_default() += 1;
        })
        .unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!((seen.len(), seen.values().max()), (3, Some(&1)));
    assert_eq!(world.told(), ["load <id>", "load <id>"]);
    let usage = world.images.usage().unwrap();
    let unique: Vec<u64> = usage.images.iter().map(|one| one.unique_size).collect();
    let shared: Vec<u64> = usage
        .images
        .iter()
        .map(|one| one.summary.shared_size)
        .collect();
    assert_eq!(unique.len(), 2);
    assert_eq!(usage.layers_bytes, unique.iter().sum::<u64>() + shared[0]);
    assert!(usage.blobs_bytes > 0);
}

/// Loads, removals, collections and pins beside each other: an image that is
/// resolved and pinned has all its layers, always.
#[test]
fn everything_at_once_loses_nothing() {
    let world = World::new();
    let images: Vec<Built> = (0..3)
        .map(|i| Built::plain(&format!("{i}"), &["shared", &format!("own {i}")]))
        .collect();
    let archives: Vec<Vec<u8>> = images
        .iter()
        .map(|image| docker_archive(&[(image, &["box:1"])]))
        .collect();
    std::thread::scope(|scope| {
        for archive in &archives {
            scope.spawn(|| {
                for _ in 0..15 {
                    world.load(archive).unwrap();
                    if let Ok(pin) = world.images.resolve_pinned("box:1") {
                        let image = pin.image();
                        let _ = world
                            .images
                            .remove("box:1", RemoveOptions::default(), &|_| None);
                        world.images.ensure_unpacked(image).unwrap();
                        for layer in image.layers() {
                            assert!(world.images.snapshots().contains(&layer.chain));
                            assert!(world.images.content().contains(&layer.blob.digest).unwrap());
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..30 {
                world.images.collect(&|_| None).unwrap();
            }
        });
    });
    let all = PruneFilter::parse(
        &[("dangling".to_owned(), vec!["false".to_owned()])].into(),
        jiff::Timestamp::now(),
    )
    .unwrap();
    world.images.prune(&all, &|_| None).unwrap();
    world.assert_empty();
    let world = world.reopen();
    world.assert_empty();
}

/// Uses, as run/docker would tell them.
pub(super) fn used_by(use_: ImageUse) -> impl Fn(&ImageId) -> Option<ImageUse> {
    move |_| Some(use_.clone())
}

pub(super) fn counting(calls: &Cell<usize>) -> impl Fn(&ImageId) -> Option<ImageUse> {
    move |_| {
        calls.set(calls.get() + 1);
        None
    }
}

pub(super) fn parsed(config: &[u8]) -> ImageConfig {
    ImageConfig::parse(config).unwrap()
}
