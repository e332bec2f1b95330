//! Filters of lists and prunes, from docker's form (names to values) to what
//! they mean.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::error::Error;
use crate::glob::Pattern;

/// Docker's form: each filter's values.
pub type Filters = BTreeMap<String, Vec<String>>;

/// Which images a list shows.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    pub(crate) dangling: Option<bool>,
    pub(crate) labels: Vec<String>,
    /// Older than each of these.
    pub(crate) before: Vec<String>,
    /// Younger than each of these.
    pub(crate) since: Vec<String>,
    /// The earliest that was given.
    pub(crate) until: Option<Timestamp>,
    pub(crate) references: Vec<Pattern>,
}

/// Which images a prune removes.
#[derive(Clone, Debug)]
pub struct PruneFilter {
    pub(crate) dangling_only: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) not_labels: Vec<String>,
    pub(crate) until: Option<Timestamp>,
}

impl ListFilter {
    /// Reads the filters `before`, `dangling`, `label`, `reference`, `since`
    /// and `until`; `now` is what durations count from.
    ///
    /// # Errors
    /// [`Error::Filter`], [`Error::Pattern`], [`Error::Until`].
    pub fn parse(filters: &Filters, now: Timestamp) -> Result<ListFilter, Error> {
        let mut filter = ListFilter::default();
        for (name, values) in filters {
            match name.as_str() {
                "dangling" => filter.dangling = parse_bool(name, values)?,
                "label" => filter.labels.clone_from(values),
                "before" => filter.before.clone_from(values),
                "since" => filter.since.clone_from(values),
                "until" => filter.until = parse_until(values, now)?,
                "reference" => {
                    filter.references = values
                        .iter()
                        .map(|value| Pattern::parse(value))
                        .collect::<Result<_, _>>()?
                }
                _ => {
                    return Err(Error::Filter {
                        filter: name.clone(),
                    });
                }
            }
        }
        Ok(filter)
    }
}

impl PruneFilter {
    /// Reads the filters `dangling` (true where it is not given), `label`,
    /// `label!` and `until`.
    ///
    /// # Errors
    /// [`Error::Filter`], [`Error::Until`].
    pub fn parse(filters: &Filters, now: Timestamp) -> Result<PruneFilter, Error> {
        let mut filter = PruneFilter {
            dangling_only: true,
            labels: Vec::new(),
            not_labels: Vec::new(),
            until: None,
        };
        for (name, values) in filters {
            match name.as_str() {
                "dangling" => filter.dangling_only = parse_bool(name, values)?.unwrap_or(true),
                "label" => filter.labels.clone_from(values),
                "label!" => filter.not_labels.clone_from(values),
                // A prune takes one alone, as docker's does.
                "until" if values.len() > 1 => {
                    return Err(Error::Filter {
                        filter: format!("{name}=[{}]", values.join(" ")),
                    });
                }
                "until" => filter.until = parse_until(values, now)?,
                _ => {
                    return Err(Error::Filter {
                        filter: name.clone(),
                    });
                }
            }
        }
        Ok(filter)
    }

    pub(crate) fn takes(
        &self,
        labels: &BTreeMap<String, String>,
        created: Option<Timestamp>,
    ) -> bool {
        let old_enough = match self.until {
            Some(until) => created.is_some_and(|created| created <= until),
            None => true,
        };
        let spared = !self.not_labels.is_empty() && has_labels(labels, &self.not_labels);
        old_enough && has_labels(labels, &self.labels) && !spared
    }
}

/// Whether `labels` has all of `wanted`, each `key` or `key=value`.
pub(crate) fn has_labels(labels: &BTreeMap<String, String>, wanted: &[String]) -> bool {
    wanted.iter().all(|wanted| match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
        None => labels.contains_key(wanted),
    })
}

fn parse_bool(name: &str, values: &[String]) -> Result<Option<bool>, Error> {
    let mut found = None;
    for value in values {
        let parsed = match value.as_str() {
            "1" | "true" => true,
            "0" | "false" => false,
            _ => {
                return Err(Error::Filter {
                    filter: format!("{name}=[{}]", values.join(" ")),
                });
            }
        };
        if found.is_some_and(|found| found != parsed) {
            return Err(Error::Filter {
                filter: format!("{name}=[{}]", values.join(" ")),
            });
        }
        found = Some(parsed);
    }
    Ok(found)
}

/// The earliest of all: older than it is older than each.
fn parse_until(values: &[String], now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let mut earliest = None;
    for value in values {
        let until = parse_instant(value, now).ok_or_else(|| Error::Until {
            value: value.clone(),
        })?;
        earliest = Some(earliest.map_or(until, |earliest: Timestamp| earliest.min(until)));
    }
    Ok(earliest)
}

/// A point in time as docker's filters take it: a Go duration before `now`
/// (`1h30m`), RFC 3339 with or without its later parts (UTC where no zone is
/// given), or seconds since 1970 with a fraction.
pub fn parse_instant(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(duration) = parse_go_duration(text) {
        return now.checked_sub(duration).ok();
    }
    if text.contains('-') || text.contains('T') {
        if let Ok(instant) = text.parse() {
            return Some(instant);
        }
        let utc = |text: &str| {
            text.parse::<jiff::civil::DateTime>()
                .ok()?
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()
        };
        let date_only = text.trim_end_matches('Z');
        let padded = match date_only.len() {
            // `2006-01-02T15`
            13 => format!("{date_only}:00"),
            _ => date_only.to_owned(),
        };
        return utc(&padded).map(|zoned| zoned.timestamp());
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds, nanoseconds).ok()
}

/// Go's `time.ParseDuration`: `[+-]` and numbers with units.
pub(crate) fn parse_go_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, seconds) = [
            ("ns", 1e-9),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ms", 1e-3),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))?;
        total += number * seconds;
        rest = &rest[unit.len()..];
    }
    let total = if negative { -total } else { total };
    SignedDuration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("24h", "2026-01-01T12:00:00Z"),
            ("1h30m", "2026-01-02T10:30:00Z"),
            ("1.5s", "2026-01-02T11:59:58.5Z"),
            ("-10m", "2026-01-02T12:10:00Z"),
            ("2025-06-01", "2025-06-01T00:00:00Z"),
            ("2025-06-01Z", "2025-06-01T00:00:00Z"),
            ("2025-06-01T07", "2025-06-01T07:00:00Z"),
            ("2025-06-01T07:08:09", "2025-06-01T07:08:09Z"),
            ("2025-06-01T07:08:09+02:00", "2025-06-01T05:08:09Z"),
            ("1000000000.25", "2001-09-09T01:46:40.25Z"),
            ("0", "2026-01-02T12:00:00Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(parse_instant(text, now), Some(expected), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "1x",
            "1h-",
            "2025-13-01",
            "99999999999999999999",
            "1.0000000001",
            "1e400h",
            "h",
        ] {
            assert_eq!(parse_instant(text, now), None, "{text}");
        }
    }

    #[test]
    fn refuses_unknown_filters() {
        let now = Timestamp::UNIX_EPOCH;
        let refused = |name: &str, values: &[&str]| {
            let values = values.iter().map(|v| (*v).to_owned()).collect();
            let filters = Filters::from([(name.to_owned(), values)]);
            ListFilter::parse(&filters, now).unwrap_err().to_string()
        };
        assert_eq!(refused("foo", &["a"]), "invalid filter 'foo'");
        assert_eq!(
            refused("dangling", &["zz"]),
            "invalid filter 'dangling=[zz]'"
        );
        assert_eq!(
            refused("dangling", &["true", "false"]),
            "invalid filter 'dangling=[true false]'"
        );
        assert_eq!(refused("reference", &["["]), "syntax error in pattern");
        assert!(refused("until", &["soon"]).starts_with("invalid value for 'until' filter"));
    }

    #[test]
    fn several_values_count_together() {
        let now = Timestamp::UNIX_EPOCH;
        let values = vec!["2020-01-01".to_owned(), "2019-01-01".to_owned()];
        let filters = Filters::from([("until".to_owned(), values)]);
        let list = ListFilter::parse(&filters, now).unwrap();
        assert_eq!(list.until, Some("2019-01-01T00:00:00Z".parse().unwrap()));
        let refused = PruneFilter::parse(&filters, now).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "invalid filter 'until=[2020-01-01 2019-01-01]'"
        );
    }
}
