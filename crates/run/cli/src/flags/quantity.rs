//! Numbers with units as Go's tools read them: sizes, fractions of CPUs,
//! durations.

/// Bytes with a binary unit: `512m`, `1.5GiB`, `10 kb`.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let bad_size = || format!("invalid size: '{text}'");
    let at = text
        .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
        .ok_or_else(bad_size)?;
    let number = if text.as_bytes()[at] == b' ' {
        &text[..at]
    } else {
        &text[..=at]
    };
    let suffix = text[at + 1..].to_ascii_lowercase();
    let number = float(number)?;
    if number < 0.0 {
        return Err(bad_size());
    }
    let bad_suffix = || format!("invalid suffix: '{suffix}'");
    let letters = suffix.as_bytes();
    let power = match letters.first() {
        None => 0,
        Some(b'b') if letters.len() == 1 => 0,
        Some(letter) => {
            let position = b"kmgtp"
                .iter()
                .position(|known| known == letter)
                .ok_or_else(bad_suffix)?;
            if !matches!(&letters[1..], b"" | b"b" | b"ib") {
                return Err(bad_suffix());
            }
            position as i32 + 1
        }
    };
    Ok((number * 1024f64.powi(power)) as i64)
}

/// A decimal number, with Go's words for what is not one.
pub(crate) fn float(text: &str) -> Result<f64, String> {
    let plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    text.parse().ok().filter(|_| plain).ok_or_else(|| {
        format!(
            "strconv.ParseFloat: parsing {}: invalid syntax",
            quote(text)
        )
    })
}

/// A whole number of `bits` bits, in Go's literal forms and with Go's words.
pub(crate) fn signed(text: &str, bits: u32) -> Result<i64, String> {
    let error = |what: &str| Err(format!("strconv.ParseInt: parsing {}: {what}", quote(text)));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let Some(magnitude) = magnitude(digits) else {
        return error("invalid syntax");
    };
    let bound = 1u128 << (bits - 1);
    let within = magnitude < bound || (negative && magnitude == bound);
    if !within {
        return error("value out of range");
    }
    let magnitude = magnitude as i128;
    i64::try_from(if negative { -magnitude } else { magnitude })
        .or_else(|_| error("value out of range"))
}

/// A whole number without a sign.
pub(crate) fn unsigned(text: &str, bits: u32) -> Result<u64, String> {
    let error = |what: &str| {
        Err(format!(
            "strconv.ParseUint: parsing {}: {what}",
            quote(text)
        ))
    };
    match magnitude(text) {
        None => error("invalid syntax"),
        Some(number) if number < 1u128 << bits => {
            u64::try_from(number).or_else(|_| error("value out of range"))
        }
        Some(_) => error("value out of range"),
    }
}

/// The value of Go's literal: 0x, 0o, 0b and leading-zero octal forms;
/// saturates where it is too large for any caller.
fn magnitude(text: &str) -> Option<u128> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some(u128::from_str_radix(digits, radix).unwrap_or(u128::MAX))
}

/// Billionths of a CPU: `1.5`, `1/3` fails as it has no end.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, String> {
    let rational = || format!("failed to parse {text} as a rational number");
    let (numerator, denominator) = match text.split_once('/') {
        Some((above, below)) => {
            let above: i128 = above.parse().map_err(|_| rational())?;
            let below: i128 = below.parse().map_err(|_| rational())?;
            if below == 0 {
                return Err(rational());
            }
            (above, below)
        }
        None => decimal_fraction(text).ok_or_else(rational)?,
    };
    let nano = numerator.checked_mul(1_000_000_000).ok_or_else(rational)?;
    if nano % denominator != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(nano / denominator).map_err(|_| rational())
}

/// A decimal number as a fraction over a power of ten.
fn decimal_fraction(text: &str) -> Option<(i128, i128)> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i128 = all.parse().ok()?;
    let number = if negative { -number } else { number };
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    let power = 10i128.checked_pow(scale.unsigned_abs())?;
    if scale >= 0 {
        Some((number, power))
    } else {
        Some((number.checked_mul(power)?, 1))
    }
}

/// Nanoseconds of a Go duration: `1h30m`, `1.5s`, `100ms`; `None` for what is
/// none.
pub(crate) fn duration_nanos(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    if total > i64::MAX as f64 {
        return None;
    }
    let nanos = total.round() as i64;
    Some(if negative { -nanos } else { nanos })
}

/// Why a text is not a duration, in Go's words.
pub(crate) fn duration_error(text: &str) -> String {
    let digits = text.trim_start_matches(['-', '+']);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return format!("time: missing unit in duration {}", quote(text));
    }
    let mut rest = digits;
    while let Some(end) = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .filter(|&end| end > 0)
    {
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = &rest[..end];
        if !matches!(unit, "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            return format!(
                "time: unknown unit {} in duration {}",
                quote(unit),
                quote(text)
            );
        }
        rest = &rest[end..];
    }
    format!("time: invalid duration {}", quote(text))
}

/// A text in double quotes, as Go's `%q` writes it.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)))
            }
            c if (0x80..0xa0).contains(&u32::from(c)) => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)))
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("32", 32),
            ("32b", 32),
            ("512m", 512 << 20),
            ("1.5g", 3 << 29),
            ("1 kb", 1024),
            ("2KiB", 2048),
            ("0", 0),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for (text, error) in [
            ("", "invalid size: ''"),
            ("hello", "invalid size: 'hello'"),
            ("-32", "invalid size: '-32'"),
            ("32x", "invalid suffix: 'x'"),
            ("32mbx", "invalid suffix: 'mbx'"),
            (
                "1.2.3",
                "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax",
            ),
        ] {
            assert_eq!(bytes(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn cpus() {
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".5"), Ok(500_000_000));
        assert_eq!(nano_cpus("1/4"), Ok(250_000_000));
        assert_eq!(nano_cpus("1e-1"), Ok(100_000_000));
        assert_eq!(
            nano_cpus("0.0000000001"),
            Err("value is too precise".to_owned())
        );
        assert_eq!(
            nano_cpus("x"),
            Err("failed to parse x as a rational number".to_owned())
        );
        assert!(nano_cpus("1/0").is_err());
        assert!(nano_cpus("1e999").is_err());
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(signed("-0x10", 64), Ok(-16));
        assert_eq!(signed("010", 64), Ok(8));
        assert!(
            signed("9223372036854775808", 64)
                .unwrap_err()
                .ends_with("value out of range")
        );
        assert_eq!(unsigned("65535", 16), Ok(65535));
        assert!(
            unsigned("65536", 16)
                .unwrap_err()
                .ends_with("value out of range")
        );
        assert!(unsigned("-1", 16).unwrap_err().ends_with("invalid syntax"));
    }

    #[test]
    fn durations() {
        assert_eq!(duration_nanos("1h30m"), Some(5_400_000_000_000));
        assert_eq!(duration_nanos("1.5s"), Some(1_500_000_000));
        assert_eq!(duration_nanos("-10ms"), Some(-10_000_000));
        for bad in ["", "10", "s", "1x", "1h 2m", "999999999999h"] {
            assert_eq!(duration_nanos(bad), None, "{bad}");
        }
        assert_eq!(
            duration_error("10"),
            "time: missing unit in duration \"10\""
        );
        assert_eq!(
            duration_error("1x"),
            "time: unknown unit \"x\" in duration \"1x\""
        );
    }
}
