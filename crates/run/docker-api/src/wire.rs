//! Forms that several answers share.

use std::time::SystemTime;

/// Go's zero time, for what never happened.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// A moment as RFC 3339 with nanoseconds, as Go writes it.
pub(crate) fn time(at: Option<SystemTime>) -> String {
    at.and_then(|at| jiff::Timestamp::try_from(at).ok())
        .map_or_else(|| NEVER.to_owned(), |at| at.to_string())
}

/// Seconds since 1970.
pub(crate) fn seconds(at: SystemTime) -> i64 {
    jiff::Timestamp::try_from(at).map_or(0, jiff::Timestamp::as_second)
}

/// A moment in whole seconds, RFC 3339.
pub(crate) fn seconds_time(at: SystemTime) -> String {
    jiff::Timestamp::from_second(seconds(at)).map_or_else(|_| NEVER.to_owned(), |at| at.to_string())
}

/// Seconds and nanoseconds since 1970, RFC 3339.
pub(crate) fn unix_time((seconds, nanoseconds): (i64, u32)) -> String {
    jiff::Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or(0))
        .map_or_else(|_| NEVER.to_owned(), |at| at.to_string())
}

/// `since` and `until`: seconds with a fraction, as Docker's clients send
/// them; zero and empty mean "not said".
pub(crate) fn instant(text: &str) -> Result<Option<SystemTime>, String> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Some(at.into()));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().map_err(|_| format!("invalid time {text:?}"))?;
    let digits = fraction.len().min(9);
    let part: i32 = match &fraction[..digits] {
        "" => 0,
        part if part.bytes().all(|b| b.is_ascii_digit()) => {
            part.parse().map_err(|_| format!("invalid time {text:?}"))?
        }
        _ => return Err(format!("invalid time {text:?}")),
    };
    let scale = 10_i32.pow(u32::try_from(9 - digits).unwrap_or(0));
    jiff::Timestamp::new(whole, part * scale)
        .map(|at| Some(at.into()))
        .map_err(|_| format!("invalid time {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_go_both_ways() {
        let at = instant("1795526400.000000001").expect("valid");
        assert_eq!(time(at), "2026-11-24T13:20:00.000000001Z");
        assert_eq!(time(instant("1795526400.5").expect("valid")), "2026-11-24T13:20:00.5Z");
        assert_eq!(instant("0").expect("valid"), None);
        assert_eq!(time(None), NEVER);
        for bad in ["x", "1.x", "99999999999999999999", "1.1.1"] {
            assert!(instant(bad).is_err(), "{bad}");
        }
    }
}
