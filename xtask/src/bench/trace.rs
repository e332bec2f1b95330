//! `bench start --trace`: where each microsecond of one start goes.
//!
//! The daemon is started with the [`PATHS`] of one `run` in `CARRACK_TRACE` and
//! writes a line for each (`carrack_telemetry::PathTrace`); this reads them and
//! prints medians.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::engines::Engine;
use super::measure::{median, spread, time};

/// What one `run --rm` passes in the daemon, in order. `start-prepare` is the
/// blocking part of `start`.
const PATHS: [&str; 5] = ["create", "start", "start-prepare", "end", "release"];

/// Runs `rounds` traced starts and prints the steps in order.
pub(super) fn run(carrack: &Path, rounds: usize) -> Result<()> {
    let engine = Engine::carrack(carrack, &[("CARRACK_TRACE", &PATHS.join(","))])?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(time(
            &mut engine.command(&["run", "--rm", "busybox", "true"]),
        )?);
    }
    let log = fs::read_to_string(engine.log())?;
    println!("{:<24} {:>10} {:>10}", "step", "median µs", "max µs");
    for path in PATHS {
        let (order, steps) = parse(path, &log);
        if order.is_empty() {
            bail!("the daemon wrote no line that begins with carrack-trace {path}");
        }
        println!("{path}");
        for step in order {
            let mut us = steps.get(&step).cloned().unwrap_or_default();
            us.sort_by(f64::total_cmp);
            println!(
                "  {step:<22} {:>10.0} {:>10.0}",
                median(&us),
                us.last().copied().unwrap_or_default()
            );
        }
    }
    println!(
        "{:<24} {:>10.0}",
        "seen by the caller",
        spread(&times).median_ms * 1e3
    );
    Ok(())
}

/// Steps in order of their first appearance, and the microseconds of each.
fn parse(path: &str, log: &str) -> (Vec<String>, HashMap<String, Vec<f64>>) {
    let (mut order, mut steps) = (Vec::new(), HashMap::<String, Vec<f64>>::new());
    let lines = log.lines().filter_map(|line| {
        line.strip_prefix("carrack-trace ")?
            .strip_prefix(path)?
            .strip_prefix(' ')
    });
    for line in lines {
        for (step, us) in line.split(' ').filter_map(|w| w.split_once('=')) {
            let Ok(us) = us.parse() else { continue };
            if !steps.contains_key(step) {
                order.push(step.to_owned());
            }
            steps.entry(step.to_owned()).or_default().push(us);
        }
    }
    (order, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_daemon() {
        let (order, steps) = parse(
            "start",
            "noise\ncarrack-trace start ab a=1 b=20 total=21\ncarrack-trace start cd a=3 total=9\n\
             carrack-trace start-prepare ab a=7\n",
        );
        assert_eq!(order, ["a", "b", "total"]);
        assert_eq!(steps["a"], [1.0, 3.0]);
    }
}
