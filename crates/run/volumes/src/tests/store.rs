//! Making, finding, removing.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use carrack_oci::ErrorKind;

use super::{create, map, named, names, nobody, open};
use crate::{
    CreateRequest, Created, Error, Force, LabelFilter, ListFilter, PruneFilter, PruneScope, Volumes,
};

fn root() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("carrack-volumes-")
        .tempdir()
        .expect("temporary directory")
}

#[test]
fn a_volume_outlives_the_process() {
    let root = root();
    let volumes = open(root.path());
    let (pin, created) = volumes
        .create(CreateRequest {
            labels: map(&[("a", "1")]),
            ..named("data")
        })
        .expect("volume");
    assert_eq!(created, Created::New);
    let data = pin.mountpoint();
    assert_eq!(data, root.path().join("data/_data"));
    assert_eq!(fs::metadata(&data).expect("there").mode() & 0o7777, 0o755);
    fs::write(data.join("file"), "x").expect("written");
    let made = pin.created();

    let again = open(root.path());
    let volume = again.get("data").expect("still there");
    assert_eq!(volume.labels(), &map(&[("a", "1")]));
    assert_eq!(volume.created(), made);
    assert_eq!(
        fs::read(volume.mountpoint().join("file")).expect("read"),
        b"x"
    );
    assert!(!volume.is_anonymous());
}

#[test]
fn the_same_name_gives_the_same_volume() {
    let root = root();
    let volumes = open(root.path());
    create(&volumes, "data");
    let (_, created) = volumes
        .create(CreateRequest {
            driver: Some("local".to_owned()),
            labels: map(&[("other", "")]),
            ..named("data")
        })
        .expect("volume");
    assert_eq!(created, Created::Existing);
    assert!(volumes.get("data").expect("there").labels().is_empty());
}

#[test]
fn anonymous_volumes_have_a_label_and_a_long_name() {
    let root = root();
    let volumes = open(root.path());
    let (pin, _) = volumes.create(CreateRequest::default()).expect("volume");
    assert_eq!(pin.name().as_str().len(), 64);
    assert!(pin.is_anonymous());
    assert_eq!(pin.labels(), &map(&[("com.docker.volume.anonymous", "")]));
}

fn check_error(error: &Error, kind: ErrorKind, sentence: &str) {
    assert_eq!(error.to_string(), sentence);
    assert_eq!(error.kind(), kind);
}

#[test]
fn refusals_are_dockers_sentences() {
    let root = root();
    let volumes = open(root.path());
    let refused =
        |request: CreateRequest| volumes.create(request).map(|_| ()).expect_err("refused");
    check_error(
        &refused(named("a")),
        ErrorKind::InvalidInput,
        "create a: \"a\" is too short, names should be at least two alphanumeric characters",
    );
    check_error(
        &refused(named("a b")),
        ErrorKind::InvalidInput,
        "create a b: \"a b\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, \
         use absolute path",
    );
    check_error(
        &refused(CreateRequest {
            driver: Some("flocker".to_owned()),
            ..named("data")
        }),
        ErrorKind::NotFound,
        "create data: error looking up volume plugin flocker: plugin \"flocker\" not found",
    );
    let with = |options: &[(&str, &str)]| {
        refused(CreateRequest {
            options: map(options),
            ..named("data")
        })
    };
    check_error(
        &with(&[("colour", "red")]),
        ErrorKind::InvalidInput,
        "create data: invalid option: \"colour\"",
    );
    check_error(
        &with(&[("type", "tmpfs")]),
        ErrorKind::InvalidInput,
        "create data: missing required option: \"device\"",
    );
    check_error(
        &with(&[("type", "nfs"), ("device", ":/x"), ("o", "addr=10.0.0.1")]),
        ErrorKind::Unsupported,
        "create data: mounts of type \"nfs\" are not supported for volumes: use type=tmpfs, or \
         o=bind",
    );
    check_error(
        &volumes.get("data").expect_err("absent"),
        ErrorKind::NotFound,
        "get data: no such volume",
    );
    create(&volumes, "data");
    let users = |_: &_| vec!["abc".to_owned(), "def".to_owned()];
    check_error(
        &volumes
            .remove("data", Force::Yes, users)
            .expect_err("in use"),
        ErrorKind::Conflict,
        "remove data: volume is in use - [abc, def]",
    );
    assert_eq!(names(root.path()), ["data"]);
}

#[test]
fn what_is_removed_is_gone() {
    let root = root();
    let volumes = open(root.path());
    let pin = create(&volumes, "data");
    fs::create_dir_all(pin.mountpoint().join("a/b/c")).expect("made");
    assert!(matches!(
        volumes.remove("data", Force::No, nobody),
        Err(Error::InUse { .. })
    ));
    drop(pin);
    volumes.remove("data", Force::No, nobody).expect("removed");
    assert!(names(root.path()).is_empty());
    assert!(volumes.get("data").is_err());
    assert!(matches!(
        volumes.remove("data", Force::No, nobody),
        Err(Error::NotFound { .. })
    ));
    volumes.remove("data", Force::Yes, nobody).expect("forced");
}

fn listed(volumes: &Volumes, filter: &ListFilter) -> String {
    let users = |name: &crate::VolumeName| match name.as_str() {
        "used" => vec!["c".to_owned()],
        _ => Vec::new(),
    };
    let names: Vec<String> = volumes
        .list(filter, users)
        .iter()
        .map(|volume| volume.name().to_string())
        .collect();
    names.join(" ")
}

#[test]
fn filters_of_a_listing() {
    let root = root();
    let volumes = open(root.path());
    for (name, labels) in [
        ("data", map(&[("tier", "db"), ("env", "test")])),
        ("database", map(&[("tier", "db")])),
        ("used", map(&[])),
    ] {
        volumes
            .create(CreateRequest {
                labels,
                ..named(name)
            })
            .expect("volume");
    }
    let check = |filter: ListFilter, expected: &str| {
        assert_eq!(listed(&volumes, &filter), expected, "{filter:?}");
    };
    let text = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
    let label = |values: &[&str]| {
        values
            .iter()
            .map(|value| LabelFilter::parse(value))
            .collect()
    };
    let all = ListFilter::default;
    check(all(), "data database used");
    for (labels, expected) in [
        (&["tier"][..], "data database"),
        (&["tier=db", "env"], "data"),
        (&["tier=web"], ""),
    ] {
        check(
            ListFilter {
                labels: label(labels),
                ..all()
            },
            expected,
        );
    }
    check(
        ListFilter {
            without_labels: label(&["env"]),
            ..all()
        },
        "database used",
    );
    check(
        ListFilter {
            drivers: text(&["nfs"]),
            ..all()
        },
        "",
    );
    for (dangling, expected) in [(true, "data database"), (false, "used")] {
        check(
            ListFilter {
                dangling: Some(dangling),
                ..all()
            },
            expected,
        );
    }
}

#[test]
fn prune_spares_named_and_used_volumes() {
    let root = root();
    let volumes = open(root.path());
    drop(create(&volumes, "named"));
    let (pin, _) = volumes.create(CreateRequest::default()).expect("volume");
    let kept = volumes.create(CreateRequest::default()).expect("volume").0;
    fs::write(pin.mountpoint().join("file"), [0; 1000]).expect("written");
    let anonymous = pin.name().clone();
    drop(pin);
    let pruned = volumes.prune(&PruneFilter::default(), nobody);
    assert_eq!(pruned.removed, [anonymous]);
    assert_eq!(pruned.reclaimed_bytes, 1000);
    assert!(pruned.problems.is_empty());
    let pruned = volumes.prune(
        &PruneFilter {
            scope: PruneScope::All,
            ..PruneFilter::default()
        },
        |name| match name == kept.name() {
            true => vec!["c".to_owned()],
            false => Vec::new(),
        },
    );
    assert_eq!(pruned.removed.len(), 1);
    assert_eq!(names(root.path()), [kept.name().as_str()]);
}

#[test]
fn usage_counts_each_file_once() {
    let root = root();
    let volumes = open(root.path());
    let volume = create(&volumes, "data");
    let data = volume.mountpoint();
    fs::create_dir_all(data.join("a/b")).expect("made");
    fs::write(data.join("a/file"), [0; 5000]).expect("written");
    fs::hard_link(data.join("a/file"), data.join("a/b/again")).expect("linked");
    std::os::unix::fs::symlink("/etc", data.join("out")).expect("linked");
    fs::write(data.join("last"), [0; 7]).expect("written");
    let usage = volume.usage().expect("measured");
    assert_eq!(usage.bytes, 5000 + 7 + 4);
    assert!(!usage.incomplete);
}

#[test]
fn a_subpath_stays_inside() {
    let root = root();
    let volumes = open(root.path());
    let volume = create(&volumes, "data");
    let data = volume.mountpoint();
    fs::create_dir_all(data.join("a/b")).expect("made");
    fs::write(data.join("a/file"), "x").expect("written");
    for (to, name) in [
        ("b", "in"),
        ("../..", "up"),
        ("/etc", "abs"),
        ("loop", "loop"),
    ] {
        std::os::unix::fs::symlink(to, data.join("a").join(name)).expect("linked");
    }
    for inside in ["a", "a/b", "a/file", "a/in", "a/../a/b", "."] {
        volume.open_subpath(Path::new(inside)).expect(inside);
    }
    for outside in [
        "",
        "/",
        "/etc",
        "..",
        "a/../..",
        "a/up",
        "a/up/volume.json",
        "a/abs/passwd",
        "a/loop",
    ] {
        let error = volume.open_subpath(Path::new(outside)).expect_err(outside);
        assert!(matches!(error, Error::Subpath { .. }), "{outside}: {error}");
    }
    for absent in ["b", "a/file/x"] {
        let error = volume.open_subpath(Path::new(absent)).expect_err(absent);
        assert!(
            matches!(error, Error::NoSubpath { .. }),
            "{absent}: {error}"
        );
    }
}

#[test]
fn options_mount_a_tmpfs_or_a_directory() {
    if !super::is_root() {
        return;
    }
    let root = root();
    let volumes = open(root.path());
    let elsewhere = root.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    let bind = volumes
        .create(CreateRequest {
            options: map(&[
                ("type", "none"),
                ("o", "bind"),
                ("device", elsewhere.to_str().expect("text")),
            ]),
            ..named("bound")
        })
        .expect("volume")
        .0;
    let tmpfs = volumes
        .create(CreateRequest {
            options: map(&[
                ("type", "tmpfs"),
                ("o", "size=1m,nosuid,mode=1777"),
                ("device", "tmpfs"),
            ]),
            ..named("memory")
        })
        .expect("volume")
        .0;
    for volume in [&bind, &tmpfs] {
        volume.open().expect("mounted");
        volume.open().expect("mounted once");
        fs::write(volume.mountpoint().join("file"), "x").expect("written");
    }
    assert_eq!(names(&elsewhere), ["file"]);
    let status = rustix::fs::statvfs(tmpfs.mountpoint()).expect("status");
    assert_eq!(status.f_blocks * status.f_frsize, 1 << 20);
    drop((bind, tmpfs));
    for name in ["bound", "memory"] {
        volumes.remove(name, Force::No, nobody).expect("removed");
    }
    assert_eq!(names(&elsewhere), ["file"], "not the volume's to remove");
    assert_eq!(names(root.path()), ["elsewhere"]);
}
