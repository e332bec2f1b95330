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
