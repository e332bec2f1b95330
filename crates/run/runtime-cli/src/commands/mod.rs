//! The commands, one module each.

mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod spec;
mod start;
mod state;
mod update;

use crate::arguments::Global;
use crate::arguments::{self, Command, Flag, GLOBAL, Parsed, Takes};
use crate::{Error, Programs, Result, not_yet, output};

/// A command's words, parsed, and what it needs besides.
pub(crate) struct Call<'a> {
    pub(crate) global: &'a Global,
    pub(crate) parsed: Parsed,
    pub(crate) programs: Programs,
}

struct Entry {
    name: &'static str,
    words: &'static str,
    about: &'static str,
    flags: &'static [Flag],
    run: fn(&Call<'_>) -> Result<u8>,
}

const COMMANDS: [Entry; 15] = [
    Entry {
        name: "create",
        words: "<container-id>",
        about: "Make a container from a bundle, up to its program",
        flags: create::CREATE_FLAGS,
        run: create::create,
    },
    Entry {
        name: "start",
        words: "<container-id>",
        about: "Run the program of a container that was made",
        flags: &[],
        run: start::start,
    },
    Entry {
        name: "run",
        words: "<container-id>",
        about: "Make a container and run its program",
        flags: create::RUN_FLAGS,
        run: create::run,
    },
    Entry {
        name: "exec",
        words: "<container-id> <command> [arguments]",
        about: "Run another program in a container",
        flags: exec::FLAGS,
        run: exec::exec,
    },
    Entry {
        name: "state",
        words: "<container-id>",
        about: "Print what is known of a container as JSON",
        flags: &[],
        run: state::state,
    },
    Entry {
        name: "list",
        words: "",
        about: "List the containers",
        flags: list::FLAGS,
        run: list::list,
    },
    Entry {
        name: "ps",
        words: "<container-id> [ps options]",
        about: "List a container's processes",
        flags: ps::FLAGS,
        run: ps::ps,
    },
    Entry {
        name: "kill",
        words: "<container-id> [signal]",
        about: "Send a signal (SIGTERM) to a container's first process",
        flags: kill::FLAGS,
        run: kill::kill,
    },
    Entry {
        name: "delete",
        words: "<container-id>",
        about: "Remove what a container that ended has left",
        flags: delete::FLAGS,
        run: delete::delete,
    },
    Entry {
        name: "pause",
        words: "<container-id>",
        about: "Freeze all processes of a container",
        flags: &[],
        run: pause::pause,
    },
    Entry {
        name: "resume",
        words: "<container-id>",
        about: "Let frozen processes go on",
        flags: &[],
        run: pause::resume,
    },
    Entry {
        name: "events",
        words: "<container-id>",
        about: "Print a container's statistics and OOM kills as JSON",
        flags: events::FLAGS,
        run: events::events,
    },
    Entry {
        name: "update",
        words: "<container-id>",
        about: "Change a container's limits",
        flags: update::FLAGS,
        run: update::update,
    },
    Entry {
        name: "spec",
        words: "",
        about: "Write a configuration to begin with",
        flags: spec::FLAGS,
        run: spec::spec,
    },
    Entry {
        name: "features",
        words: "",
        about: "Print what this runtime can do as JSON",
        flags: &[],
        run: features::features,
    },
];

/// Runs what a call says; its exit code.
pub(crate) fn run(global: &Global, command: Command, programs: Programs) -> Result<u8> {
    let (name, words) = match command {
        Command::Help => return print_help(),
        Command::Version => return print_version(),
        Command::Named(name, words) => (name, words),
    };
    let Some(entry) = COMMANDS.iter().find(|entry| entry.name == name) else {
        return Err(match name.as_str() {
            "checkpoint" | "restore" => Error::NotYet(not_yet::CHECKPOINT),
            "help" => return print_help(),
            _ => Error::Usage(format!("No help topic for '{name}'")),
        });
    };
    let parsed = arguments::parse(entry.flags, words)?;
    if parsed.help {
        return print_command(entry);
    }
    (entry.run)(&Call {
        global,
        parsed,
        programs,
    })
}

fn print_version() -> Result<u8> {
    output::line(format_args!(
        "carrack-runtime version {}",
        env!("CARGO_PKG_VERSION")
    ))?;
    output::line(format_args!("spec: {}", carrack_oci::runtime::SPEC_VERSION))?;
    Ok(0)
}

fn print_help() -> Result<u8> {
    output::line("Run containers from bundles of the Open Container Initiative, as runc does\n")?;
    output::line("Usage: carrack-runtime [options] <command> [options] …\n\nCommands:")?;
    for entry in &COMMANDS {
        output::line(format_args!("  {:<10}{}", entry.name, entry.about))?;
    }
    output::line("\nOptions:")?;
    print_flags(&GLOBAL)
}

fn print_command(entry: &Entry) -> Result<u8> {
    output::line(format_args!("{}\n", entry.about))?;
    output::line(format_args!(
        "Usage: carrack-runtime {} [options] {}",
        entry.name, entry.words
    ))?;
    if entry.flags.is_empty() {
        return Ok(0);
    }
    output::line("\nOptions:")?;
    print_flags(entry.flags)
}

fn print_flags(flags: &[Flag]) -> Result<u8> {
    for flag in flags {
        let names: Vec<String> = flag
            .names
            .iter()
            .map(|name| {
                if name.len() == 1 {
                    format!("-{name}")
                } else {
                    format!("--{name}")
                }
            })
            .collect();
        let value = if flag.takes == Takes::Value {
            " VALUE"
        } else {
            ""
        };
        output::line(format_args!(
            "  {:<28}{}",
            format!("{}{value}", names.join(", ")),
            flag.help
        ))?;
    }
    Ok(0)
}
