//! Names, trees and files that want harm.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::Mode;

use super::{create, named, names, nobody, open};
use crate::{Error, Force, VolumeName, Volumes};

#[test]
fn hostile_names() {
    let root = tempfile::tempdir().expect("temporary directory");
    let volumes = open(root.path());
    let long = "a".repeat(256);
    for name in [
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        ".hidden",
        ".new-x",
        ".trash-x",
        "-rf",
        "_x",
        "a\0b",
        "a\n",
        "ä1",
        "a b",
        "a:b",
        "%2e%2e",
        "\u{202e}ab",
        long.as_str(),
    ] {
        let error = volumes.create(named(name)).expect_err(name);
        assert!(matches!(error, Error::Name { .. }), "{name:?}: {error}");
        assert!(matches!(volumes.get(name), Err(Error::NotFound { .. })));
        assert!(matches!(
            volumes.remove(name, Force::No, nobody),
            Err(Error::NotFound { .. })
        ));
    }
    assert!(names(root.path()).is_empty());
    for name in ["ab", "A-b_c.d", "0..", &"a".repeat(255)] {
        VolumeName::parse(name).expect(name);
    }
}

/// Directories within each other, deeper than any path is long.
pub(super) fn nest(at: &Path, levels: usize) {
    let mut here = super::copy_up::directory(at);
    for _ in 0..levels {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).expect("made");
        here = rustix::fs::openat(
            &here,
            "d",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY,
            Mode::empty(),
        )
        .expect("opened");
    }
    rustix::fs::symlinkat("/etc", here.as_fd(), "out").expect("linked");
}

#[test]
fn a_bottomless_tree_is_measured_and_removed() {
    let root = tempfile::tempdir().expect("temporary directory");
    let volumes = open(root.path());
    let volume = create(&volumes, "data");
    nest(&volume.mountpoint(), 5000);
    fs::write(volume.mountpoint().join("file"), [0; 10]).expect("written");
    let usage = volume.usage().expect("measured");
    assert_eq!(usage.bytes, 10 + 4);
    assert!(!usage.incomplete);
    drop(volume);
    volumes.remove("data", Force::No, nobody).expect("removed");
    assert!(names(root.path()).is_empty());
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn symlinks_in_place_of_our_files_lead_nowhere() {
    let place = tempfile::tempdir().expect("temporary directory");
    let (root, host) = (place.path().join("volumes"), place.path().join("host"));
    fs::create_dir(&host).expect("made");
    fs::write(host.join("file"), "x").expect("written");
    drop(create(&open(&root), "data"));
    fs::remove_dir(root.join("data/_data")).expect("removed");
    std::os::unix::fs::symlink(&host, root.join("data/_data")).expect("linked");
    std::os::unix::fs::symlink(&host, root.join("data/.copy")).expect("linked");
    let volumes = open(&root);
    let volume = volumes.get("data").expect("there");
    volume.open().expect_err("not a directory");
    volume.usage().expect_err("not a directory");
    volumes.remove("data", Force::No, nobody).expect("removed");
    assert_eq!(names(&host), ["file"]);
    assert!(names(&root).is_empty());
}

#[test]
fn wrong_metadata_are_reported_and_left_alone() {
    let root = tempfile::tempdir().expect("temporary directory");
    drop(create(&open(root.path()), "good"));
    let long = format!("{{\"version\":1,\"x\":\"{}\"}}", "x".repeat(2 << 20));
    for (name, content) in [
        ("empty", ""),
        ("garbage", "{"),
        ("later", r#"{"version":2}"#),
        (
            "other",
            r#"{"version":1,"name":"good","createdS":0,"createdNs":0,"labels":{},"options":{}}"#,
        ),
        (
            "escape",
            r#"{"version":1,"name":"../x","createdS":0,"createdNs":0,"labels":{},"options":{}}"#,
        ),
        ("long", long.as_str()),
    ] {
        fs::create_dir(root.path().join(name)).expect("made");
        fs::write(root.path().join(name).join("volume.json"), content).expect("written");
    }
    fs::create_dir(root.path().join("foreign")).expect("made");
    fs::write(root.path().join("file"), "x").expect("written");
    let opened = Volumes::open(root.path()).expect("opened");
    assert_eq!(opened.problems.len(), 6, "{:?}", opened.problems);
    let listed = opened.volumes.list(&crate::ListFilter::default(), nobody);
    assert_eq!(listed.len(), 1);
    assert_eq!(names(root.path()).len(), 9);
    drop(create(&opened.volumes, "foreign"));
    opened
        .volumes
        .create(named("garbage"))
        .expect_err("a directory with something in it");
}

#[test]
fn the_first_format_is_read() {
    let root = tempfile::tempdir().expect("temporary directory");
    fs::create_dir_all(root.path().join("old/_data")).expect("made");
    fs::write(
        root.path().join("old/volume.json"),
        r#"{"version":1,"name":"old","createdS":1700000000,"createdNs":5,"labels":{"a":"b"},"options":{}}"#,
    )
    .expect("written");
    let volumes = open(root.path());
    let volume = volumes.get("old").expect("read");
    assert_eq!(volume.labels(), &super::map(&[("a", "b")]));
    let since = volume
        .created()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    assert_eq!(since, std::time::Duration::new(1_700_000_000, 5));
}

#[test]
fn labels_are_bounded() {
    let root = tempfile::tempdir().expect("temporary directory");
    let volumes = open(root.path());
    let error = volumes
        .create(crate::CreateRequest {
            labels: super::map(&[("big", &"x".repeat(2 << 20))]),
            ..named("data")
        })
        .expect_err("too large");
    assert!(matches!(error, Error::MetadataTooLarge { .. }), "{error}");
    assert!(names(root.path()).is_empty());
}

/// A volume of a directory beside the volumes, with a file in it.
fn bound(volumes: &Volumes, device: &Path) -> crate::Pin {
    fs::create_dir(device).expect("made");
    fs::write(device.join("file"), "x").expect("written");
    volumes
        .create(crate::CreateRequest {
            options: super::map(&[
                ("type", "none"),
                ("o", "bind"),
                ("device", device.to_str().expect("text")),
            ]),
            ..named("bound")
        })
        .expect("volume")
        .0
}

/// Mounts of this process at or below a place.
fn mounts_below(place: &Path) -> usize {
    fs::read_to_string("/proc/self/mountinfo")
        .expect("read")
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|at| Path::new(at).starts_with(place))
        .count()
}

#[test]
fn many_at_once_mount_a_volume_once() {
    if !super::is_root() {
        return;
    }
    let place = tempfile::tempdir().expect("temporary directory");
    let (root, host) = (place.path().join("volumes"), place.path().join("host"));
    let volumes = open(&root);
    let volume = std::sync::Arc::clone(bound(&volumes, &host).volume());
    let threads = 8;
    for _ in 0..25 {
        let together = std::sync::Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    together.wait();
                    volume.open().expect("mounted");
                });
            }
        });
        assert_eq!(mounts_below(&root), 1);
        volume.release(|| false).expect("unmounted");
        assert_eq!(mounts_below(&root), 0);
    }
    // Not under somebody who uses it, or is about to.
    let pin = volumes.enter("bound").expect("entered");
    volume.release(|| false).expect("pinned");
    assert_eq!(mounts_below(&root), 1);
    drop(pin);
    volume.release(|| true).expect("used");
    assert_eq!(mounts_below(&root), 1);
    volume.release(|| false).expect("unmounted");
    assert_eq!(mounts_below(&root), 0);
}

#[test]
fn a_removed_volume_is_not_mounted_again() {
    if !super::is_root() {
        return;
    }
    let place = tempfile::tempdir().expect("temporary directory");
    let (root, host) = (place.path().join("volumes"), place.path().join("host"));
    let volumes = open(&root);
    let volume = std::sync::Arc::clone(bound(&volumes, &host).volume());
    // As if it had been mounted twice.
    volume.open().expect("mounted");
    rustix::mount::mount_bind(&host, volume.mountpoint()).expect("mounted again");
    volumes.remove("bound", Force::No, nobody).expect("removed");
    assert_eq!(names(&host), ["file"], "not the volume's to remove");
    let error = volume.open().expect_err("removed");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    volume.release(|| false).expect("nothing to unmount");
    assert_eq!(mounts_below(place.path()), 0);
}

#[test]
fn a_mount_within_a_volume_is_not_entered() {
    if !super::is_root() {
        return;
    }
    let place = tempfile::tempdir().expect("temporary directory");
    let (root, host) = (place.path().join("volumes"), place.path().join("host"));
    fs::create_dir(&host).expect("made");
    fs::write(host.join("file"), "x").expect("written");
    // A directory and a file, both of the same file system as the volume.
    for (name, file) in [("directory", false), ("file", true)] {
        let volumes = open(&root);
        let inner = create(&volumes, name).mountpoint().join("inner");
        let source = if file {
            fs::write(&inner, "").expect("written");
            host.join("file")
        } else {
            fs::create_dir(&inner).expect("made");
            host.clone()
        };
        rustix::mount::mount_bind(source, &inner).expect("mounted");
        let error = volumes.remove(name, Force::No, nobody).expect_err(name);
        assert!(matches!(error, Error::Mounted { .. }), "{error}");
        assert_eq!(error.kind(), carrack_oci::ErrorKind::Conflict);
        assert_eq!(fs::read(host.join("file")).expect("there"), b"x");

        let left = fs::read_dir(&root).expect("read").next().expect("left");
        let inner = left.expect("entry").path().join("_data/inner");
        rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
        drop(open(&root));
        assert!(names(&root).is_empty());
        assert_eq!(fs::read(host.join("file")).expect("there"), b"x");
    }
}
