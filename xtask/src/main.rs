//! Chores: test images, tidy, generated pages, benches.
//!
//! `cargo run -q -p xtask -- help`. Called by `./demo`, `./test` and people;
//! nothing of the product depends on it.
#![forbid(unsafe_code)]

mod images;

use anyhow::Result;
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
}

fn main() -> Result<()> {
    match Args::parse().chore {
        Chore::Images { names } => images::run(&names),
    }
}
