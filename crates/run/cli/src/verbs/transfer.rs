//! `load`, `import`, `save`: images as files.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use serde_json::Value;

use super::images::platform;
use super::{Arity, Place, Verb, number, text};
use crate::create::environment::go_reason;
use crate::create::reference;
use crate::engine::{Ask, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{LIST, Order, Parsed, STRING, SWITCH, flag, letter};
use crate::session::Session;
use crate::show::units::decimal_size;
use crate::terminal;

pub(super) static LOAD: Verb = Verb {
    names: &["image load", "load"],
    place: Place::Plain,
    usage: "[OPTIONS]",
    about: "Load images from an archive",
    arity: Arity::None,
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "input",
                'i',
                STRING,
                "Read from this file, not from standard input",
            ),
            flag("platform", LIST, "Only of this platform"),
            letter("quiet", 'q', SWITCH, "Do not show progress"),
        ],
    )],
    run: load,
};

pub(super) static IMPORT: Verb = Verb {
    names: &["image import", "import"],
    place: Place::Plain,
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Make an image of the files in an archive",
    arity: Arity::AtLeast(1),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "change",
                'c',
                LIST,
                "Apply a Dockerfile instruction to the image",
            ),
            letter("message", 'm', STRING, "Message of the image's history"),
            flag("platform", STRING, "Platform of the image"),
        ],
    )],
    run: import,
};

pub(super) static SAVE: Verb = Verb {
    names: &["image save", "save"],
    place: Place::Plain,
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Write images to an archive",
    arity: Arity::AtLeast(1),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "output",
                'o',
                STRING,
                "Write to this file, not to standard output",
            ),
            flag("platform", LIST, "Only of this platform"),
        ],
    )],
    run: save,
};

fn open(path: &str) -> Result<Box<dyn Read + Send>, Failure> {
    let file = File::open(path)
        .map_err(|error| Failure::new(format!("open {path}: {}", go_reason(&error))))?;
    Ok(Box::new(file))
}

fn load(session: &mut Session, parsed: &Parsed) -> Outcome {
    let source: Box<dyn Read + Send> = match parsed.text("input") {
        "" if terminal::stdin_is_terminal() => {
            return Err(Failure::new(
                "requested load from stdin, but stdin is empty",
            ));
        }
        "" => Box::new(io::stdin()),
        path => open(path)?,
    };
    let quiet = parsed.on("quiet") || !terminal::stdout_is_terminal();
    let ask = Ask::post("/images/load")
        .with("quiet", if quiet { "1" } else { "0" })
        .with_some("platform", platform(parsed)?);
    let response = session.engine.upload(&ask, source)?;
    let is_json = response
        .head
        .field("content-type")
        .is_some_and(|kind| kind.starts_with("application/json"));
    if !is_json {
        let mut body = response.into_body();
        return io::copy(&mut body, &mut terminal::Stdout)
            .map(|_| exit::SUCCESS)
            .map_err(|error| Failure::new(go_reason(&error)));
    }
    messages(session, response)
}

fn import(session: &mut Session, parsed: &Parsed) -> Outcome {
    let from = parsed.args[0].as_str();
    let (repository, tag) = match parsed.args.get(1).map(String::as_str) {
        None => (String::new(), String::new()),
        Some(name) => {
            let familiar = reference::familiar(name)
                .map_err(Failure::new)?
                .unwrap_or_else(|| name.to_owned());
            let (repository, tag) = familiar.rsplit_once(':').unwrap_or((&familiar, "latest"));
            (repository.to_owned(), tag.to_owned())
        }
    };
    let is_url = from.starts_with("http://") || from.starts_with("https://");
    let mut ask = Ask::post("/images/create")
        .with("fromSrc", if is_url { from } else { "-" })
        .with_some(
            "repo",
            Some(repository).filter(|repository| !repository.is_empty()),
        )
        .with_some("tag", Some(tag).filter(|tag| !tag.is_empty()))
        .with_some(
            "message",
            parsed.last("message").filter(|message| !message.is_empty()),
        )
        .with_some("platform", Session::platform(parsed));
    for change in parsed.all("change") {
        ask = ask.with("changes", change);
    }
    let response = if is_url {
        session.engine.call(ask)?
    } else {
        let source = if from == "-" {
            Box::new(io::stdin())
        } else {
            open(from)?
        };
        session.engine.upload(&ask, source)?
    };
    messages(session, response)
}

/// Prints the messages that the engine sends while it works; an error among
/// them is the command's.
fn messages(session: &mut Session, response: carrack_outbound::Response) -> Outcome {
    let upload_error = |response: &carrack_outbound::Response| {
        response
            .upload_error()
            .map(|error| Failure::new(crate::engine::chain(&error)))
    };
    let early = upload_error(&response);
    if let Some(failure) = early {
        return Err(failure);
    }
    let on_terminal = terminal::stdout_is_terminal();
    let mut progress_shown = false;
    let body = BufReader::new(response.into_body());
    for message in serde_json::Deserializer::from_reader(body).into_iter::<Value>() {
        let message = message.map_err(|error| Failure::new(error.to_string()))?;
        let error = text(&message, "errorDetail.message");
        let error = if error.is_empty() {
            text(&message, "error")
        } else {
            error
        };
        if !error.is_empty() {
            return Err(Failure::new(error));
        }
        let current = number(&message, "progressDetail.current");
        if current > 0 {
            // Progress is for people who watch: one line that changes.
            if on_terminal {
                session.print(&format!(
                    "\r\x1b[K{}: {} {}",
                    text(&message, "id"),
                    text(&message, "status"),
                    decimal_size(current as f64, 4)
                ));
                progress_shown = true;
            }
            continue;
        }
        if progress_shown {
            session.print("\r\x1b[K");
            progress_shown = false;
        }
        let stream = text(&message, "stream");
        if !stream.is_empty() {
            session.print(stream);
        } else if !text(&message, "status").is_empty() {
            let id = text(&message, "id");
            let prefix = if id.is_empty() {
                String::new()
            } else {
                format!("{id}: ")
            };
            session.line(&format!("{prefix}{}", text(&message, "status")));
        }
    }
    Ok(exit::SUCCESS)
}

fn save(session: &mut Session, parsed: &Parsed) -> Outcome {
    let output = parsed.text("output");
    if output.is_empty() && terminal::stdout_is_terminal() {
        return Err(Failure::new(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect",
        ));
    }
    if !output.is_empty() {
        let parent = std::path::Path::new(output)
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !parent.exists()) {
            return Err(Failure::new(format!(
                "failed to save image: invalid output path: stat {}: no such file or directory",
                parent.display()
            )));
        }
    }
    let failed = |error: io::Error| Failure::new(go_reason(&error));
    let single = if let [name] = parsed.args.as_slice() {
        Some(format!("/images/{}/get", segment(name)))
    } else {
        None
    };
    let mut ask = match &single {
        Some(path) => Ask::get(path),
        None => Ask::get("/images/get"),
    };
    if single.is_none() {
        for name in &parsed.args {
            ask = ask.with("names", name);
        }
    }
    let response = session
        .engine
        .call(ask.with_some("platform", platform(parsed)?))?;
    let mut body = response.into_body();
    if output.is_empty() {
        io::copy(&mut body, &mut terminal::Stdout).map_err(failed)?;
        return Ok(exit::SUCCESS);
    }
    // The name stands for a whole archive or for what was there before.
    let part = format!("{output}.{}.part", std::process::id());
    let written = File::create_new(&part).and_then(|mut file| {
        io::copy(&mut body, &mut file)?;
        file.flush()?;
        std::fs::rename(&part, output)
    });
    if let Err(error) = written {
        let _ = std::fs::remove_file(&part);
        return Err(Failure::new(format!(
            "failed to save image: {}",
            go_reason(&error)
        )));
    }
    Ok(exit::SUCCESS)
}
