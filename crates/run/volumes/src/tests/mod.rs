//! Tests of the crate: the store, copy-up, what hostile images and
//! containers leave, and crashes.

mod copy_up;
mod crash;
mod hostile;
mod store;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::{CreateRequest, Pin, VolumeName, Volumes};

/// Nobody uses any volume.
fn nobody(_: &VolumeName) -> Vec<String> {
    Vec::new()
}

fn open(root: &Path) -> Volumes {
    let opened = Volumes::open(root).expect("volumes open");
    assert!(opened.problems.is_empty(), "{:?}", opened.problems);
    opened.volumes
}

fn named(name: &str) -> CreateRequest {
    CreateRequest {
        name: Some(name.to_owned()),
        ..CreateRequest::default()
    }
}

fn create(volumes: &Volumes, name: &str) -> Pin {
    volumes.create(named(name)).expect("volume is made").0
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIP: needs root");
    }
    root
}

/// Names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("directory is read")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}
