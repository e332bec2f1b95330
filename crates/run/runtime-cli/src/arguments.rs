//! Arguments as runc's own parser takes them: long names with one dash or two,
//! values behind `=` or as the next word, flags before what is positional.

use std::path::PathBuf;

use crate::{Error, Result};

/// Where containers are kept when nobody says.
const DEFAULT_ROOT: &str = "/run/carrack-runtime";

/// A flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Its names, the long one first.
    pub(crate) names: &'static [&'static str],
    /// What follows it.
    pub(crate) takes: Takes,
    /// For `--help`.
    pub(crate) help: &'static str,
}

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing.
    Nothing,
    /// A value.
    Value,
}

/// A flag without a value.
pub(crate) const fn switch(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag {
        names,
        takes: Takes::Nothing,
        help,
    }
}

/// A flag with a value.
pub(crate) const fn value(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag {
        names,
        takes: Takes::Value,
        help,
    }
}

/// Flags that were given, and the words behind them.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    values: Vec<(&'static str, String)>,
    /// What is positional.
    pub(crate) rest: Vec<String>,
    /// `--help` was among them.
    pub(crate) help: bool,
}

impl Parsed {
    /// The last value of a flag, by its long name.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let mut given = self.values.iter().rev();
        given.find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// All values of a flag.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let given = self.values.iter().filter(|(n, _)| *n == name);
        given.map(|(_, v)| v.as_str()).collect()
    }

    /// Whether a flag without a value was given.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value != "false")
    }

    /// The value of a flag as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.value(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Error::Usage(format!(
                        "invalid value {text:?} for flag -{name}: it must be a number"
                    ))
                })
            })
            .transpose()
    }

    /// Exactly `count` positional words.
    pub(crate) fn exactly(&self, command: &str, count: usize) -> Result<&[String]> {
        if self.rest.len() == count {
            Ok(&self.rest)
        } else {
            Err(Error::Usage(format!(
                "{command:?} requires exactly {count} argument(s)"
            )))
        }
    }
}

/// Parses words by a table of flags.
pub(crate) fn parse(flags: &[Flag], words: Vec<String>) -> Result<Parsed> {
    let mut parsed = Parsed::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.rest.extend(words);
            break;
        }
        let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            parsed.rest.push(word);
            parsed.rest.extend(words);
            break;
        };
        let (name, attached) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        if matches!(name, "help" | "h") {
            parsed.help = true;
            continue;
        }
        let flag = flags.iter().find(|flag| flag.names.contains(&name));
        let flag =
            flag.ok_or_else(|| Error::Usage(format!("flag provided but not defined: -{name}")))?;
        let value = match (flag.takes, attached) {
            (_, Some(value)) => value,
            (Takes::Nothing, None) => "true".to_owned(),
            (Takes::Value, None) => words
                .next()
                .ok_or_else(|| Error::Usage(format!("flag needs an argument: -{name}")))?,
        };
        parsed.values.push((flag.names[0], value));
    }
    Ok(parsed)
}

/// How records of `--log` are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// `key=value`.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// What is said before the command.
#[derive(Clone, Debug)]
pub(crate) struct Global {
    /// Where containers are kept.
    pub(crate) root: PathBuf,
    /// Where failures are written.
    pub(crate) log: Option<PathBuf>,
    /// How.
    pub(crate) log_format: LogFormat,
    /// Control groups are systemd's to make.
    pub(crate) systemd_cgroup: bool,
}

/// Flags before the command.
pub(crate) const GLOBAL: [Flag; 8] = [
    value(&["root"], "directory of the containers' state"),
    value(&["log"], "file that failures are written to"),
    value(&["log-format"], "text or json"),
    switch(&["debug"], "accepted for runc's callers"),
    switch(&["systemd-cgroup"], "let systemd make the control groups"),
    value(&["criu"], "accepted for runc's callers"),
    value(
        &["rootless"],
        "true, false or auto; without root nothing runs yet",
    ),
    switch(&["version", "v"], "print the version"),
];

/// The command, and its own words.
#[derive(Debug)]
pub(crate) enum Command {
    /// One of the table.
    Named(String, Vec<String>),
    /// `--version`.
    Version,
    /// `--help`, or nothing at all.
    Help,
}

impl Global {
    /// Splits the words of a call.
    pub(crate) fn parse(words: Vec<String>) -> Result<(Self, Command)> {
        let mut parsed = parse(&GLOBAL, words)?;
        let log_format = match parsed.value("log-format") {
            None | Some("" | "text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                return Err(Error::Usage(format!("invalid log-format: {other:?}")));
            }
        };
        let path = |name| {
            parsed
                .value(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let global = Self {
            root: path("root").unwrap_or_else(|| DEFAULT_ROOT.into()),
            log: path("log"),
            log_format,
            systemd_cgroup: parsed.is_set("systemd-cgroup"),
        };
        let command = if parsed.is_set("version") {
            Command::Version
        } else if parsed.rest.is_empty() || parsed.help {
            Command::Help
        } else {
            let rest = parsed.rest.split_off(1);
            Command::Named(parsed.rest.remove(0), rest)
        };
        Ok((global, command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_end_where_the_positional_words_begin() {
        let flags = [value(&["signal", "s"], ""), switch(&["all", "a"], "")];
        let parsed = parse(&flags, words("-s=9 --all id -a --signal 3")).expect("good");
        assert_eq!(parsed.value("signal"), Some("9"));
        assert!(parsed.is_set("all"));
        assert_eq!(parsed.rest, ["id", "-a", "--signal", "3"]);
        let parsed = parse(&flags, words("--all=false -- -id")).expect("good");
        assert!(!parsed.is_set("all"));
        assert_eq!(parsed.rest, ["-id"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let flags = [value(&["signal"], "")];
        for (text, part) in [
            ("--nope", "flag provided but not defined: -nope"),
            ("--signal", "flag needs an argument: -signal"),
        ] {
            let error = parse(&flags, words(text)).expect_err(text);
            assert_eq!(error.to_string(), part);
        }
        let error = Global::parse(words("--log-format=xml state x")).expect_err("xml");
        assert_eq!(error.to_string(), "invalid log-format: \"xml\"");
    }

    #[test]
    fn callers_words_are_split() {
        let (global, command) =
            Global::parse(words("--root /r --log /l --log-format json state c")).expect("good");
        assert_eq!(global.root, PathBuf::from("/r"));
        assert_eq!(global.log_format, LogFormat::Json);
        assert!(matches!(command, Command::Named(name, rest) if name == "state" && rest == ["c"]));
    }
}
