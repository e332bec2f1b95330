//! `start`.

use super::{Arity, Place, Verb, at, attach, run, text};
use crate::engine::{Ask, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Flag, Order, Parsed, STRING, SWITCH, flag, letter};
use crate::not_yet;
use crate::session::Session;
use crate::terminal::keys::DetachKeys;
use crate::terminal::relay::{End, Relay, SignalProxy, Signals, Subject};

static FLAGS: &[Flag] = &[
    letter(
        "attach",
        'a',
        SWITCH,
        "Attach to the container's output and pass signals on",
    ),
    flag("checkpoint", STRING, ""),
    flag("checkpoint-dir", STRING, ""),
    flag(
        "detach-keys",
        STRING,
        "Keys that leave the container running: ctrl-p,ctrl-q",
    ),
    letter(
        "interactive",
        'i',
        SWITCH,
        "Attach to the container's input as well",
    ),
];

pub(super) static START: Verb = Verb {
    names: &["container start", "start"],
    place: Place::Plain,
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start containers that are stopped",
    arity: Arity::AtLeast(1),
    order: Order::Mixed,
    flags: &[("Options", FLAGS)],
    run: start,
};

fn start(session: &mut Session, parsed: &Parsed) -> Outcome {
    if parsed.given("checkpoint") || parsed.given("checkpoint-dir") {
        return Err(not_yet::flag("checkpoint", "checkpoint"));
    }
    DetachKeys::parse(parsed.text("detach-keys")).map_err(Failure::new)?;
    if parsed.on("attach") || parsed.on("interactive") {
        let keys = DetachKeys::parse(&session.detach_keys(parsed)).map_err(Failure::new)?;
        if parsed.args.len() > 1 {
            return Err(Failure::new(
                "you cannot start and attach multiple containers at once",
            ));
        }
        return attached(session, parsed, keys);
    }
    let mut failed = Vec::new();
    for name in &parsed.args {
        let path = format!("/containers/{}/start", segment(name));
        match session.engine.tell(Ask::post(&path)) {
            Ok(()) => session.line(name),
            Err(error) => {
                session.warn(&error.to_string());
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        Ok(exit::SUCCESS)
    } else {
        Err(Failure::new(format!(
            "Error: failed to start containers: {}",
            failed.join(", ")
        )))
    }
}

fn attached(session: &mut Session, parsed: &Parsed, keys: DetachKeys) -> Outcome {
    let inspect_path = format!("/containers/{}/json", segment(&parsed.args[0]));
    let container = session.engine.ask(Ask::get(&inspect_path))?;
    let id = text(&container, "Id").to_owned();
    let holds = |path: &str| at(&container, path).as_bool().unwrap_or(false);
    let tty = holds("Config.Tty");
    let proxy = if tty {
        SignalProxy::Off
    } else {
        SignalProxy::On
    };
    let signals = Signals::hold(proxy, tty)
        .map_err(|error| Failure::new(format!("cannot take signals over: {error}")))?;
    let stdin = parsed.on("interactive") && holds("Config.OpenStdin");
    let auto_remove = holds("HostConfig.AutoRemove");

    let streams = attach::Streams {
        stdin,
        stdout: true,
        stderr: true,
    };
    let attach_path = format!("/containers/{id}/attach");
    let wait_path = format!("/containers/{id}/wait");
    let condition = if auto_remove { "removed" } else { "next-exit" };
    let detach_keys = session.detach_keys(parsed);
    let engine = &mut session.engine;
    let sent_attach = engine.begin(&streams.ask(&attach_path, &detach_keys))?;
    let sent_wait = engine.begin(&Ask::post(&wait_path).with("condition", condition))?;
    let attached = engine.complete(sent_attach)?;
    let hijacked = engine.hijack(attached)?;
    let wait = engine.complete(sent_wait)?;
    let start_path = format!("/containers/{id}/start");
    if let Err(error) = engine.tell(Ask::post(&start_path)) {
        drop(hijacked);
        if auto_remove {
            let _ = engine.finish(wait);
        }
        return Err(error.into());
    }
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
        End::Detached => Ok(exit::SUCCESS),
        End::Signal(signal) => Ok(u8::try_from(128 + signal).unwrap_or(exit::FAILURE)),
        End::Closed => run::exit_status(session, wait),
    }
}
