//! Patterns of the `reference` filter: those of Go's `path.Match`.
//!
//! `*` and `?` match anything but `/`; `[a-z]`, `[^a-z]`; `\` takes the next
//! character literally. A pattern is looked at as a whole, so a wrong one is
//! an error whatever it is matched against.

use crate::error::Error;

/// Longest pattern taken, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(char),
    Any,
    AnyRun,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Pattern, Error> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(Error::Pattern);
        }
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let part = match c {
                '*' => Part::AnyRun,
                '?' => Part::Any,
                '\\' => Part::Literal(chars.next().ok_or(Error::Pattern)?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.peek() != Some(&']') {
                        let low = class_char(&mut chars)?;
                        let high = match chars.next_if_eq(&'-') {
                            Some(_) => class_char(&mut chars)?,
                            None => low,
                        };
                        ranges.push((low, high));
                    }
                    chars.next();
                    Part::Class { negated, ranges }
                }
                other => Part::Literal(other),
            };
            // One run is as good as two, and keeps matching quick.
            if part != Part::AnyRun || parts.last() != Some(&Part::AnyRun) {
                parts.push(part);
            }
        }
        Ok(Pattern(parts))
    }

    /// Whether all of `name` matches. Linear in the name for each run: only
    /// the last run is ever tried again.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut part, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let step = match self.0.get(part) {
                None if at == name.len() => return true,
                None => None,
                Some(Part::AnyRun) => {
                    retry = Some((part + 1, at));
                    Some(at)
                }
                Some(one) => name.get(at).filter(|c| one.takes(**c)).map(|_| at + 1),
            };
            match (step, retry) {
                (Some(next), _) => {
                    part += 1;
                    at = next;
                }
                (None, Some((after_run, from))) => {
                    // The run takes one more, unless that is a slash.
                    if name.get(from).is_none_or(|c| *c == '/') {
                        return false;
                    }
                    retry = Some((after_run, from + 1));
                    (part, at) = (after_run, from + 1);
                }
                (None, None) => return false,
            }
        }
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Part::Literal(literal) => *literal == c,
            Part::Any => c != '/',
            Part::AnyRun => false,
            Part::Class { negated, ranges } => {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, Error> {
    match chars.next() {
        None | Some('-' | ']') => Err(Error::Pattern),
        Some('\\') => chars.next().ok_or(Error::Pattern),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("ab[c]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a[^a]b", "a/b", false),
            ("*x", "xxx", true),
            ("foo/**/ba[rz]", "foo/a/bar", true),
            ("foo/**/ba[rz]", "foo/any/bat", false),
            ("box:*", "box:1", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(name),
                expected,
                "{pattern} {name}"
            );
        }
        for pattern in [
            "[",
            "[a",
            "[-]",
            "[x-]",
            "[]a]",
            "\\",
            "[^",
            "a[",
            &"a".repeat(1025),
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        // Exponential in naive matchers.
        let hostile = Pattern::parse(&"*a".repeat(500)).unwrap();
        assert!(!hostile.matches(&"a".repeat(499)));
    }
}
