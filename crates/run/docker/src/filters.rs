//! The `filters` parameter: keys with values, of which one must fit.
//!
//! Two forms are in use: `{"key": ["value"]}` and, of older clients,
//! `{"key": {"value": true}}`. Bounded by [`FILTERS_BYTES_MAX`].

use std::collections::BTreeMap;

use regex_lite::{Regex, RegexBuilder};
use serde_json::Value;

/// Longest parameter that is looked at, bytes.
pub const FILTERS_BYTES_MAX: usize = 64 * 1024;
/// Longest regular expression that is looked at, bytes; a longer one fits
/// nothing.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Most regular expressions of one key; further ones fit nothing.
pub const PATTERNS_MAX: usize = 256;
/// Memory of one compiled expression, bytes: `(a{900}){900}` is small to
/// write.
const COMPILED_BYTES_MAX: usize = 64 * 1024;

/// Parsed filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

/// Why filters are refused; `Display` is Docker's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No JSON of either form.
    #[error("invalid filter")]
    Malformed,
    /// A key that means nothing here.
    #[error("invalid filter '{0}'")]
    Key(String),
    /// A value that means nothing for its key.
    #[error("invalid filter '{key}={value}'")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

/// The values of a key that Docker reads as regular expressions, compiled
/// once for a whole listing.
#[derive(Debug, Default)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug)]
enum Pattern {
    /// Without a special character: text that must be there.
    Plain(String),
    /// Fits where it is equal, or where the expression finds something; one
    /// that cannot be compiled finds nothing.
    Expression(String, Option<Regex>),
}

impl Patterns {
    /// Whether no value was given, or `text` fits one of them.
    pub fn fits(&self, text: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.fits(text))
    }
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Plain(part) => text.contains(part),
            Self::Expression(written, compiled) => {
                written == text
                    || compiled
                        .as_ref()
                        .is_some_and(|compiled| compiled.is_match(text))
            }
        }
    }
}

impl Filters {
    /// The values of `key` as regular expressions.
    pub fn patterns(&self, key: &str) -> Patterns {
        let mut compiled = 0;
        let pattern = |text: &String| {
            if !text.contains(|c: char| r"\.+*?()|[]{}^$".contains(c)) {
                return Pattern::Plain(text.clone());
            }
            compiled += 1;
            let is_bounded = text.len() <= PATTERN_BYTES_MAX && compiled <= PATTERNS_MAX;
            let expression = is_bounded.then(|| {
                RegexBuilder::new(text)
                    .size_limit(COMPILED_BYTES_MAX)
                    .build()
            });
            Pattern::Expression(text.clone(), expression.and_then(Result::ok))
        };
        Patterns(self.values(key).iter().map(pattern).collect())
    }

    /// Parses the parameter; empty means no filter.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > FILTERS_BYTES_MAX {
            return Err(FilterError::Malformed);
        }
        let Ok(Value::Object(members)) = serde_json::from_str(text) else {
            return Err(FilterError::Malformed);
        };
        let mut filters = BTreeMap::new();
        for (key, values) in members {
            let values = match values {
                Value::Array(items) => items.into_iter().map(into_text).collect(),
                Value::Object(members) => members
                    .into_iter()
                    // `false` is still a member for Docker: it reads keys alone.
                    .map(|(value, set)| set.is_boolean().then_some(value))
                    .collect(),
                Value::Null => Some(Vec::new()),
                _ => None,
            };
            filters.insert(key, values.ok_or(FilterError::Malformed)?);
        }
        Ok(Self(filters))
    }

    /// Refuses keys that are not in `known`.
    pub fn require_keys(&self, known: &[&str]) -> Result<(), FilterError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(FilterError::Key(key.clone())),
            None => Ok(()),
        }
    }

    /// The values of `key`, none when it is not given.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether `key` is given.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0
            .iter()
            .map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Adds a value, as if it had been given.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0
            .entry(key.to_owned())
            .or_default()
            .push(value.to_owned());
    }

    /// Whether no value is given for `key`, or `fits` one of them.
    pub fn any(&self, key: &str, fits: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| fits(value))
    }

    /// Whether all `label`s given are there: `name`, or `name=value`.
    pub fn labels<'a>(&self, key: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.values(key)
            .iter()
            .all(|wanted| has_label(wanted, &label))
    }

    /// Whether none of the `label!`s given is there.
    pub fn excluded_labels<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self
            .values("label!")
            .iter()
            .any(|wanted| has_label(wanted, &label))
    }

    /// A key of one boolean, as `dangling`: nothing when it is not given.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, FilterError> {
        let mut found = None;
        for value in self.values(key) {
            let value = match value.to_ascii_lowercase().as_str() {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => {
                    return Err(FilterError::Value {
                        key: key.to_owned(),
                        value: format!("[{value}]"),
                    });
                }
            };
            if found.is_some_and(|before| before != value) {
                return Err(FilterError::Value {
                    key: key.to_owned(),
                    value: "[true false]".to_owned(),
                });
            }
            found = Some(value);
        }
        Ok(found)
    }
}

fn has_label<'a>(wanted: &str, label: &impl Fn(&str) -> Option<&'a str>) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => label(name) == Some(value),
        None => label(wanted).is_some(),
    }
}

fn into_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let filters = Filters::parse(r#"{"a":["x","y"],"b":{"z":true}}"#).expect("good");
        assert_eq!(filters.values("a"), ["x", "y"]);
        assert_eq!(filters.values("b"), ["z"]);
        assert!(filters.any("a", |value| value == "y"));
        assert!(!filters.any("b", |value| value == "y"));
        assert!(filters.any("c", |_| false), "not given: fits");
        assert_eq!(
            filters.require_keys(&["a"]),
            Err(FilterError::Key("b".into()))
        );
        assert_eq!(Filters::parse(""), Ok(Filters::default()));
    }

    #[test]
    fn labels() {
        let filters = Filters::parse(r#"{"label":["a","b=c"],"label!":["no"]}"#).expect("good");
        let of = |name: &str| match name {
            "a" => Some("anything"),
            "b" => Some("c"),
            _ => None,
        };
        assert!(filters.labels("label", of));
        assert!(filters.excluded_labels(of));
        assert!(!filters.labels("label", |_| Some("d")));
        assert!(!filters.excluded_labels(|_| Some("")));
    }

    #[test]
    fn patterns() {
        let check = |pattern: &str, text: &str, expected: bool| {
            let mut filters = Filters::default();
            filters.add("name", pattern);
            let got = filters.patterns("name").fits(text);
            assert_eq!(got, expected, "{pattern} {text}");
        };
        check("web", "my-web1", true);
        check("^web", "my-web1", false);
        check("^/?web[0-9]+$", "/web12", true);
        check("db|web", "web", true);
        check("w.b", "wob", true);
        check("a.b", "a.b", true);
        check("(?i)WEB", "web", true);
        check("", "anything", true);
        // What is no expression fits what is equal to it.
        check("we(b", "web", false);
        check("[", "[", true);
        // Hostile: neither memory nor time.
        check("(((a{900}){900}){900})", "aaaa", false);
        check(&"(".repeat(PATTERN_BYTES_MAX), "x", false);
        check(&format!("^{}", ".?".repeat(PATTERN_BYTES_MAX)), "x", false);
        let mut many = Filters::default();
        for _ in 0..PATTERNS_MAX {
            many.add("name", "a{99}");
        }
        many.add("name", "^x");
        assert!(!many.patterns("name").fits("x"));
        assert!(Filters::default().patterns("name").fits("x"));
    }

    #[test]
    fn booleans() {
        let of = |text: &str| Filters::parse(text).expect("good").boolean("d");
        assert_eq!(of(r#"{"d":["TRUE"]}"#), Ok(Some(true)));
        assert_eq!(of(r#"{"d":["0"]}"#), Ok(Some(false)));
        assert_eq!(of("{}"), Ok(None));
        assert!(of(r#"{"d":["maybe"]}"#).is_err());
        assert!(of(r#"{"d":["1","0"]}"#).is_err());
    }

    #[test]
    fn hostile() {
        for bad in [
            "[]",
            "x",
            "5",
            r#"{"a":5}"#,
            r#"{"a":[5]}"#,
            r#"{"a":{"b":[]}}"#,
            "null",
        ] {
            assert_eq!(Filters::parse(bad), Err(FilterError::Malformed), "{bad}");
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(Filters::parse(&deep), Err(FilterError::Malformed));
        let long = format!("{{\"a\":[\"{}\"]}}", "x".repeat(FILTERS_BYTES_MAX));
        assert_eq!(Filters::parse(&long), Err(FilterError::Malformed));
    }
}
