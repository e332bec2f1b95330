//! Builds the supervisor, which this program carries in itself.
//!
//! The supervisor is static and not position-independent, so that its pages
//! are shared and clean in every container; that takes other compiler flags
//! and a target given by name, hence a cargo of its own with a target
//! directory of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    // Every command is a short run of this program: relocating a program of
    // this size dirties 75 pages, a third of a millisecond of each run (ADR 1).
    // The heap, the stack and the libraries stay at random addresses.
    println!("cargo::rustc-link-arg-bins=-no-pie");
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let workspace = manifest
        .parent()
        .and_then(Path::parent)
        .expect("invariant: bin/carrack lies two levels below the workspace")
        .to_owned();
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = variable("TARGET");
    for path in [
        "bin/supervisor",
        "crates/run/supervision",
        "crates/run/runtime",
        "crates/base/oci/src/runtime",
        "crates/base/sys",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!(
        "cargo::rerun-if-changed={}",
        workspace.join("Cargo.lock").display()
    );
    let directory = target_directory(&out).join("supervisor");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(&workspace)
        .args([
            "build",
            "--package",
            "carrack-supervisor",
            "--profile",
            "supervisor",
        ])
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&directory);
    if env::var_os("CARGO_FEATURE_NEXT_PROTOCOL").is_some() {
        cargo.args(["--features", "carrack-supervision/next-protocol"]);
    }
    // What the outer cargo set for this script must not reach the inner one.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if (text.starts_with("CARGO_") && text != "CARGO_HOME" && text != "CARGO_NET_OFFLINE")
            || text.starts_with("RUSTC")
            || text == "CLIPPY_ARGS"
            || text == "RUSTFLAGS"
            || text == "CARGO_ENCODED_RUSTFLAGS"
        {
            cargo.env_remove(&name);
        }
    }
    cargo.env(
        "RUSTFLAGS",
        "-C target-feature=+crt-static -C relocation-model=static",
    );
    let status = cargo
        .status()
        .expect("cargo can be run by its own build script");
    assert!(status.success(), "building the supervisor failed");
    let program = directory
        .join(&target)
        .join("supervisor/carrack-supervisor");
    std::fs::copy(&program, out.join("supervisor"))
        .expect("the supervisor was built and can be copied");
}

/// The outer target directory: `OUT_DIR` is `<target>/<profile>/build/<package>/out`.
fn target_directory(out: &Path) -> PathBuf {
    out.ancestors()
        .nth(4)
        .expect("invariant: OUT_DIR lies four levels below the target directory")
        .to_owned()
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
