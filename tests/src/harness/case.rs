//! The form of a `.case` file, and its parser.
//!
//! ```text
//! # What it shows, in a sentence.
//! images: busybox            needed; loaded once for each engine
//! peer: skip, why            not run against dockerd
//! client: not 25.0 26.1, why these docker clients cannot do it
//! needs: podman conmon       programs; skipped without one
//!
//! $ docker run --rm busybox echo hi      run by `sh -c` in the engine's world
//! | hi                       standard output, line by line
//! |~ ^h                      a line that matches a regular expression
//! | ...                      any number of lines
//! ! oops                     standard error, in the same three forms
//! = 3                        exit code; 0 when it is not said
//! < typed                    standard input
//! @ 10                       again until it fits, for at most 10 seconds
//! ```
//!
//! A line that ends in `\` goes on in the next one. What is not expected must
//! not be there: a command with no `|` prints nothing. `$W` is an empty
//! directory of the case, `$IMAGES` holds the image tars.

use std::time::Duration;

pub use super::expect::Line;

/// A parsed `.case` file.
#[derive(Debug, Default)]
pub struct Case {
    /// Images that must be loaded before.
    pub images: Vec<String>,
    /// Why it is not held against dockerd, when it is not.
    pub peer_skip: Option<String>,
    /// Programs that it calls beside the usual ones.
    pub needs: Vec<String>,
    /// Docker clients it is not run with, and why.
    pub not_with: Option<NotWith>,
    /// Its commands in order.
    pub steps: Vec<Step>,
}

/// Docker clients that have a fault.
#[derive(Debug, PartialEq, Eq)]
pub struct NotWith {
    /// Their versions: major and minor number.
    pub versions: Vec<String>,
    /// What they do wrong.
    pub why: String,
}

/// One command and what it must do.
#[derive(Debug, Default)]
pub struct Step {
    /// Line number in the file, from 1.
    pub line: usize,
    /// For `sh -c`.
    pub command: String,
    /// Given on standard input.
    pub stdin: String,
    /// Expected standard output.
    pub stdout: Vec<Line>,
    /// Expected standard error.
    pub stderr: Vec<Line>,
    /// Expected exit code.
    pub code: i32,
    /// How long to try again.
    pub within: Duration,
}

/// Parses the text of a `.case` file.
///
/// # Errors
/// Names the line that has no meaning.
pub fn parse(text: &str) -> Result<Case, String> {
    let mut case = Case::default();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let (mark, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        let value = rest.strip_prefix(' ').unwrap_or(rest);
        if let Some(names) = line.strip_prefix("images:") {
            case.images = names.split_whitespace().map(str::to_owned).collect();
            continue;
        }
        if let Some(programs) = line.strip_prefix("needs:") {
            case.needs = programs.split_whitespace().map(str::to_owned).collect();
            continue;
        }
        if let Some(why) = line.strip_prefix("peer: skip") {
            case.peer_skip = Some(why.trim_start_matches([',', ' ']).to_owned());
            continue;
        }
        if let Some(clients) = line.strip_prefix("client: not ") {
            let (versions, why) = clients
                .split_once(',')
                .ok_or_else(|| format!("line {number}: no reason"))?;
            case.not_with = Some(NotWith {
                versions: versions.split_whitespace().map(str::to_owned).collect(),
                why: why.trim().to_owned(),
            });
            continue;
        }
        match mark {
            "" | "#" => continue,
            "$" => {
                let mut command = value.to_owned();
                while command.ends_with('\\') {
                    let (_, next) = lines.next().ok_or(format!("line {number}: no next line"))?;
                    command.truncate(command.len() - 1);
                    command.push_str(next.trim_start());
                }
                case.steps.push(Step {
                    line: number,
                    command,
                    ..Step::default()
                });
                continue;
            }
            _ => {}
        }
        let step = case
            .steps
            .last_mut()
            .ok_or_else(|| format!("line {number}: {line}: before any command"))?;
        match mark {
            "|" => step.stdout.push(expected(rest)),
            "!" => step.stderr.push(expected(rest)),
            "=" => step.code = number_of(value, number)?,
            "@" => step.within = Duration::from_secs(number_of(value, number)?),
            "<" => {
                step.stdin.push_str(value);
                step.stdin.push('\n');
            }
            _ => return Err(format!("line {number}: {line}: no such mark")),
        }
    }
    if case.steps.is_empty() {
        return Err("no command".to_owned());
    }
    Ok(case)
}

fn expected(rest: &str) -> Line {
    if let Some(regex) = rest.strip_prefix("~ ") {
        return Line::Regex(regex.to_owned());
    }
    match rest.strip_prefix(' ').unwrap_or(rest) {
        "..." => Line::Rest,
        text => Line::Exact(text.to_owned()),
    }
}

fn number_of<T: std::str::FromStr>(text: &str, line: usize) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("line {line}: {text}: not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_mark() {
        let case = parse(
            "# shows\nimages: busybox static\npeer: skip, newer\nclient: not 26.1 27.0, it drops it\nneeds: p q\n\n$ a \\\n  b\n< in\n| out\n|~ ^x\n| ...\n! err\n= 3\n@ 9\n",
        )
        .unwrap();
        assert_eq!(case.images, ["busybox", "static"]);
        assert_eq!(case.peer_skip.as_deref(), Some("newer"));
        let not_with = NotWith {
            versions: vec!["26.1".to_owned(), "27.0".to_owned()],
            why: "it drops it".to_owned(),
        };
        assert_eq!(case.not_with, Some(not_with));
        assert_eq!(case.needs, ["p", "q"]);
        let step = &case.steps[0];
        assert_eq!(
            (step.command.as_str(), step.stdin.as_str()),
            ("a b", "in\n")
        );
        assert_eq!(
            step.stdout,
            [
                Line::Exact("out".into()),
                Line::Regex("^x".into()),
                Line::Rest
            ]
        );
        assert_eq!((step.code, step.within.as_secs(), step.line), (3, 9, 7));
    }

    #[test]
    fn names_a_line_without_meaning() {
        for (text, part) in [
            ("| x", "before any command"),
            ("$ a\n= x", "not a number"),
            ("$ a\n% b", "no such mark"),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
