//! Chores: test images, tidy, generated pages, benches.
//!
//! `cargo run -q -p xtask -- help`. Called by `./demo`, `./test` and people;
//! nothing of the product depends on it.
#![forbid(unsafe_code)]

mod bench;
mod images;
mod pages;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Carrack's chores")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Make the test images (static, busybox, busybox-oci, debian) in the cache and print their paths
    Images {
        /// Which ones; all when none is named
        names: Vec<String>,
    },
    /// Compile the static program of the image `static` into a directory
    Probe {
        /// Where to
        dir: PathBuf,
    },
    /// Check what no compiler checks: dependencies between rooms, absences, pages
    Tidy,
    /// Write the pages generated from source: docs/errors.md, docs/book/src/bounds.md
    Pages,
    /// Measure beside docker and podman
    Bench(bench::Bench),
    /// Time starts beside the floor, each as it happens
    Starts {
        /// The built program
        #[arg(long)]
        carrack: PathBuf,
        /// The static program, bare
        #[arg(long)]
        probe: PathBuf,
        /// The image that holds it
        #[arg(long)]
        image: String,
        /// How many
        #[arg(long, default_value_t = 20)]
        runs: usize,
    },
}

fn main() -> Result<()> {
    match Args::parse().chore {
        Chore::Images { names } => images::run(&names),
        Chore::Probe { dir } => images::probe(&dir),
        Chore::Tidy => tidy::run(),
        Chore::Pages => pages::write(),
        Chore::Bench(bench) => bench::run(&bench),
        Chore::Starts {
            carrack,
            probe,
            image,
            runs,
        } => bench::floor(&carrack, &probe, &image, runs),
    }
}

/// The checkout that this program was built from.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("/"))
}

/// What `cargo metadata` says of the workspace, without other people's crates.
fn metadata() -> Result<serde_json::Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .context("running cargo metadata")?;
    if !out.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// The directory that cargo builds into.
fn target_dir() -> Result<PathBuf> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"]
        .as_str()
        .context("no target_directory")?
        .into())
}
