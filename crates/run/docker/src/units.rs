//! Sizes as people write them: `64m`, `1.5g`, `512`.

/// Bytes of a size with a binary suffix (`b k m g t p`, with or without a `b`
/// or `ib` behind it); nothing when it is none.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number: f64 = number
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())?;
    let suffix = suffix.trim().to_ascii_lowercase();
    let unit = suffix.trim_end_matches("ib").trim_end_matches('b');
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let bytes = number * (1u64 << shift) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a whole number of the type's range"
    )]
    (0.0..9.0e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, bytes| assert_eq!(parse_bytes(text), bytes, "{text}");
        check("0", Some(0));
        check("512", Some(512));
        check("10m", Some(10 << 20));
        check("10MB", Some(10 << 20));
        check("10 MiB", Some(10 << 20));
        check("1.5g", Some(3 << 29));
        check("1b", Some(1));
        for bad in [
            "",
            "m",
            "-1",
            "1x",
            "1mm",
            "1..5",
            "nan",
            "inf",
            "99999999999p",
            "0x10",
        ] {
            check(bad, None);
        }
    }
}
