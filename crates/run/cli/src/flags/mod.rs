//! Flags with the rules of docker's own parser.
//!
//! docker's users have these rules in their scripts: `-it`, `-p80:80`,
//! `--rm=false`, `-e A=1 -e B=2`, options that end at the image's name. A
//! verb's flags are a static table, which costs nothing until it is searched;
//! help and completion read the same table.

pub(crate) mod quantity;

use quantity::quote;

/// What a flag takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Its word in the help; empty for a switch.
    pub(crate) word: &'static str,
    /// Judges a value while the command line is read.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

impl Kind {
    pub(crate) const fn new(word: &'static str, check: fn(&str) -> Result<(), String>) -> Self {
        Self { word, check }
    }

    fn is_switch(self) -> bool {
        self.word.is_empty()
    }
}

fn any(_: &str) -> Result<(), String> {
    Ok(())
}

/// On or off.
pub(crate) const SWITCH: Kind = Kind::new("", |text| {
    switch(text)
        .map(|_| ())
        .ok_or_else(|| format!("strconv.ParseBool: parsing {}: invalid syntax", quote(text)))
});
/// Any text; the last one counts.
pub(crate) const STRING: Kind = Kind::new("string", any);
/// Any text, any number of times.
pub(crate) const LIST: Kind = Kind::new("list", any);
/// A whole number.
pub(crate) const INT: Kind = Kind::new("int", |text| quantity::signed(text, 64).map(|_| ()));
/// A whole number from 0 to 65,535.
pub(crate) const UINT16: Kind =
    Kind::new("uint16", |text| quantity::unsigned(text, 16).map(|_| ()));
/// A size with a unit.
pub(crate) const BYTES: Kind = Kind::new("bytes", |text| quantity::bytes(text).map(|_| ()));
/// A size with a unit, or -1.
pub(crate) const BYTES_OR_UNLIMITED: Kind = Kind::new("bytes", |text| {
    if text == "-1" {
        Ok(())
    } else {
        quantity::bytes(text).map(|_| ())
    }
});
/// A number of CPUs.
pub(crate) const DECIMAL: Kind = Kind::new("decimal", |text| quantity::nano_cpus(text).map(|_| ()));
/// A duration with units.
pub(crate) const DURATION: Kind = Kind::new("duration", |text| {
    quantity::duration_nanos(text)
        .map(|_| ())
        .ok_or_else(|| quantity::duration_error(text))
});
/// A condition on what is listed, `name=value`.
pub(crate) const FILTER: Kind = Kind::new("filter", |text| {
    if text.is_empty() || text.contains('=') {
        Ok(())
    } else {
        Err("bad format of filter (expected name=value)".to_owned())
    }
});

/// A flag.
#[derive(Debug)]
pub(crate) struct Flag {
    /// The name after two dashes.
    pub(crate) long: &'static str,
    /// The letter after one dash.
    pub(crate) short: Option<char>,
    /// What it takes.
    pub(crate) kind: Kind,
    /// One line of help; empty hides the flag.
    pub(crate) help: &'static str,
    /// The flag whose value it sets: itself, or the one of which it is an
    /// older name.
    pub(crate) sets: &'static str,
}

/// A flag without a letter.
pub(crate) const fn flag(long: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        kind,
        help,
        sets: long,
    }
}

/// A flag with a letter.
pub(crate) const fn letter(
    long: &'static str,
    short: char,
    kind: Kind,
    help: &'static str,
) -> Flag {
    Flag {
        long,
        short: Some(short),
        kind,
        help,
        sets: long,
    }
}

/// An older name of a flag; it is not shown.
pub(crate) const fn alias(long: &'static str, kind: Kind, sets: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        kind,
        help: "",
        sets,
    }
}

impl Flag {
    /// The flag in an error's words: `-m, --memory`.
    fn name(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// Where options may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Among the arguments.
    Mixed,
    /// Before the first argument: the rest is somebody else's command line.
    OptionsFirst,
}

/// A command line that was read.
#[derive(Debug)]
pub(crate) struct Parsed {
    values: Vec<(&'static str, String)>,
    /// What is no flag.
    pub(crate) args: Vec<String>,
}

/// Why a command line cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ParseError {
    /// The user asked for help.
    Help,
    /// A flag does not exist, lacks its value or has a bad one.
    Bad(String),
}

/// The value of a switch as docker accepts it.
fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl Parsed {
    /// Reads `words` by a verb's `tables`.
    ///
    /// # Errors
    /// [`ParseError`], with docker's sentence.
    pub(crate) fn read(
        words: &[String],
        tables: impl Iterator<Item = &'static Flag> + Clone,
        order: Order,
    ) -> Result<Self, ParseError> {
        let mut parsed = Self {
            values: Vec::new(),
            args: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                parsed.args.extend(words.cloned());
                break;
            }
            if let Some(name) = word.strip_prefix("--") {
                parsed.long(name, word, &mut words, tables.clone())?;
            } else if word.len() > 1 && word.starts_with('-') {
                parsed.letters(&word[1..], &mut words, tables.clone())?;
            } else {
                parsed.args.push(word.clone());
                if order == Order::OptionsFirst {
                    parsed.args.extend(words.cloned());
                    break;
                }
            }
        }
        Ok(parsed)
    }

    fn long<'a>(
        &mut self,
        name: &str,
        word: &str,
        words: &mut impl Iterator<Item = &'a String>,
        mut tables: impl Iterator<Item = &'static Flag>,
    ) -> Result<(), ParseError> {
        let (name, value) = name
            .split_once('=')
            .map_or((name, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || name.starts_with('-') {
            return Err(ParseError::Bad(format!("bad flag syntax: {word}")));
        }
        let Some(flag) = tables.find(|flag| flag.long == name) else {
            return Err(match name {
                "help" => ParseError::Help,
                _ => ParseError::Bad(format!("unknown flag: --{name}")),
            });
        };
        match value {
            Some(value) => self.set(flag, value),
            None if flag.kind.is_switch() => self.set(flag, "true"),
            None => match words.next() {
                Some(value) => self.set(flag, value),
                None => Err(ParseError::Bad(format!("flag needs an argument: --{name}"))),
            },
        }
    }

    fn letters<'a>(
        &mut self,
        letters: &str,
        words: &mut impl Iterator<Item = &'a String>,
        tables: impl Iterator<Item = &'static Flag> + Clone,
    ) -> Result<(), ParseError> {
        let mut rest = letters;
        while let Some(letter) = rest.chars().next() {
            let group = rest;
            rest = &rest[letter.len_utf8()..];
            let Some(flag) = tables.clone().find(|flag| flag.short == Some(letter)) else {
                return Err(match letter {
                    'h' => ParseError::Help,
                    _ => ParseError::Bad(format!("unknown shorthand flag: '{letter}' in -{group}")),
                });
            };
            if let Some(value) = rest.strip_prefix('=') {
                return self.set(flag, value);
            }
            if flag.kind.is_switch() {
                self.set(flag, "true")?;
                continue;
            }
            if !rest.is_empty() {
                return self.set(flag, rest);
            }
            return match words.next() {
                Some(value) => self.set(flag, value),
                None => Err(ParseError::Bad(format!(
                    "flag needs an argument: '{letter}' in -{group}"
                ))),
            };
        }
        Ok(())
    }

    fn set(&mut self, flag: &'static Flag, value: &str) -> Result<(), ParseError> {
        if let Err(reason) = (flag.kind.check)(value) {
            return Err(ParseError::Bad(format!(
                "invalid argument {} for \"{}\" flag: {reason}",
                quote(value),
                flag.name()
            )));
        }
        self.values.push((flag.sets, value.to_owned()));
        Ok(())
    }

    /// Whether the flag was given at all.
    pub(crate) fn given(&self, long: &str) -> bool {
        self.values.iter().any(|(flag, _)| *flag == long)
    }

    /// How many times any flag was given.
    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }

    /// A flag's last value.
    pub(crate) fn last(&self, long: &str) -> Option<&str> {
        self.values
            .iter()
            .rev()
            .find(|(flag, _)| *flag == long)
            .map(|(_, value)| value.as_str())
    }

    /// A flag's last value, or the empty text.
    pub(crate) fn text(&self, long: &str) -> &str {
        self.last(long).unwrap_or_default()
    }

    /// A flag's values in their order.
    pub(crate) fn all<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.values
            .iter()
            .filter(move |(flag, _)| *flag == long)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on; off when it was not given.
    pub(crate) fn on(&self, long: &str) -> bool {
        self.last(long).and_then(switch).unwrap_or(false)
    }

    /// Whether a switch is on; on when it was not given.
    pub(crate) fn on_by_default(&self, long: &str) -> bool {
        self.last(long).and_then(switch).unwrap_or(true)
    }

    /// A whole number; the table has checked it.
    pub(crate) fn number(&self, long: &str) -> Option<i64> {
        self.last(long)
            .and_then(|text| quantity::signed(text, 64).ok())
    }

    /// A size in bytes, -1 for no limit; the table has checked it.
    pub(crate) fn bytes(&self, long: &str) -> Option<i64> {
        self.last(long).and_then(|text| {
            if text == "-1" {
                Some(-1)
            } else {
                quantity::bytes(text).ok()
            }
        })
    }

    /// The filters of `long` as the engine takes them: a JSON object of sets.
    pub(crate) fn filters(&self, long: &str) -> Filters {
        let mut filters = Filters::default();
        for text in self.all(long) {
            if let Some((name, value)) = text.split_once('=') {
                filters.add(&name.trim().to_lowercase(), value.trim());
            }
        }
        filters
    }
}

/// Conditions on what the engine lists or removes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Filters(
    std::collections::BTreeMap<String, std::collections::BTreeMap<String, bool>>,
);

impl Filters {
    /// Adds an accepted value for a condition.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0
            .entry(name.to_owned())
            .or_default()
            .insert(value.to_owned(), true);
    }

    /// Whether the condition was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The values of a condition.
    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .get(name)
            .into_iter()
            .flat_map(|values| values.keys().map(String::as_str))
    }

    /// The JSON for a query, `None` where there is no condition.
    pub(crate) fn to_query(&self) -> Option<String> {
        if self.0.is_empty() {
            None
        } else {
            serde_json::to_string(&self.0).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: &[Flag] = &[
        letter("detach", 'd', SWITCH, "x"),
        letter("interactive", 'i', SWITCH, "x"),
        letter("tty", 't', SWITCH, "x"),
        letter("publish", 'p', LIST, "x"),
        letter("memory", 'm', BYTES, "x"),
        flag("name", STRING, "x"),
        flag("stop-timeout", INT, "x"),
    ];

    fn read(line: &str, order: Order) -> Result<Parsed, ParseError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Parsed::read(&words, TABLE.iter(), order)
    }

    fn error(line: &str) -> String {
        match read(line, Order::OptionsFirst) {
            Err(ParseError::Bad(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn forms_of_flags() {
        let parsed = read(
            "-it -p80:80 -p=81 --publish 82 --publish=83 --name=a --name b -d=false busybox -x",
            Order::OptionsFirst,
        )
        .unwrap();
        assert!(parsed.on("interactive") && parsed.on("tty") && !parsed.on("detach"));
        assert!(parsed.given("detach"));
        assert_eq!(
            parsed.all("publish").collect::<Vec<_>>(),
            ["80:80", "81", "82", "83"]
        );
        assert_eq!(parsed.text("name"), "b");
        assert_eq!(parsed.args, ["busybox", "-x"]);
    }

    #[test]
    fn options_mix_with_arguments_where_a_verb_says_so() {
        let parsed = read("a -d b -- -t", Order::Mixed).unwrap();
        assert_eq!(parsed.args, ["a", "b", "-t"]);
        assert!(parsed.on("detach"));
        let parsed = read("-", Order::Mixed).unwrap();
        assert_eq!(parsed.args, ["-"]);
    }

    #[test]
    fn errors_are_dockers() {
        assert_eq!(error("--foo"), "unknown flag: --foo");
        assert_eq!(error("-dxi"), "unknown shorthand flag: 'x' in -xi");
        assert_eq!(error("--name"), "flag needs an argument: --name");
        assert_eq!(error("-dp"), "flag needs an argument: 'p' in -p");
        assert_eq!(error("--=x"), "bad flag syntax: --=x");
        assert_eq!(
            error("-m x"),
            "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"
        );
        assert_eq!(
            error("--detach=maybe"),
            "invalid argument \"maybe\" for \"-d, --detach\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert_eq!(read("--help", Order::Mixed).unwrap_err(), ParseError::Help);
    }
}
