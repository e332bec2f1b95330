//! What a container uses: statistics, processes, logs.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use carrack_containers::{ContainerStats, LogQuery, LogStream, Phase};

use crate::{Error, Result};

use super::{Container, Engine};

/// Time that `ps` gets.
const PS_TIMEOUT: Duration = Duration::from_secs(10);
/// Output of `ps` that is read, bytes.
const PS_BYTES_MAX: usize = 16 << 20;
/// Arguments for `ps`, bytes.
const PS_ARGS_MAX: usize = 4096;
/// What `ps` is asked when the client says nothing.
const PS_DEFAULT: &str = "-ef";

/// Processes of a container, as `ps` shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Titles of the columns.
    pub titles: Vec<String>,
    /// A row a process.
    pub processes: Vec<Vec<String>>,
}

impl Engine {
    /// What a container uses now; nothing when it does not run.
    pub async fn stats(&self, container: &Container) -> Result<Option<ContainerStats>> {
        match self.containers.stats(container.id()).await {
            Ok(stats) => Ok(Some(stats)),
            Err(carrack_containers::Error::NotRunning(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What a container wrote. Docker's words for a container without a log.
    pub fn logs(&self, container: &Container, query: LogQuery) -> Result<LogStream> {
        if container.view.new.log == carrack_containers::LogPolicy::None {
            return Err(Error::NoLog);
        }
        Ok(self.containers.logs(container.id(), query)?)
    }

    /// The processes of a container, by the host's `ps`, never the image's.
    pub async fn top(&self, reference: &str, arguments: &str) -> Result<Top> {
        let container = self.container(reference)?;
        match container.view.state.phase {
            _ if container.restart.waiting => {
                return Err(Error::Restarting(container.id().clone()));
            }
            Phase::Running | Phase::Paused => {}
            _ => {
                let id = container.id().clone();
                return Err(carrack_containers::Error::NotRunning(id).into());
            }
        }
        let arguments = if arguments.is_empty() {
            PS_DEFAULT
        } else {
            arguments
        };
        let arguments = checked_arguments(arguments)?;
        let pids = self.containers.processes(container.id()).await?;
        let output = run_ps(&arguments).await?;
        let top = parse_ps(&output, &pids.into_iter().collect())?;
        self.container_event(container.id(), &container.record, "top", &[]);
        Ok(top)
    }
}

/// Words for `ps`. Those that would read files or that name processes make no
/// sense here; everything else is `ps`' own to refuse.
fn checked_arguments(text: &str) -> Result<Vec<String>> {
    if text.len() > PS_ARGS_MAX || text.contains('\0') {
        return Err(Error::Ps("arguments are too long or hold a NUL".to_owned()));
    }
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

async fn run_ps(arguments: &[String]) -> Result<String> {
    let failed = |error: std::io::Error| Error::Ps(error.to_string());
    let mut command = std::process::Command::new("ps");
    command
        .args(arguments)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LC_ALL", "C")
        .env("COLUMNS", "10000")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(PS_TIMEOUT, run)
        .await
        .map_err(|_| Error::Ps("it took too long".to_owned()))??
        .map_err(failed)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let first = words.lines().next().unwrap_or_default();
        return Err(Error::Ps(first.to_owned()));
    }
    if output.stdout.len() > PS_BYTES_MAX {
        return Err(Error::Ps("its output is too long".to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Keeps the lines of `pids`, as far as the PID column tells.
fn parse_ps(output: &str, pids: &HashSet<u32>) -> Result<Top> {
    let mut lines = output.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let pid_column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::rule("Couldn't find PID field in ps output"))?;
    let mut processes = Vec::new();
    // Threads of a process that was taken have `-` for their pid.
    let mut taken = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let row = fields(line, titles.len());
        let Some(pid) = row.get(pid_column) else {
            continue;
        };
        if pid != "-" {
            taken = pid.parse().is_ok_and(|pid| pids.contains(&pid));
        }
        if taken {
            processes.push(row);
        }
    }
    Ok(Top { titles, processes })
}

/// Splits a line at blanks; the last field takes what is left.
fn fields(line: &str, count: usize) -> Vec<String> {
    let mut rest = line.trim_start();
    let mut all = Vec::with_capacity(count);
    while all.len() + 1 < count {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        if rest.is_empty() {
            break;
        }
        all.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() {
        all.push(rest.trim_end().to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_container_alone() {
        let output = "UID  PID PPID C STIME TTY TIME CMD\n\
                      root 1 0 0 10:00 ? 00:00:01 /sbin/init splash\n\
                      root 42 1 0 10:00 ? 00:00:00 sleep  1000\n\
                      root - - 0 10:00 ? 00:00:00 -\n";
        let top = parse_ps(output, &HashSet::from([42])).expect("good");
        assert_eq!(top.titles.len(), 8);
        assert_eq!(top.processes.len(), 2);
        assert_eq!(top.processes[0][7], "sleep  1000");
        let refused = parse_ps("CMD\nx\n", &HashSet::new()).map_err(|error| error.to_string());
        assert_eq!(refused, Err("Couldn't find PID field in ps output".into()));
    }
}
