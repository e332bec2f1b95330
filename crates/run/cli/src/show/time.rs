//! Moments as docker writes them, in the zone of whoever reads.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Seconds since the epoch, now.
pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// `2026-01-02 15:04:05 +0100 CET`: Go's default form of a moment.
pub(crate) fn go_default(seconds: i64) -> String {
    let Ok(moment) = Timestamp::from_second(seconds) else {
        return String::new();
    };
    moment
        .to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S %z %Z")
        .to_string()
}

/// `2026-01-02T15:04:05+01:00` (RFC 3339), `Z` for UTC.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let Ok(moment) = Timestamp::from_second(seconds) else {
        return String::new();
    };
    let zoned = moment.to_zoned(TimeZone::system());
    format!("{}{}", zoned.strftime("%Y-%m-%dT%H:%M:%S"), offset(&zoned))
}

/// [`rfc3339`] with nine digits of the second.
pub(crate) fn rfc3339_nanos(nanos: i128) -> String {
    let Ok(moment) = Timestamp::from_nanosecond(nanos) else {
        return String::new();
    };
    let zoned = moment.to_zoned(TimeZone::system());
    format!(
        "{}.{:09}{}",
        zoned.strftime("%Y-%m-%dT%H:%M:%S"),
        zoned.subsec_nanosecond(),
        offset(&zoned)
    )
}

fn offset(zoned: &jiff::Zoned) -> String {
    if zoned.offset().is_zero() {
        "Z".to_owned()
    } else {
        zoned.strftime("%:z").to_string()
    }
}

/// A server's RFC 3339 moment as `Mon Jan  2 15:04:05 2006`; what cannot be
/// read stays as it is.
pub(crate) fn ansi_c(text: &str) -> String {
    // The day is padded with a space, which %e does.
    let Ok(pieces) =
        jiff::fmt::temporal::DateTimeParser::new().parse_datetime(text.trim_end_matches('Z'))
    else {
        return text.to_owned();
    };
    pieces.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

/// Seconds since the epoch of an RFC 3339 moment.
pub(crate) fn seconds_of(text: &str) -> Option<f64> {
    let moment: Timestamp = text.parse().ok()?;
    Some(moment.as_nanosecond() as f64 / 1e9)
}

/// A point in time as `--since` and `--until` take it, in the form that the
/// engine takes: seconds with a fraction. Go durations count back from now;
/// RFC 3339 and its shortened forms are local unless they say otherwise.
pub(crate) fn engine_timestamp(text: &str) -> Result<String, String> {
    if let Some(nanos) = crate::flags::quantity::duration_nanos(text) {
        let then = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(0))
            - i128::from(nanos);
        return Ok(format!(
            "{}.{:09}",
            then.div_euclid(1_000_000_000),
            then.rem_euclid(1_000_000_000)
        ));
    }
    let stamp =
        |moment: Timestamp| format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond());
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(stamp(moment));
    }
    // 2013-01-02, 2013-01-02T15, …:04, …:05: local time.
    let padded = match text.len() {
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    if text.contains('-')
        && let Ok(civil) = padded.parse::<jiff::civil::DateTime>()
        && let Ok(zoned) = civil.to_zoned(TimeZone::system())
    {
        return Ok(stamp(zoned.timestamp()));
    }
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if is_number(seconds) && is_number(fraction) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "failed to parse value as time or duration: {}",
        crate::flags::quantity::quote(text)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_dates() {
        assert_eq!(
            ansi_c("2026-05-07T21:09:36.000000000+00:00"),
            "Thu May  7 21:09:36 2026"
        );
        assert_eq!(ansi_c("yesterday"), "yesterday");
    }

    #[test]
    fn points_in_time() {
        assert_eq!(engine_timestamp("1700000000").unwrap(), "1700000000");
        assert_eq!(engine_timestamp("1700000000.5").unwrap(), "1700000000.5");
        assert_eq!(
            engine_timestamp("2023-11-14T22:13:20Z").unwrap(),
            "1700000000.000000000"
        );
        assert_eq!(
            engine_timestamp("2023-11-14T22:13:20.25Z").unwrap(),
            "1700000000.250000000"
        );
        assert!(engine_timestamp("2023-99-99").is_err());
        assert!(engine_timestamp("nonsense").is_err());
        let ago: f64 = engine_timestamp("1h").unwrap().parse().unwrap();
        assert!((now() - 3600.0 - ago).abs() < 5.0);
    }
}
