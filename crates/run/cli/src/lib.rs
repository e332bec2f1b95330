//! The engine's client: docker's verbs, flags, names, exit codes and tables.
//!
//! `bin/carrack` calls [`run`] with the program's arguments for everything
//! that is no server. The client talks the Docker Engine API over a Unix
//! socket, through `carrack-outbound`; it knows no other crate of the engine,
//! so it serves against any engine that speaks the API.
//!
//! It must start in well under a millisecond: it is synchronous, its tables
//! are static, and nothing is read, opened or spawned before the verb needs
//! it.
#![forbid(unsafe_code)]

mod completion;
mod copy;
mod create;
mod engine;
mod failure;
mod flags;
mod help;
mod not_yet;
mod session;
mod settings;
mod show;
mod template;
mod terminal;
mod verbs;

use std::ffi::OsString;

use engine::Engine;
use engine::host::Host;
use failure::{Failure, Outcome, exit};
use flags::{Flag, Order, ParseError, Parsed, STRING, SWITCH, flag, letter};
use session::{PROGRAM, Session};
use terminal::paint::{Paint, Stream};

/// Flags that stand before the verb. Those without help are docker's that
/// have no meaning here and do no harm.
static GLOBAL: &[Flag] = &[
    letter("host", 'H', STRING, "Socket of the engine"),
    letter("version", 'v', SWITCH, "Print the version and quit"),
    letter("debug", 'D', SWITCH, ""),
    letter("log-level", 'l', STRING, ""),
    letter("context", 'c', STRING, ""),
    flag("config", STRING, ""),
];

/// Runs a command line, without the program's name, and gives its exit
/// status. Everything that the user is to read has been written.
#[must_use]
pub fn run(args: impl Iterator<Item = OsString>) -> u8 {
    match words(args).and_then(|words| dispatch(&words)) {
        Ok(status) => status,
        Err(failure) => {
            if !failure.text.is_empty() {
                let text = Paint::of(Stream::Error).failure(&failure.text);
                let _ = terminal::write_stderr(format!("{text}\n").as_bytes());
            }
            failure.status
        }
    }
}

fn words(args: impl Iterator<Item = OsString>) -> Result<Vec<String>, Failure> {
    args.map(|word| {
        word.into_string().map_err(|word| {
            Failure::new(format!(
                "{PROGRAM}: the argument {} is not UTF-8",
                word.to_string_lossy()
            ))
            .status(exit::BAD_FLAG)
        })
    })
    .collect()
}

fn print(text: &str) -> Outcome {
    let _ = terminal::write_stdout(text.as_bytes());
    Ok(exit::SUCCESS)
}

fn print_help(text: &str) -> Outcome {
    print(&Paint::of(Stream::Output).help(text))
}

fn dispatch(words: &[String]) -> Outcome {
    let global = match Parsed::read(words, GLOBAL.iter(), Order::OptionsFirst) {
        Ok(global) => global,
        Err(ParseError::Help) => return print_help(&help::program()),
        Err(ParseError::Bad(reason)) => {
            return Err(Failure::new(format!(
                "{reason}\n\nUsage:  {PROGRAM} [OPTIONS] COMMAND [ARG...]\n\nRun '{PROGRAM} --help' for more information"
            ))
            .status(exit::BAD_FLAG));
        }
    };
    if global.on("version") {
        return print(&format!("Carrack version {}\n", env!("CARGO_PKG_VERSION")));
    }
    let rest = &global.args;
    let Some(first) = rest.first() else {
        return print_help(&help::program());
    };
    match first.as_str() {
        "help" => return topic(&rest[1..]),
        "completion" => return complete(&rest[1..]),
        completion::ASK => {
            let mut engine = Engine::new(&Host::choose(global.last("host"), Session::variable)?);
            return print(&(completion::candidates(&rest[1..], &mut engine).join("\n") + "\n"));
        }
        _ => {}
    }
    let (name, arguments) = name(rest)?;
    let Some(verb) = verbs::find(&name) else {
        return group(&name, arguments);
    };
    let parsed = match Parsed::read(arguments, verb.all_flags(), verb.order) {
        Ok(parsed) => parsed,
        Err(ParseError::Help) => return print_help(&help::verb(verb, &name)),
        Err(ParseError::Bad(reason)) => {
            return Err(Failure::new(help::flag_error(verb, &name, &reason)).status(exit::BAD_FLAG));
        }
    };
    if let Some(text) = help::arity_error(verb, &name, parsed.args.len()) {
        return Err(Failure::new(text));
    }
    let host = Host::choose(global.last("host"), Session::variable)?;
    let mut session = Session {
        engine: Engine::new(&host),
        host: host.text,
        settings: std::cell::OnceCell::new(),
    };
    (verb.run)(&mut session, &parsed)
}

/// The verb's name, one word or two, and what follows it.
fn name(words: &[String]) -> Result<(String, &[String]), Failure> {
    let Some((first, rest)) = words.split_first() else {
        return Ok((String::new(), words));
    };
    let is_group = verbs::MANAGEMENT.iter().any(|(name, _)| name == first);
    match rest.split_first() {
        Some((second, rest)) if is_group && !second.starts_with('-') => {
            let full = format!("{first} {second}");
            if not_yet::MANAGED.contains(&full.as_str()) {
                return Err(not_yet::sentence(&full));
            }
            if verbs::find(&full).is_none() {
                return Err(Failure::new(format!(
                    "{PROGRAM}: unknown command: {PROGRAM} {full}\n\nUsage:  {PROGRAM} {first} COMMAND\n\n\
                     Run '{PROGRAM} {first} --help' for more information"
                )));
            }
            Ok((full, rest))
        }
        _ if not_yet::COMMANDS.contains(&first.as_str()) => Err(not_yet::sentence(first)),
        _ => Ok((first.clone(), rest)),
    }
}

/// A management command without a verb, or nothing that is known.
fn group(name: &str, arguments: &[String]) -> Outcome {
    let Some(text) = help::management(name) else {
        return Err(Failure::new(format!(
            "{PROGRAM}: unknown command: {PROGRAM} {name}\n\nRun '{PROGRAM} --help' for more information"
        )));
    };
    match arguments.first().map(String::as_str) {
        None | Some("--help" | "-h") => print_help(&text),
        Some(flag) => Err(Failure::new(format!(
            "unknown flag: {flag}\n\nUsage:  {PROGRAM} {name} COMMAND\n\nRun '{PROGRAM} {name} --help' for more information"
        ))
        .status(exit::BAD_FLAG)),
    }
}

fn topic(words: &[String]) -> Outcome {
    if words.is_empty() {
        return print_help(&help::program());
    }
    let name = words.join(" ");
    match verbs::find(&name) {
        Some(verb) => print_help(&help::verb(verb, &name)),
        None => match help::management(&name) {
            Some(text) => print_help(&text),
            None => Err(Failure::new(format!("unknown help topic: {name}"))),
        },
    }
}

fn complete(words: &[String]) -> Outcome {
    match words {
        [shell] => match completion::script(shell) {
            Some(script) => print(script),
            None if shell.starts_with('-') => print(&completion::help()),
            None => Err(Failure::new(format!(
                "{PROGRAM}: there is no completion for {shell}; try bash, zsh or fish"
            ))),
        },
        _ => print(&completion::help()),
    }
}
