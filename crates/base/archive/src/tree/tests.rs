use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::sync::atomic::AtomicBool;

use rustix::fs::{Mode, mkdirat, openat};

use super::*;
use crate::TreeError;
use crate::testing::{Detail, describe, open_dir};

/// A chain of directories deeper than any path is long.
fn deep(dir: &std::path::Path, depth: usize) {
    let mut current = open_dir(dir);
    for _ in 0..depth {
        mkdirat(&current, "sub", Mode::RWXU).unwrap();
        current = openat(&current, "sub", OPEN_DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    openat(&current, "leaf", flags, Mode::RUSR).unwrap();
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn removes_what_is_deep_and_wide_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("sentinel"), "untouched").unwrap();
    let victim = temp.path().join("victim");
    fs::create_dir(&victim).unwrap();
    deep(&victim, 5000);
    symlink("../outside", victim.join("link")).unwrap();
    symlink("/nowhere", victim.join("dangling")).unwrap();
    for at in 0..5000 {
        fs::create_dir(victim.join(format!("wide-{at}"))).unwrap();
    }
    fs::write(victim.join("wide-7/file"), "").unwrap();
    let before = describe(&outside, Detail::Times);

    let parent = open_dir(temp.path());
    remove(&parent, b"victim").unwrap();
    assert!(!victim.exists());
    assert_eq!(describe(&outside, Detail::Times), before);

    // What is not there is removed; a link goes and its target stays.
    remove(&parent, b"victim").unwrap();
    symlink("outside", &victim).unwrap();
    remove(&parent, b"victim").unwrap();
    assert!(!victim.is_symlink());
    assert_eq!(describe(&outside, Detail::Times), before);
}

#[test]
fn stops_when_told() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir_all(temp.path().join("a/b")).unwrap();
    let parent = open_dir(temp.path());
    let error = remove_unless(parent.as_fd(), b"a", &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(error, TreeError::Cancelled));
    remove(parent, b"a").unwrap();
}

#[test]
fn measures_without_counting_twice() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let dir = open_dir(root);
    assert_eq!(usage(&dir).unwrap(), TreeUsage::default());
    fs::write(root.join("a"), "12345").unwrap();
    fs::create_dir(root.join("sub")).unwrap();
    fs::hard_link(root.join("a"), root.join("sub/b")).unwrap();
    fs::write(root.join("sub/c"), "678").unwrap();
    symlink("12", root.join("link")).unwrap();
    fs::File::create(root.join("hole"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let found = usage(&dir).unwrap();
    assert_eq!(found.bytes, 5 + 3 + 2 + (1 << 30));
    assert_eq!(found.inodes, 5);
    assert!(found.disk_bytes < 1 << 20);
    deep(&root.join("sub"), 3000);
    assert_eq!(usage(&dir).unwrap().inodes, 5 + 3001);
    assert!(open_descriptors() < 500);
    fs::remove_file(root.join("hole")).unwrap();
    remove(open_dir(root), b"sub").unwrap();
}

#[test]
fn a_directory_moved_under_the_walk_ends_it() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("elsewhere")).unwrap();
    fs::create_dir(temp.path().join("top")).unwrap();
    deep(&temp.path().join("top"), 40);
    let mut descent = Descent::new();
    let mut dir = open_dir(&temp.path().join("top"));
    for _ in 0..40 {
        let below = openat(&dir, "sub", OPEN_DIRECTORY, Mode::empty()).unwrap();
        descent
            .enter(std::mem::replace(&mut dir, below), ())
            .unwrap();
    }
    descent.enter(dir, ()).unwrap();
    let from = temp.path().join("top/sub/sub");
    fs::rename(from, temp.path().join("elsewhere/sub")).unwrap();
    let error = loop {
        match descent.leave() {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TreeError::Changed { .. }));
}
