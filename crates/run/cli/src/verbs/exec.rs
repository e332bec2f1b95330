//! `exec`.

use serde_json::{Map, json};

use super::{Arity, Place, Verb, number, text};
use crate::create::{Surroundings, environment, put_switch, put_text};
use crate::engine::{Ask, EngineError, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Flag, Kind, LIST, Order, Parsed, STRING, SWITCH, flag, letter};
use crate::session::Session;
use crate::terminal::keys::DetachKeys;
use crate::terminal::relay::{End, Relay, SignalProxy, Signals, Subject};
use crate::terminal::{self};

const VARIABLE: Kind = Kind::new("list", environment::check_variable);

static FLAGS: &[Flag] = &[
    letter("detach", 'd', SWITCH, "Do not wait for the command"),
    flag(
        "detach-keys",
        STRING,
        "Keys that leave the command running: ctrl-p,ctrl-q",
    ),
    letter("env", 'e', VARIABLE, "Set a variable"),
    flag("env-file", LIST, "Read variables from a file"),
    letter("interactive", 'i', SWITCH, "Keep standard input open"),
    flag("privileged", SWITCH, "Give the command every capability"),
    letter("tty", 't', SWITCH, "Give the command a terminal"),
    letter(
        "user",
        'u',
        STRING,
        "User, and group, by name or number: user[:group]",
    ),
    letter(
        "workdir",
        'w',
        STRING,
        "Working directory inside the container",
    ),
];

pub(super) static EXEC: Verb = Verb {
    names: &["container exec", "exec"],
    place: Place::Common,
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Run a further command in a running container",
    arity: Arity::AtLeast(2),
    order: Order::OptionsFirst,
    flags: &[("Options", FLAGS)],
    run: exec,
};

fn exec(session: &mut Session, parsed: &Parsed) -> Outcome {
    let name = &parsed.args[0];
    let (detach, tty) = (parsed.on("detach"), parsed.on("tty"));
    let stdin = parsed.on("interactive") && !detach;
    let surroundings = Surroundings {
        variable: &Session::variable,
        folder: session.folder(),
        add_proxies: &|_| {},
    };
    let variables = environment::variables(parsed, &surroundings).map_err(Failure::new)?;
    let detach_keys = if detach {
        parsed.text("detach-keys").to_owned()
    } else {
        session.detach_keys(parsed)
    };
    let keys = DetachKeys::parse(&detach_keys).map_err(Failure::new)?;
    if !detach && let Err(failure) = terminal::check_tty(stdin, tty) {
        // That there is no such container is the better answer.
        let path = format!("/containers/{}/json", segment(name));
        session.engine.tell(Ask::get(&path))?;
        return Err(failure);
    }

    let mut body = Map::new();
    put_text(&mut body, "User", parsed.text("user"));
    put_text(&mut body, "WorkingDir", parsed.text("workdir"));
    put_text(&mut body, "DetachKeys", &detach_keys);
    put_switch(&mut body, "Privileged", parsed.on("privileged"));
    put_switch(&mut body, "Tty", tty);
    put_switch(&mut body, "AttachStdin", stdin);
    put_switch(&mut body, "AttachStdout", !detach);
    put_switch(&mut body, "AttachStderr", !detach);
    if !variables.is_empty() {
        body.insert("Env".to_owned(), json!(variables));
    }
    body.insert("Cmd".to_owned(), json!(parsed.args[1..]));
    let console = if tty {
        terminal::size().map(|(rows, columns)| json!([rows, columns]))
    } else {
        None
    };
    if let Some(console) = &console {
        body.insert("ConsoleSize".to_owned(), console.clone());
    }
    let path = format!("/containers/{}/exec", segment(name));
    let answer = session.engine.ask(Ask::post(&path).json(&body.into()))?;
    let id = text(&answer, "Id").to_owned();
    if id.is_empty() {
        return Err(Failure::new("exec ID empty"));
    }

    let mut start = Map::new();
    put_switch(&mut start, "Detach", detach);
    put_switch(&mut start, "Tty", tty);
    if let Some(console) = console {
        start.insert("ConsoleSize".to_owned(), console);
    }
    let start_path = format!("/exec/{}/start", segment(&id));
    let ask = Ask::post(&start_path).json(&start.into());
    if detach {
        session.engine.tell(ask)?;
        return Ok(exit::SUCCESS);
    }
    let signals = Signals::hold(SignalProxy::Off, tty && stdin)
        .map_err(|error| Failure::new(format!("cannot take signals over: {error}")))?;
    let response = session.engine.call(ask.upgraded())?;
    let hijacked = session.engine.hijack(response)?;
    let end = Relay {
        engine: &mut session.engine,
        hijacked,
        subject: Subject::Exec(id.clone()),
        tty,
        stdin,
        output: true,
        keys,
        signals: signals.as_ref(),
        ended: None,
    }
    .run()?;
    match end {
        End::Detached => return Err(Failure::new("read escape sequence")),
        End::Signal(signal) => return Ok(u8::try_from(128 + signal).unwrap_or(exit::FAILURE)),
        End::Closed => {}
    }
    let path = format!("/exec/{}/json", segment(&id));
    match session.engine.ask(Ask::get(&path)) {
        Ok(answer) => Ok(u8::try_from(number(&answer, "ExitCode") & 0xff).unwrap_or(exit::FAILURE)),
        // The daemon is gone: nobody knows how the command ended.
        Err(EngineError::Unreachable { .. }) => Ok(u8::MAX),
        Err(error) => Err(error.into()),
    }
}
