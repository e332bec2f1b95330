//! `attach`, and what it shares with `run` and `start`.

use super::{Arity, Place, Verb, at, run, text};
use crate::engine::{Ask, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Flag, Order, Parsed, STRING, SWITCH, flag};
use crate::session::Session;
use crate::terminal::keys::DetachKeys;
use crate::terminal::relay::{End, Relay, SignalProxy, Signals, Subject};
use crate::terminal::{self};

static FLAGS: &[Flag] = &[
    flag(
        "detach-keys",
        STRING,
        "Keys that leave the container running: ctrl-p,ctrl-q",
    ),
    flag("no-stdin", SWITCH, "Do not attach standard input"),
    flag(
        "sig-proxy",
        SWITCH,
        "Pass signals on to the container (default true)",
    ),
];

pub(super) static ATTACH: Verb = Verb {
    names: &["container attach", "attach"],
    place: Place::Plain,
    usage: "[OPTIONS] CONTAINER",
    about: "Connect this terminal to a running container",
    arity: Arity::Exactly(1),
    order: Order::Mixed,
    flags: &[("Options", FLAGS)],
    run: attach,
};

/// The streams of a container that somebody takes part in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

impl Streams {
    /// The request that attaches to them.
    pub(super) fn ask<'a>(self, path: &'a str, keys: &str) -> Ask<'a> {
        Ask::post(path)
            .with("stream", "1")
            .with_if("stdin", self.stdin)
            .with_if("stdout", self.stdout)
            .with_if("stderr", self.stderr)
            .with_some("detachKeys", Some(keys).filter(|keys| !keys.is_empty()))
            .upgraded()
    }
}

fn attach(session: &mut Session, parsed: &Parsed) -> Outcome {
    let detach_keys = session.detach_keys(parsed);
    let keys = DetachKeys::parse(&detach_keys).map_err(Failure::new)?;
    let name = segment(&parsed.args[0]);
    let inspect_path = format!("/containers/{name}/json");
    let container = session.engine.ask(Ask::get(&inspect_path))?;
    let state = |what: &str| {
        at(&container, &format!("State.{what}"))
            .as_bool()
            .unwrap_or(false)
    };
    if !state("Running") {
        return Err(Failure::new(
            "You cannot attach to a stopped container, start it first",
        ));
    }
    if state("Paused") {
        return Err(Failure::new(
            "You cannot attach to a paused container, unpause it first",
        ));
    }
    if state("Restarting") {
        return Err(Failure::new(
            "You cannot attach to a restarting container, wait until it is running",
        ));
    }
    let id = text(&container, "Id").to_owned();
    let tty = at(&container, "Config.Tty").as_bool().unwrap_or(false);
    terminal::check_tty(!parsed.on("no-stdin"), tty)?;
    let stdin = !parsed.on("no-stdin")
        && at(&container, "Config.OpenStdin")
            .as_bool()
            .unwrap_or(false);
    let proxy = if parsed.on_by_default("sig-proxy") && !tty {
        SignalProxy::On
    } else {
        SignalProxy::Off
    };
    let signals = Signals::hold(proxy, tty)
        .map_err(|error| Failure::new(format!("cannot take signals over: {error}")))?;

    let streams = Streams {
        stdin,
        stdout: true,
        stderr: true,
    };
    let attach_path = format!("/containers/{id}/attach");
    let wait_path = format!("/containers/{id}/wait");
    let engine = &mut session.engine;
    let sent_wait = engine.begin(&Ask::post(&wait_path))?;
    let sent_attach = engine.begin(&streams.ask(&attach_path, &detach_keys))?;
    let attached = engine.complete(sent_attach)?;
    let hijacked = engine.hijack(attached)?;
    if tty {
        // A program that drew its screen before redraws it when the size
        // changes: change it, then set it right.
        if let Some((rows, columns)) = terminal::size() {
            let path = format!("/containers/{id}/resize");
            let (rows, columns) = (
                rows.saturating_add(1).to_string(),
                columns.saturating_add(1).to_string(),
            );
            let _ = engine.tell(Ask::post(&path).with("h", rows).with("w", columns));
        }
    }
    let wait = engine.complete(sent_wait)?;
    let end = Relay {
        engine,
        hijacked,
        subject: Subject::Container(id),
        tty,
        stdin,
        output: true,
        keys,
        signals: signals.as_ref(),
        ended: None,
    }
    .run()?;
    match end {
        End::Detached => Err(Failure::new("read escape sequence")),
        End::Signal(signal) => Ok(u8::try_from(128 + signal).unwrap_or(exit::FAILURE)),
        End::Closed => run::exit_status(session, wait),
    }
}
