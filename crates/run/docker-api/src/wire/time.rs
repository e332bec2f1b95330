//! Times as Go writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Go's zero time.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// RFC 3339 with as many digits as needed.
pub(crate) fn system_time(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| ZERO.to_owned(), |time| time.to_string())
}

/// Likewise; none is Go's zero time.
pub(crate) fn optional(time: Option<SystemTime>) -> String {
    time.map_or_else(|| ZERO.to_owned(), system_time)
}

/// Likewise, from seconds and nanoseconds.
pub(crate) fn rfc3339(seconds: i64, nanos: u32) -> String {
    let nanos = i32::try_from(nanos).unwrap_or(0);
    Timestamp::new(seconds, nanos).map_or_else(|_| ZERO.to_owned(), |time| time.to_string())
}

/// RFC 3339 with nine digits, as in logs.
pub(crate) fn padded(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => format!("{time:.9}"),
        Err(_) => ZERO.to_owned(),
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn forms() {
        let time = UNIX_EPOCH + Duration::new(1_795_527_362, 440_896_000);
        assert_eq!(system_time(time), "2026-11-24T13:36:02.440896Z");
        assert_eq!(padded(time), "2026-11-24T13:36:02.440896000Z");
        assert_eq!(optional(None), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(seconds(time), 1_795_527_362);
    }
}
