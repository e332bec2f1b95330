//! Colour, for people alone: a pipe, a file, `NO_COLOR` and a dumb terminal
//! get the same text without it.
//!
//! Nothing is said by colour only.

use std::ffi::OsString;

use rustix::termios::isatty;

const BOLD: &str = "\x1b[1m";
const BOLD_RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// A stream of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

/// How a text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Colour,
    Plain,
}

impl Paint {
    /// What suits a stream.
    pub(crate) fn of(stream: Stream) -> Self {
        let is_terminal = match stream {
            Stream::Output => isatty(rustix::stdio::stdout()),
            Stream::Error => isatty(rustix::stdio::stderr()),
        };
        if is_terminal {
            Self::wanted(|name| std::env::var_os(name))
        } else {
            Self::Plain
        }
    }

    /// What the user says of terminals: <https://no-color.org>.
    fn wanted(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if refused || dumb {
            Self::Plain
        } else {
            Self::Colour
        }
    }

    /// The first line of a failure stands out.
    pub(crate) fn failure(self, text: &str) -> String {
        self.first_line(BOLD_RED, text)
    }

    /// The titles of a table.
    pub(crate) fn table(self, text: &str) -> String {
        self.first_line(BOLD, text)
    }

    /// The headings of a help: lines that begin at the edge and end with a
    /// colon, and the word before a usage.
    pub(crate) fn help(self, text: &str) -> String {
        if self == Self::Plain {
            return text.to_owned();
        }
        let paint = |line: &str| match line.strip_prefix("Usage:") {
            Some(usage) => format!("{BOLD}Usage:{PLAIN}{usage}"),
            None if line.ends_with(':') && !line.starts_with(' ') => {
                format!("{BOLD}{line}{PLAIN}")
            }
            None => line.to_owned(),
        };
        text.split('\n').map(paint).collect::<Vec<_>>().join("\n")
    }

    fn first_line(self, colour: &str, text: &str) -> String {
        let (first, rest) = match text.find('\n') {
            Some(end) => text.split_at(end),
            None => (text, ""),
        };
        match self {
            Self::Colour if !first.is_empty() => format!("{colour}{first}{PLAIN}{rest}"),
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_that_want_it() {
        let check = |variables: &[(&str, &str)], expected| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            assert_eq!(Paint::wanted(variable), expected, "{variables:?}");
        };
        check(&[("TERM", "xterm")], Paint::Colour);
        check(&[("TERM", "xterm"), ("NO_COLOR", "")], Paint::Colour);
        check(&[("TERM", "xterm"), ("NO_COLOR", "1")], Paint::Plain);
        check(&[("TERM", "dumb")], Paint::Plain);
        check(&[], Paint::Plain);
    }

    #[test]
    fn the_text_stays_as_it_is() {
        let help =
            "Usage:  carrack ps [OPTIONS]\n\nList containers\n\nOptions:\n  -a, --all   All:\n";
        assert_eq!(Paint::Plain.help(help), help);
        let painted = Paint::Colour.help(help);
        assert_eq!(painted.matches(BOLD).count(), 2);
        assert_eq!(painted.replace(BOLD, "").replace(PLAIN, ""), help);
        assert_eq!(
            Paint::Colour.failure("no\nand why"),
            "\x1b[1;31mno\x1b[0m\nand why"
        );
        assert_eq!(Paint::Colour.failure(""), "");
    }
}
