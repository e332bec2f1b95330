//! One record of a log as bytes.
//!
//! `{"log":"text\n","stream":"stdout","time":"2026-11-24T13:00:00.000000001Z"}`
//! with the escapes of Go's encoder, so that readers of Docker's files read
//! these.

use std::io::Write;

/// Appends a record and its line feed.
pub(crate) fn append(out: &mut Vec<u8>, text: &[u8], stream: &str, now_ns: u64) {
    out.extend_from_slice(b"{\"log\":\"");
    append_escaped(out, text);
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(b"\",\"time\":\"");
    append_time(out, now_ns);
    out.extend_from_slice(b"\"}\n");
}

fn append_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\u{20}' => {
                    // Writing to memory does not fail.
                    let _infallible = write!(out, "\\u{:04x}", u32::from(character));
                }
                other => {
                    let mut bytes = [0; 4];
                    out.extend_from_slice(other.encode_utf8(&mut bytes).as_bytes());
                }
            }
        }
        for _byte in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Unix nanoseconds as RFC 3339 in UTC with nine digits, trailing zeros cut as
/// Go does.
fn append_time(out: &mut Vec<u8>, now_ns: u64) {
    let seconds = now_ns / 1_000_000_000;
    let (days, in_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let _infallible = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        in_day / 3600,
        in_day / 60 % 60,
        in_day % 60
    );
    let fraction = now_ns % 1_000_000_000;
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        out.push(b'.');
        out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
    }
    out.push(b'Z');
}

/// Days since 1970-01-01 to year, month, day of the Gregorian calendar, by
/// counting in 400-year eras that begin on 1 March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, in_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let day_of_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], now_ns: u64, expected: &str) {
        let mut out = Vec::new();
        append(&mut out, text, "stdout", now_ns);
        assert_eq!(String::from_utf8(out).expect("JSON is UTF-8"), expected);
    }

    #[test]
    fn records_are_what_dockers_readers_expect() {
        check(
            b"hi \"there\"\n",
            0,
            "{\"log\":\"hi \\\"there\\\"\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:00Z\"}\n",
        );
        check(
            "<ä>\u{1b}[0m\\".as_bytes(),
            951_827_696_123_456_700,
            "{\"log\":\"\\u003cä\\u003e\\u001b[0m\\\\\",\"stream\":\"stdout\",\"time\":\"2000-02-29T12:34:56.1234567Z\"}\n",
        );
        check(
            b"\xff\xfe",
            1_795_526_400_000_000_001,
            "{\"log\":\"\\ufffd\\ufffd\",\"stream\":\"stdout\",\"time\":\"2026-11-24T13:20:00.000000001Z\"}\n",
        );
    }
}
