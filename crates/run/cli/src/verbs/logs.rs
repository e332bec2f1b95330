//! `logs`.

use std::io::Read;

use super::{Arity, Place, Verb, at, text};
use crate::create::environment::go_reason;
use crate::engine::frames::{Frames, Stream};
use crate::engine::{Ask, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Order, Parsed, STRING, SWITCH, flag, letter};
use crate::session::Session;
use crate::show::time::engine_timestamp;
use crate::terminal::{write_stderr, write_stdout};

pub(super) static LOGS: Verb = Verb {
    names: &["container logs", "logs"],
    place: Place::Plain,
    usage: "[OPTIONS] CONTAINER",
    about: "Show what a container has printed",
    arity: Arity::Exactly(1),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            flag("details", SWITCH, "Show what the log driver adds"),
            letter("follow", 'f', SWITCH, "Go on as lines come"),
            flag(
                "since",
                STRING,
                "From this moment on: 2013-01-02T13:23:37Z, or 42m ago",
            ),
            letter("tail", 'n', STRING, "How many lines of the end, or all"),
            letter("timestamps", 't', SWITCH, "Show when each line came"),
            flag(
                "until",
                STRING,
                "Up to this moment: 2013-01-02T13:23:37Z, or 42m ago",
            ),
        ],
    )],
    run: logs,
};

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

fn logs(session: &mut Session, parsed: &Parsed) -> Outcome {
    let inspect_path = format!("/containers/{}/json", segment(&parsed.args[0]));
    let container = session.engine.ask(Ask::get(&inspect_path))?;
    let moment = |name: &str| -> Result<Option<String>, Failure> {
        match parsed.text(name) {
            "" => Ok(None),
            text => engine_timestamp(text)
                .map(Some)
                .map_err(|reason| Failure::new(format!("invalid value for \"{name}\": {reason}"))),
        }
    };
    let path = format!("/containers/{}/logs", segment(text(&container, "Id")));
    let ask = Ask::get(&path)
        .with("stdout", "1")
        .with("stderr", "1")
        .with_some("since", moment("since")?)
        .with_some("until", moment("until")?)
        .with_if("timestamps", parsed.on("timestamps"))
        .with_if("details", parsed.on("details"))
        .with_if("follow", parsed.on("follow"))
        .with("tail", parsed.last("tail").unwrap_or("all"));
    let response = session.engine.call(ask)?;
    let mut body = response.into_body();
    let mut frames =
        (!at(&container, "Config.Tty").as_bool().unwrap_or(false)).then(Frames::default);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => return Ok(exit::SUCCESS),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::new(go_reason(&error))),
        };
        let mut written = Ok(());
        match &mut frames {
            None => written = write_stdout(&buffer[..read]),
            Some(frames) => frames
                .feed(&buffer[..read], |stream, payload| {
                    if written.is_ok() {
                        written = match stream {
                            Stream::Out => write_stdout(payload),
                            Stream::Err => write_stderr(payload),
                        };
                    }
                })
                .map_err(|error| Failure::new(error.to_string()))?,
        }
        // Nobody reads any more.
        if written.is_err() {
            return Ok(exit::FAILURE);
        }
    }
}
