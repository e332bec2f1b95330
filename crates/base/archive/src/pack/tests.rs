//! Trees out and in again, and the comparison with GNU tar and Python.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use carrack_oci::ErrorKind;
use expect_test::expect;

use super::*;
use crate::tar::{TarReader, TimePrecision};
use crate::testing::{Detail, Raw, describe, is_root, open_dir};
use crate::unpack;

fn options(mode: Mode) -> Options {
    Options {
        mode,
        limits: Limits::DEFAULT,
    }
}

fn pack(dir: &Path, mode: Mode) -> Result<Vec<u8>, TreeError> {
    let mut writer = TarWriter::new(Vec::new(), TimePrecision::Nanoseconds);
    pack_below(open_dir(dir), &mut writer, &options(mode))?;
    Ok(writer.finish()?)
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(archive, Limits::DEFAULT);
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

fn root_only() -> bool {
    let root = is_root();
    if !root {
        println!("SKIP: needs root");
    }
    root
}

/// A tree with everything that an archive can hold.
fn build(dir: &Path) {
    let script = r#"
import os, sys
os.chdir(sys.argv[1]); os.umask(0)
def write(name, data, mode=0o644):
    with open(name, 'wb') as f: f.write(data)
    os.chmod(name, mode)
os.makedirs('etc/deep/er'); os.mkdir('tmp'); os.chmod('tmp', 0o1777)
write('etc/passwd', b'root:x:0:0\n')
write('bin', b'\x7fELF' * 1000, 0o4755); os.chown('bin', 1, 70000); os.chmod('bin', 0o6755)
os.link('bin', 'etc/also-bin'); os.link('bin', 'zz-also-bin')
os.symlink('../etc/passwd', 'etc/link'); os.symlink('x' * 300, 'long-target')
os.mkfifo('pipe', 0o622); os.mknod('null', 0o20666, os.makedev(1, 3)); os.mknod('disk', 0o60600, os.makedev(8, 300))
write('n' * 150, b'long name')
d = '/'.join(['d' * 90] * 3); os.makedirs(d); write(d + '/file', b'far down')
with open('sparse', 'wb') as f:
    f.write(b'start'); f.seek(1 << 20); f.write(b'middle'); f.truncate(5 << 20)
with open('all-hole', 'wb') as f: f.truncate(1 << 20)
write('caps', b''); os.setxattr('caps', 'user.note', b'a\0b\n=c')
os.setxattr('caps', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))
write('empty', b''); write('caf\u00e9', b'unicode')
write('old', b'1'); os.utime('old', (0, 0)); os.utime('etc/passwd', ns=(5, 1234567890123456789))
os.chmod('etc/deep', 0o500); os.utime('etc', (1, 1000000000)); os.utime('etc/link', (2, 2000000000), follow_symlinks=False)
"#;
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(dir)
        .status();
    assert!(status.unwrap().success());
}

fn unpack_into(dir: &Path, archive: &[u8], options: &unpack::Options) {
    fs::create_dir_all(dir).unwrap();
    unpack::unpack(open_dir(dir), archive, options).unwrap();
}

/// A root whose own time every program writes differently.
fn comparable(dir: &Path) -> String {
    let text = describe(dir, Detail::Times);
    text.split_once('\n').unwrap().1.to_owned()
}

#[test]
fn comes_back_as_it_was() {
    if !root_only() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (from, to) = (temp.path().join("from"), temp.path().join("to"));
    fs::create_dir(&from).unwrap();
    build(&from);
    let archive = pack(&from, Mode::Plain).unwrap();
    assert_eq!(archive, pack(&from, Mode::Plain).unwrap());
    unpack_into(&to, &archive, &unpack::Options::plain(Limits::DEFAULT));
    assert_eq!(comparable(&from), comparable(&to));
    let mtime = fs::metadata(to.join("etc/passwd")).unwrap();
    assert_eq!(mtime.mtime_nsec(), 123_456_789);
}

/// What GNU tar and Python write, we unpack as GNU tar does; what we write,
/// GNU tar unpacks as we do.
#[test]
fn agrees_with_gnu_tar_and_python() {
    if !root_only() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let from = temp.path().join("from");
    fs::create_dir(&from).unwrap();
    build(&from);
    let path = |name: &str| temp.path().join(name);
    let tar = |arguments: &[&str]| {
        let output = Command::new("tar")
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .output();
        let output = output.unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let extract = |archive: &Path, to: &Path| {
        fs::create_dir_all(to).unwrap();
        let (archive, to) = (archive.to_str().unwrap(), to.to_str().unwrap());
        tar(&[
            "-xpf",
            archive,
            "-C",
            to,
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
        ]);
    };

    let archive = path("archive.tar");
    let python = "import sys,tarfile,os\n\
        t=tarfile.open(sys.argv[1],'w',format=int(sys.argv[3]))\n\
        os.chdir(sys.argv[2]); t.add('.'); t.close()";
    for case in [
        "v7",
        "ustar",
        "oldgnu",
        "gnu",
        "posix",
        "oldgnu-sparse",
        "gnu-sparse",
        "posix-0.0",
        "posix-0.1",
        "posix-1.0",
        "python-1",
        "python-2",
    ] {
        let (format, variant) = case.split_once('-').unwrap_or((case, ""));
        if format == "python" {
            let status = Command::new("python3")
                .args(["-c", python])
                .args([&archive, &from])
                .arg(variant)
                .status()
                .unwrap();
            assert!(status.success());
        } else {
            let format = format!("--format={format}");
            let version = format!("--sparse-version={variant}");
            let mut arguments = vec!["-cf", archive.to_str().unwrap(), &format];
            match variant {
                "" => {}
                "sparse" => arguments.push("--sparse"),
                _ => arguments.extend(["--sparse", &version, "--xattrs", "--xattrs-include=*"]),
            }
            arguments.extend(["-C", from.to_str().unwrap(), "."]);
            tar(&arguments);
        }
        let (theirs, ours) = (path("theirs"), path("ours"));
        extract(&archive, &theirs);
        let bytes = fs::read(&archive).unwrap();
        unpack_into(&ours, &bytes, &unpack::Options::layer(Limits::DEFAULT));
        assert_eq!(comparable(&theirs), comparable(&ours), "{case}");
        if case.contains("sparse") || case.starts_with("posix-") {
            for sparse in ["sparse", "all-hole"] {
                let blocks = fs::metadata(ours.join(sparse)).unwrap().blocks();
                assert!(blocks < 64, "{case}: {sparse} has {blocks} blocks");
            }
        }
        for dir in [theirs, ours] {
            fs::remove_dir_all(dir).unwrap();
        }
    }

    fs::write(&archive, pack(&from, Mode::Plain).unwrap()).unwrap();
    let theirs = path("theirs");
    extract(&archive, &theirs);
    assert_eq!(comparable(&theirs), comparable(&from));
}

#[test]
fn a_layer_round_trips() {
    if !root_only() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (one, two) = (temp.path().join("one"), temp.path().join("two"));
    let layer = Raw::new()
        .header("./", b'5', 0, |block| {
            block[100..107].copy_from_slice(b"0000700")
        })
        .file(".wh..wh..opq", "")
        .file("a/.wh.b", "")
        .dir("c")
        .file("c/.wh..wh..opq", "")
        .file("c/file", "x")
        .end();
    unpack_into(&one, &layer, &unpack::Options::layer(Limits::DEFAULT));
    let archive = pack(&one, Mode::Layer).unwrap();
    expect![[r#"
        [
            "./",
            ".wh..wh..opq",
            "a/",
            "a/.wh.b",
            "c/",
            "c/.wh..wh..opq",
            "c/file",
        ]
    "#]]
    .assert_debug_eq(&names(&archive));
    unpack_into(&two, &archive, &unpack::Options::layer(Limits::DEFAULT));
    assert_eq!(comparable(&one), comparable(&two));
    fs::write(one.join(".wh.trap"), "").unwrap();
    let error = pack(&one, Mode::Layer).unwrap_err();
    assert!(matches!(error, TreeError::Unrepresentable { .. }));
}

#[test]
fn one_entry_under_another_name() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::write(root.join("dir/sub/file"), "data").unwrap();
    symlink("/etc", root.join("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("dir/socket")).unwrap();
    let pack = |name: &str, rebase: Option<&[u8]>| {
        let mut writer = TarWriter::new(Vec::new(), TimePrecision::Seconds);
        let options = options(Mode::Plain);
        let dir = open_dir(root);
        pack_entry(dir, name.as_bytes(), rebase, &mut writer, &options)
            .map(|summary| (names(&writer.finish().unwrap()), summary.skipped))
    };
    let (listed, skipped) = pack("dir", None).unwrap();
    assert_eq!(listed, ["dir/", "dir/sub/", "dir/sub/file"]);
    assert_eq!(skipped, 1);
    let (listed, _) = pack("dir", Some(b"other")).unwrap();
    assert_eq!(listed, ["other/", "other/sub/", "other/sub/file"]);
    assert_eq!(pack("link", None).unwrap().0, ["link"]);
    let error = pack("missing", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_tree_too_deep_for_names_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    let mut current = open_dir(temp.path());
    for _ in 0..1500 {
        rustix::fs::mkdirat(&current, "sub", FileMode::RWXU).unwrap();
        current = openat(&current, "sub", OPEN_DIRECTORY, FileMode::empty()).unwrap();
    }
    let error = pack(temp.path(), Mode::Plain).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    crate::tree::remove(open_dir(temp.path()), b"sub").unwrap();
}
