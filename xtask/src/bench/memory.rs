//! Memory of containers and of the daemon.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::engines::Engine;
use super::measure::{available_kib, in_mount_namespace_of, pss_and_private_kib, tree};
use super::report::{Row, Table};

/// Size of the layer that `daemon` loads, in MiB.
const LOAD_MIB: usize = 1024;
/// Most runs of `daemon` that a peer makes.
const PEER_RUNS_MAX: usize = 100;
/// What each engine's process beside a container is called.
const BESIDE: [(&str, &[&str]); 3] = [
    ("carrack", &["carrack-supervisor"]),
    ("docker", &["containerd-shim"]),
    ("podman", &["conmon"]),
];

/// `count` idle containers: what one costs.
pub(super) fn density(engines: &mut [Engine], count: usize) -> Result<Table> {
    let mut rows = Vec::new();
    for engine in engines.iter() {
        settle()?;
        let before = available_kib()?;
        for _ in 0..count {
            engine.text(&["run", "-d", "busybox", "sleep", "100000"])?;
        }
        settle()?;
        let each = before.saturating_sub(available_kib()?) / count as u64;
        rows.push(Row::kib(
            format!("{}: the machine's memory, a container", engine.name),
            each,
        ));
        let (processes, private) = beside(engine);
        if processes > 0 {
            rows.push(Row::kib(
                format!("{}: private memory of the process beside it", engine.name),
                private / processes as u64,
            ));
        }
        engine.sweep()?;
    }
    Ok(Table {
        name: "density",
        title: "Memory of an idle container",
        note: format!("{count} × run -d busybox sleep; ΔMemAvailable after dropping caches."),
        peer: "docker",
        rows,
    })
}

/// Number and private KiB of the processes beside containers.
fn beside(engine: &Engine) -> (usize, u64) {
    let names = BESIDE
        .iter()
        .find(|(e, _)| *e == engine.name)
        .map_or(&[][..], |(_, n)| *n);
    // Reparented ones are no descendants any more, but stay in the mount namespace.
    let mut all = in_mount_namespace_of(engine.place_pid());
    all.extend(tree(engine.place_pid()));
    all.sort();
    all.dedup();
    let found: Vec<u64> = all
        .iter()
        .filter(|(pid, name)| {
            *pid != engine.place_pid() && names.iter().any(|n| name.starts_with(n))
        })
        .filter_map(|(pid, _)| Some(pss_and_private_kib(*pid).ok()?.1))
        .collect();
    (found.len(), found.iter().sum())
}

/// The daemon's own memory: at start, after `runs` runs, after a large load.
pub(super) fn daemon(engines: &mut [Engine], runs: usize) -> Result<Table> {
    let mut rows = Vec::new();
    for engine in engines.iter() {
        if engine.daemon_pid().is_none() {
            continue;
        }
        rows.push(Row::kib(
            format!("{}: PSS at start", engine.name),
            daemon_pss(engine)?,
        ));
        // A thousand of a peer's take ten minutes and change its figure little.
        let runs = match engine.name {
            "carrack" => runs,
            _ => runs.min(PEER_RUNS_MAX),
        };
        for _ in 0..runs {
            engine.text(&["run", "--rm", "busybox", "true"])?;
        }
        rows.push(Row::kib(
            format!("{}: after {runs} runs", engine.name),
            daemon_pss(engine)?,
        ));
        load_large(engine)?;
        rows.push(Row::kib(
            format!("{}: and after loading {LOAD_MIB} MiB", engine.name),
            daemon_pss(engine)?,
        ));
    }
    Ok(Table {
        name: "daemon",
        title: "Memory of the idle daemon",
        note: "PSS; docker's is dockerd and containerd together, shims not counted.".into(),
        peer: "docker",
        rows,
    })
}

fn daemon_pss(engine: &Engine) -> Result<u64> {
    let pid = engine.daemon_pid().context("no daemon")?;
    let mut sum = 0;
    for (pid, comm) in tree(pid) {
        if matches!(comm.as_str(), "dockerd" | "containerd" | "carrack") {
            sum += pss_and_private_kib(pid)?.0;
        }
    }
    Ok(sum)
}

/// Imports one layer of random bytes: nothing that compresses away.
fn load_large(engine: &Engine) -> Result<()> {
    let dir = format!("/var/tmp/carrack-bench-load-{}", std::process::id());
    fs::create_dir_all(&dir)?;
    let made = Command::new("dd")
        .args([
            "if=/dev/urandom",
            &format!("of={dir}/blob"),
            "bs=1M",
            &format!("count={LOAD_MIB}"),
        ])
        .stderr(Stdio::null())
        .status()?;
    let packed = Command::new("tar")
        .args(["-C", &dir, "-cf", &format!("{dir}/layer.tar"), "blob"])
        .status()?;
    if !(made.success() && packed.success()) {
        bail!("making a large layer in {dir} failed");
    }
    let imported = engine.text(&["import", &format!("{dir}/layer.tar"), "large:1"]);
    let removed = engine.text(&["rmi", "large:1"]);
    if Path::new(&dir).exists() {
        fs::remove_dir_all(&dir)?;
    }
    imported.and(removed).map(drop)
}

/// Writes back and drops caches, so that page cache is not counted as use.
fn settle() -> Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping caches")
}
