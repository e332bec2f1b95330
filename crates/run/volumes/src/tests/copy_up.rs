//! What an image has at its place arrives whole.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, XattrFlags};

use super::{create, is_root, names, open};
use crate::{CopyUp, Error};

pub(super) fn directory(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("directory")
}

/// An image's files, and a root for volumes on the same file system.
fn places() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
    let place = tempfile::Builder::new()
        .prefix("carrack-volumes-")
        .tempdir()
        .expect("temporary directory");
    let (image, root) = (place.path().join("image"), place.path().join("volumes"));
    fs::create_dir(&image).expect("made");
    (place, image, root)
}

#[test]
fn all_kinds_of_files_arrive() {
    if !is_root() {
        return;
    }
    let (_place, image, root) = places();
    let source = image.join("srv/data");
    fs::create_dir_all(source.join("sub/deep")).expect("made");
    fs::write(source.join("file"), "content").expect("written");
    fs::set_permissions(source.join("file"), fs::Permissions::from_mode(0o4750)).expect("mode");
    rustix::fs::chown(
        source.join("file"),
        Some(rustix::fs::Uid::from_raw(1234)),
        Some(rustix::fs::Gid::from_raw(5678)),
    )
    .expect("owner");
    // The change of owner took the setuid bit away.
    fs::set_permissions(source.join("file"), fs::Permissions::from_mode(0o4750)).expect("mode");
    for (name, value) in [
        (c"user.note", &b"hello"[..]),
        (c"trusted.overlay.opaque", b"y"),
        (
            c"security.capability",
            b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
    ] {
        rustix::fs::setxattr(source.join("file"), name, value, XattrFlags::empty())
            .expect("attribute");
    }
    fs::hard_link(source.join("file"), source.join("sub/deep/again")).expect("linked");
    symlink("/etc/passwd", source.join("absolute")).expect("linked");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("null"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .expect("device");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        source.join("pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .expect("pipe");
    let sparse = fs::File::create(source.join("sparse")).expect("created");
    sparse.set_len(100 << 20).expect("long");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o2770)).expect("mode");
    rustix::fs::chown(
        &source,
        Some(rustix::fs::Uid::from_raw(999)),
        Some(rustix::fs::Gid::from_raw(998)),
    )
    .expect("owner");

    let volumes = open(&root);
    let volume = create(&volumes, "data");
    let before = fs::metadata(volume.mountpoint()).expect("there").ino();
    let copied = volume
        .copy_up(directory(&image).as_fd(), Path::new("/srv/data"))
        .expect("copied");
    assert_eq!(
        copied,
        CopyUp::Done {
            entries: 8,
            bytes: (100 << 20) + 7
        }
    );
    let data = volume.mountpoint();
    let there = fs::metadata(&data).expect("there");
    assert_eq!(there.ino(), before, "the same directory, maybe mounted");
    assert_eq!(
        (there.mode() & 0o7777, there.uid(), there.gid()),
        (0o2770, 999, 998)
    );
    assert_eq!(names(&data), names(&source));
    assert_eq!(
        names(volume.mountpoint().parent().expect("parent")),
        ["_data", "volume.json"]
    );
    let file = fs::metadata(data.join("file")).expect("there");
    let original = fs::metadata(source.join("file")).expect("there");
    assert_eq!(
        (
            file.mode(),
            file.uid(),
            file.gid(),
            file.nlink(),
            file.mtime_nsec()
        ),
        (0o104_750, 1234, 5678, 2, original.mtime_nsec())
    );
    assert_eq!(
        fs::metadata(data.join("sub/deep/again"))
            .expect("there")
            .ino(),
        file.ino()
    );
    let mut buffer = [0; 64];
    let mut xattr = |name: &str| {
        rustix::fs::getxattr(data.join("file"), name, &mut buffer[..])
            .map(|size| buffer[..size].to_vec())
    };
    assert_eq!(xattr("user.note").expect("attribute"), b"hello");
    assert_eq!(xattr("security.capability").expect("attribute").len(), 20);
    xattr("trusted.overlay.opaque").expect_err("not the image's");
    assert_eq!(
        fs::read_link(data.join("absolute")).expect("link"),
        Path::new("/etc/passwd")
    );
    let null = fs::metadata(data.join("null")).expect("there");
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
    assert!(
        fs::metadata(data.join("pipe"))
            .expect("there")
            .file_type()
            .is_fifo()
    );
    let sparse = fs::metadata(data.join("sparse")).expect("there");
    assert_eq!(sparse.len(), 100 << 20);
    assert!(sparse.blocks() < 100, "holes stay holes");
}

#[test]
fn only_an_empty_volume_is_filled() {
    let (_place, image, root) = places();
    fs::create_dir_all(image.join("data")).expect("made");
    fs::write(image.join("data/new"), "x").expect("written");
    fs::write(image.join("file"), "x").expect("written");
    let volumes = open(&root);
    let volume = create(&volumes, "data");
    let image = directory(&image);
    for absent in ["/no/such", "/file", "/file/x"] {
        assert_eq!(
            volume
                .copy_up(image.as_fd(), Path::new(absent))
                .expect(absent),
            CopyUp::NoSource
        );
    }
    fs::write(volume.mountpoint().join("old"), "x").expect("written");
    assert_eq!(
        volume
            .copy_up(image.as_fd(), Path::new("/data"))
            .expect("looked"),
        CopyUp::NotEmpty
    );
    assert_eq!(names(&volume.mountpoint()), ["old"]);
}

#[test]
fn an_empty_directory_gives_its_owner_and_mode() {
    if !is_root() {
        return;
    }
    let (_place, image, root) = places();
    fs::create_dir(image.join("data")).expect("made");
    fs::set_permissions(image.join("data"), fs::Permissions::from_mode(0o700)).expect("mode");
    rustix::fs::chown(
        image.join("data"),
        Some(rustix::fs::Uid::from_raw(70)),
        Some(rustix::fs::Gid::from_raw(70)),
    )
    .expect("owner");
    let volumes = open(&root);
    let volume = create(&volumes, "pgdata");
    volume
        .copy_up(directory(&image).as_fd(), Path::new("/data"))
        .expect("copied");
    let there = fs::metadata(volume.mountpoint()).expect("there");
    assert_eq!(
        (there.mode() & 0o7777, there.uid(), there.gid()),
        (0o700, 70, 70)
    );
}

#[test]
fn the_path_is_resolved_within_the_image() {
    let (place, image, root) = places();
    fs::create_dir(place.path().join("host")).expect("made");
    fs::write(place.path().join("host/secret"), "x").expect("written");
    fs::create_dir(image.join("real")).expect("made");
    fs::write(image.join("real/file"), "x").expect("written");
    symlink("/real", image.join("absolute")).expect("linked");
    symlink("../../../../real", image.join("upwards")).expect("linked");
    symlink(place.path().join("host"), image.join("host")).expect("linked");
    symlink("../host", image.join("beside")).expect("linked");
    let volumes = open(&root);
    let image = directory(&image);
    for (number, (path, expected)) in [
        ("/absolute", &["file"][..]),
        ("/upwards", &["file"]),
        ("/../real", &["file"]),
        ("/host", &[]),
        ("/beside", &[]),
        ("/../host", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let volume = create(&volumes, &format!("v{number}"));
        volume
            .copy_up(image.as_fd(), Path::new(path))
            .expect("copied or nothing there");
        assert_eq!(names(&volume.mountpoint()), expected, "{path}");
    }
}

#[test]
fn an_image_on_another_file_system() {
    if !is_root() {
        return;
    }
    let (_place, image, root) = places();
    rustix::mount::mount(
        "tmpfs",
        &image,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .expect("mounted");
    let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::create_dir(image.join("data")).expect("made");
    fs::write(image.join("data/file"), &content).expect("written");
    let volumes = open(&root);
    let volume = create(&volumes, "data");
    let handle = directory(&image);
    let copied = volume.copy_up(handle.as_fd(), Path::new("/data"));
    drop(handle);
    rustix::mount::unmount(&image, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
    copied.expect("copied");
    assert!(fs::read(volume.mountpoint().join("file")).expect("read") == content);
}

#[test]
fn many_files_take_this_long() {
    let (_place, image, root) = places();
    for directory in 0..10 {
        let directory = image.join(format!("data/{directory}"));
        fs::create_dir_all(&directory).expect("made");
        for file in 0..100 {
            fs::write(directory.join(file.to_string()), [7; 4096]).expect("written");
        }
    }
    fs::create_dir(image.join("few")).expect("made");
    fs::write(image.join("few/file"), "x").expect("written");
    let volumes = open(&root);
    let handle = directory(&image);
    for (name, path) in [("few", "/few"), ("many", "/data")] {
        let start = std::time::Instant::now();
        let volume = create(&volumes, name);
        let made = start.elapsed();
        let copied = volume
            .copy_up(handle.as_fd(), Path::new(path))
            .expect("copied");
        println!(
            "create {made:?}, copy-up {:?}: {copied:?}",
            start.elapsed() - made
        );
    }
}

#[test]
fn too_deep_an_image_is_an_error_and_leaves_nothing() {
    let (_place, image, root) = places();
    fs::create_dir(image.join("data")).expect("made");
    super::hostile::nest(&image.join("data"), 300);
    let volumes = open(&root);
    let volume = create(&volumes, "data");
    let error = volume
        .copy_up(directory(&image).as_fd(), Path::new("/data"))
        .expect_err("too deep");
    assert!(
        matches!(error, Error::TooDeep { limit: 200, .. }),
        "{error}"
    );
    assert!(names(&volume.mountpoint()).is_empty());
    assert_eq!(
        names(volume.mountpoint().parent().expect("parent")),
        ["_data", "volume.json"]
    );
}
