//! Usage and help, from the table of verbs.

use crate::flags::Flag;
use crate::not_yet;
use crate::session::PROGRAM;
use crate::terminal;
use crate::verbs::{Arity, MANAGEMENT, Place, VERBS, Verb};

/// The flags that stand before a verb.
pub(crate) static GLOBAL_HELP: &str = "\
Global Options:
  -H, --host string   Socket of the engine to talk to, unix://PATH; else
                      CARRACK_HOST, DOCKER_HOST or
                      unix:///run/carrack/carrack.sock
  -v, --version       Print the version and quit
";

/// The usage line of a verb, as it was called.
pub(crate) fn usage(verb: &Verb, called: &str) -> String {
    format!("Usage:  {PROGRAM} {called} {}", verb.usage)
        .trim_end()
        .to_owned()
}

/// What is wrong with the number of arguments, if it is.
pub(crate) fn arity_error(verb: &Verb, called: &str, count: usize) -> Option<String> {
    let arguments = |count: usize| if count == 1 { "argument" } else { "arguments" };
    let (problem, advice) = match verb.arity {
        Arity::None if count > 0 => ("accepts no arguments".to_owned(), "Run"),
        Arity::Exactly(wanted) if count != wanted => {
            (format!("requires {wanted} {}", arguments(wanted)), "Run")
        }
        Arity::AtLeast(least) if count < least => (
            format!("requires at least {least} {}", arguments(least)),
            "See",
        ),
        Arity::AtMost(most) if count > most => (
            format!("requires at most {most} {}", arguments(most)),
            "Run",
        ),
        Arity::Between(least, most) if count < least || count > most => (
            format!("requires at least {least} and at most {most} arguments"),
            "Run",
        ),
        _ => return None,
    };
    Some(format!(
        "{PROGRAM}: '{PROGRAM} {called}' {problem}\n\n{}\n\n{advice} '{PROGRAM} {called} --help' for more information",
        usage(verb, called)
    ))
}

/// The sentence about a flag that cannot be read.
pub(crate) fn flag_error(verb: &Verb, called: &str, reason: &str) -> String {
    format!(
        "{reason}\n\n{}\n\nRun '{PROGRAM} {called} --help' for more information",
        usage(verb, called)
    )
}

/// A verb's help.
pub(crate) fn verb(verb: &Verb, called: &str) -> String {
    let mut out = format!("{}\n\n{}\n", usage(verb, called), verb.about);
    if verb.names.len() > 1 {
        let names: Vec<String> = verb
            .names
            .iter()
            .map(|name| format!("{PROGRAM} {name}"))
            .collect();
        out.push_str(&format!("\nAliases:\n  {}\n", names.join(", ")));
    }
    let columns = terminal::columns();
    let width = verb
        .all_flags()
        .filter(|flag| !flag.help.is_empty())
        .map(|flag| left(flag).len())
        .max()
        .unwrap_or(0);
    for (title, flags) in verb.flags {
        let mut flags: Vec<&Flag> = flags.iter().filter(|flag| !flag.help.is_empty()).collect();
        flags.sort_by_key(|flag| flag.long);
        if flags.is_empty() {
            continue;
        }
        out.push_str(&format!("\n{title}:\n"));
        for flag in flags {
            out.push_str(&wrapped(&left(flag), width, flag.help, columns));
        }
    }
    out
}

/// A flag's names and its value's word.
fn left(flag: &Flag) -> String {
    let short = flag
        .short
        .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    format!("  {short}--{} {}", flag.long, flag.kind.word)
        .trim_end()
        .to_owned()
}

/// Two columns, the second wrapped at the terminal's edge.
fn wrapped(left: &str, width: usize, right: &str, columns: usize) -> String {
    let room = columns.saturating_sub(width + 3).max(24);
    let mut out = format!("{left:width$}   ");
    let mut used = 0;
    for word in right.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            out.push_str(&format!("\n{:1$}", "", width + 3));
            used = 0;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out.push('\n');
    out
}

fn commands(title: &str, commands: &[(&str, &str)]) -> String {
    let mut out = format!("\n{title}:\n");
    for (name, about) in commands {
        out.push_str(&format!("  {name:<11} {about}\n"));
    }
    out
}

/// The program's help.
pub(crate) fn program() -> String {
    let of_place = |place: Place| -> Vec<(&str, &str)> {
        VERBS
            .iter()
            .filter(|verb| verb.place == place)
            .filter_map(|verb| verb.short_name().map(|name| (name, verb.about)))
            .collect()
    };
    let mut out = format!("Usage:  {PROGRAM} [OPTIONS] COMMAND\n\nContainers in milliseconds\n");
    out.push_str(&commands("Common Commands", &of_place(Place::Common)));
    out.push_str(&commands("Management Commands", MANAGEMENT));
    out.push_str(&commands("Commands", &of_place(Place::Plain)));
    out.push_str(&commands(
        "Other Commands",
        &[
            ("completion", "Print the completion script of a shell"),
            ("daemon", "Run the engine"),
        ],
    ));
    out.push_str(&format!(
        "\nNot Yet:\n{}",
        wrapped("  ", 2, &not_yet::COMMANDS.join(" "), terminal::columns()).replace("     ", "  ")
    ));
    out.push_str(&format!(
        "\n{GLOBAL_HELP}\nRun '{PROGRAM} COMMAND --help' for more information on a command.\n"
    ));
    out
}

/// The help of a management command, `None` where there is none of that name.
pub(crate) fn management(name: &str) -> Option<String> {
    let (_, about) = MANAGEMENT.iter().find(|(known, _)| *known == name)?;
    let prefix = format!("{name} ");
    let mut below: Vec<(&str, &str)> = VERBS
        .iter()
        .filter_map(|verb| {
            let full = verb.names.iter().find(|full| full.starts_with(&prefix))?;
            Some((&full[prefix.len()..], verb.about))
        })
        .collect();
    below.sort_unstable();
    Some(format!(
        "Usage:  {PROGRAM} {name} COMMAND\n\n{about}\n{}\nRun '{PROGRAM} {name} COMMAND --help' for more information on a command.\n",
        commands("Commands", &below)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_help_that_fits() {
        for verb_of_all in VERBS {
            let text = verb(verb_of_all, verb_of_all.names[0]);
            assert!(text.starts_with("Usage:  carrack "), "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= 120),
                "{text}"
            );
            let mut seen = Vec::new();
            for flag in verb_of_all.all_flags() {
                assert!(
                    !seen.contains(&flag.long),
                    "{} has --{} twice",
                    verb_of_all.names[0],
                    flag.long
                );
                seen.push(flag.long);
            }
            let mut letters: Vec<char> = verb_of_all
                .all_flags()
                .filter_map(|flag| flag.short)
                .collect();
            letters.sort_unstable();
            let count = letters.len();
            letters.dedup();
            assert_eq!(
                letters.len(),
                count,
                "{} has a letter twice",
                verb_of_all.names[0]
            );
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = VERBS
            .iter()
            .flat_map(|verb| verb.names.iter().copied())
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
