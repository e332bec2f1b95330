//! `events`.

use std::time::Duration;

use carrack_cgroup::stats::{BlockEntry, Stats};
use carrack_cgroup::{Leaf, oom_kills};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::{Map, Value, json};

use super::Call;
use crate::arguments::{Flag, switch, value};
use crate::record::{Found, Status};
use crate::{Error, Result, cgroups, output, processes};

pub(super) const FLAGS: &[Flag] = &[
    value(&["interval"], "time between two documents, as 5s or 500ms"),
    switch(&["stats"], "one document, and end"),
];

/// Time between two documents when nobody says.
const INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn events(call: &Call<'_>) -> Result<u8> {
    let [id] = call.parsed.exactly("events", 1)? else {
        return Err(Error::InvalidId);
    };
    let interval = call.parsed.value("interval").map(duration).transpose()?;
    let interval = interval.unwrap_or(INTERVAL);
    let found = Found::new(&call.global.root, id)?;
    if found.status() == Status::Stopped {
        return Err(Error::State(format!(
            "container with id {id} is not running"
        )));
    }
    let leaf = cgroups::open(&found.record.cgroup)?;
    if call.parsed.is_set("stats") {
        tell(id, "stats", Some(data(&leaf.stats()?)))?;
        return Ok(0);
    }
    follow(&found, &leaf, interval)
}

/// Tells how it goes until the container ends.
fn follow(found: &Found, leaf: &Leaf, interval: Duration) -> Result<u8> {
    let id = &found.record.id;
    let Some(process) = processes::open(found.record.pid, found.record.began) else {
        return Ok(0);
    };
    let failed = |error: std::io::Error| Error::file("follow", id, error);
    let wait = Timespec::try_from(interval)
        .map_err(|_| Error::Usage("--interval: it is too long".to_owned()))?;
    let kills = leaf.oom_file()?;
    let mut before = oom_kills(&kills).map_err(failed)?;
    loop {
        let mut polled = [PollFd::new(&process, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        let ended = !polled[0].revents().is_empty();
        let now = oom_kills(&kills).map_err(failed)?;
        if now > before {
            tell(id, "oom", None)?;
            before = now;
        }
        if ended {
            return Ok(0);
        }
        tell(id, "stats", Some(data(&leaf.stats()?)))?;
    }
}

fn tell(id: &str, kind: &str, data: Option<Value>) -> Result<()> {
    let mut event = json!({"type": kind, "id": id});
    if let Some(data) = data {
        event["data"] = data;
    }
    output::line(event)
}

/// What runc's callers read, with runc's names.
fn data(stats: &Stats) -> Value {
    let limit = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    let blocks = |entries: &[BlockEntry]| -> Vec<Value> {
        let one = |e: &BlockEntry| json!({"major": e.major, "minor": e.minor, "op": e.operation.as_str(), "value": e.value});
        entries.iter().map(one).collect()
    };
    let pages = stats.hugetlb.iter().map(|pages| {
        let usage = json!({
            "usage": pages.usage, "max": pages.max_usage, "failcnt": pages.failures
        });
        (pages.page_size.clone(), usage)
    });
    json!({
        "cpu": {
            "usage": {
                "total": cpu.total_ns, "percpu": cpu.per_cpu_ns,
                "kernel": cpu.system_ns, "user": cpu.user_ns
            },
            "throttling": {
                "periods": cpu.throttling.periods,
                "throttledPeriods": cpu.throttling.throttled_periods,
                "throttledTime": cpu.throttling.throttled_ns
            }
        },
        "memory": {
            "cache": memory.detail.get("cache").or(memory.detail.get("file")).copied().unwrap_or(0),
            "usage": {
                "limit": limit(memory.limit), "usage": memory.usage,
                "max": memory.max_usage, "failcnt": memory.failures
            },
            "swap": {"limit": u64::MAX, "usage": memory.swap_usage, "failcnt": 0},
            "raw": memory.detail
        },
        "pids": {"current": stats.pids.current, "limit": stats.pids.limit.unwrap_or(0)},
        "blkio": {
            "ioServiceBytesRecursive": blocks(&stats.block_io.bytes),
            "ioServicedRecursive": blocks(&stats.block_io.operations)
        },
        "hugetlb": pages.collect::<Map<String, Value>>(),
        "network_interfaces": null
    })
}

/// A whole number of `ms`, `s`, `m` or `h`; more than nothing.
fn duration(text: &str) -> Result<Duration> {
    let invalid = || Error::Usage(format!("--interval {text:?}: a time such as 5s or 500ms"));
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(invalid()),
    };
    let ms = number.checked_mul(unit_ms).filter(|ms| *ms > 0);
    ms.map(Duration::from_millis).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, ms) in [
            ("5s", 5000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text).expect(text), Duration::from_millis(ms));
        }
        for text in [
            "",
            "5",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
