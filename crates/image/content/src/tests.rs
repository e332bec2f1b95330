use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize};

use carrack_oci::ErrorKind;

use super::*;

struct World {
    dir: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        World { dir, store }
    }

    fn put(&self, content: &[u8], lease: &Lease) -> Digest {
        let ingested = lease.ingest(content, Expected::default()).unwrap();
        assert_eq!(ingested.size, content.len() as u64);
        ingested.digest
    }

    fn ingesting(&self) -> usize {
        fs::read_dir(self.dir.path().join("ingest"))
            .unwrap()
            .count()
    }

    fn collect(&self, roots: &[&Digest]) -> Collected {
        self.store
            .collect(|| Ok::<_, Error>(roots.iter().map(|&digest| digest.clone()).collect()))
            .unwrap()
    }
}

#[test]
fn keeps_blobs_by_their_digests() {
    let world = World::new();
    let lease = world.store.lease();
    let digest = world.put(b"hello", &lease);
    assert_eq!(digest, Digest::of(b"hello"));
    assert_eq!(world.store.stat(&digest).unwrap().size, 5);
    let mut content = String::new();
    world
        .store
        .open_blob(&digest)
        .unwrap()
        .read_to_string(&mut content)
        .unwrap();
    assert_eq!(content, "hello");
    assert_eq!(world.put(b"hello", &lease), digest);
    assert_eq!(
        world.store.list().unwrap(),
        [(digest.clone(), Stat { size: 5 })]
    );
    assert_eq!(world.store.read_blob(&digest, 5).unwrap(), b"hello");
    assert!(matches!(
        world.store.read_blob(&digest, 4),
        Err(Error::TooLarge { max_bytes: 4 })
    ));

    assert!(matches!(
        world.store.delete(&digest),
        Err(Error::Leased { .. })
    ));
    drop(lease);
    world.store.delete(&digest).unwrap();
    world.store.delete(&digest).unwrap();
    assert_eq!(
        world.store.open_blob(&digest).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(world.ingesting(), 0);
}

#[test]
fn knows_sha512() {
    let world = World::new();
    let mut digester = carrack_oci::Digester::new(Algorithm::Sha512);
    digester.update(b"hello");
    let digest = digester.finish();
    let expected = Expected {
        digest: Some(&digest),
        ..Expected::default()
    };
    assert_eq!(
        world
            .store
            .lease()
            .ingest(&b"hello"[..], expected)
            .unwrap()
            .digest,
        digest
    );
    assert!(world.store.contains(&digest).unwrap());
}

#[test]
fn refuses_what_is_not_as_expected_and_leaves_nothing() {
    let world = World::new();
    let lease = world.store.lease();
    let digest = Digest::of(b"expected");
    let refused = |content: &[u8], expected: Expected<'_>| {
        let error = lease.ingest(content, expected).unwrap_err();
        assert_eq!(world.ingesting(), 0);
        assert!(world.store.list().unwrap().is_empty());
        error.to_string()
    };
    let by_digest = Expected {
        digest: Some(&digest),
        ..Expected::default()
    };
    let actual = Digest::of(b"other");
    assert_eq!(
        refused(b"other", by_digest),
        format!("wrong digest: expected {digest}, got {actual}")
    );
    let by_size = Expected {
        size: Some(4),
        ..Expected::default()
    };
    assert_eq!(
        refused(b"abc", by_size),
        "wrong size: expected 4 bytes, got 3"
    );
    assert_eq!(
        refused(b"abcdef", by_size),
        "wrong size: expected 4 bytes, got at least 6"
    );
    let bounded = Expected {
        max_bytes: Some(2),
        ..Expected::default()
    };
    assert_eq!(refused(b"abc", bounded), "content is larger than 2 bytes");

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let error = lease
        .ingest((&b"some"[..]).chain(Broken), Expected::default())
        .unwrap_err();
    assert!(matches!(error, Error::ReadSource(_)));
    let mut dropped = lease.begin(Expected::default()).unwrap();
    dropped.write_all(b"x").unwrap();
    assert_eq!(world.ingesting(), 1);
    drop(dropped);
    assert_eq!(world.ingesting(), 0);
}

#[test]
fn opening_removes_what_ingests_left() {
    let world = World::new();
    let kept = world.put(b"kept", &world.store.lease());
    fs::write(world.dir.path().join("ingest/17"), b"half").unwrap();
    let store = Store::open(world.dir.path()).unwrap();
    assert_eq!(world.ingesting(), 0);
    assert!(store.contains(&kept).unwrap());
    // Names that are no digests are nobody's blobs.
    fs::write(world.dir.path().join("blobs/sha256/README"), b"").unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn collects_what_nobody_refers_to() {
    let world = World::new();
    let (root, garbage) = {
        let lease = world.store.lease();
        (world.put(b"root", &lease), world.put(b"garbage", &lease))
    };
    let lease = world.store.lease();
    let leased = world.put(b"leased", &lease);
    let pinned = Digest::of(b"root");
    assert!(lease.pin(&pinned).unwrap());
    assert!(!lease.pin(&Digest::of(b"absent")).unwrap());
    assert_eq!(world.collect(&[&root]), Collected { blobs: 1, bytes: 7 });
    assert!(!world.store.contains(&garbage).unwrap());
    assert_eq!(world.collect(&[]), Collected::default());
    drop(lease);
    assert_eq!(
        world.collect(&[]),
        Collected {
            blobs: 2,
            bytes: 10
        }
    );
    assert!(!world.store.contains(&leased).unwrap());
    let failed = world.store.collect(|| {
        Err::<Roots, _>(Error::NotFound {
            digest: root.clone(),
        })
    });
    assert!(failed.is_err());
}

/// The race that "enumerate, then delete" loses: a blob is not among the
/// roots, is then pinned, referred to and unpinned, and only then reached.
#[test]
fn a_reference_made_after_the_roots_were_listed_counts() {
    let world = World::new();
    let blob = world.put(b"blob", &world.store.lease());
    let collected = world
        .store
        .collect(|| {
            let roots = Roots::new();
            let lease = world.store.lease();
            assert!(lease.pin(&blob).unwrap());
            // Here the owner records its reference; the lease ends.
            drop(lease);
            Ok::<_, Error>(roots)
        })
        .unwrap();
    assert_eq!(collected, Collected::default());
    assert!(world.store.contains(&blob).unwrap());
}

/// Threads refer to few blobs over and over while another collects; a blob
/// that is referred to is never missing.
#[test]
fn collecting_beside_ingests_loses_nothing() {
    let world = World::new();
    // How many references there are to each content: the owner's records.
    let references: Mutex<HashMap<Digest, usize>> = Mutex::default();
    let done = AtomicBool::new(false);
    let collected = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (world, references) = (&world, &references);
                scope.spawn(move || {
                    for round in 0..200_usize {
                        let content = format!("content {}", (worker + round) % 5).repeat(100);
                        let digest = Digest::of(content.as_bytes());
                        let lease = world.store.lease();
                        if round % 2 == 0 || !lease.pin(&digest).unwrap() {
                            world.put(content.as_bytes(), &lease);
                        }
                        *references
                            .lock()
                            .unwrap()
                            .entry(digest.clone())
                            .or_insert(0) += 1;
                        drop(lease);
                        let stored = world.store.read_blob(&digest, 1 << 20);
                        assert_eq!(stored.unwrap(), content.as_bytes());
                        let mut references = references.lock().unwrap();
                        let count = references.get_mut(&digest).unwrap();
                        *count -= 1;
                        if *count == 0 {
                            references.remove(&digest);
                        }
                    }
                })
            })
            .collect();
        let (world, references, done, collected) = (&world, &references, &done, &collected);
        let collector = scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let freed = world
                    .store
                    .collect(|| {
                        Ok::<_, Error>(references.lock().unwrap().keys().cloned().collect())
                    })
                    .unwrap();
                collected.fetch_add(usize::try_from(freed.blobs).unwrap(), Ordering::Relaxed);
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Release);
        collector.join().unwrap();
    });
    assert!(
        collected.load(Ordering::Relaxed) > 0,
        "nothing was ever collected"
    );
    world.collect(&[]);
    assert!(world.store.list().unwrap().is_empty());
    assert_eq!(world.ingesting(), 0);
}
