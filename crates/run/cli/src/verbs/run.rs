//! `run` and `create`.

use std::os::fd::AsFd;

use serde_json::Value;

use super::{Arity, Place, Verb, attach, items, text};
use crate::create::{Attachment, CreateRequest, Surroundings, reference, table};
use crate::engine::{Ask, EngineError, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Flag, Order, Parsed, STRING, SWITCH, flag, letter, quantity};
use crate::not_yet;
use crate::session::{PROGRAM, Session};
use crate::terminal::keys::DetachKeys;
use crate::terminal::relay::{End, Relay, SignalProxy, Signals, Subject};
use crate::terminal::{self};

static CLIENT: &[Flag] = &[
    letter(
        "detach",
        'd',
        SWITCH,
        "Print the container's id and leave it running",
    ),
    flag(
        "detach-keys",
        STRING,
        "Keys that leave the container running: ctrl-p,ctrl-q",
    ),
    flag(
        "sig-proxy",
        SWITCH,
        "Pass signals on to the container (default true)",
    ),
];

pub(super) static RUN: Verb = Verb {
    names: &["container run", "run"],
    place: Place::Common,
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Make a container from an image and run it",
    arity: Arity::AtLeast(1),
    order: Order::OptionsFirst,
    flags: &[
        ("Options", CLIENT),
        ("Container", table::CONTAINER),
        ("Storage", table::STORAGE),
        ("Network", table::NETWORKING),
        ("Resources", table::RESOURCES),
        ("Security", table::SECURITY),
    ],
    run,
};

pub(super) static CREATE: Verb = Verb {
    names: &["container create", "create"],
    place: Place::Plain,
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Make a container without starting it",
    arity: Arity::AtLeast(1),
    order: Order::OptionsFirst,
    flags: &[
        ("Options", table::CONTAINER),
        ("Storage", table::STORAGE),
        ("Network", table::NETWORKING),
        ("Resources", table::RESOURCES),
        ("Security", table::SECURITY),
    ],
    run: create,
};

/// A refusal before the container's program ran, as both verbs word it.
fn with_help(text: &str, verb: &str) -> Failure {
    Failure::new(format!(
        "{PROGRAM}: {text}\n\nRun '{PROGRAM} {verb} --help' for more information"
    ))
    .status(exit::BAD_FLAG)
}

/// The status tells a missing program and one that cannot be executed from
/// other refusals.
fn start_failure(error: &EngineError) -> Failure {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let status = if has(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        exit::NOT_FOUND
    } else if has(&["permission denied", "is a directory"]) {
        exit::NOT_EXECUTABLE
    } else {
        exit::BAD_FLAG
    };
    with_help(&text, "run").status(status)
}

fn read(
    session: &Session,
    parsed: &Parsed,
    attachment: Attachment,
    verb: &str,
) -> Result<CreateRequest, Failure> {
    for (flag, entry) in table::NOT_YET {
        if parsed.given(flag) {
            return Err(not_yet::flag(flag, entry));
        }
    }
    let pull = parsed.last("pull").unwrap_or("missing");
    if !matches!(pull, "always" | "missing" | "never" | "") {
        let text = format!(
            "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
        );
        return Err(with_help(&text, verb));
    }
    let surroundings = Surroundings {
        variable: &Session::variable,
        folder: session.folder(),
        add_proxies: &|variables| session.settings().add_proxies(&session.host, variables),
    };
    CreateRequest::read(parsed, &surroundings, attachment).map_err(|text| with_help(&text, verb))
}

/// The file that gets the container's id: it must be new.
struct IdFile {
    path: std::path::PathBuf,
    file: std::fs::File,
}

impl IdFile {
    fn make(parsed: &Parsed) -> Result<Option<Self>, Failure> {
        let path = std::path::PathBuf::from(parsed.text("cidfile"));
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        match std::fs::File::create_new(&path) {
            Ok(file) => Ok(Some(Self { path, file })),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Failure::new(format!(
                    "container ID file found, make sure the other container isn't running or delete {}",
                    path.display()
                )))
            }
            Err(error) => Err(Failure::new(format!(
                "failed to create the container ID file: open {}: {}",
                path.display(),
                crate::create::environment::go_reason(&error)
            ))),
        }
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        use std::io::Write;
        self.file.write_all(id.as_bytes()).map_err(|error| {
            Failure::new(format!(
                "failed to write the container ID ({id}) to the file: {error}"
            ))
        })
    }

    fn discard(self) {
        // It holds nothing yet; that it stays is no reason to fail.
        let _ = std::fs::remove_file(self.path);
    }
}

/// Creates the container; its id.
fn create_container(
    session: &mut Session,
    parsed: &Parsed,
    request: &CreateRequest,
) -> Result<String, CreateError> {
    let id_file = IdFile::make(parsed)?;
    let name = reference::familiar(&request.image).map_err(Failure::new)?;
    if parsed.text("pull") == "always" {
        return Err(not_yet::sentence("pull").into());
    }
    let ask = Ask::post("/containers/create")
        .with_some("name", parsed.last("name").filter(|name| !name.is_empty()))
        .with_some("platform", Session::platform(parsed))
        .body(request.bytes());
    let answer = match session.engine.ask(ask) {
        Ok(answer) => answer,
        Err(error) => {
            if let Some(file) = id_file {
                file.discard();
            }
            if let Some(name) =
                name.filter(|_| error.is_not_found() && parsed.text("pull") != "never")
                && !parsed.on("quiet")
            {
                session.warn(&format!("Unable to find image '{name}' locally"));
            }
            return Err(error.into());
        }
    };
    for warning in items(&answer, "Warnings") {
        session.warn(&format!(
            "WARNING: {}",
            warning.as_str().unwrap_or_default()
        ));
    }
    let id = text(&answer, "Id").to_owned();
    if let Some(file) = id_file {
        file.write(&id)?;
    }
    Ok(id)
}

/// Why there is no container: the engine's reason, or the client's.
enum CreateError {
    Engine(EngineError),
    Client(Failure),
}

impl From<EngineError> for CreateError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<Failure> for CreateError {
    fn from(failure: Failure) -> Self {
        Self::Client(failure)
    }
}

fn create(session: &mut Session, parsed: &Parsed) -> Outcome {
    let request = read(session, parsed, Attachment::Attached, "create")?;
    match create_container(session, parsed, &request) {
        Ok(id) => {
            session.line(&id);
            Ok(exit::SUCCESS)
        }
        Err(CreateError::Engine(error)) => Err(error.into()),
        Err(CreateError::Client(failure)) => Err(failure),
    }
}

fn run(session: &mut Session, parsed: &Parsed) -> Outcome {
    let attachment = if parsed.on("detach") {
        Attachment::Detached
    } else {
        Attachment::Attached
    };
    let mut request = read(session, parsed, attachment, "run")?;
    match attachment {
        Attachment::Attached => terminal::check_tty(request.attach_stdin, request.tty)?,
        Attachment::Detached if parsed.given("attach") => {
            return Err(Failure::new(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        Attachment::Detached => {}
    }
    let keys = DetachKeys::parse(&session.detach_keys(parsed)).map_err(Failure::new)?;
    if request.tty
        && let Some((rows, columns)) = terminal::size()
    {
        request.set_console(rows, columns);
    }
    let id = create_container(session, parsed, &request).map_err(|error| match error {
        CreateError::Engine(error) => start_failure(&error),
        CreateError::Client(failure) => {
            with_help(&failure.text, "run").status(failure.status.max(exit::BAD_FLAG))
        }
    })?;
    if !(request.attach_stdin || request.attach_stdout || request.attach_stderr) {
        let path = format!("/containers/{id}/start");
        session.line(&id);
        session
            .engine
            .tell(Ask::post(&path))
            .map_err(|error| start_failure(&error))?;
        return Ok(exit::SUCCESS);
    }
    attached(session, parsed, &request, &id, keys)
}

/// Attaches, starts, carries bytes, and ends as the container does.
fn attached(
    session: &mut Session,
    parsed: &Parsed,
    request: &CreateRequest,
    id: &str,
    keys: DetachKeys,
) -> Outcome {
    let proxy = if parsed.on_by_default("sig-proxy") {
        SignalProxy::On
    } else {
        SignalProxy::Off
    };
    let signals = Signals::hold(proxy, request.tty).map_err(|error| {
        Failure::new(format!("cannot take signals over: {error}")).status(exit::BAD_FLAG)
    })?;
    let streams = attach::Streams {
        stdin: request.attach_stdin,
        stdout: request.attach_stdout,
        stderr: request.attach_stderr,
    };
    let attach_path = format!("/containers/{}/attach", segment(id));
    let wait_path = format!("/containers/{}/wait", segment(id));
    // Both are on their way before either answer is read; the engine counts
    // the wait from the moment its headers are out.
    let condition = if request.auto_remove {
        "removed"
    } else {
        "next-exit"
    };
    let detach_keys = session.detach_keys(parsed);
    let engine = &mut session.engine;
    let sent_attach = engine.begin(&streams.ask(&attach_path, &detach_keys))?;
    let sent_wait = engine.begin(&Ask::post(&wait_path).with("condition", condition))?;
    let attached = engine.complete(sent_attach)?;
    let hijacked = engine.hijack(attached)?;
    let wait = engine.complete(sent_wait)?;
    let start_path = format!("/containers/{}/start", segment(id));
    if let Err(error) = engine.tell(Ask::post(&start_path)) {
        drop(hijacked);
        if request.auto_remove {
            // The container is gone before the user reads why.
            let _ = engine.finish(wait);
        }
        return Err(start_failure(&error));
    }
    let end = Relay {
        engine: &mut session.engine,
        hijacked,
        subject: Subject::Container(id.to_owned()),
        tty: request.tty,
        stdin: request.attach_stdin,
        output: request.attach_stdout || request.attach_stderr,
        keys,
        signals: signals.as_ref(),
        ended: Some(wait.as_fd()),
    }
    .run()?;
    match end {
        End::Detached => Ok(exit::SUCCESS),
        End::Signal(signal) => Ok(u8::try_from(128 + signal).unwrap_or(exit::FAILURE)),
        End::Closed => waited_while(session, wait, signals.as_ref(), id),
    }
}

/// Waits for the container's end, still passing signals on.
fn waited_while(
    session: &mut Session,
    wait: carrack_outbound::Response,
    signals: Option<&Signals>,
    id: &str,
) -> Outcome {
    if let Some(signals) = signals {
        signals.until_readable(&wait, &mut session.engine, id);
    }
    exit_status(session, wait)
}

/// The status in the answer to a wait.
pub(super) fn exit_status(session: &mut Session, wait: carrack_outbound::Response) -> Outcome {
    let bytes = match session.engine.finish(wait) {
        Ok(bytes) => bytes,
        Err(error) => {
            session.warn(&format!("error waiting for container: {error}"));
            return Ok(exit::BAD_FLAG);
        }
    };
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let message = text(&answer, "Error.Message");
    if !message.is_empty() {
        session.warn(&format!("Error waiting for container: {message}"));
        return Ok(exit::BAD_FLAG);
    }
    let Some(status) = answer["StatusCode"].as_i64() else {
        session.warn(&format!(
            "error waiting for container: {}",
            quantity::quote(&String::from_utf8_lossy(&bytes))
        ));
        return Ok(exit::BAD_FLAG);
    };
    Ok(u8::try_from(status & 0xff).unwrap_or(exit::FAILURE))
}
