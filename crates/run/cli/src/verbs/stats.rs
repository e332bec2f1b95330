//! `stats`.
//!
//! A thread a container reads its stream and keeps the last sample; the main
//! thread draws. Containers that come and go are seen by listing them anew.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::listing::{Shapes, Width, source};
use super::{Arity, Place, Verb, at, items, number, text};
use crate::engine::{Ask, Engine, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Order, Parsed, STRING, SWITCH, flag, letter};
use crate::session::Session;
use crate::show::listing::{Format, Row};
use crate::show::units::{binary_size, decimal_size};

pub(super) static STATS: Verb = Verb {
    names: &["container stats", "stats"],
    place: Place::Plain,
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Show what containers use, as it changes",
    arity: Arity::AtLeast(0),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "all",
                'a',
                SWITCH,
                "Show all containers, not only running ones",
            ),
            flag("format", STRING, "table, table TEMPLATE, json or TEMPLATE"),
            flag("no-stream", SWITCH, "Show one sample and end"),
            flag("no-trunc", SWITCH, "Show ids whole"),
        ],
    )],
    run: stats,
};

const HEADERS: &[(&str, &str)] = &[
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];
const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// How often the screen is drawn.
const REDRAW: Duration = Duration::from_millis(500);
/// How often containers are listed anew, in redraws.
const RELIST_EVERY: u32 = 2;
/// How long a first sample may take before the container is shown without.
const FIRST_SAMPLE: Duration = Duration::from_secs(5);
/// The most containers that are watched at once, a thread and a connection
/// each.
const WATCHED: usize = 1024;

/// What is known of a container.
#[derive(Debug, Clone, Default)]
struct Sample {
    last: Option<Value>,
    error: Option<String>,
    ended: bool,
}

/// The samples of all containers, by the name under which they were asked.
#[derive(Default)]
struct Samples {
    by_name: Mutex<BTreeMap<String, Sample>>,
    changed: Condvar,
}

impl Samples {
    fn update(&self, name: &str, change: impl FnOnce(&mut Sample)) {
        let mut samples = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        change(samples.entry(name.to_owned()).or_default());
        self.changed.notify_all();
    }

    fn snapshot(&self) -> BTreeMap<String, Sample> {
        self.by_name
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until each name has a sample or an error.
    fn wait_first(&self, names: &[String]) {
        let until = Instant::now() + FIRST_SAMPLE;
        let mut samples = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let all = names.iter().all(|name| {
                samples.get(name).is_some_and(|sample| {
                    sample.last.is_some() || sample.error.is_some() || sample.ended
                })
            });
            let left = until.saturating_duration_since(Instant::now());
            if all || left.is_zero() {
                return;
            }
            samples = self
                .changed
                .wait_timeout(samples, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Whether samples go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Series {
    Stream,
    One,
}

/// Reads a container's samples in a thread of its own.
fn watch(mut engine: Engine, name: String, series: Series, samples: Arc<Samples>) {
    let watch = move || {
        let path = format!("/containers/{}/stats", segment(&name));
        let stream = if series == Series::Stream { "1" } else { "0" };
        let response = match engine.call(Ask::get(&path).with("stream", stream)) {
            Ok(response) => response,
            Err(error) => {
                return samples.update(&name, |sample| sample.error = Some(error.to_string()));
            }
        };
        let body = BufReader::new(response.into_body());
        for value in serde_json::Deserializer::from_reader(body).into_iter::<Value>() {
            let Ok(value) = value else { break };
            samples.update(&name, |sample| sample.last = Some(value));
            if series == Series::One {
                break;
            }
        }
        samples.update(&name, |sample| sample.ended = true);
    };
    // A thread that cannot be had leaves the container without a sample.
    let _ = std::thread::Builder::new()
        .name("stats".to_owned())
        .stack_size(256 * 1024)
        .spawn(watch);
}

fn stats(session: &mut Session, parsed: &Parsed) -> Outcome {
    let shapes = Shapes {
        configured: session.settings().text("statsFormat"),
        table: TABLE,
        ..Shapes::default()
    };
    let format = Format::parse(source(parsed, shapes), "*container.statsContext")?;
    let series = if parsed.on("no-stream") {
        Series::One
    } else {
        Series::Stream
    };
    let all = parsed.on("all");
    let named = !parsed.args.is_empty();
    let width = Width::of(parsed);
    let mut names = if named {
        parsed.args.clone()
    } else {
        list(session, all)?
    };
    names.truncate(WATCHED);
    if named {
        // Agrees on a version before threads ask with it.
        let path = format!("/containers/{}/json", segment(&names[0]));
        let _ = session.engine.tell(Ask::get(&path));
    }
    let samples = Arc::new(Samples::default());
    for name in &names {
        watch(
            session.engine.another(),
            name.clone(),
            series,
            Arc::clone(&samples),
        );
    }
    samples.wait_first(&names);
    if named {
        let found = samples.snapshot();
        let errors = names
            .iter()
            .filter_map(|name| found.get(name)?.error.clone())
            .collect();
        if let Some(failure) = Failure::joined(errors) {
            return Err(failure);
        }
    }
    if series == Series::One {
        if names.is_empty() {
            return Ok(exit::SUCCESS);
        }
        session.print(&draw(&format, &names, &samples.snapshot(), width)?);
        return Ok(exit::SUCCESS);
    }
    let on_terminal = crate::terminal::stdout_is_terminal();
    let mut turn = 0;
    loop {
        let text = draw(&format, &names, &samples.snapshot(), width)?;
        let frame = if on_terminal {
            format!(
                "\x1b[H{}\x1b[K\n\x1b[J",
                text.trim_end_matches('\n').replace('\n', "\x1b[K\n")
            )
        } else {
            format!("\x1b[H{}\x1b[K\n\x1b[J", text.replace('\n', "\x1b[K\n"))
        };
        if crate::terminal::write_stdout(frame.as_bytes()).is_err() {
            return Ok(exit::FAILURE);
        }
        std::thread::sleep(REDRAW);
        turn += 1;
        let ended = |name: &String| {
            samples
                .snapshot()
                .get(name)
                .is_some_and(|sample| sample.ended)
        };
        if named {
            if names.iter().all(ended) {
                return Ok(exit::SUCCESS);
            }
        } else if turn % RELIST_EVERY == 0 {
            let now = list(session, all)?;
            for name in now
                .iter()
                .filter(|name| !names.contains(name))
                .take(WATCHED.saturating_sub(names.len()))
            {
                watch(
                    session.engine.another(),
                    name.clone(),
                    series,
                    Arc::clone(&samples),
                );
            }
            names = now;
            names.truncate(WATCHED);
        }
    }
}

/// The ids of the containers that are to be shown, in the order of `ps`.
fn list(session: &mut Session, all: bool) -> Result<Vec<String>, Failure> {
    let containers = session
        .engine
        .ask(Ask::get("/containers/json").with_if("all", all))?;
    Ok(items(&containers, "")
        .iter()
        .map(|container| text(container, "Id").to_owned())
        .collect())
}

fn draw(
    format: &Format,
    names: &[String],
    samples: &BTreeMap<String, Sample>,
    width: Width,
) -> Result<String, Failure> {
    let rows: Vec<Row> = names
        .iter()
        .filter_map(|name| samples.get(name).map(|sample| row(name, sample, width)))
        .collect();
    format.write(HEADERS, &rows)
}

fn row(name: &str, sample: &Sample, width: Width) -> Row {
    let asked = width.id(name);
    let Some(value) = sample.last.as_ref().filter(|_| sample.error.is_none()) else {
        let none = || json!("--");
        return Row::new(
            vec![
                ("Container", json!(asked)),
                ("Name", none()),
                ("ID", json!("")),
                ("CPUPerc", none()),
                ("MemUsage", json!("-- / --")),
                ("MemPerc", none()),
                ("NetIO", none()),
                ("BlockIO", none()),
                ("PIDs", none()),
            ],
            None,
        );
    };
    let float = |path: &str| at(value, path).as_f64().unwrap_or(0.0);
    let used = memory_used(value);
    let limit = float("memory_stats.limit");
    let share = if limit == 0.0 {
        0.0
    } else {
        used / limit * 100.0
    };
    let (received, sent) = network(value);
    let (read, written) = block(value);
    let full_name = text(value, "name").trim_start_matches('/');
    Row::new(
        vec![
            ("Container", json!(asked)),
            (
                "Name",
                json!(if full_name.is_empty() {
                    "--"
                } else {
                    full_name
                }),
            ),
            ("ID", json!(width.id(text(value, "id")))),
            ("CPUPerc", json!(format!("{:.2}%", cpu_share(value)))),
            (
                "MemUsage",
                json!(format!("{} / {}", binary_size(used), binary_size(limit))),
            ),
            ("MemPerc", json!(format!("{share:.2}%"))),
            (
                "NetIO",
                json!(format!(
                    "{} / {}",
                    decimal_size(received, 3),
                    decimal_size(sent, 3)
                )),
            ),
            (
                "BlockIO",
                json!(format!(
                    "{} / {}",
                    decimal_size(read, 3),
                    decimal_size(written, 3)
                )),
            ),
            (
                "PIDs",
                json!(number(value, "pids_stats.current").to_string()),
            ),
        ],
        None,
    )
}

/// Per cent of one CPU between the two samples of an answer.
fn cpu_share(value: &Value) -> f64 {
    let float = |path: &str| at(value, path).as_f64().unwrap_or(0.0);
    let used =
        float("cpu_stats.cpu_usage.total_usage") - float("precpu_stats.cpu_usage.total_usage");
    let system = float("cpu_stats.system_cpu_usage") - float("precpu_stats.system_cpu_usage");
    let cpus = match float("cpu_stats.online_cpus") {
        0.0 => items(value, "cpu_stats.cpu_usage.percpu_usage").len() as f64,
        cpus => cpus,
    };
    if used > 0.0 && system > 0.0 {
        used / system * cpus * 100.0
    } else {
        0.0
    }
}

/// Memory without what the kernel gives back when it is needed: v1 counts the
/// cgroup's subtree under another name.
fn memory_used(value: &Value) -> f64 {
    let float = |path: &str| at(value, path).as_f64();
    let usage = float("memory_stats.usage").unwrap_or(0.0);
    for field in [
        "memory_stats.stats.total_inactive_file",
        "memory_stats.stats.inactive_file",
    ] {
        if let Some(inactive) = float(field).filter(|&inactive| inactive < usage) {
            return usage - inactive;
        }
    }
    usage
}

fn network(value: &Value) -> (f64, f64) {
    let Value::Object(networks) = at(value, "networks") else {
        return (0.0, 0.0);
    };
    networks
        .values()
        .fold((0.0, 0.0), |(received, sent), network| {
            (
                received + at(network, "rx_bytes").as_f64().unwrap_or(0.0),
                sent + at(network, "tx_bytes").as_f64().unwrap_or(0.0),
            )
        })
}

fn block(value: &Value) -> (f64, f64) {
    let mut both = (0.0, 0.0);
    for entry in items(value, "blkio_stats.io_service_bytes_recursive") {
        let bytes = at(entry, "value").as_f64().unwrap_or(0.0);
        match text(entry, "op").as_bytes().first() {
            Some(b'r' | b'R') => both.0 += bytes,
            Some(b'w' | b'W') => both.1 += bytes,
            _ => {}
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_sums() {
        let value = json!({
            "name": "/web", "id": "0123456789abcdef",
            "cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 2000, "online_cpus": 2},
            "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 1000},
            "memory_stats": {"usage": 3_145_728, "limit": 10_485_760, "stats": {"total_inactive_file": 1_048_576}},
            "networks": {"eth0": {"rx_bytes": 1000, "tx_bytes": 20}, "eth1": {"rx_bytes": 500, "tx_bytes": 0}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "Read", "value": 4096}, {"op": "write", "value": 10}]},
            "pids_stats": {"current": 3},
        });
        let row = row(
            "web",
            &Sample {
                last: Some(value),
                ..Sample::default()
            },
            Width::Short,
        );
        let field = |name: &str| row.0[name].as_str().unwrap().to_owned();
        assert_eq!(field("CPUPerc"), "40.00%");
        assert_eq!(field("MemUsage"), "2MiB / 10MiB");
        assert_eq!(field("MemPerc"), "20.00%");
        assert_eq!(field("NetIO"), "1.5kB / 20B");
        assert_eq!(field("BlockIO"), "4.1kB / 10B");
        assert_eq!(field("PIDs"), "3");
    }
}
