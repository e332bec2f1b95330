//! Times, memory, medians.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Wall time of a command from before its fork to after its end.
pub(super) fn time(command: &mut Command) -> Result<Duration> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let start = Instant::now();
    let out = command
        .spawn()
        .with_context(|| format!("starting {command:?}"))?
        .wait_with_output()?;
    let took = start.elapsed();
    if !out.status.success() {
        bail!(
            "{command:?}: {}: {}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(took)
}

/// Median, least and largest, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) median_ms: f64,
    pub(super) min_ms: f64,
    pub(super) max_ms: f64,
}

/// The spread of times; zeros when there is none.
pub(super) fn spread(times: &[Duration]) -> Spread {
    let mut ms: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let at = |index: usize| ms.get(index).copied().unwrap_or_default();
    Spread {
        median_ms: median(&ms),
        min_ms: at(0),
        max_ms: at(ms.len().saturating_sub(1)),
    }
}

/// Median of sorted figures; zero when there is none.
pub(super) fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// `MemAvailable` of the machine, in KiB.
pub(super) fn available_kib() -> Result<u64> {
    field_kib(&fs::read_to_string("/proc/meminfo")?, "MemAvailable:")
}

/// Proportional and private memory of a process, in KiB.
pub(super) fn pss_and_private_kib(pid: u32) -> Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let private = field_kib(&text, "Private_Clean:")? + field_kib(&text, "Private_Dirty:")?;
    Ok((field_kib(&text, "Pss:")?, private))
}

fn field_kib(text: &str, name: &str) -> Result<u64> {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .context("a field is missing")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Name of a process's program, as it was called: `comm` is cut short, and of a
/// program in a memfd it is a number.
fn program(pid: u32) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split('\0').next()?;
    Some(first.rsplit('/').next()?.to_owned()).filter(|name| !name.is_empty())
}

/// A process and all its descendants, with their programs' names.
pub(super) fn tree(root: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let mut queue = vec![root];
    while let Some(pid) = queue.pop() {
        found.extend(program(pid).map(|name| (pid, name)));
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            queue.extend(
                children
                    .split_whitespace()
                    .filter_map(|p| p.parse::<u32>().ok()),
            );
        }
    }
    found
}

/// Processes in the mount namespace of `pid`, however they were reparented.
pub(super) fn in_mount_namespace_of(pid: u32) -> Vec<(u32, String)> {
    let Ok(wanted) = fs::read_link(format!("/proc/{pid}/ns/mnt")) else {
        return Vec::new();
    };
    all_pids()
        .filter(|p| fs::read_link(format!("/proc/{p}/ns/mnt")).is_ok_and(|ns| ns == wanted))
        .filter_map(|p| Some((p, program(p)?)))
        .collect()
}

fn all_pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[1.0, 2.0, 4.0, 9.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }

    #[test]
    fn fields_of_proc() {
        assert_eq!(field_kib("A: 1 kB\nPss:      12 kB\n", "Pss:").unwrap(), 12);
    }
}
