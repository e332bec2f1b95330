//! Verbs that act on containers one after the other and print their names.

use serde_json::{Map, Value};

use super::{Arity, Place, Verb, items, number};
use crate::create::{put_limits, restart_policy};
use crate::engine::{Ask, EngineError, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{
    BYTES, BYTES_OR_UNLIMITED, DECIMAL, Flag, INT, Order, Parsed, STRING, SWITCH, UINT16, alias,
    flag, letter,
};
use crate::session::Session;

static STOP_FLAGS: &[Flag] = &[
    letter("signal", 's', STRING, "Signal to send"),
    letter(
        "timeout",
        't',
        INT,
        "Seconds to wait before the container is killed",
    ),
    alias("time", INT, "timeout"),
];

const fn verb(
    names: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    flags: &'static [(&'static str, &'static [Flag])],
    run: fn(&mut Session, &Parsed) -> Outcome,
) -> Verb {
    Verb {
        names,
        place: Place::Plain,
        usage,
        about,
        arity: Arity::AtLeast(1),
        order: Order::Mixed,
        flags,
        run,
    }
}

const SEVERAL: &str = "[OPTIONS] CONTAINER [CONTAINER...]";
const SEVERAL_PLAIN: &str = "CONTAINER [CONTAINER...]";

pub(super) static STOP: Verb = verb(
    &["container stop", "stop"],
    SEVERAL,
    "Ask running containers to stop, then kill them",
    &[("Options", STOP_FLAGS)],
    |session, parsed| stop_or_restart(session, parsed, "stop"),
);

pub(super) static RESTART: Verb = verb(
    &["container restart", "restart"],
    SEVERAL,
    "Stop containers and start them again",
    &[("Options", STOP_FLAGS)],
    |session, parsed| stop_or_restart(session, parsed, "restart"),
);

pub(super) static KILL: Verb = verb(
    &["container kill", "kill"],
    SEVERAL,
    "Send a signal to running containers, KILL if none is named",
    &[(
        "Options",
        &[letter("signal", 's', STRING, "Signal to send")],
    )],
    |session, parsed| {
        let signal = parsed
            .last("signal")
            .filter(|signal| !signal.is_empty())
            .map(str::to_owned);
        each(session, parsed, |session, name| {
            let path = format!("/containers/{}/kill", segment(name));
            session
                .engine
                .tell(Ask::post(&path).with_some("signal", signal.as_deref()))
        })
    },
);

pub(super) static PAUSE: Verb = verb(
    &["container pause", "pause"],
    SEVERAL_PLAIN,
    "Freeze all processes of containers",
    &[],
    |session, parsed| {
        each(session, parsed, |session, name| {
            post(session, name, "pause")
        })
    },
);

pub(super) static UNPAUSE: Verb = verb(
    &["container unpause", "unpause"],
    SEVERAL_PLAIN,
    "Let frozen containers go on",
    &[],
    |session, parsed| {
        each(session, parsed, |session, name| {
            post(session, name, "unpause")
        })
    },
);

pub(super) static RM: Verb = verb(
    &["container rm", "container remove", "rm"],
    SEVERAL,
    "Remove containers",
    &[(
        "Options",
        &[
            letter("force", 'f', SWITCH, "Kill a running container first"),
            letter("link", 'l', SWITCH, "Remove the link of that name"),
            letter(
                "volumes",
                'v',
                SWITCH,
                "Remove its anonymous volumes as well",
            ),
        ],
    )],
    rm,
);

pub(super) static RENAME: Verb = Verb {
    names: &["container rename", "rename"],
    place: Place::Plain,
    usage: "CONTAINER NEW_NAME",
    about: "Give a container another name",
    arity: Arity::Exactly(2),
    order: Order::Mixed,
    flags: &[],
    run: rename,
};

pub(super) static WAIT: Verb = verb(
    &["container wait", "wait"],
    SEVERAL_PLAIN,
    "Wait until containers end and print their exit codes",
    &[],
    wait,
);

static UPDATE_FLAGS: &[Flag] = &[
    flag("blkio-weight", UINT16, "Share of block I/O, 10 to 1000"),
    flag("cpu-period", INT, "Length of a CPU period in microseconds"),
    flag("cpu-quota", INT, "CPU time in a period in microseconds"),
    flag(
        "cpu-rt-period",
        INT,
        "Length of a real-time period in microseconds",
    ),
    flag(
        "cpu-rt-runtime",
        INT,
        "Real-time CPU time in a period in microseconds",
    ),
    letter("cpu-shares", 'c', INT, "Share of CPU time"),
    flag("cpus", DECIMAL, "Number of CPUs"),
    flag("cpuset-cpus", STRING, "CPUs to run on: 0-3, 0,1"),
    flag("cpuset-mems", STRING, "Memory nodes to use: 0-3, 0,1"),
    flag("kernel-memory", BYTES, ""),
    letter("memory", 'm', BYTES, "Limit of memory"),
    flag(
        "memory-reservation",
        BYTES,
        "Memory that it should keep within",
    ),
    flag(
        "memory-swap",
        BYTES_OR_UNLIMITED,
        "Limit of memory and swap; -1 for no limit",
    ),
    flag("pids-limit", INT, "Limit of processes; -1 for no limit"),
    flag(
        "restart",
        STRING,
        "What to do when it exits: no, on-failure[:max], always, unless-stopped",
    ),
];

pub(super) static UPDATE: Verb = verb(
    &["container update", "update"],
    SEVERAL,
    "Change limits and restart policies of containers",
    &[("Options", UPDATE_FLAGS)],
    update,
);

/// Acts on each name, prints those that it did, and fails with the sentences
/// of those that it did not.
fn each(
    session: &mut Session,
    parsed: &Parsed,
    act: impl Fn(&mut Session, &str) -> Result<(), EngineError>,
) -> Outcome {
    let mut failures = Vec::new();
    for name in &parsed.args {
        match act(session, name) {
            Ok(()) => session.line(name),
            Err(error) => failures.push(error.to_string()),
        }
    }
    Failure::joined(failures).map_or(Ok(exit::SUCCESS), Err)
}

fn post(session: &mut Session, name: &str, action: &str) -> Result<(), EngineError> {
    let path = format!("/containers/{}/{action}", segment(name));
    session.engine.tell(Ask::post(&path))
}

fn stop_or_restart(session: &mut Session, parsed: &Parsed, action: &str) -> Outcome {
    let seconds = parsed.number("timeout").map(|seconds| seconds.to_string());
    let signal = parsed
        .last("signal")
        .filter(|signal| !signal.is_empty())
        .map(str::to_owned);
    each(session, parsed, |session, name| {
        let path = format!("/containers/{}/{action}", segment(name));
        let ask = Ask::post(&path)
            .with_some("signal", signal.as_deref())
            .with_some("t", seconds.as_deref());
        session.engine.tell(ask)
    })
}

fn rm(session: &mut Session, parsed: &Parsed) -> Outcome {
    let mut failures = Vec::new();
    for name in &parsed.args {
        let trimmed = name.trim_matches('/');
        if trimmed.is_empty() {
            failures.push("container name cannot be empty".to_owned());
            continue;
        }
        let path = format!("/containers/{}", segment(trimmed));
        let ask = Ask::delete(&path)
            .with_if("v", parsed.on("volumes"))
            .with_if("link", parsed.on("link"))
            .with_if("force", parsed.on("force"));
        match session.engine.tell(ask) {
            Ok(()) => session.line(name),
            // What is to be gone is gone.
            Err(error) if parsed.on("force") && error.is_not_found() => {
                session.warn(&error.to_string())
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    Failure::joined(failures).map_or(Ok(exit::SUCCESS), Err)
}

fn rename(session: &mut Session, parsed: &Parsed) -> Outcome {
    let (old, new) = (parsed.args[0].trim(), parsed.args[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::new(
            "Error: Neither old nor new names may be empty",
        ));
    }
    let path = format!("/containers/{}/rename", segment(old));
    match session.engine.tell(Ask::post(&path).with("name", new)) {
        Ok(()) => Ok(exit::SUCCESS),
        Err(error) => {
            session.warn(&error.to_string());
            Err(Failure::new(format!(
                "Error: failed to rename container named {old}"
            )))
        }
    }
}

fn wait(session: &mut Session, parsed: &Parsed) -> Outcome {
    let mut failures = Vec::new();
    for name in &parsed.args {
        let path = format!("/containers/{}/wait", segment(name));
        match session.engine.ask(Ask::post(&path)) {
            Ok(answer) => session.line(&number(&answer, "StatusCode").to_string()),
            Err(error) => failures.push(error.to_string()),
        }
    }
    Failure::joined(failures).map_or(Ok(exit::SUCCESS), Err)
}

fn update(session: &mut Session, parsed: &Parsed) -> Outcome {
    if parsed.count() == 0 {
        return Err(Failure::new(
            "you must provide one or more flags when using this command",
        ));
    }
    let mut body = Map::new();
    put_limits(parsed, &mut body);
    if let Some(policy) = restart_policy(parsed.text("restart")).map_err(Failure::new)? {
        body.insert("RestartPolicy".to_owned(), policy);
    }
    let body = Value::Object(body);
    let (mut failures, mut warnings) = (Vec::new(), Vec::new());
    for name in &parsed.args {
        let path = format!("/containers/{}/update", segment(name));
        match session.engine.ask(Ask::post(&path).json(&body)) {
            Ok(answer) => {
                session.line(name);
                warnings.extend(
                    items(&answer, "Warnings")
                        .iter()
                        .filter_map(Value::as_str)
                        .map(str::to_owned),
                );
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    if !warnings.is_empty() {
        session.line(&warnings.join("\n"));
    }
    Failure::joined(failures).map_or(Ok(exit::SUCCESS), Err)
}
