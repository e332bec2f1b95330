//! `ps`.

use std::process::Command;

use super::Call;
use crate::arguments::{Flag, value};
use crate::record::Found;
use crate::{Error, Result, cgroups, output};

pub(super) const FLAGS: &[Flag] = &[value(&["format", "f"], "table or json")];

pub(super) fn ps(call: &Call<'_>) -> Result<u8> {
    let rest = &call.parsed.rest;
    let Some((id, options)) = rest.split_first() else {
        return Err(Error::Usage("\"ps\" requires a container id".to_owned()));
    };
    let found = Found::new(&call.global.root, id)?;
    let pids = cgroups::open(&found.record.cgroup)?.processes()?;
    match call.parsed.value("format") {
        Some("json") => {
            output::line(format_args!("{}", serde_json::json!(pids)))?;
            Ok(0)
        }
        None | Some("" | "table") => table(&pids, options),
        Some(_) => Err(Error::Usage("invalid format option".to_owned())),
    }
}

/// What the host's own `ps` says of these processes.
fn table(pids: &[u32], options: &[String]) -> Result<u8> {
    let options = if options.is_empty() {
        &["-ef".to_owned()][..]
    } else {
        options
    };
    let output = Command::new("ps")
        .args(options)
        .output()
        .map_err(|error| Error::file("run", "ps", error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|word| word == "PID");
    let column =
        column.ok_or_else(|| Error::Usage("couldn't find PID field in ps output".to_owned()))?;
    output::line(format_args!("{head}"))?;
    for line in lines {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|word| word.parse().ok());
        if pid.is_some_and(|pid: u32| pids.contains(&pid)) {
            output::line(format_args!("{line}"))?;
        }
    }
    Ok(0)
}
