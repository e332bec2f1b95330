//! Go's built-in functions and docker's own.

use std::cmp::Ordering;

use serde_json::Value;

use super::eval::Datum;
use super::print;

const BUILT_IN: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print",
    "printf", "println", "html", "js", "urlquery",
];
const DOCKERS: &[&str] = &[
    "json", "join", "split", "lower", "upper", "title", "pad", "truncate",
];

/// Whether there is a function of that name.
pub(super) fn exists(name: &str) -> bool {
    BUILT_IN.contains(&name) || DOCKERS.contains(&name)
}

/// Whether it is one that docker adds, and that leaves headers alone.
pub(super) fn is_dockers(name: &str) -> bool {
    DOCKERS.contains(&name) && name != "pad"
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: Vec<Datum>) -> Result<Datum, String> {
    let bool = |holds: bool| Ok(Datum::new(Value::Bool(holds)));
    match (name, arguments.as_slice()) {
        ("not", [value]) => bool(!value.is_true()),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            for other in rest {
                if equal(first, other)? {
                    return bool(true);
                }
            }
            bool(false)
        }
        ("ne", [a, b]) => bool(!equal(a, b)?),
        ("lt", [a, b]) => bool(order(a, b)? == Ordering::Less),
        ("le", [a, b]) => bool(order(a, b)? != Ordering::Greater),
        ("gt", [a, b]) => bool(order(a, b)? == Ordering::Greater),
        ("ge", [a, b]) => bool(order(a, b)? != Ordering::Less),
        ("len", [value]) => match &value.value {
            Value::String(text) => Ok(Datum::new(Value::from(text.len()))),
            Value::Array(items) => Ok(Datum::new(Value::from(items.len()))),
            Value::Object(fields) => Ok(Datum::new(Value::from(fields.len()))),
            // An absent list of the API is an empty one.
            Value::Null if !value.absent => Ok(Datum::new(Value::from(0))),
            other => Err(format!("len of type {}", print::type_name(other))),
        },
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("print", values) => Ok(Datum::text(print::print(values))),
        ("println", values) => Ok(Datum::text(print::println(values))),
        ("printf", [format, values @ ..]) => {
            let format = text(format)?;
            Ok(Datum::text(print::printf(format, values)?))
        }
        ("html", values) => Ok(Datum::text(html(&one_text(values)?))),
        ("js", values) => Ok(Datum::text(js(&one_text(values)?))),
        ("urlquery", values) => Ok(Datum::text(query(&one_text(values)?))),
        ("json", [value]) => Ok(Datum::text(print::json(&value.value))),
        ("join", [value, separator]) => join(value, text(separator)?),
        ("split", [value, separator]) => {
            let (value, separator) = (text(value)?, text(separator)?);
            let parts: Vec<Value> = if separator.is_empty() {
                value
                    .chars()
                    .map(|c| Value::String(c.to_string()))
                    .collect()
            } else {
                value
                    .split(separator)
                    .map(|part| Value::String(part.to_owned()))
                    .collect()
            };
            Ok(Datum::new(Value::Array(parts)))
        }
        ("lower", [value]) => Ok(Datum::text(text(value)?.to_lowercase())),
        ("upper", [value]) => Ok(Datum::text(text(value)?.to_uppercase())),
        ("title", [value]) => Ok(Datum::text(title(text(value)?))),
        ("pad", [value, before, after]) => {
            let value = text(value)?;
            if value.is_empty() {
                return Ok(Datum::text(""));
            }
            let (before, after) = (count(before)?, count(after)?);
            Ok(Datum::text(format!(
                "{}{value}{}",
                " ".repeat(before),
                " ".repeat(after)
            )))
        }
        ("truncate", [value, length]) => {
            let value = text(value)?;
            let mut end = count(length)?.min(value.len());
            while !value.is_char_boundary(end) {
                end -= 1;
            }
            Ok(Datum::text(&value[..end]))
        }
        (_, arguments) => Err(format!(
            "wrong number of args for {name}: got {}",
            arguments.len()
        )),
    }
}

/// The longest text that is escaped, bytes: each escape in another may double
/// it.
const ESCAPED_BYTES: usize = 1 << 20;

/// What Go's escapers take: a text, or everything printed.
fn one_text(values: &[Datum]) -> Result<String, String> {
    let one = match values {
        [one] => text(one).map_or_else(|_| print::print(values), str::to_owned),
        _ => print::print(values),
    };
    if one.len() > ESCAPED_BYTES {
        return Err("the text to escape is too long".to_owned());
    }
    Ok(one)
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '\'' | '"' => out.extend(['\\', character]),
            '<' | '>' | '&' | '=' => out.push_str(&format!("\\u{:04X}", u32::from(character))),
            other if other.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(other))),
            other => out.push(other),
        }
    }
    out
}

fn query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn text(datum: &Datum) -> Result<&str, String> {
    match &datum.value {
        Value::String(text) => Ok(text),
        other => Err(format!(
            "wrong type for value; expected string; got {}",
            print::type_name(other)
        )),
    }
}

/// The most spaces or bytes that a template asks for at once.
const COUNT: u64 = 1 << 16;

fn count(datum: &Datum) -> Result<usize, String> {
    datum
        .value
        .as_u64()
        .filter(|&count| count <= COUNT)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| "expected a small number".to_owned())
}

fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut starts = true;
    for c in text.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        starts = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    out
}

fn join(value: &Datum, separator: &str) -> Result<Datum, String> {
    let parts = |items: &mut dyn Iterator<Item = &Value>| -> Vec<String> {
        items
            .map(|item| print::plain(&Datum::new(item.clone())))
            .collect()
    };
    match &value.value {
        Value::Null => Ok(Datum::text("")),
        Value::Array(items) => Ok(Datum::text(parts(&mut items.iter()).join(separator))),
        Value::Object(fields) => {
            let mut parts = parts(&mut fields.values());
            parts.sort();
            Ok(Datum::text(parts.join(separator)))
        }
        other => Err(format!("expected slice, got {}", print::type_name(other))),
    }
}

fn equal(a: &Datum, b: &Datum) -> Result<bool, String> {
    match (&a.value, &b.value) {
        (Value::Null, _) | (_, Value::Null) => Ok(a.value == b.value),
        (Value::Number(a), Value::Number(b)) => Ok(a.as_f64() == b.as_f64()),
        (Value::Bool(_), Value::Bool(_)) | (Value::String(_), Value::String(_)) => {
            Ok(a.value == b.value)
        }
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn order(a: &Datum, b: &Datum) -> Result<Ordering, String> {
    match (&a.value, &b.value) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => a
                .as_f64()
                .partial_cmp(&b.as_f64())
                .ok_or_else(|| "invalid type for comparison".to_owned()),
        },
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn index(value: &Datum, keys: &[Datum]) -> Result<Datum, String> {
    let mut at = value.clone();
    for key in keys {
        at = match (&at.value, &key.value) {
            (Value::Array(items), Value::Number(number)) => {
                let Some(position) = number
                    .as_u64()
                    .and_then(|at| usize::try_from(at).ok())
                    .filter(|&at| at < items.len())
                else {
                    return Err(format!("index out of range: {number}"));
                };
                Datum::new(items[position].clone())
            }
            (Value::Object(fields), Value::String(name)) => match fields.get(name) {
                Some(value) => Datum::new(value.clone()),
                // Go gives the zero value of the map's type: an empty text
                // where the others are texts.
                None if fields.values().next().is_none_or(Value::is_string) => Datum::text(""),
                None => Datum::absent(),
            },
            (Value::Null, _) if at.absent || keys.len() == 1 => {
                return Err("index of untyped nil".to_owned());
            }
            (Value::Null, _) => return Err("index of nil pointer".to_owned()),
            (Value::Array(_) | Value::Object(_), key) => {
                return Err(format!(
                    "cannot index slice/array with type {}",
                    print::type_name(key)
                ));
            }
            (Value::String(text), Value::Number(number)) => {
                let byte = number
                    .as_u64()
                    .and_then(|at| usize::try_from(at).ok())
                    .and_then(|at| text.as_bytes().get(at));
                Datum::new(Value::from(
                    *byte.ok_or_else(|| format!("index out of range: {number}"))?,
                ))
            }
            (other, _) => {
                return Err(format!(
                    "can't index item of type {}",
                    print::type_name(other)
                ));
            }
        };
    }
    Ok(at)
}

fn slice(value: &Datum, bounds: &[Datum]) -> Result<Datum, String> {
    let length = match &value.value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        other => {
            return Err(format!(
                "can't slice item of type {}",
                print::type_name(other)
            ));
        }
    };
    let bound = |at: usize, default: usize| -> Result<usize, String> {
        let Some(bound) = bounds.get(at) else {
            return Ok(default);
        };
        bound
            .value
            .as_u64()
            .and_then(|bound| usize::try_from(bound).ok())
            .filter(|&bound| bound <= length)
            .ok_or_else(|| format!("index out of range: {}", print::plain(bound)))
    };
    let (start, end) = (bound(0, 0)?, bound(1, length)?);
    if start > end || bounds.len() > 2 {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    match &value.value {
        Value::String(text) => text
            .get(start..end)
            .map(Datum::text)
            .ok_or_else(|| "the text is cut within a character".to_owned()),
        Value::Array(items) => Ok(Datum::new(Value::Array(items[start..end].to_vec()))),
        _ => Ok(Datum::absent()),
    }
}
