//! Sizes and durations in the words that docker's tables use.

/// `%.*g` of C and Go: `digits` significant digits, no trailing zeros, an
/// exponent when the number needs more digits than that.
pub(crate) fn general(number: f64, digits: usize) -> String {
    let digits = digits.max(1);
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trimmed = |text: &str| -> String {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= i32::try_from(digits).unwrap_or(i32::MAX) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(0) - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{number:.decimals$}"))
}

fn scaled(mut size: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", general(size, digits), units[unit])
}

/// Powers of a thousand with `digits` significant digits: `1.23MB`.
pub(crate) fn decimal_size(bytes: f64, digits: usize) -> String {
    scaled(
        bytes,
        1000.0,
        &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"],
        digits,
    )
}

/// Powers of 1,024 with four significant digits: `1.5GiB`.
pub(crate) fn binary_size(bytes: f64) -> String {
    scaled(
        bytes,
        1024.0,
        &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"],
        4,
    )
}

/// How long something lasted, to about one figure: `About an hour`.
pub(crate) fn human_duration(seconds: f64) -> String {
    let whole = seconds.trunc() as i64;
    let minutes = (seconds / 60.0).trunc() as i64;
    let hours = (seconds / 3600.0 + 0.5).trunc() as i64;
    let exact_hours = (seconds / 3600.0).trunc() as i64;
    match () {
        () if whole < 1 => "Less than a second".to_owned(),
        () if whole == 1 => "1 second".to_owned(),
        () if whole < 60 => format!("{whole} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", exact_hours / 24 / 365),
    }
}

/// The first `columns` of a text, the last of them an ellipsis when it was
/// longer. East Asian wide characters take two columns.
pub(crate) fn ellipsis(text: &str, columns: usize) -> String {
    let width = |c: char| -> usize { if is_wide(c) { 2 } else { 1 } };
    if text.chars().map(width).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut taken = 0;
    let mut out = String::new();
    for c in text.chars() {
        taken += width(c);
        if taken > columns.saturating_sub(1) {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// Whether a character takes two columns (Unicode's wide and full-width
/// blocks, coarsely).
fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F300..=0x1F64F | 0x1F900..=0x1F9FF | 0x20000..=0x3FFFD)
}

/// The twelve digits by which people know an id.
pub(crate) fn short_id(id: &str) -> &str {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.char_indices()
        .nth(12)
        .map_or(hex, |(end, _)| &hex[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, digits, text) in [
            (0.0, 3, "0B"),
            (1.0, 3, "1B"),
            (999.0, 3, "999B"),
            (1000.0, 3, "1kB"),
            (1_234_567.0, 3, "1.23MB"),
            (1_234_567.0, 4, "1.235MB"),
            (999_999.0, 3, "1e+03kB"),
            (100_000.0, 3, "100kB"),
            (3_360_000_000.0, 3, "3.36GB"),
        ] {
            assert_eq!(decimal_size(bytes, digits), text);
        }
        for (bytes, text) in [
            (0.0, "0B"),
            (1024.0, "1KiB"),
            (1_610_612_736.0, "1.5GiB"),
            (25_150_000_000.0, "23.42GiB"),
            (1023.0, "1023B"),
        ] {
            assert_eq!(binary_size(bytes), text);
        }
    }

    #[test]
    fn durations() {
        let (minute, hour, day) = (60.0, 3600.0, 86400.0);
        for (seconds, text) in [
            (0.5, "Less than a second"),
            (1.9, "1 second"),
            (59.0, "59 seconds"),
            (61.0, "About a minute"),
            (3.0 * minute, "3 minutes"),
            (59.9 * minute, "59 minutes"),
            (61.0 * minute, "About an hour"),
            (1.4 * hour, "About an hour"),
            (1.6 * hour, "2 hours"),
            (47.0 * hour, "47 hours"),
            (3.0 * day, "3 days"),
            (20.0 * day, "2 weeks"),
            (70.0 * day, "2 months"),
            (800.0 * day, "2 years"),
        ] {
            assert_eq!(human_duration(seconds), text);
        }
    }

    #[test]
    fn ellipses_and_ids() {
        assert_eq!(ellipsis("short", 20), "short");
        assert_eq!(
            ellipsis("sh -c 'sleep 100000000'", 20),
            "sh -c 'sleep 100000…"
        );
        assert_eq!(ellipsis("漢字漢字", 5), "漢字…");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("0123"), "0123");
    }
}
