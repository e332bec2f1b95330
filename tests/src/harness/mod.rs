//! Parts of the harness; [`crate`] says how they fit together.

pub mod case;
pub mod engine;
mod expect;
pub mod images;
pub mod inventory;
mod runner;
pub mod shell;
pub mod skips;
pub mod wait;
pub mod world;

pub use runner::run_case;

use std::path::{Path, PathBuf};

/// The folder `tests/` of this checkout.
pub fn tests_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The built `carrack`: `CARRACK_BIN`, or the program beside this test's target directory.
///
/// # Panics
/// When neither exists: the tests drive a program that was built before.
pub fn carrack_bin() -> PathBuf {
    if let Some(path) = std::env::var_os("CARRACK_BIN") {
        return PathBuf::from(path);
    }
    built("carrack", "cargo build -p carrack", "CARRACK_BIN")
}

/// `carrack` as it is built with the next version of the supervisors' protocol:
/// `CARRACK_NEXT_BIN`, or the program beside this test's target directory.
///
/// # Panics
/// When neither exists.
pub fn next_carrack_bin() -> PathBuf {
    if let Some(path) = std::env::var_os("CARRACK_NEXT_BIN") {
        return PathBuf::from(path);
    }
    built(
        "carrack-next",
        "cargo build -p carrack --bin carrack-next --features next-protocol",
        "CARRACK_NEXT_BIN",
    )
}

/// `target/<profile>/deps/e2e-…` → `target/<profile>/<name>`.
fn built(name: &str, command: &str, variable: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("the test's own path");
    let built = exe
        .ancestors()
        .nth(2)
        .expect("a target directory")
        .join(name);
    assert!(
        built.exists(),
        "{} is missing: run `{command}`, or set {variable}",
        built.display()
    );
    built
}
