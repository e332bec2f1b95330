//! Runs `tests/cli/commands.txt` with docker's CLI and with ours against one
//! engine and prints every line whose output or exit status differs.
//!
//! ```text
//! compare_clis --docker /usr/bin/docker --carrack target/debug/carrack --host unix:///run/x.sock [--only TEXT]
//! ```
//!
//! The last line is `N passed, N failed`; the status is 1 when any failed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use regex_lite::Regex;

static TABLE: &str = include_str!("../../cli/commands.txt");

/// How two outputs are held against each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Same,
    Sorted,
    Stdout,
    Status,
}

/// A line of the table.
struct Case {
    number: usize,
    status: i32,
    mode: Mode,
    snippet: &'static str,
}

/// What a client did with a line.
struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

fn cases() -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (number, line) in TABLE.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (head, snippet) = line
            .split_once(": ")
            .with_context(|| format!("line {}: no status", number + 1))?;
        let (status, mode) = head.split_once(',').unwrap_or((head, ""));
        let mode = match mode {
            "" => Mode::Same,
            "sorted" => Mode::Sorted,
            "stdout" => Mode::Stdout,
            "status" => Mode::Status,
            other => bail!("line {}: no mode {other}", number + 1),
        };
        cases.push(Case {
            number: number + 1,
            status: status.parse()?,
            mode,
            snippet,
        });
    }
    Ok(cases)
}

fn run(case: &Case, client: &Path, host: &str, folder: &Path) -> anyhow::Result<Outcome> {
    let script = format!(
        "cli() {{ \"$CLI\" -H \"$CLI_HOST\" \"$@\"; }}\n{}",
        case.snippet
    );
    let output = Command::new("timeout")
        .args(["-k", "2", "20", "bash", "-c", &script])
        .env("CLI", client)
        .env("CLI_HOST", host)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("run a snippet")?;
    Ok(Outcome {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// What differs between any two runs, made alike.
struct Redaction(Vec<(Regex, &'static str)>);

impl Redaction {
    fn new() -> anyhow::Result<Self> {
        let rules = [
            (r"(?i)carrack|docker", "CLIENT"),
            (r"[0-9a-f]{64}", "ID"),
            (r"\b[0-9a-f]{12}\b", "SHORTID"),
            (
                r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4} [A-Z]+|Z|[+-]\d\d:\d\d)?",
                "TIME",
            ),
            (
                r"(Less than a second|\d+ seconds?|About a minute|\d+ minutes|About an hour|\d+ hours)( ago)?",
                "AGE",
            ),
            // Where Go prints a pointer.
            (r"0xc[0-9a-f]{9}\b", "ADDRESS"),
            (r"\\u003c", "<"),
            (r"\\u003e", ">"),
            (r"\\u0026", "&"),
            (r"/tmp/compare-clis-[^/ :]*", "FOLDER"),
            (r"--tmp-compare[^ ]*", "FOLDER"),
            // Ages have different lengths, and columns with them.
            (r" {2,}", "  "),
            (r"\bSRun\b", "Run"),
            (
                r"Usage:  CLIENT (container|volume|system)\n",
                "Usage:  CLIENT $1 COMMAND\n",
            ),
            (r#""(Pid|Created)": ?\d+"#, "NUMBER"),
        ];
        rules
            .into_iter()
            .map(|(rule, with)| Ok((Regex::new(rule)?, with)))
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    fn apply(&self, text: &str, folder: &Path, mode: Mode) -> String {
        let mut text = text.replace(&folder.display().to_string(), "FOLDER");
        for (rule, with) in &self.0 {
            text = rule.replace_all(&text, *with).into_owned();
        }
        if mode == Mode::Sorted {
            let mut lines: Vec<&str> = text.lines().collect();
            lines.sort_unstable();
            text = lines.join("\n");
        }
        text
    }
}

fn argument(name: &str) -> Option<String> {
    let mut args = std::env::args();
    args.find(|arg| arg == name).and_then(|_| args.next())
}

fn compare() -> anyhow::Result<bool> {
    let docker =
        PathBuf::from(argument("--docker").unwrap_or_else(|| "/usr/local/bin/docker".to_owned()));
    let carrack = PathBuf::from(argument("--carrack").context("--carrack is missing")?);
    let host = argument("--host").context("--host is missing")?;
    let cases = cases()?;
    let redaction = Redaction::new()?;
    // One client's whole run, then the other's: both find the same state.
    let mut runs = Vec::new();
    for client in [&docker, &carrack] {
        let folder = std::env::temp_dir().join(format!("compare-clis-{}", runs.len()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        let outcomes: Vec<Outcome> = cases
            .iter()
            .map(|case| run(case, client, &host, &folder))
            .collect::<anyhow::Result<_>>()?;
        runs.push((folder, outcomes));
    }
    let (mut passed, mut failed) = (0, 0);
    for (at, case) in cases.iter().enumerate() {
        let shown: Vec<(i32, String, String)> = runs
            .iter()
            .map(|(folder, outcomes)| {
                let outcome = &outcomes[at];
                let text = |text: &str| redaction.apply(text, folder, case.mode);
                (outcome.status, text(&outcome.stdout), text(&outcome.stderr))
            })
            .collect();
        let (theirs, ours) = (&shown[0], &shown[1]);
        let alike = theirs.0 == ours.0
            && ours.0 == case.status
            && (case.mode == Mode::Status || theirs.1 == ours.1)
            && (matches!(case.mode, Mode::Status | Mode::Stdout) || theirs.2 == ours.2);
        if alike {
            passed += 1;
            continue;
        }
        failed += 1;
        println!("line {}: {}", case.number, case.snippet);
        for (who, (status, stdout, stderr)) in [("docker", theirs), ("ours", ours)] {
            println!("  {who}: status {status} (expected {})", case.status);
            for (name, text) in [("out", stdout), ("err", stderr)] {
                for line in text.lines().take(60) {
                    println!("    {name}| {line}");
                }
            }
        }
    }
    for (folder, _) in &runs {
        let _ = std::fs::remove_dir_all(folder);
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

fn main() -> ExitCode {
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
