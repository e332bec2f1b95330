//! Tables, printed and written into `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::measure::Spread;

/// One bench's result.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) note: String,
    /// Whose row of the same kind the ratios are against.
    pub(super) peer: &'static str,
    pub(super) rows: Vec<Row>,
}

/// One line: who does what, and the figure.
pub(super) struct Row {
    what: String,
    figure: String,
    /// For the ratio, in the unit of its table.
    value: f64,
    spread: String,
}

impl Row {
    pub(super) fn time(what: impl Into<String>, s: Spread) -> Self {
        Self {
            what: what.into(),
            figure: format!("{:.2} ms", s.median_ms),
            value: s.median_ms,
            spread: format!("{:.1}–{:.1}", s.min_ms, s.max_ms),
        }
    }

    pub(super) fn total(what: impl Into<String>, time: Duration) -> Self {
        let s = time.as_secs_f64();
        Self {
            what: what.into(),
            figure: format!("{s:.2} s"),
            value: s,
            spread: String::new(),
        }
    }

    pub(super) fn kib(what: impl Into<String>, kib: u64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "KiB of one machine fit a double"
        )]
        let value = kib as f64;
        Self {
            what: what.into(),
            figure: format!("{kib} KiB"),
            value,
            spread: String::new(),
        }
    }

    /// Engine and kind of the row: what it may be compared with.
    fn kind(&self) -> (&str, &str) {
        let (engine, kind) = self.what.split_once([' ', ':']).unwrap_or((&self.what, ""));
        // Docker's client on Carrack is Carrack's row, held against docker's own.
        match kind.strip_suffix(", on carrack") {
            Some(kind) => ("carrack", kind.trim()),
            None => (engine, kind.trim()),
        }
    }
}

/// The table as Markdown, with ratios against the peer's row of the same kind.
pub(super) fn render(table: &Table, versions: &[String]) -> String {
    let mut text = format!(
        "## {}\n\n{}\n{}\n\n",
        table.title,
        table.note,
        machine(versions)
    );
    let _infallible = writeln!(
        text,
        "| what | median | range | {} ÷ this |\n|---|---:|---:|---:|",
        table.peer
    );
    for row in &table.rows {
        let (_, kind) = row.kind();
        let peer = table.rows.iter().find(|r| r.kind() == (table.peer, kind));
        let ratio = match peer {
            Some(peer) if row.value > 0.0 => format!("{:.1}", peer.value / row.value),
            _ => String::new(),
        };
        let _infallible = writeln!(
            text,
            "| {} | {} | {} | {ratio} |",
            row.what, row.figure, row.spread
        );
    }
    text
}

/// Machine, date, versions.
fn machine(versions: &[String]) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or("?");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .output();
    let date = date
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cpus = cpu.matches("processor\t").count();
    format!(
        "{date}; {cpus} × {}; Linux {}; load {}; {}.",
        model.trim_start_matches(['\t', ' ', ':']),
        kernel.trim(),
        load.split(' ').next().unwrap_or("?"),
        versions.join("; ")
    )
}

/// Puts the text between this bench's marks in `docs/benchmarks.md`.
pub(super) fn write(name: &str, text: &str) -> Result<()> {
    let path = crate::root().join("docs/benchmarks.md");
    let page = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    fs::write(&path, replace(&page, name, text)?)
        .with_context(|| format!("writing {}", path.display()))
}

fn replace(page: &str, name: &str, text: &str) -> Result<String> {
    let (open, close) = (
        format!("<!-- bench {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let start = page
        .find(&open)
        .with_context(|| format!("no mark {open:?}"))?
        + open.len();
    let end = page
        .find(&close)
        .with_context(|| format!("no mark {close:?}"))?;
    Ok(format!("{}{text}{}", &page[..start], &page[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let page = "a\n<!-- bench x -->\nold\n<!-- end x -->\nb\n";
        assert_eq!(
            replace(page, "x", "new\n").unwrap(),
            "a\n<!-- bench x -->\nnew\n<!-- end x -->\nb\n"
        );
        assert!(replace(page, "y", "").is_err());
    }

    #[test]
    fn ratios_are_against_docker() {
        let row = |what: &str, ms| {
            Row::time(
                what,
                Spread {
                    median_ms: ms,
                    min_ms: ms,
                    max_ms: ms,
                },
            )
        };
        let table = Table {
            name: "start",
            title: "T",
            note: String::new(),
            peer: "docker",
            rows: vec![row("carrack run x", 5.0), row("docker run x", 400.0)],
        };
        assert!(render(&table, &[]).contains("| carrack run x | 5.00 ms | 5.0–5.0 | 80.0 |"));
    }
}
