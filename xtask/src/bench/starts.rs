//! Starts, execs and bulk starts.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::engines::Engine;
use super::measure::{Spread, spread, time};
use super::report::{Row, Table};

/// Detached starts that run at the same time.
const AT_ONCE: usize = 100;
/// Starts in flight: a shell's background jobs, not a thundering herd of clients.
const IN_FLIGHT: usize = 16;

/// `run --rm busybox true` on each engine, by its own client; and by docker's.
pub(super) fn start(engines: &mut [Engine], rounds: usize) -> Result<Table> {
    type Make = Box<dyn Fn(&[Engine]) -> Command>;
    let mut kinds: Vec<(String, Make)> = Vec::new();
    let args = ["run", "--rm", "busybox", "true"];
    for (index, engine) in engines.iter().enumerate() {
        kinds.push((
            format!("{} run --rm busybox true", engine.name),
            Box::new(move |e| e[index].command(&args)),
        ));
        if engine.name == "carrack" {
            kinds.push((
                "docker run --rm busybox true, on carrack".into(),
                Box::new(move |e| {
                    e[index]
                        .docker_client(&args)
                        .unwrap_or_else(|| e[index].command(&args))
                }),
            ));
            kinds.push((
                "docker version, on carrack".into(),
                Box::new(move |e| {
                    e[index]
                        .docker_client(&["version"])
                        .unwrap_or_else(|| e[index].command(&["version"]))
                }),
            ));
        }
    }
    let mut times = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for (kind, into) in kinds.iter().zip(&mut times) {
            into.push(time(&mut (kind.1)(engines))?);
        }
    }
    let rows = kinds
        .into_iter()
        .zip(&times)
        .map(|((name, _), t)| Row::time(name, spread(t)))
        .collect();
    Ok(Table {
        name: "start",
        title: "One start, from the caller's fork to its prompt",
        note: format!("{rounds} rounds, alternating; the bridge network, removed at the end."),
        peer: "docker",
        rows,
    })
}

/// `exec` of `true` in a running container.
pub(super) fn exec(engines: &mut [Engine], rounds: usize) -> Result<Table> {
    for engine in engines.iter() {
        engine.text(&["run", "-d", "--name", "bench", "busybox", "sleep", "100000"])?;
    }
    let mut times = vec![Vec::new(); engines.len()];
    for _ in 0..rounds {
        for (engine, into) in engines.iter().zip(&mut times) {
            into.push(time(&mut engine.command(&["exec", "bench", "true"]))?);
        }
    }
    let rows = engines
        .iter()
        .zip(&times)
        .map(|(e, t)| Row::time(format!("{} exec bench true", e.name), spread(t)))
        .collect();
    Ok(Table {
        name: "exec",
        title: "exec in a running container",
        note: format!("{rounds} rounds, alternating."),
        peer: "docker",
        rows,
    })
}

/// Detached starts: `count` one after the other, then a hundred at once.
pub(super) fn bulk(engines: &mut [Engine], count: usize) -> Result<Table> {
    let mut rows = Vec::new();
    for engine in engines.iter() {
        let begun = Instant::now();
        for _ in 0..count {
            time(&mut engine.command(&["run", "-d", "busybox", "sleep", "100000"]))?;
        }
        rows.push(Row::total(
            format!("{}: {count} × run -d, one after the other", engine.name),
            begun.elapsed(),
        ));
        engine.sweep()?;
    }
    for engine in engines.iter() {
        let took = at_once(engine)?;
        rows.push(Row::total(
            format!("{}: {AT_ONCE} × run -d, {IN_FLIGHT} in flight", engine.name),
            took,
        ));
        engine.sweep()?;
    }
    Ok(Table {
        name: "bulk",
        title: "Bulk starts",
        note: "Wall time of all of them. Ratios are against docker's row of the same kind.".into(),
        peer: "docker",
        rows,
    })
}

fn at_once(engine: &Engine) -> Result<Duration> {
    let begun = Instant::now();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < AT_ONCE {
                        time(&mut engine.command(&["run", "-d", "busybox", "sleep", "100000"]))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        anyhow::Ok(())
    })?;
    Ok(begun.elapsed())
}

/// `xtask starts`: each start of a demo beside the floor, as it happens.
pub(crate) fn floor(carrack: &Path, probe: &Path, image: &str, runs: usize) -> Result<()> {
    let (mut bare, mut contained) = (Vec::new(), Vec::new());
    println!("{:>4}  {:>10}  {:>10}", "", "floor", "carrack");
    for n in 1..=runs {
        let floor = time(Command::new(probe).arg("true"))?;
        let start = time(Command::new(carrack).args(["run", "--rm", image, "true"]))?;
        println!(
            "{n:>4}  {:>7.2} ms  {:>7.2} ms",
            floor.as_secs_f64() * 1e3,
            start.as_secs_f64() * 1e3
        );
        bare.push(floor);
        contained.push(start);
    }
    let (
        Spread {
            median_ms: floor, ..
        },
        Spread {
            median_ms: start, ..
        },
    ) = (spread(&bare), spread(&contained));
    println!(
        "median {floor:.2} ms bare, {start:.2} ms as a container (client, isolation, network, removal): {:.2} ms more",
        start - floor
    );
    Ok(())
}
