//! A full disk, and death at any instant.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use carrack_oci::ErrorKind;

use super::*;

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, Some(c"size=12m")).is_err() {
        eprintln!("SKIP: cannot mount a tmpfs");
        return;
    }
    let _unmount = Unmount(dir.path().to_owned());
    let world = World::at(dir);
    let small = Built::plain("small", &["small"]);
    // Too large for its blobs, and for its blobs and snapshots together.
    for megabytes in [16, 6] {
        let large = Built::plain("large", &[&"x".repeat(megabytes << 20)]);
        let archive = docker_archive(&[(&small, &["small:1"]), (&large, &["large:1"])]);
        let error = world.load(&archive).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Exhausted,
            "{megabytes} MB: {error:?}"
        );
        world.assert_empty();
    }
    world
        .load(&docker_archive(&[(&small, &["small:1"])]))
        .unwrap();
    assert_eq!(world.names(), ["small:1"]);
}

const CHILD_DIR: &str = "CARRACK_IMAGES_TEST_DIR";

/// The other half of the test below: loads and removes until it is killed.
#[test]
#[ignore = "runs as a child of death_at_any_instant"]
fn child_that_loads() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let images = open(dir);
    let kept = Built::new("kept", &["shared", "kept"], &[Compression::Gzip]);
    let passing = Built::new("passing", &["shared", "passing"], &[Compression::Gzip]);
    let load = |archive: &[u8]| {
        images
            .load(archive, &LoadOptions::default(), &|_| {})
            .unwrap()
    };
    load(&docker_archive(&[(&kept, &["kept:1"])]));
    println!("kept");
    let archive = docker_archive(&[(&passing, &["passing:1", "passing:2"])]);
    for round in 0.. {
        load(&archive);
        println!("loaded {round}");
        images
            .remove("passing:1", RemoveOptions::default(), &|_| None)
            .unwrap();
        images
            .remove("passing:2", RemoveOptions::default(), &|_| None)
            .unwrap();
        println!("removed {round}");
    }
}

fn open(dir: &Path) -> Images {
    let state = State::open(&dir.join("state.redb"), 1 << 20).unwrap();
    let content = Store::open(&dir.join("content")).unwrap();
    let snapshots = Arc::new(Snapshots::open(dir.join("snapshots")).unwrap());
    let (images, broken) = Images::open(state, content, snapshots, EventSink::none()).unwrap();
    assert!(broken.is_empty(), "{broken:?}");
    images
}

/// kill -9 anywhere: what is recorded is whole, what is not is collected.
#[test]
fn death_at_any_instant() {
    let dir = tempfile::tempdir().unwrap();
    for (lines, pause_us) in [
        (1, 0),
        (2, 900),
        (3, 1700),
        (4, 2600),
        (6, 400),
        (7, 5000),
        (8, 3300),
        (9, 800),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::faults::child_that_loads",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Read from until it is dead: a closed pipe would kill it, too.
        let mut output = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let words = ["kept", "loaded", "removed"];
        let is_said = |line: &String| words.iter().any(|word| line.starts_with(word));
        assert_eq!(output.by_ref().filter(is_said).take(lines).count(), lines);
        // A little into whatever it does next.
        std::thread::park_timeout(std::time::Duration::from_micros(pause_us));
        child.kill().unwrap();
        child.wait().unwrap();

        let images = open(dir.path());
        let list = images
            .list(&ListFilter::default(), Intermediate::Shown)
            .unwrap();
        assert!(
            list.iter()
                .any(|summary| summary.tags.iter().any(|tag| tag.familiar() == "kept:1"))
        );
        for summary in &list {
            images.ensure_unpacked(&summary.image).unwrap();
            for layer in summary.image.layers() {
                assert!(images.content().contains(&layer.blob.digest).unwrap());
            }
        }
        images.collect(&|_| None).unwrap();
        let blobs: std::collections::BTreeSet<_> = list
            .iter()
            .flat_map(|summary| {
                let layers = summary
                    .image
                    .layers()
                    .iter()
                    .map(|layer| layer.blob.digest.clone());
                layers.chain([summary.image.id().0.clone()])
            })
            .collect();
        assert_eq!(images.content().list().unwrap().len(), blobs.len());
        let chains: std::collections::BTreeSet<_> = list
            .iter()
            .flat_map(|summary| summary.image.layers())
            .map(|layer| &layer.chain)
            .collect();
        assert_eq!(images.snapshots().list().len(), chains.len());
    }
}
