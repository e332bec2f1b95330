//! Benches: Carrack beside docker and podman, alternating in one run.
//!
//! Each engine runs in network and mount namespaces of its own with a fresh data
//! directory on the same disk. Medians and ratios are printed, and with
//! `--write` put into `docs/benchmarks.md` with the machine and the date. A figure
//! on a busy machine is worth little: compare ratios, and run it twice.

mod engines;
mod measure;
mod memory;
mod report;
mod runtime;
mod starts;
mod trace;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

pub(crate) use starts::floor;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// `run --rm busybox true`, from nothing to the caller's prompt
    Start,
    /// `exec` of `true` in a running container
    Exec,
    /// Detached starts: one after the other, and a hundred at once
    Bulk,
    /// Memory of an idle container: supervisor alone, and all that the machine gives up
    Density,
    /// Memory of the idle daemon, at start and after work
    Daemon,
    /// runc's command line without a daemon: run, create + start + delete, exec
    Runtime,
}

/// Arguments of `xtask bench`.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// What to measure
    #[arg(value_enum)]
    what: What,
    /// The built program; the release build when not given
    #[arg(long)]
    carrack: Option<PathBuf>,
    /// Engines to measure, first to last
    #[arg(long, value_delimiter = ',', default_value = "carrack,docker,podman")]
    engines: Vec<String>,
    /// Rounds; of `daemon`, thousands of runs are `--rounds 1000`
    #[arg(long)]
    rounds: Option<usize>,
    /// Print where the microseconds of Carrack's start go
    #[arg(long)]
    trace: bool,
    /// Write the table into docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

/// Runs one bench.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    let carrack = match &bench.carrack {
        Some(path) => path.clone(),
        None => crate::target_dir()?.join("release/carrack"),
    };
    if bench.trace {
        return trace::run(&carrack, bench.rounds.unwrap_or(50));
    }
    if bench.what == What::Runtime {
        let Some((table, versions)) = runtime::run(&carrack, bench.rounds.unwrap_or(40))? else {
            return Ok(());
        };
        return publish(&table, &versions, bench.write);
    }
    let mut engines = engines::start_all(&bench.engines, &carrack)?;
    let table = match bench.what {
        What::Start => starts::start(&mut engines, bench.rounds.unwrap_or(30))?,
        What::Exec => starts::exec(&mut engines, bench.rounds.unwrap_or(50))?,
        What::Bulk => starts::bulk(&mut engines, bench.rounds.unwrap_or(50))?,
        What::Density => memory::density(&mut engines, bench.rounds.unwrap_or(50))?,
        What::Daemon => memory::daemon(&mut engines, bench.rounds.unwrap_or(1000))?,
        What::Runtime => unreachable!("it has no engines"),
    };
    let versions: Vec<String> = engines.iter().map(engines::Engine::version).collect();
    drop(engines);
    publish(&table, &versions, bench.write)
}

fn publish(table: &report::Table, versions: &[String], write: bool) -> Result<()> {
    let text = report::render(table, versions);
    print!("{text}");
    if write {
        report::write(table.name, &text)?;
    }
    Ok(())
}
