//! A crash at any point leaves volumes whole, and copy-ups done or not begun.
//!
//! Injected are: SIGKILL of the process at every stage of a copy-up, and the
//! states that a crash between two steps leaves. Not injected: loss of what
//! the kernel had not written (the order of syncs is all there is for that).

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::copy_up::directory;
use super::{create, names, open};
use crate::CopyUp;

const FILES: usize = 240;
/// Tells the child below that it is one, and where to work.
const PLACE: &str = "CARRACK_TEST_VOLUMES_PLACE";
const PATIENCE: Duration = Duration::from_secs(20);

fn image(place: &Path) {
    let data = place.join("image/data/sub");
    fs::create_dir_all(&data).expect("made");
    for file in 0..FILES {
        fs::write(data.join(file.to_string()), "content").expect("written");
        fs::write(place.join(format!("image/data/{file}")), "content").expect("written");
    }
}

/// Not a test by itself: what the test below starts and kills.
#[test]
fn child() {
    let Some(place) = std::env::var_os(PLACE) else {
        return;
    };
    let place = Path::new(&place);
    let volumes = open(&place.join("volumes"));
    let volume = create(&volumes, "data");
    volume
        .copy_up(directory(&place.join("image")).as_fd(), Path::new("/data"))
        .expect("copied");
}

#[test]
fn killed_in_the_midst_of_a_copy_up() {
    let place = tempfile::tempdir().expect("temporary directory");
    image(place.path());
    let root = place.path().join("volumes");
    let mut outcomes = Vec::new();
    for stage in 0..12 {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["--exact", "tests::crash::child"])
            .env(PLACE, place.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("child starts");
        let reached = || {
            let count = |path: &str| {
                fs::read_dir(root.join("data").join(path)).map_or(0, |entries| entries.count())
            };
            match stage {
                0..6 => count(".copy") > stage * FILES / 6,
                6..11 => count("_data") > (stage - 6) * FILES / 5,
                _ => root.join("data/.commit").exists(),
            }
        };
        let start = Instant::now();
        while !reached() && child.try_wait().expect("child").is_none() {
            assert!(start.elapsed() < PATIENCE, "child does not get to {stage}");
        }
        child.kill().expect("killed");
        child.wait().expect("reaped");

        let volumes = open(&root);
        let Ok(volume) = volumes.get("data") else {
            outcomes.push("absent");
            continue;
        };
        let found = names(&volume.mountpoint()).len();
        match found {
            0 => outcomes.push("empty"),
            _ => {
                outcomes.push("complete");
                assert_eq!(found, FILES + 1, "at stage {stage}");
                assert_eq!(names(&volume.mountpoint().join("sub")).len(), FILES);
            }
        }
        assert_eq!(names(&root.join("data")), ["_data", "volume.json"]);
        volumes
            .remove("data", crate::Force::No, super::nobody)
            .expect("removed");
        assert!(names(&root).is_empty());
    }
    println!("{outcomes:?}");
    assert!(outcomes.contains(&"empty") && outcomes.contains(&"complete"));
}

#[test]
fn what_a_crash_left_is_finished_or_undone() {
    let place = tempfile::tempdir().expect("temporary directory");
    let root = place.path().join("volumes");
    drop(create(&open(&root), "data"));
    let at = |path: &str| root.join("data").join(path);

    // Staged, not counted.
    fs::create_dir_all(at(".copy/sub")).expect("made");
    fs::create_dir_all(root.join(".new-1/_data")).expect("made");
    fs::create_dir_all(root.join(".trash-1/_data/sub")).expect("made");
    let volumes = open(&root);
    assert_eq!(names(&root), ["data"]);
    assert_eq!(names(&root.join("data")), ["_data", "volume.json"]);
    assert!(names(&at("_data")).is_empty());

    // Counted, half moved; a container wrote meanwhile.
    fs::create_dir_all(at(".commit/sub")).expect("made");
    fs::write(at(".commit/file"), "image").expect("written");
    fs::write(at(".commit/own"), "image").expect("written");
    fs::write(at("_data/moved"), "image").expect("written");
    fs::write(at("_data/own"), "container").expect("written");
    drop(volumes);
    let volumes = open(&root);
    assert_eq!(names(&at("_data")), ["file", "moved", "own", "sub"]);
    assert_eq!(fs::read(at("_data/own")).expect("read"), b"container");
    assert_eq!(names(&root.join("data")), ["_data", "volume.json"]);
    let volume = volumes.get("data").expect("there");
    fs::create_dir_all(place.path().join("image/data")).expect("made");
    assert_eq!(
        volume
            .copy_up(
                directory(&place.path().join("image")).as_fd(),
                Path::new("/data")
            )
            .expect("looked"),
        CopyUp::NotEmpty
    );
}
