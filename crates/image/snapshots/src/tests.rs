use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use carrack_archive::tar::{Entry, Kind, TarWriter, TimePrecision};
use carrack_oci::{ChainId, DiffId, Digest, ErrorKind};
use tempfile::TempDir;

use super::*;

fn root_only() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIP: needs root");
    }
    root
}

/// A layer with one file, and what is behind its end.
fn layer(name: &str, tail: &[u8]) -> (Vec<u8>, DiffId, ChainId) {
    let mut writer = TarWriter::new(Vec::new(), TimePrecision::Seconds);
    let mut entry = Entry::new(name, Kind::Regular);
    entry.size = 5;
    writer.append_with_data(&entry, &mut &b"bytes"[..]).unwrap();
    let mut archive = writer.finish().unwrap();
    archive.extend(tail);
    let digest = Digest::of(&archive);
    (archive, DiffId(digest.clone()), ChainId(digest))
}

struct Root(TempDir);

impl Root {
    fn new() -> Root {
        Root(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("snapshots")
    }

    fn open(&self) -> Snapshots {
        Snapshots::open(self.path()).unwrap()
    }

    /// Waits until nothing is left to delete.
    fn wait_until_empty(&self, dir: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while fs::read_dir(self.path().join(dir)).unwrap().count() > 0 {
            assert!(Instant::now() < deadline, "{dir} is not emptied");
            std::thread::yield_now();
        }
    }
}

#[test]
fn keeps_what_it_unpacked() {
    if !root_only() {
        return;
    }
    let root = Root::new();
    let snapshots = root.open();
    let (archive, diff_id, chain) = layer("etc/file", b"behind the end");
    assert!(!snapshots.contains(&chain));
    let info = snapshots
        .unpack(&chain, &diff_id, &archive[..], Limits::DEFAULT)
        .unwrap();
    assert_eq!((info.bytes, info.entries, info.synced), (5, 1, false));
    assert_eq!(snapshots.info(&chain), Some(info.clone()));
    assert_eq!(snapshots.list(), std::slice::from_ref(&info));
    assert_eq!(
        snapshots.usage(),
        Usage {
            snapshots: 1,
            bytes: 5
        }
    );
    let file = snapshots.layer_path(&chain).join("etc/file");
    assert_eq!(fs::read(file).unwrap(), b"bytes");

    // Not read again.
    let again = snapshots.unpack(&chain, &diff_id, io::empty(), Limits::DEFAULT);
    assert_eq!(again.unwrap(), info);
    drop(snapshots);
    assert_eq!(root.open().info(&chain), Some(info));
}

#[test]
fn a_bad_layer_leaves_nothing() {
    if !root_only() {
        return;
    }
    let root = Root::new();
    let snapshots = root.open();
    let (archive, diff_id, chain) = layer("file", b"");
    let mut changed = archive.clone();
    changed[512] ^= 1;
    let mut longer = archive.clone();
    longer.push(0);
    for (what, archive, kind) in [
        ("another content", &changed[..], ErrorKind::InvalidInput),
        (
            "one byte more behind the end",
            &longer,
            ErrorKind::InvalidInput,
        ),
        ("cut off", &archive[..700], ErrorKind::InvalidInput),
        (
            "cut off behind an entry",
            &archive[..1024],
            ErrorKind::InvalidInput,
        ),
        ("nothing", &[], ErrorKind::InvalidInput),
    ] {
        let error = snapshots
            .unpack(&chain, &diff_id, archive, Limits::DEFAULT)
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
    let few = Limits {
        max_bytes: 4,
        ..Limits::DEFAULT
    };
    let error = snapshots
        .unpack(&chain, &diff_id, &archive[..], few)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let broken = archive[..100].chain(Broken);
    let error = snapshots.unpack(&chain, &diff_id, broken, Limits::DEFAULT);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Internal);

    assert!(snapshots.list().is_empty());
    assert!(
        fs::read_dir(root.path().join(".new"))
            .unwrap()
            .next()
            .is_none()
    );
    root.wait_until_empty(".trash");
    let info = snapshots.unpack(&chain, &diff_id, &archive[..], Limits::DEFAULT);
    assert_eq!(info.unwrap().bytes, 5);
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

#[test]
fn many_at_once_unpack_one_layer_once() {
    if !root_only() {
        return;
    }
    const THREADS: usize = 8;
    let root = Root::new();
    let snapshots = root.open();
    let (archive, diff_id, chain) = layer("file", b"");
    let start = Barrier::new(THREADS);
    let reads = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for at in 0..THREADS {
            let (snapshots, archive, reads) = (&snapshots, &archive, &reads);
            let (diff_id, chain, start) = (&diff_id, &chain, &start);
            scope.spawn(move || {
                start.wait();
                // Every second source is no good: the others come through.
                let good = at % 2 == 0;
                let source =
                    archive[..if good { archive.len() } else { 10 }].chain(Counted(reads, good));
                let result = snapshots.unpack(chain, diff_id, source, Limits::DEFAULT);
                assert!(result.is_ok() || !good);
            });
        }
    });
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    assert_eq!(snapshots.list().len(), 1);
}

/// The end of a stream, counted once.
struct Counted<'a>(&'a AtomicU32, bool);

impl Read for Counted<'_> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.1) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(0)
    }
}

#[test]
fn after_a_power_cut_only_what_was_synced_is_there() {
    if !root_only() {
        return;
    }
    let root = Root::new();
    let snapshots = root.open();
    let unpack = |snapshots: &Snapshots, name| {
        let (archive, diff_id, chain) = layer(name, b"");
        snapshots
            .unpack(&chain, &diff_id, &archive[..], Limits::DEFAULT)
            .unwrap();
        chain
    };
    let synced = unpack(&snapshots, "synced");
    assert_eq!(snapshots.mark_synced().unwrap(), 1);
    assert_eq!(snapshots.mark_synced().unwrap(), 0);
    assert!(snapshots.info(&synced).unwrap().synced);
    let unsynced = unpack(&snapshots, "unsynced");
    drop(snapshots);

    // Another boot, as far as the records tell.
    let record = root.path().join(unsynced.hex()).join("snapshot.json");
    let boot = record::boot_id().unwrap();
    let text = fs::read_to_string(&record).unwrap();
    assert!(text.contains(&boot));
    fs::write(&record, text.replace(&boot, "an-earlier-boot")).unwrap();
    // What a kill leaves, and what nobody knows.
    fs::create_dir_all(root.path().join(".new/7/fs/half")).unwrap();
    fs::create_dir(root.path().join("stranger")).unwrap();
    fs::create_dir_all(root.path().join("0".repeat(64)).join("fs")).unwrap();

    let snapshots = root.open();
    assert!(snapshots.contains(&synced));
    assert!(!snapshots.contains(&unsynced));
    assert_eq!(snapshots.list().len(), 1);
    root.wait_until_empty(".trash");
    let left = fs::read_dir(root.path()).unwrap().count();
    assert_eq!(left, 3, "the snapshot, .new and .trash");
    unpack(&snapshots, "unsynced");
}

#[test]
fn removing_gives_the_name_free_at_once() {
    if !root_only() {
        return;
    }
    let root = Root::new();
    let snapshots = root.open();
    let (archive, diff_id, chain) = layer("file", b"");
    for _ in 0..3 {
        snapshots
            .unpack(&chain, &diff_id, &archive[..], Limits::DEFAULT)
            .unwrap();
        snapshots.remove(&chain).unwrap();
        assert!(!snapshots.contains(&chain));
        assert!(!snapshots.layer_path(&chain).exists());
    }
    let error = snapshots.remove(&chain).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    root.wait_until_empty(".trash");
}

#[test]
fn packs_a_layer_that_unpacks_to_the_same() {
    if !root_only() {
        return;
    }
    let root = Root::new();
    let snapshots = root.open();
    let (archive, diff_id, chain) = layer("dir/.wh.gone", b"");
    snapshots
        .unpack(&chain, &diff_id, &archive[..], Limits::DEFAULT)
        .unwrap();
    let packed = snapshots.pack_layer(&chain, Vec::new()).unwrap();
    let digest = Digest::of(&packed);
    let (other, other_diff) = (ChainId(digest.clone()), DiffId(digest));
    snapshots
        .unpack(&other, &other_diff, &packed[..], Limits::DEFAULT)
        .unwrap();
    assert_eq!(snapshots.pack_layer(&other, Vec::new()).unwrap(), packed);
    snapshots.remove(&chain).unwrap();
    let error = snapshots.pack_layer(&chain, Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn nobody_else_reaches_the_layers() {
    use std::os::unix::fs::PermissionsExt;
    let root = Root::new();
    drop(root.open());
    let mode = fs::metadata(root.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Snapshots>();
}
