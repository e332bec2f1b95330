//! How long the mount of a root file system takes, by number of layers.
//!
//! `cargo run --release -p carrack-snapshots --example mount_time`, as root.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use carrack_snapshots::overlay::{Durability, OverlaySpec, Writable, mount};

const ROUNDS: usize = 301;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::temp_dir().join(format!("carrack-mount-time-{}", std::process::id()));
    let result = measure(&root);
    fs::remove_dir_all(&root)?;
    result
}

fn measure(root: &Path) -> Result<(), Box<dyn Error>> {
    let dir = |name: &str| {
        let path = root.join(name);
        fs::create_dir_all(&path).map(|()| path)
    };
    println!(
        "{:>6}  {:9}  {:>10}  {:>10}",
        "layers", "kind", "mount", "unmount"
    );
    for (layers, kind) in [
        (1, None),
        (1, Some(Durability::Volatile)),
        (1, Some(Durability::Durable)),
        (5, Some(Durability::Volatile)),
        (40, Some(Durability::Volatile)),
    ] {
        let mut lowers = Vec::new();
        for at in 0..layers {
            lowers.push(dir(&format!("layer-{at}"))?);
        }
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let spec = OverlaySpec {
                lowers: lowers.clone(),
                writable: match kind {
                    None => None,
                    Some(durability) => Some(Writable {
                        upper: dir(&format!("{layers}-{kind:?}-{round}/upper"))?,
                        work: dir(&format!("{layers}-{kind:?}-{round}/work"))?,
                        durability,
                    }),
                },
                mountpoint: dir("mountpoint")?,
            };
            let start = Instant::now();
            let mount = mount(&spec)?;
            let mounted = start.elapsed();
            drop(mount);
            times.push((mounted, start.elapsed() - mounted));
        }
        let median = |pick: fn(&(Duration, Duration)) -> Duration| {
            let mut times: Vec<_> = times.iter().map(pick).collect();
            times.sort();
            times[times.len() / 2]
        };
        let (mounted, unmounted) = (median(|time| time.0), median(|time| time.1));
        let kind = kind.map_or("bind".to_owned(), |durability| format!("{durability:?}"));
        println!("{layers:>6}  {kind:9}  {mounted:>10.1?}  {unmounted:>10.1?}");
    }
    Ok(())
}
