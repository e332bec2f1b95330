use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};

use carrack_oci::ErrorKind;
use expect_test::{Expect, expect};

use super::*;
use crate::testing::{Raw, file, write};
use crate::{ArchiveError, Limits};

/// Entries as text, the error at the end where there is one.
fn list(archive: &[u8], limits: Limits) -> String {
    let mut out = String::new();
    let mut reader = TarReader::new(archive, limits);
    loop {
        match reader.next_entry() {
            Ok(None) => return out,
            Err(error) => {
                writeln!(out, "error: {error} ({:?})", error.kind()).unwrap();
                return out;
            }
            Ok(Some(entry)) => {
                let path = entry.path.escape_ascii();
                write!(out, "{path} {:04o} {}:{}", entry.mode, entry.uid, entry.gid).unwrap();
                match &entry.kind {
                    Kind::Regular => write!(out, " file {}", entry.size).unwrap(),
                    Kind::Sparse { extents } => {
                        write!(out, " sparse {}", entry.size).unwrap();
                        for Extent { offset, len } in extents {
                            write!(out, " {offset}+{len}").unwrap();
                        }
                    }
                    Kind::HardLink { target } => {
                        write!(out, " = {}", target.escape_ascii()).unwrap();
                    }
                    Kind::Symlink { target } => {
                        write!(out, " -> {}", target.escape_ascii()).unwrap();
                    }
                    Kind::CharDevice(d) => write!(out, " char {}:{}", d.major, d.minor).unwrap(),
                    Kind::BlockDevice(d) => write!(out, " block {}:{}", d.major, d.minor).unwrap(),
                    Kind::Fifo => out += " fifo",
                    Kind::Directory => out += " dir",
                }
                if entry.mtime != Timestamp::EPOCH {
                    let Timestamp {
                        seconds,
                        nanoseconds,
                    } = entry.mtime;
                    write!(out, " @{seconds}.{nanoseconds:09}").unwrap();
                }
                for xattr in &entry.xattrs {
                    let (name, value) = (xattr.name.escape_ascii(), xattr.value.escape_ascii());
                    write!(out, " {name}={value}").unwrap();
                }
                let mut data = Vec::new();
                match reader.data().read_to_end(&mut data) {
                    Ok(_) if data.is_empty() => {}
                    Ok(_) => write!(out, " {:?}", String::from_utf8_lossy(&data)).unwrap(),
                    Err(error) => write!(out, " error: {error}").unwrap(),
                }
                out.push('\n');
            }
        }
    }
}

fn check(archive: impl AsRef<[u8]>, expected: Expect) {
    expected.assert_eq(&list(archive.as_ref(), Limits::DEFAULT));
}

#[test]
fn reads_every_kind() {
    check(
        Raw::new()
            .dir("dir/")
            .file("dir/file", "content")
            .entry("old", 0, b"v7")
            .entry("old-dir/", 0, b"")
            .hard_link("hard", "dir/file")
            .symlink("soft", "../anything")
            .device("null", b'3', 1, 3)
            .device("disk", b'4', 8, 1)
            .entry("pipe", b'6', b"")
            .entry("contiguous", b'7', b"abc")
            .end(),
        expect![[r#"
            dir/ 0755 0:0 dir
            dir/file 0644 0:0 file 7 "content"
            old 0644 0:0 file 2 "v7"
            old-dir/ 0644 0:0 dir
            hard 0644 0:0 = dir/file
            soft 0644 0:0 -> ../anything
            null 0644 0:0 char 1:3
            disk 0644 0:0 block 8:1
            pipe 0644 0:0 fifo
            contiguous 0644 0:0 file 3 "abc"
        "#]],
    );
}

#[test]
fn reads_extended_headers() {
    check(
        Raw::new()
            .pax(
                b'g',
                &[("comment", "from git"), ("uid", "7"), ("mtime", "5")],
            )
            .pax(
                b'x',
                &[
                    ("path", "long/name"),
                    ("uid", "3000000000"),
                    ("gid", "12"),
                    ("mtime", "-1.25"),
                    ("atime", "1"),
                    ("SCHILY.xattr.user.a", "b=c"),
                ],
            )
            .file("short", "one")
            .file("next", "two")
            .pax(b'x', &[("linkpath", "far/away")])
            .symlink("link", "near")
            .end(),
        expect![[r#"
            long/name 0644 3000000000:12 file 3 @-2.750000000 user.a=b=c "one"
            next 0644 7:0 file 3 @5.000000000 "two"
            link 0644 7:0 -> far/away @5.000000000
        "#]],
    );
    let long = "n".repeat(101);
    check(
        Raw::new()
            .entry("././@LongLink", b'K', b"target\0")
            .entry("././@LongLink", b'L', format!("{long}\0").as_bytes())
            .symlink("nnn", "x")
            .file("after", "")
            .end(),
        expect![[r#"
            nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn 0644 0:0 -> target
            after 0644 0:0 file 0
        "#]],
    );
}

#[test]
fn reads_sparse_maps() {
    let version_1 = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")];
    let mut map = b"2\n100\n3\n200\n4\n".to_vec();
    map.resize(512, 0);
    map.extend(b"abcdefg");
    check(
        Raw::new()
            .pax(
                b'x',
                &[
                    &version_1[..],
                    &[("GNU.sparse.name", "one"), ("GNU.sparse.realsize", "1000")],
                ]
                .concat(),
            )
            .entry("GNUSparseFile.1/one", b'0', &map)
            .pax(
                b'x',
                &[
                    ("GNU.sparse.size", "50"),
                    ("GNU.sparse.numblocks", "2"),
                    ("GNU.sparse.map", "0,1,10,2,50,0"),
                ],
            )
            .entry("zero-one", b'0', b"abc")
            .pax(
                b'x',
                &[
                    ("GNU.sparse.size", "50"),
                    ("GNU.sparse.numblocks", "1"),
                    ("GNU.sparse.offset", "7"),
                    ("GNU.sparse.numbytes", "3"),
                ],
            )
            .entry("zero-zero", b'0', b"abc")
            .header("old", b'S', 3, |block| {
                block[257..265].copy_from_slice(b"ustar  \0");
                block[386..398].copy_from_slice(b"00000000010\0");
                block[398..410].copy_from_slice(b"00000000002\0");
                block[482] = 1;
                block[483..495].copy_from_slice(b"00000000100\0");
            })
            .data(b"00000000020\x0000000000001\0")
            .data(b"abc")
            .file("after", "ok")
            .end(),
        expect![[r#"
            one 0644 0:0 sparse 1000 100+3 200+4 "abcdefg"
            zero-one 0644 0:0 sparse 50 0+1 10+2 "abc"
            zero-zero 0644 0:0 sparse 50 7+3 "abc"
            old 0644 0:0 sparse 64 8+2 16+1 "abc"
            after 0644 0:0 file 2 "ok"
        "#]],
    );
}

#[test]
fn one_archive_for_all_readers() {
    // CVE-2025-62518: the data would be headers for whoever believes 0.
    let inner = Raw::new().file("smuggled", "x").end();
    let size = inner.len().to_string();
    check(
        Raw::new()
            .pax(b'x', &[("size", &size)])
            .header("outer", b'0', 0, |_| {})
            .data(&inner)
            .end(),
        expect![[r#"
            error: tar headers contradict each other: sizes at byte 1024 (InvalidInput)
        "#]],
    );
    // RUSTSEC-2026-0068: the header's own size is there, and another one.
    check(
        Raw::new()
            .pax(b'x', &[("size", "0")])
            .entry("outer", b'0', &inner)
            .end(),
        expect![[r#"
            error: tar headers contradict each other: sizes at byte 1024 (InvalidInput)
        "#]],
    );
    // A size for the file must not size the long name in between.
    check(
        Raw::new()
            .pax(b'x', &[("size", "3")])
            .entry("././@LongLink", b'L', b"name\0")
            .file("n", "abc")
            .file("after", "")
            .end(),
        expect![[r#"
            name 0644 0:0 file 3 "abc"
            after 0644 0:0 file 0
        "#]],
    );
    for (what, archive) in [
        (
            "a directory with data",
            Raw::new().entry("d/", b'5', &inner).end(),
        ),
        (
            "a link with data",
            Raw::new()
                .header("l", b'2', 512, |block| block[157] = b'x')
                .data(&inner)
                .end(),
        ),
        (
            "two extended headers",
            Raw::new()
                .pax(b'x', &[("path", "a")])
                .pax(b'x', &[("path", "b")])
                .file("c", "")
                .end(),
        ),
        (
            "two names",
            Raw::new()
                .pax(b'x', &[("path", "a")])
                .entry("././@LongLink", b'L', b"b\0")
                .file("c", "")
                .end(),
        ),
        (
            "a global size",
            Raw::new().pax(b'g', &[("size", "5")]).file("c", "").end(),
        ),
        (
            "a global name",
            Raw::new().pax(b'g', &[("path", "x")]).file("c", "").end(),
        ),
        (
            "more behind one blank block",
            Raw::new().file("a", "").blank().file("b", "").end(),
        ),
        (
            "a file named as a directory",
            Raw::new().file("a/", "data").end(),
        ),
        (
            "a header behind nothing",
            Raw::new().pax(b'x', &[("path", "a")]).end(),
        ),
    ] {
        let listed = list(&archive, Limits::DEFAULT);
        assert!(listed.ends_with("(InvalidInput)\n"), "{what}: {listed}");
        assert!(!listed.contains("smuggled"), "{what}: {listed}");
    }
}

#[test]
fn a_hard_link_may_say_its_file_s_size() {
    check(
        Raw::new()
            .file("a", "abc")
            .header("b", b'1', 3, |block| block[157] = b'a')
            .file("c", "")
            .end(),
        expect![[r#"
            a 0644 0:0 file 3 "abc"
            b 0644 0:0 = a
            c 0644 0:0 file 0
        "#]],
    );
}

#[test]
fn numbers_out_of_range() {
    let base_256 = |at: usize, len: usize, bytes: &'static [u8]| {
        move |block: &mut [u8]| {
            let first = if bytes[0] & 0x80 != 0 { 0xff } else { 0 };
            block[at..at + len].fill(first);
            block[at] = if first == 0xff { 0xff } else { 0x80 };
            block[at + len - bytes.len()..at + len].copy_from_slice(bytes);
        }
    };
    type Patch = Box<dyn Fn(&mut [u8])>;
    let cases: [(&str, u8, Patch); 9] = [
        ("size -1", b'0', Box::new(base_256(124, 12, &[0xff]))),
        (
            "size 2^63",
            b'0',
            Box::new(base_256(124, 12, &[0, 0x80, 0, 0, 0, 0, 0, 0, 0])),
        ),
        ("uid -1", b'0', Box::new(base_256(108, 8, &[0xff]))),
        (
            "uid 2^32-1",
            b'0',
            Box::new(base_256(108, 8, &[0, 0xff, 0xff, 0xff, 0xff])),
        ),
        (
            "gid 2^32",
            b'0',
            Box::new(base_256(116, 8, &[1, 0, 0, 0, 0])),
        ),
        ("mode -1", b'0', Box::new(base_256(100, 8, &[0xff]))),
        (
            "major 4096",
            b'3',
            Box::new(|block: &mut [u8]| block[329..336].copy_from_slice(b"0010000")),
        ),
        (
            "minor 2^20",
            b'4',
            Box::new(|block: &mut [u8]| block[337..344].copy_from_slice(b"4000000")),
        ),
        (
            "words",
            b'0',
            Box::new(|block: &mut [u8]| block[124] = b'z'),
        ),
    ];
    for (what, flag, patch) in cases {
        let archive = Raw::new().header("a", flag, 0, patch).end();
        let error = TarReader::new(&archive[..], Limits::DEFAULT)
            .next_entry()
            .unwrap_err();
        assert!(
            matches!(error, ArchiveError::Field { .. }),
            "{what}: {error:?}"
        );
    }
    // Bits above the permissions are a habit of some writers.
    check(
        Raw::new()
            .header("a", b'0', 0, |block| {
                block[100..107].copy_from_slice(b"0104755");
            })
            .end(),
        expect![[r#"
            a 4755 0:0 file 0
        "#]],
    );
}

#[test]
fn truncation_at_every_block() {
    let whole = || {
        Raw::new()
            .pax(b'x', &[("path", "name")])
            .file("n", "some data")
    };
    let len = whole().cut(0).len();
    // Without any end, but between two entries, it is an end.
    assert!(!list(&whole().cut(0), Limits::DEFAULT).contains("error"));
    for cut in (1..len).filter(|cut| *cut != len) {
        let listed = list(&whole().cut(cut), Limits::DEFAULT);
        assert!(listed.contains("error"), "{cut}: {listed}");
    }
    assert_eq!(list(b"", Limits::DEFAULT), "");
    check(
        [b'x'; 512],
        expect![[r#"
            error: invalid tar header: wrong check sum at byte 0 (InvalidInput)
        "#]],
    );
}

#[test]
fn limits_hold() {
    let limits = Limits {
        max_entries: 2,
        max_bytes: 10,
        max_path_len: 8,
    };
    for (archive, what) in [
        (
            Raw::new().file("a", "").file("b", "").file("c", "").end(),
            "entries (at most 2)",
        ),
        (
            Raw::new().file("a", "123456").file("b", "12345").end(),
            "bytes (at most 10)",
        ),
        (Raw::new().file("a/b/c/d/e", "").end(), "length of a name"),
        (
            Raw::new().symlink("a", "123456789").end(),
            "length of a name",
        ),
        (
            Raw::new()
                .entry("././@LongLink", b'L', b"123456789\0")
                .file("a", "")
                .end(),
            "length of an extended header (at most 9)",
        ),
        (
            Raw::new().header("a", b'x', 2 << 20, |_| {}).end(),
            "length of an extended header (at most 1048576)",
        ),
        (
            Raw::new()
                .header("a", b'0', 0, |block| {
                    block[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
                })
                .end(),
            "bytes (at most 10)",
        ),
        (
            // Holes count: whoever copies the file writes them.
            Raw::new()
                .pax(
                    b'x',
                    &[("GNU.sparse.map", "0,1"), ("GNU.sparse.size", "1000000")],
                )
                .file("a", "x")
                .end(),
            "bytes (at most 10)",
        ),
    ] {
        let listed = list(&archive, limits);
        assert!(
            listed.contains(what) && listed.ends_with("(TooLarge)\n"),
            "{what}: {listed}"
        );
    }
}

#[test]
fn sparse_maps_that_lie() {
    let inconsistent = [
        ("0,1,0,1", "10", "xx"),
        ("5,5,0,5", "10", "0123456789"),
        ("0,11", "10", "0123456789a"),
        ("0,2", "10", "xxx"),
        ("18446744073709551615,2", "10", "xx"),
        ("0,1", "18446744073709551615", "x"),
    ];
    for (map, size, data) in inconsistent {
        let archive = Raw::new()
            .pax(b'x', &[("GNU.sparse.map", map), ("GNU.sparse.size", size)])
            .file("a", data)
            .end();
        let listed = list(&archive, Limits::DEFAULT);
        assert!(listed.contains("sparse map"), "{map}: {listed}");
    }
    // A map without end.
    let mut archive = Raw::new().header("a", b'S', 0, |block| block[482] = 1);
    for _ in 0..3 {
        let mut block = [0; 512];
        block[504] = 1;
        archive = archive.data(&block);
    }
    assert!(list(&archive.end(), Limits::DEFAULT).contains("sparse map"));
}

#[test]
fn unknown_kinds_are_named() {
    for flag in [b'M', b'D', b'N', b'Z', b'8'] {
        let error = TarReader::new(&Raw::new().entry("a", flag, b"").end()[..], Limits::DEFAULT)
            .next_entry()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

fn all_kinds() -> Vec<Entry> {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(90));
    let longer = format!("{}/{}", "d".repeat(200), "f".repeat(90));
    let mut special = file("special", 5);
    special.uid = 3_000_000_000;
    special.gid = 70_000;
    special.mode = 0o6755;
    special.mtime = Timestamp {
        seconds: -3,
        nanoseconds: 5,
    };
    special.xattrs = vec![Xattr {
        name: b"user.note".to_vec(),
        value: b"any\0byte\n".to_vec(),
    }];
    let target = b"t".repeat(150);
    vec![
        Entry::new("dir", Kind::Directory),
        Entry::new(long.clone(), Kind::Directory),
        file(&long, 600),
        file(&longer, 1),
        special,
        Entry::new(
            "hard",
            Kind::HardLink {
                target: longer.into(),
            },
        ),
        Entry::new("soft", Kind::Symlink { target }),
        Entry::new(
            "dev",
            Kind::CharDevice(Device {
                major: 4095,
                minor: 1_048_575,
            }),
        ),
        Entry::new("pipe", Kind::Fifo),
        file("empty", 0),
        file(&"é".repeat(40), 1),
    ]
}

#[test]
fn reads_what_it_wrote() {
    let entries = all_kinds();
    let archive = write(&entries);
    assert_eq!(archive, write(&entries));
    let mut reader = TarReader::new(&archive[..], Limits::DEFAULT);
    for mut expected in entries {
        if expected.kind == Kind::Directory {
            expected.path.push(b'/');
        }
        let found = reader.next_entry().unwrap().unwrap();
        assert_eq!(found, expected);
        let mut data = Vec::new();
        reader.data().read_to_end(&mut data).unwrap();
        assert_eq!(data.len() as u64, expected.size);
    }
    assert!(reader.next_entry().unwrap().is_none());
}

#[test]
fn a_short_source_is_an_error() {
    let mut writer = TarWriter::new(Vec::new(), TimePrecision::Seconds);
    let error = writer
        .append_with_data(&file("f", 10), &mut &b"short"[..])
        .unwrap_err();
    assert!(matches!(error, ArchiveError::ShortData { .. }));
}

#[test]
fn a_size_beyond_octal_round_trips() {
    let mut entry = file("huge", 9 << 30);
    entry.mode = 0o600;
    let mut archive = Vec::new();
    let mut writer = TarWriter::new(&mut archive, TimePrecision::Seconds);
    // The headers alone: nobody has the data.
    let _ = writer.append_with_data(&entry, &mut std::io::empty());
    let limits = Limits {
        max_bytes: u64::MAX,
        ..Limits::DEFAULT
    };
    let found = TarReader::new(&archive[..], limits).next_entry().unwrap();
    assert_eq!(found, Some(entry));
}

/// GNU tar and Python see what we wrote as we do.
#[test]
fn others_read_what_it_wrote() {
    let archive = write(&all_kinds());
    let script = "import sys,tarfile\n\
        for m in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'):\n\
        \tprint(m.name, oct(m.mode), m.uid, m.gid, m.size, m.linkname)";
    for (program, arguments) in [("tar", vec!["-tf", "-"]), ("python3", vec!["-c", script])] {
        let child = Command::new(program)
            .args(&arguments)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            println!("SKIP: no {program}");
            continue;
        };
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), all_kinds().len(), "{text}");
        if program == "python3" {
            assert!(text.contains("special 0o6755 3000000000 70000 5"), "{text}");
        }
    }
}
