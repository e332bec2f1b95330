//! `%v`: a value of a Go type as `fmt` writes it.

use jiff::fmt::temporal::{DateTimeParser, PiecesOffset};
use serde_json::{Number, Value};

use super::LABELS_FIELD;
use super::types::{Own, Struct, Type};

/// What stands for an address, which no two runs of docker's client share.
const ADDRESS: &str = "0xc000000000";

/// How a value is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Whether structs name their fields: `%+v`.
    pub(super) named: bool,
}

/// Writes a value that is printed by itself.
pub(super) fn write(value: &Value, ty: &Type, form: Form, out: &mut String) {
    if let Type::Pointer(to) = ty
        && !value.is_null()
        && !writes_itself(to)
    {
        if !matches!(to, Type::Struct(_) | Type::Slice(..) | Type::Map(..)) {
            out.push_str(ADDRESS);
            return;
        }
        out.push('&');
        return inner(value, to, form, out);
    }
    inner(value, ty, form, out);
}

fn writes_itself(ty: &Type) -> bool {
    match ty {
        Type::Time | Type::Duration => true,
        Type::Struct(of) => matches!(of.own, Own::Text(_)),
        _ => false,
    }
}

/// Writes a value within another.
fn inner(value: &Value, ty: &Type, form: Form, out: &mut String) {
    match (ty, value) {
        (Type::Slice(..), Value::Null) => out.push_str("[]"),
        (Type::Map(..), Value::Null) => out.push_str("map[]"),
        (_, Value::Null) => out.push_str("<nil>"),
        (Type::Pointer(to), _) if writes_itself(to) => inner(value, to, form, out),
        (Type::Pointer(_), _) => out.push_str(ADDRESS),
        (Type::Duration, Value::Number(nanos)) => {
            out.push_str(&duration(nanos.as_i64().unwrap_or_default()));
        }
        (Type::FileMode, Value::Number(mode)) => {
            out.push_str(&file_mode(mode.as_u64().unwrap_or_default()));
        }
        (Type::Time, Value::String(text)) => out.push_str(&time(text)),
        (Type::Struct(of), _) => structure(value, of, form, out),
        (_, Value::Bool(holds)) => out.push_str(if *holds { "true" } else { "false" }),
        (_, Value::Number(number)) => out.push_str(&number_text(number)),
        (_, Value::String(text)) => out.push_str(text),
        (_, Value::Array(items)) => {
            let item_type = element(ty);
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                inner(&item_type.value(Some(item)), item_type, form, out);
            }
            out.push(']');
        }
        (_, Value::Object(entries)) => {
            let item_type = element(ty);
            let mut names: Vec<&String> = entries
                .keys()
                .filter(|name| *name != LABELS_FIELD)
                .collect();
            names.sort();
            out.push_str("map[");
            for (at, name) in names.into_iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                inner(&item_type.value(entries.get(name)), item_type, form, out);
            }
            out.push(']');
        }
    }
}

fn element(ty: &Type) -> &Type {
    match ty {
        Type::Slice(_, item) | Type::Map(_, _, item) => item,
        _ => &Type::Interface,
    }
}

fn structure(object: &Value, of: &Struct, form: Form, out: &mut String) {
    if let Own::Text(parts) = of.own {
        for (name, after) in parts {
            if let Some((value, ty)) = of.find(name, object) {
                inner(&value, ty, form, out);
            }
            out.push_str(after);
        }
        return;
    }
    out.push('{');
    for (at, field) in of.fields.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        if form.named {
            out.push_str(field.name);
            out.push(':');
        }
        inner(&field.of(object), field.ty, form, out);
    }
    out.push('}');
}

pub(super) fn number_text(number: &Number) -> String {
    if number.is_i64() || number.is_u64() {
        return number.to_string();
    }
    float_text(number.as_f64().unwrap_or_default())
}

/// `%v` of a float: the shortest text, an exponent from 1e21 on.
pub(super) fn float_text(number: f64) -> String {
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent
            .strip_prefix('-')
            .map_or(('+', exponent), |digits| ('-', digits));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{number}")
}

/// `1h2m3.5s`: Go's form of nanoseconds.
fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let decimal = |unit: u64| {
        let rest = format!("{:0>width$}", nanos % unit, width = unit.ilog10() as usize);
        match rest.trim_end_matches('0') {
            "" => String::new(),
            digits => format!(".{digits}"),
        }
    };
    let seconds = nanos / 1_000_000_000;
    let text = match nanos {
        0 => "0s".to_owned(),
        1..=999 => format!("{nanos}ns"),
        1_000..=999_999 => format!("{}{}\u{b5}s", nanos / 1_000, decimal(1_000)),
        1_000_000..=999_999_999 => format!("{}{}ms", nanos / 1_000_000, decimal(1_000_000)),
        _ => {
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let mut text = String::new();
            if hours > 0 {
                text.push_str(&format!("{hours}h"));
            }
            if seconds >= 60 {
                text.push_str(&format!("{minutes}m"));
            }
            text + &format!("{}{}s", seconds % 60, decimal(1_000_000_000))
        }
    };
    format!("{sign}{text}")
}

/// `-rwxr-xr-x` of a mode's permissions.
fn file_mode(mode: u64) -> String {
    let mut text = String::from("-");
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        let holds = mode >> (8 - at) & 1 == 1;
        text.push(if holds { letter } else { '-' });
    }
    text
}

/// A moment of RFC 3339 in Go's own form, `2026-01-02 15:04:05.5 +0000 UTC`;
/// what cannot be read stays as it is.
fn time(text: &str) -> String {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let Ok(pieces) = PARSER.parse_pieces(text) else {
        return text.to_owned();
    };
    let clock = pieces.time().unwrap_or_default();
    let zone = match pieces.offset() {
        None | Some(PiecesOffset::Zulu) => "+0000 UTC".to_owned(),
        Some(offset) => {
            let seconds = offset.to_numeric_offset().seconds();
            let sign = if seconds < 0 { '-' } else { '+' };
            let minutes = seconds.abs() / 60;
            let offset = format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
            format!("{offset} {offset}")
        }
    };
    let fraction = format!("{:09}", clock.subsec_nanosecond());
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    format!(
        "{} {:02}:{:02}:{:02}{fraction} {zone}",
        pieces.date(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_modes_and_moments() {
        for (nanos, expected) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5\u{b5}s"),
            (20_000_000, "20ms"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (-1_500_000_000, "-1.5s"),
        ] {
            assert_eq!(duration(nanos), expected);
        }
        assert_eq!(file_mode(0o750), "-rwxr-x---");
        for (text, expected) in [
            (
                "2026-01-02T15:04:05.120Z",
                "2026-01-02 15:04:05.12 +0000 UTC",
            ),
            (
                "2026-01-02T15:04:05-05:30",
                "2026-01-02 15:04:05 -0530 -0530",
            ),
            ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00 +0000 UTC"),
            ("yesterday", "yesterday"),
        ] {
            assert_eq!(time(text), expected);
        }
    }
}
