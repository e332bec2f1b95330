use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use carrack_oci::ErrorKind;
use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::*;
use crate::testing::{Detail, Raw, describe, file, is_root, open_dir, write};

/// A destination with a sentinel beside it that must stay as it is.
struct Place {
    temp: TempDir,
    sentinel: String,
}

impl Place {
    fn new() -> Place {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("root")).unwrap();
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "untouched").unwrap();
        fs::create_dir(outside.join("dir")).unwrap();
        symlink("file", outside.join("link")).unwrap();
        let sentinel = describe(&outside, Detail::Times);
        Place { temp, sentinel }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    fn unpack(&self, archive: &[u8], options: &Options) -> Result<Summary, TreeError> {
        let result = unpack(open_dir(&self.root()), archive, options);
        let outside = self.temp.path().join("outside");
        assert_eq!(describe(&outside, Detail::Times), self.sentinel);
        let beside = fs::read_dir(self.temp.path()).unwrap().count();
        assert_eq!(beside, 2, "something was made beside the root");
        result.map(|(summary, _)| summary)
    }

    fn describe(&self) -> String {
        describe(&self.root(), Detail::Ordinary)
    }
}

fn root_only() -> bool {
    let root = is_root();
    if !root {
        println!("SKIP: needs root");
    }
    root
}

fn options(mode: Mode) -> Options {
    Options {
        mode,
        ..Options::layer(Limits::DEFAULT)
    }
}

#[track_caller]
fn check(mode: Mode, archive: &[u8], expected: Expect) {
    if !root_only() {
        return;
    }
    let place = Place::new();
    let result = place.unpack(archive, &options(mode));
    let mut text = place.describe();
    if let Err(error) = result {
        text += &format!("error: {error} ({:?})\n", error.kind());
    }
    expected.assert_eq(&text);
}

#[test]
fn writes_every_kind() {
    check(
        Mode::Layer,
        &Raw::new()
            .header("./", b'5', 0, |block| {
                block[100..107].copy_from_slice(b"0000711")
            })
            .header("bin/su", b'0', 2, |block| {
                block[100..107].copy_from_slice(b"0004755");
                block[108..115].copy_from_slice(b"0000012");
            })
            .data(b"su")
            .hard_link("bin/su-too", "bin/su")
            .symlink("sh", "bin/su")
            .hard_link("sh-too", "sh")
            .device("null", b'3', 1, 3)
            .device("disk", b'4', 8, 1)
            .header("pipe", b'6', 0, |block| {
                block[100..107].copy_from_slice(b"0000622")
            })
            .header("tmp", b'5', 0, |block| {
                block[100..107].copy_from_slice(b"0001777")
            })
            .header("closed", b'5', 0, |block| {
                block[100..107].copy_from_slice(b"0000050")
            })
            .file("closed/inside", "x")
            .pax(
                b'x',
                &[
                    ("SCHILY.xattr.user.note", "v"),
                    (
                        "SCHILY.xattr.security.capability",
                        "\u{1}\0\0\u{2}\0\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                    ),
                    ("SCHILY.xattr.trusted.overlay.redirect", "/etc"),
                    ("SCHILY.xattr.security.selinux", "label"),
                ],
            )
            .file("caps", "")
            .end(),
        expect![[r#"
            . 0711 0:0 dir
            bin 0755 0:0 dir
            bin/su 4755 10:0 file 2 "su" link#0
            bin/su-too 4755 10:0 file 2 "su" link#0
            caps 0644 0:0 file 0 "" security.capability=\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00 user.note=v
            closed 0050 0:0 dir
            closed/inside 0644 0:0 file 1 "x"
            disk 0644 0:0 block 8:1
            null 0644 0:0 char 1:3
            pipe 0622 0:0 fifo
            sh 0777 0:0 -> bin/su link#1
            sh-too 0777 0:0 -> bin/su link#1
            tmp 1777 0:0 dir
        "#]],
    );
}

#[test]
fn turns_whiteouts_into_overlayfs_form() {
    check(
        Mode::Layer,
        &Raw::new()
            .file(".wh.gone", "")
            .file("new/.wh.gone", "")
            .dir("opaque")
            .file("opaque/kept", "")
            .file("opaque/.wh..wh..opq", "")
            // Whiteout and entry of one name: the entry stays, and hides.
            .file(".wh.dir-after", "")
            .dir("dir-after")
            .file("dir-before/file", "")
            .file(".wh.dir-before", "")
            .file(".wh.implied", "")
            .file("implied/file", "")
            .file(".wh.file-after", "")
            .file("file-after", "kept")
            .file("file-before", "kept")
            .file(".wh.file-before", "")
            .file(".wh..wh.aufs", "")
            .file(".wh..wh.plnk/1.2", "")
            .end(),
        expect![[r#"
            . 0755 0:0 dir
            dir-after 0755 0:0 dir trusted.overlay.opaque=y
            dir-before 0755 0:0 dir trusted.overlay.opaque=y
            dir-before/file 0644 0:0 file 0 ""
            file-after 0644 0:0 file 4 "kept"
            file-before 0644 0:0 file 4 "kept"
            gone 0000 0:0 char 0:0
            implied 0755 0:0 dir trusted.overlay.opaque=y
            implied/file 0644 0:0 file 0 ""
            new 0755 0:0 dir
            new/gone 0000 0:0 char 0:0
            opaque 0755 0:0 dir trusted.overlay.opaque=y
            opaque/kept 0644 0:0 file 0 ""
        "#]],
    );
    // To a plain archive they are names like any others.
    check(
        Mode::Plain,
        &Raw::new()
            .file(".wh.gone", "")
            .file(".wh..wh..opq", "")
            .end(),
        expect![[r#"
            . 0755 0:0 dir
            .wh..wh..opq 0644 0:0 file 0 ""
            .wh.gone 0644 0:0 file 0 ""
        "#]],
    );
    if root_only() {
        let opaque = Raw::new().file(".wh..wh..opq", "").end();
        let summary = Place::new().unpack(&opaque, &options(Mode::Layer)).unwrap();
        assert!(summary.opaque_root);
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    check(
        Mode::Layer,
        &Raw::new()
            .file("a/b/c", "")
            .file("a", "now a file")
            .file("b", "was a file")
            .file("b-again", "")
            .symlink("c", "a")
            .file("c", "not through the link")
            .symlink("d", "b")
            .dir("d")
            .file("d/file", "")
            .file("e", "first")
            .hard_link("e-too", "e")
            .file("e", "second, and the link keeps the first")
            .file("f", "kept")
            .hard_link("f", "f")
            .hard_link("f", "./x/../f")
            .file("b", "replaced")
            .dir("b")
            .end(),
        expect![[r#"
            . 0755 0:0 dir
            a 0644 0:0 file 10 "now a file"
            b 0755 0:0 dir
            b-again 0644 0:0 file 0 ""
            c 0644 0:0 file 20 "not through the link"
            d 0755 0:0 dir
            d/file 0644 0:0 file 0 ""
            e 0644 0:0 file 36 "second, and the link keeps the first"
            e-too 0644 0:0 file 5 "first"
            f 0644 0:0 file 4 "kept"
        "#]],
    );
}

/// Names that lead out are errors, or lead to the root.
#[test]
fn hostile_names() {
    for name in ["..", "../x", "a/../../x", "../outside/file", "./../x"] {
        for entry in [
            Raw::new().file(name, "evil"),
            Raw::new().dir(name),
            Raw::new().symlink(name, "x"),
            Raw::new().device(name, b'3', 1, 3),
            Raw::new().file("x", "").hard_link("y", name),
        ] {
            let archive = entry.end();
            for mode in [Mode::Layer, Mode::Plain] {
                let error = Place::new().unpack(&archive, &options(mode)).unwrap_err();
                assert!(
                    matches!(error, TreeError::Breakout { .. }),
                    "{name}: {error}"
                );
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
            }
        }
    }
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", ".wh.a/b"] {
        let archive = Raw::new().file(name, "").end();
        let error = Place::new()
            .unpack(&archive, &options(Mode::Layer))
            .unwrap_err();
        assert!(
            matches!(error, TreeError::Whiteout { .. }),
            "{name}: {error}"
        );
    }
    check(
        Mode::Layer,
        &Raw::new()
            .file("/absolute", "")
            .file("/../../climbs", "")
            .file("a/./../b//c", "")
            .end(),
        expect![[r#"
            . 0755 0:0 dir
            absolute 0644 0:0 file 0 ""
            b 0755 0:0 dir
            b/c 0644 0:0 file 0 ""
            climbs 0644 0:0 file 0 ""
        "#]],
    );
}

/// Directories kept open are forgotten when their names come to mean others.
#[test]
fn names_may_change_their_meaning() {
    check(
        Mode::Layer,
        &Raw::new()
            .file("a/b/first", "")
            .file("a", "")
            .dir("a")
            .file("a/b/second", "")
            .dir("one")
            .dir("two")
            .symlink("link", "one")
            .file("link/first", "")
            .symlink("link", "two")
            .file("link/second", "")
            .end(),
        expect![[r#"
            . 0755 0:0 dir
            a 0755 0:0 dir
            a/b 0755 0:0 dir
            a/b/second 0644 0:0 file 0 ""
            link 0777 0:0 -> two
            one 0755 0:0 dir
            one/first 0644 0:0 file 0 ""
            two 0755 0:0 dir
            two/second 0644 0:0 file 0 ""
        "#]],
    );
}

/// Links to the outside are data; going through them stays inside.
#[test]
fn hostile_links() {
    let absolute = |place: &Place| place.temp.path().join("outside");
    let place = Place::new();
    let outside = absolute(&place);
    let opened = open_dir(&outside);
    let magic = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let outside = outside.to_str().unwrap();
    if !root_only() {
        return;
    }
    for target in ["../outside", outside, &magic] {
        for attack in [
            Raw::new().file("link/file", "evil"),
            Raw::new().file("link/dir/new", "evil"),
            Raw::new()
                .hard_link("mine", "link/file")
                .file("mine", "evil"),
            Raw::new()
                .hard_link("mine", "link/link")
                .file("mine", "evil"),
            Raw::new().file("link/.wh.file", ""),
            Raw::new().file("link/.wh..wh..opq", ""),
            Raw::new().header("link/dir", b'5', 0, |block| {
                block[100..107].copy_from_slice(b"0004777");
            }),
            Raw::new().header("link", b'5', 0, |block| {
                block[100..107].copy_from_slice(b"0004777");
            }),
            Raw::new().symlink("link/dir", "x"),
            Raw::new().device("link/null", b'3', 1, 3),
        ] {
            let link = Raw::new().symlink("link", target).cut(0);
            let archive = [link, attack.end()].concat();
            for mode in [Mode::Layer, Mode::Plain] {
                // Contained or refused: the sentinel is compared in there.
                let _ = Place::new().unpack(&archive, &options(mode));
            }
        }
    }
    // Hard links lead to the archive's own entries alone.
    for target in [outside, "/etc/passwd", "nothing", ".", "dir", "link/file"] {
        let archive = Raw::new()
            .symlink("link", outside)
            .dir("dir")
            .hard_link("mine", target)
            .end();
        let error = place.unpack(&archive, &options(Mode::Layer)).unwrap_err();
        assert!(
            matches!(error, TreeError::LinkTarget { .. }),
            "{target}: {error}"
        );
    }
    // In the middle of a name a link is followed as in a chroot: images whose
    // layer has both lib -> usr/lib and lib/file rely on it.
    check(
        Mode::Layer,
        &Raw::new()
            .dir("usr/lib")
            .symlink("lib", "/usr/lib")
            .file("lib/file", "")
            .symlink("up", "../../../usr")
            .file("up/file", "")
            .end(),
        expect![[r#"
            . 0755 0:0 dir
            lib 0777 0:0 -> /usr/lib
            up 0777 0:0 -> ../../../usr
            usr 0755 0:0 dir
            usr/file 0644 0:0 file 0 ""
            usr/lib 0755 0:0 dir
            usr/lib/file 0644 0:0 file 0 ""
        "#]],
    );
}

#[test]
fn a_file_is_no_parent() {
    for parent in [
        Raw::new().file("a", ""),
        Raw::new().symlink("a", "dangling"),
        Raw::new().symlink("a", "a"),
    ] {
        let archive = parent.file("a/b", "").end();
        let options = Options {
            ownership: Ownership::Unchanged,
            ..options(Mode::Plain)
        };
        let error = Place::new().unpack(&archive, &options).unwrap_err();
        assert!(matches!(error, TreeError::Failed { .. }), "{error}");
    }
}

#[test]
fn stops_where_the_stream_does() {
    let mut archive = write(&[file("a", 5000)]);
    archive.truncate(2000);
    let place = Place::new();
    let options = Options {
        ownership: Ownership::Unchanged,
        ..options(Mode::Plain)
    };
    let error = place.unpack(&archive, &options).unwrap_err();
    assert_eq!(error.to_string(), "archive ends in the middle of an entry");
}

#[test]
fn keeps_holes() {
    let archive = Raw::new()
        .pax(
            b'x',
            &[
                ("GNU.sparse.map", "1048576,5,1073741819,5"),
                ("GNU.sparse.size", "1073741830"),
            ],
        )
        .file("sparse", "helloworld")
        .end();
    let place = Place::new();
    let options = Options {
        ownership: Ownership::Unchanged,
        ..options(Mode::Plain)
    };
    place.unpack(&archive, &options).unwrap();
    let path = place.root().join("sparse");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.len(), 1_073_741_830);
    assert!(meta.blocks() * 512 < 1 << 20);
    let file = fs::File::open(&path).unwrap();
    let mut bytes = [1; 12];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 1_048_575).unwrap();
    assert_eq!(&bytes, b"\0hello\0\0\0\0\0\0");
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes[..6], 1_073_741_818).unwrap();
    assert_eq!(&bytes[..6], b"\0world");
}

#[test]
fn options_of_docker_cp() {
    let with = |overwrite, ownership| Options {
        overwrite,
        ownership,
        ..options(Mode::Plain)
    };
    let place = Place::new();
    fs::create_dir(place.root().join("dir")).unwrap();
    fs::write(place.root().join("file"), "old").unwrap();
    let careful = with(Overwrite::SameKind, Ownership::Unchanged);
    let error = place
        .unpack(&Raw::new().file("dir", "").end(), &careful)
        .unwrap_err();
    assert!(matches!(error, TreeError::OverwriteDirectory { .. }));
    let error = place
        .unpack(&Raw::new().dir("file").end(), &careful)
        .unwrap_err();
    assert!(matches!(error, TreeError::OverwriteNonDirectory { .. }));
    place
        .unpack(&Raw::new().dir("dir").file("file", "new").end(), &careful)
        .unwrap();
    assert_eq!(fs::read(place.root().join("file")).unwrap(), b"new");

    if root_only() {
        let owner = Ownership::Fixed { uid: 7, gid: 8 };
        let archive = Raw::new()
            .header("./", b'5', 0, |block| {
                block[100..107].copy_from_slice(b"0000000")
            })
            .file("implied/file", "")
            .symlink("link", "x")
            .end();
        place
            .unpack(&archive, &with(Overwrite::Anything, owner))
            .unwrap();
        expect![[r#"
            . 0755 0:0 dir
            dir 0755 0:0 dir
            file 0644 0:0 file 3 "new"
            implied 0755 7:8 dir
            implied/file 0644 7:8 file 0 ""
            link 0777 7:8 -> x
        "#]]
        .assert_eq(&place.describe());
    }
}

#[test]
fn times_hold_at_the_end() {
    let at = |seconds| crate::tar::Timestamp {
        seconds,
        nanoseconds: 7,
    };
    let timed = |path: &str, kind, seconds| Entry {
        mtime: at(seconds),
        ..Entry::new(path, kind)
    };
    let target = b"/nowhere".to_vec();
    let archive = write(&[
        timed("d", Kind::Directory, 100),
        timed("d/e", Kind::Directory, 200),
        timed("d/e/f", Kind::Regular, 300),
        timed("d/link", Kind::Symlink { target }, -400),
        timed("x", Kind::Directory, 500),
        timed("x", Kind::Regular, 600),
    ]);
    let place = Place::new();
    let options = Options {
        ownership: Ownership::Unchanged,
        ..options(Mode::Plain)
    };
    place.unpack(&archive, &options).unwrap();
    for (path, seconds) in [
        ("d", 100),
        ("d/e", 200),
        ("d/e/f", 300),
        ("d/link", -400),
        ("x", 600),
    ] {
        let meta = fs::symlink_metadata(place.root().join(path)).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (seconds, 7), "{path}");
    }
}

/// A container that swaps a directory for a link all the time, as in
/// CVE-2018-15664, while an archive is unpacked through it.
#[test]
fn a_swapped_directory_stays_inside() {
    let place = Place::new();
    let root = place.root();
    let outside = place.temp.path().join("outside/dir");
    fs::create_dir(root.join("dir")).unwrap();
    symlink(&outside, root.join("link")).unwrap();
    let entries: Vec<_> = (0..200)
        .map(|at| file(&format!("dir/file-{at}"), 1))
        .collect();
    let archive = write(&entries);
    let options = Options {
        ownership: Ownership::Unchanged,
        ..options(Mode::Plain)
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let root = open_dir(&root);
            while !done.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&root, "dir", &root, "link", exchange).unwrap();
            }
        });
        let _done = SetOnDrop(&done);
        for _ in 0..50 {
            let _ = place.unpack(&archive, &options);
        }
    });
}

/// Ends the other thread even when an assertion fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream of entries that exists nowhere as a whole.
struct Generated<F> {
    next: F,
    current: io::Cursor<Vec<u8>>,
}

impl<F: FnMut() -> Option<Entry>> io::Read for Generated<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.position() == self.current.get_ref().len() as u64 {
            let Some(entry) = (self.next)() else {
                return Ok(0);
            };
            let mut archive = write(&[entry]);
            archive.truncate(archive.len() - 1024);
            self.current = io::Cursor::new(archive);
        }
        self.current.read(buffer)
    }
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Unpacks directories with long names, whose times must wait for the end,
/// and watches this process's memory.
fn check_memory(entries: u64) {
    const GROWTH_MAX: u64 = 12 << 20;
    // In memory where there is such a file system: pages of files are not
    // this process's.
    let temp = match tempfile::tempdir_in("/dev/shm") {
        Ok(temp) => temp,
        Err(_) => tempfile::tempdir().unwrap(),
    };
    let filler = "n".repeat(230);
    let before = resident_bytes();
    let mut peak = before;
    let mut made = 0;
    let next = || {
        made += 1;
        if made % 1000 == 0 {
            peak = peak.max(resident_bytes());
        }
        let group = made / 1000;
        let path = format!("group-{group}/{filler}-{made}");
        (made <= entries).then(|| match made % 8 {
            0 => Entry::new(path, Kind::Fifo),
            _ => Entry::new(path, Kind::Directory),
        })
    };
    let source = Generated {
        next,
        current: io::Cursor::default(),
    };
    let options = Options {
        ownership: Ownership::Unchanged,
        ..options(Mode::Plain)
    };
    let (summary, _) = unpack(open_dir(temp.path()), source, &options).unwrap();
    let growth = peak.saturating_sub(before);
    assert_eq!(summary.entries, entries);
    assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
}

/// Kept in memory, the directories' names alone would take 22 MB.
#[test]
fn many_entries_in_bounded_memory() {
    check_memory(100_000);
}

/// The promise itself, by hand: `cargo test -p carrack-archive -- --ignored`.
#[test]
#[ignore = "takes a minute"]
fn a_million_entries_in_bounded_memory() {
    check_memory(1_000_000);
}
