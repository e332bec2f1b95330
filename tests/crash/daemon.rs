//! The daemon is killed, again and again, under everything that may not notice.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use carrack_tests::{Engine, Inventory, Options, Own, Terminal, own, until};
use rustix::process::Signal;

use super::promised;

/// Kills in one test.
const ROUNDS: u32 = 24;
/// Containers that only have to stay.
const STAYING: usize = 20;
/// Those among them that write a line every 20 ms.
const WRITING: usize = 5;
/// Longest time for what should take milliseconds.
const BOUND: Duration = Duration::from_secs(20);

/// All that runs while the daemon dies.
struct Load {
    terminal: Terminal,
    waiting: Child,
    follower: Child,
    traffic: Child,
}

#[test]
fn kill_nine_in_twenty_four_rounds() {
    if !promised("crash/kill_nine_in_twenty_four_rounds") {
        return;
    }
    let mut engine = own(Options::default());
    engine.image("busybox");
    engine.image("static");
    let empty = Inventory::at_rest(&engine);
    let mut load = start_load(&engine);
    let loaded = Inventory::at_rest(&engine);
    for round in 0..ROUNDS {
        kill_once(&mut engine, round, &mut load);
        let left = Inventory::settled(&engine, &loaded);
        assert!(
            left.is_empty(),
            "round {round}, left behind: {left:?}\n{}",
            engine.log_tail()
        );
    }
    end_load(&engine, load);
    engine.sweep();
    engine.clear_scratch().unwrap();
    let left = Inventory::settled(&engine, &empty);
    assert!(
        left.is_empty(),
        "left behind: {left:?}\n{}",
        engine.log_tail()
    );
}

#[test]
fn sigterm_ends_the_daemon_alone() {
    if !promised("crash/sigterm_ends_the_daemon_alone") {
        return;
    }
    let mut engine = own(Options::default());
    engine.image("busybox");
    engine
        .sh("docker run -d --name stays busybox sleep 1000")
        .ok();
    let pid = engine
        .sh("docker inspect -f '{{.State.Pid}}' stays")
        .ok()
        .to_owned();
    engine.signal(Signal::TERM);
    assert!(
        engine.world().path(&format!("/proc/{pid}")).exists(),
        "the container ended with the daemon"
    );
    engine.boot().unwrap();
    assert_eq!(
        engine
            .sh("docker inspect -f '{{.State.Pid}} {{.State.Running}}' stays")
            .ok(),
        format!("{pid} true")
    );
    assert_eq!(engine.sh("docker exec stays echo well").ok(), "well");
    engine.sweep();
}

#[test]
fn what_ends_while_nobody_looks_is_told_later() {
    if !promised("crash/what_ends_while_nobody_looks_is_told_later") {
        return;
    }
    let mut engine = own(Options::default());
    engine.image("busybox");
    let scratch = engine.scratch().display().to_string();
    engine
        .sh(&format!(
            "docker run -d --name ends -v {scratch}:/w busybox sh -c 'until [ -e /w/now ]; do sleep 0.02; done; echo last words; exit 9'"
        ))
        .ok();
    engine
        .sh(&format!(
            "docker run -d --name again --restart on-failure:1 -v {scratch}:/w busybox sh -c 'until [ -e /w/now ]; do sleep 0.02; done; exit 3'"
        ))
        .ok();
    let pid = engine
        .sh("docker inspect -f '{{.State.Pid}}' ends")
        .ok()
        .to_owned();
    engine
        .sh(&format!(
            "docker run -d --name execs -v {scratch}:/w busybox sleep 1000"
        ))
        .ok();
    engine
        .sh("docker exec -d execs sh -c 'until [ -e /w/now ]; do sleep 0.02; done; exit 6'")
        .ok();
    let exec = engine
        .sh("docker inspect -f '{{index .ExecIDs 0}}' execs")
        .ok()
        .to_owned();
    engine.signal(Signal::KILL);
    std::fs::write(engine.scratch().join("now"), "").unwrap();
    let proc = engine.world().path(&format!("/proc/{pid}"));
    until("the container ends", BOUND, || {
        if proc.exists() {
            Err("it is there".to_owned())
        } else {
            Ok(())
        }
    });
    engine.boot().unwrap();
    assert_eq!(engine.sh("docker wait ends").ok(), "9");
    assert_eq!(engine.sh("docker logs ends").ok(), "last words");
    until("the restart policy is followed", BOUND, || {
        let state = engine.sh(
            "docker inspect -f '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}' again",
        );
        if state.stdout.trim() == "1 exited 3" {
            Ok(())
        } else {
            Err(state.stdout)
        }
    });
    until("the exec's code is known", BOUND, || {
        let state = engine.sh(&format!(
            "curl -s --unix-socket ${{DOCKER_HOST#unix://}} http://d/v1.41/exec/{exec}/json"
        ));
        if state.stdout.contains("\"ExitCode\":6,") && state.stdout.contains("\"Running\":false") {
            Ok(())
        } else {
            Err(state.stdout)
        }
    });
    engine.sweep();
    engine.clear_scratch().unwrap();
}

fn start_load(engine: &Engine) -> Load {
    for n in 0..STAYING {
        let what = if n < WRITING {
            "static ticks 20"
        } else {
            "busybox sleep 100000"
        };
        engine
            .sh(&format!("docker run -d --name stay{n} {what}"))
            .ok();
    }
    engine
        .sh("docker run -d --name web -p 48080:80 static serve 80")
        .ok();
    let web = "world tcp 127.0.0.1:48080";
    until("the port answers", BOUND, || match engine.sh(web) {
        out if out.code == 0 => Ok(()),
        out => Err(out.stderr),
    });
    let terminal = engine.terminal("docker run -it --rm --name term busybox sh");
    terminal.expect("/ #", BOUND);
    let scratch = engine.scratch().display().to_string();
    let waiting = spawn(
        engine,
        &format!(
            "docker run --rm --name waits -v {scratch}:/w busybox sh -c 'until [ -e /w/end ]; do sleep 0.02; done; echo done waiting; exit 42' > {scratch}/waited 2>&1"
        ),
    );
    let follower = spawn(engine, "docker logs -f stay0 >/dev/null 2>&1");
    let traffic = spawn(
        engine,
        &format!(
            "while [ ! -e {scratch}/end ]; do {web} >/dev/null 2>>{scratch}/failures && echo >> {scratch}/answers; done"
        ),
    );
    until("the waiting one is there", BOUND, || {
        let out = engine.sh("docker ps -q --filter name=^waits$ | wc -l");
        if out.stdout.trim() == "1" {
            Ok(())
        } else {
            Err(out.stdout)
        }
    });
    Load {
        terminal,
        waiting,
        follower,
        traffic,
    }
}

/// One death and one resurrection, with a container starting and one exiting.
fn kill_once(engine: &mut Own, round: u32, load: &mut Load) {
    let starting = spawn(
        engine,
        &format!(
            "docker run -d --name starting{round} busybox sleep 100000 > $W/started 2>/dev/null"
        ),
    );
    let exiting = spawn(
        engine,
        &format!(
            "docker run -d --name exiting{round} busybox sh -c 'echo bye; exit 7' > $W/exited 2>/dev/null"
        ),
    );
    // The docker command needs some 20 ms before it asks; the rounds cover what follows.
    pause(Duration::from_millis(15) + Duration::from_micros(2500) * round);
    engine.signal(Signal::KILL);
    let start_told = finish(starting);
    let exit_told = finish(exiting);
    engine.boot().unwrap();

    let staying = engine.sh("docker ps -q --filter name=^stay | wc -l");
    assert_eq!(
        staying.ok(),
        STAYING.to_string(),
        "round {round}\n{}",
        engine.log_tail()
    );
    // Typed in two halves, so that the echo of the command is not the answer.
    load.terminal
        .send(&format!("echo al''ive{round}\n"))
        .unwrap();
    load.terminal.expect(&format!("alive{round}"), BOUND);
    assert!(load.terminal.running(), "round {round}: the terminal ended");
    assert!(
        matches!(load.waiting.try_wait(), Ok(None)),
        "round {round}: docker run ended"
    );

    let status = |name: &str| {
        engine
            .sh(&format!(
                "docker inspect -f '{{{{.State.Status}}}}' {name}{round} 2>/dev/null"
            ))
            .stdout
            .trim()
            .to_owned()
    };
    let started = status("starting");
    assert!(
        !start_told || started == "running",
        "round {round}: told that it runs, and it is {started:?}"
    );
    match started.as_str() {
        "" | "created" | "running" => {}
        // Cut short before anyone was told: it must say why.
        "exited" => {
            let reason = engine.sh(&format!(
                "docker inspect -f '{{{{.State.Error}}}}' starting{round}"
            ));
            assert_ne!(reason.ok(), "", "round {round}: exited without a reason");
        }
        other => panic!("round {round}: {other}"),
    }
    let exited = status("exiting");
    assert!(
        !exit_told || !exited.is_empty(),
        "round {round}: told that it runs, and it is gone"
    );
    if exit_told || matches!(exited.as_str(), "running" | "exited") {
        let code = engine
            .sh(&format!("docker wait exiting{round}"))
            .ok()
            .to_owned();
        let log = engine
            .sh(&format!("docker logs exiting{round}"))
            .ok()
            .to_owned();
        let reason = engine.sh(&format!(
            "docker inspect -f '{{{{.State.Error}}}}' exiting{round}"
        ));
        // One whose start was cut short before anyone was told, and that never
        // ran, says why; of all others no code and no line is lost.
        let cut_short = !exit_told && log.is_empty() && !reason.ok().is_empty();
        assert!(
            cut_short || (code == "7" && log == "bye"),
            "round {round}: told {exit_told}, code {code}, log {log:?}, reason {:?}\n{}",
            reason.ok(),
            engine.log_tail()
        );
    }
    engine.sh(&format!("for c in starting{round} exiting{round}; do docker rm -f $c; done >/dev/null 2>&1; rm -f $W/started $W/exited; docker ps -aq --filter name=ing{round} | wc -l"));
}

fn end_load(engine: &Engine, mut load: Load) {
    std::fs::write(engine.scratch().join("end"), "").unwrap();
    let code = until("docker run tells its code", BOUND, || {
        load.waiting
            .try_wait()
            .map_err(|e| e.to_string())?
            .ok_or_else(|| "it waits".to_owned())
    });
    assert_eq!(code.code(), Some(42));
    let read =
        |name: &str| std::fs::read_to_string(engine.scratch().join(name)).unwrap_or_default();
    assert_eq!(read("waited"), "done waiting\n");
    assert!(finish(load.traffic));
    assert_eq!(
        read("failures"),
        "",
        "connections to the published port that failed"
    );
    assert!(
        read("answers").len() > 100,
        "hardly any traffic: {} answers",
        read("answers").len()
    );
    load.terminal.send("exit 5\n").unwrap();
    assert_eq!(load.terminal.end(BOUND).code(), Some(5));
    // A followed log may end with the daemon; nothing is lost when asked again.
    let _gone = load.follower.kill();
    let _status = load.follower.wait();
    for n in 0..WRITING {
        let log = engine.sh(&format!("docker logs stay{n}"));
        let lines: Vec<&str> = log.ok().lines().collect();
        assert!(lines.len() > 100, "stay{n}: {} lines", lines.len());
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(
                *line,
                format!("tick {number}"),
                "stay{n}: a line is missing or twice"
            );
        }
    }
}

fn spawn(engine: &Engine, command: &str) -> Child {
    engine
        .shell(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for a command's end; whether it ended well.
fn finish(mut child: Child) -> bool {
    until("a command ends", Duration::from_secs(60), || {
        child
            .try_wait()
            .map_err(|e| e.to_string())?
            .ok_or_else(|| "it runs".to_owned())
    })
    .success()
}

/// Time that is part of the fault's description, not a wait for anything.
fn pause(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::thread::yield_now();
    }
}
