//! `update`.

use std::io::Read;
use std::path::Path;

use carrack_oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources};

use super::Call;
use crate::arguments::{Flag, Parsed, value};
use crate::record::{Found, Status};
use crate::{Error, Result, bundle, cgroups, log};

/// Longest document on standard input.
const MAX_BYTES: u64 = 1 << 20;

pub(super) const FLAGS: &[Flag] = &[
    value(
        &["resources", "r"],
        "file with the limits as JSON; - is standard input",
    ),
    value(&["blkio-weight"], "share of block I/O, 10 to 1000"),
    value(&["cpu-period"], "period of the CPU quota, microseconds"),
    value(&["cpu-quota"], "CPU time in each period, microseconds"),
    value(
        &["cpu-burst"],
        "CPU time that may be saved up, microseconds",
    ),
    value(&["cpu-share"], "share of CPU time"),
    value(
        &["cpu-rt-period"],
        "period of real-time scheduling, microseconds",
    ),
    value(
        &["cpu-rt-runtime"],
        "real-time CPU time in each period, microseconds",
    ),
    value(&["cpuset-cpus"], "CPUs that may be used, as 0-3,6"),
    value(&["cpuset-mems"], "memory nodes that may be used"),
    value(&["memory"], "memory limit, bytes; -1 is none"),
    value(&["memory-reservation"], "soft memory limit, bytes"),
    value(
        &["memory-swap"],
        "memory and swap together, bytes; -1 is none",
    ),
    value(&["pids-limit"], "processes; -1 is no limit"),
    value(&["cpu-idle"], "1 lets everybody else go first"),
];

pub(super) fn update(call: &Call<'_>) -> Result<u8> {
    let [id] = call.parsed.exactly("update", 1)? else {
        return Err(Error::InvalidId);
    };
    let found = Found::new(&call.global.root, id)?;
    found.require(
        &[Status::Created, Status::Running, Status::Paused],
        "container not running",
    )?;
    let mut resources: Resources = match call.parsed.value("resources") {
        Some("-") => read_stdin()?,
        Some(path) => bundle::read_json(Path::new(path))?,
        None => resources(&call.parsed)?,
    };
    // Callers send back all of a configuration; its devices were decided at the
    // start, with what every container has.
    resources.devices = Vec::new();
    let leaf = cgroups::open(&found.record.cgroup)?;
    for ignored in leaf.apply(&resources)? {
        log::warning(call.global, &cgroups::left_out(&ignored));
    }
    Ok(0)
}

fn read_stdin() -> Result<Resources> {
    let failed = |error| Error::file("read", "standard input", error);
    let mut text = Vec::new();
    let stdin = std::io::stdin().lock();
    stdin
        .take(MAX_BYTES)
        .read_to_end(&mut text)
        .map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(error.into()))
}

fn resources(parsed: &Parsed) -> Result<Resources> {
    let text = |name| parsed.value(name).map(str::to_owned);
    let memory = Memory {
        limit: bytes(parsed, "memory")?,
        reservation: bytes(parsed, "memory-reservation")?,
        swap: bytes(parsed, "memory-swap")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: parsed.number("cpu-share")?,
        quota: parsed.number("cpu-quota")?,
        burst: parsed.number("cpu-burst")?,
        period: parsed.number("cpu-period")?,
        realtime_runtime: parsed.number("cpu-rt-runtime")?,
        realtime_period: parsed.number("cpu-rt-period")?,
        cpus: text("cpuset-cpus"),
        mems: text("cpuset-mems"),
        idle: parsed.number("cpu-idle")?,
    };
    let block_io = BlockIo {
        weight: parsed.number("blkio-weight")?,
        ..BlockIo::default()
    };
    let pids: Option<i64> = parsed.number("pids-limit")?;
    Ok(Resources {
        memory: Some(memory),
        cpu: Some(cpu),
        block_io: block_io.weight.map(|_| block_io),
        pids: pids.map(|limit| Pids { limit }),
        ..Resources::default()
    })
}

/// Bytes, also as `512m`.
fn bytes(parsed: &Parsed, name: &str) -> Result<Option<i64>> {
    let Some(text) = parsed.value(name) else {
        return Ok(None);
    };
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        Some(b't') => (&lower[..lower.len() - 1], 40),
        _ => (lower, 0),
    };
    let number: Option<i64> = digits.parse().ok();
    let scaled = number.and_then(|number| number.checked_mul(1 << shift));
    scaled
        .map(Some)
        .ok_or_else(|| Error::Usage(format!("invalid value for {name}: {text:?} is no size")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::parse;

    fn memory(text: &str) -> Result<Option<i64>> {
        let parsed = parse(FLAGS, vec!["--memory".to_owned(), text.to_owned()])?;
        Ok(resources(&parsed)?.memory.and_then(|memory| memory.limit))
    }

    #[test]
    fn sizes_with_units_and_nonsense() {
        for (text, expected) in [
            ("1024", 1024),
            ("32m", 32 << 20),
            ("1GB", 1 << 30),
            ("-1", -1),
        ] {
            assert_eq!(memory(text).expect(text), Some(expected));
        }
        for text in ["", "x", "12q", "9223372036854775807k", "1.5g"] {
            assert!(memory(text).is_err(), "{text}");
        }
    }
}
