//! Go's built-in functions and docker's own.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::datum::Datum;
use super::print;
use super::types::{TEXTS, Type};

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

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The function says so.
    Called(String),
    /// Its argument of that position, from 0 on, is of a wrong type.
    Argument {
        at: usize,
        wanted: &'static str,
        reason: String,
    },
}

/// Whether a function takes so many arguments, of which `written` are not
/// piped.
///
/// # Errors
/// How many it wants.
pub(super) fn accepts(name: &str, written: usize, given: usize) -> Result<(), String> {
    let (least, most) = match name {
        "print" | "println" | "html" | "js" | "urlquery" => (0, usize::MAX),
        "and" | "or" | "eq" | "index" | "slice" | "printf" => (1, usize::MAX),
        "ne" | "lt" | "le" | "gt" | "ge" | "join" | "split" | "truncate" => (2, 2),
        "pad" => (3, 3),
        _ => (1, 1),
    };
    if (least..=most).contains(&given) {
        Ok(())
    } else if most == usize::MAX {
        Err(format!(
            "wrong number of args for {name}: want at least {least} got {written}"
        ))
    } else {
        Err(format!(
            "wrong number of args for {name}: want {least} got {given}"
        ))
    }
}

/// Calls a function with as many arguments as it [`accepts`].
pub(super) fn call(name: &str, arguments: &[Datum]) -> Result<Datum, Fault> {
    match (name, arguments) {
        ("print", values) => Ok(Datum::text(print::print(values))),
        ("println", values) => Ok(Datum::text(print::println(values))),
        ("printf", [_, values @ ..]) => {
            let format = text(arguments, 0)?;
            let printed = print::printf(format, values).map_err(Fault::Called)?;
            Ok(Datum::text(printed))
        }
        ("json", [value]) => Ok(Datum::text(print::json(value))),
        ("join", [value, _]) => join(value, text(arguments, 1)?),
        ("split", _) => Ok(split(text(arguments, 0)?, text(arguments, 1)?)),
        ("lower", _) => Ok(Datum::text(text(arguments, 0)?.to_lowercase())),
        ("upper", _) => Ok(Datum::text(text(arguments, 0)?.to_uppercase())),
        ("title", _) => Ok(Datum::text(title(text(arguments, 0)?))),
        ("pad", [_, before, after]) => {
            let value = text(arguments, 0)?;
            if value.is_empty() {
                return Ok(Datum::text(""));
            }
            let spaces = |count: &Datum| Ok(" ".repeat(number(count).map_err(Fault::Called)?));
            let (before, after): (String, String) = (spaces(before)?, spaces(after)?);
            Ok(Datum::text(format!("{before}{value}{after}")))
        }
        ("truncate", [_, length]) => {
            let value = text(arguments, 0)?;
            let mut end = number(length).map_err(Fault::Called)?.min(value.len());
            while !value.is_char_boundary(end) {
                end -= 1;
            }
            Ok(Datum::text(&value[..end]))
        }
        _ => built_in(name, arguments).map_err(Fault::Called),
    }
}

/// Go's own functions that take a value of any type.
fn built_in(name: &str, arguments: &[Datum]) -> Result<Datum, String> {
    let bool = |holds: bool| Ok(Datum::new(Value::Bool(holds)));
    match (name, arguments) {
        ("not", [value]) => bool(!value.is_true()),
        ("eq", [_]) => Err("missing argument for comparison".to_owned()),
        ("eq", [first, rest @ ..]) => {
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
        ("len", [value]) => length(value).map(|length| Datum::new(Value::from(length))),
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("html", values) => Ok(Datum::text(html(&one_text(values)?))),
        ("js", values) => Ok(Datum::text(js(&one_text(values)?))),
        ("urlquery", values) => Ok(Datum::text(query(&one_text(values)?))),
        (_, arguments) => Err(format!(
            "wrong number of args for {name}: got {}",
            arguments.len()
        )),
    }
}

fn length(of: &Datum) -> Result<usize, String> {
    match (of.ty.indirect(), &of.value) {
        (Type::Struct(_), _) => Err(format!("len of type {}", of.type_name())),
        (Type::Slice(..) | Type::Map(..), Value::Null) if !of.ty.is_pointer() => Ok(0),
        (_, Value::Null) => Err("len of nil pointer".to_owned()),
        (_, Value::String(text)) => Ok(text.len()),
        (_, Value::Array(items)) => Ok(items.len()),
        (_, Value::Object(fields)) => Ok(fields.len()),
        _ => Err(format!("len of type {}", of.type_name())),
    }
}

fn split(value: &str, separator: &str) -> Datum {
    let parts: Vec<Value> = if separator.is_empty() {
        value
            .chars()
            .map(|c| Value::String(c.to_string()))
            .collect()
    } else {
        value.split(separator).map(Value::from).collect()
    };
    Datum::typed(Value::Array(parts), TEXTS)
}

/// The longest text that is escaped, bytes: each escape in another may double
/// it.
const ESCAPED_BYTES: usize = 1 << 20;

/// What Go's escapers take: a text, or everything printed.
fn one_text(values: &[Datum]) -> Result<String, String> {
    let one = match values {
        [
            Datum {
                value: Value::String(one),
                ..
            },
        ] => one.clone(),
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

/// The argument `at`, which is to be a `string` and no type of its own.
fn text(arguments: &[Datum], at: usize) -> Result<&str, Fault> {
    let Some(argument) = arguments.get(at) else {
        return Ok("");
    };
    match (argument.ty.indirect(), &argument.value) {
        (Type::Plain | Type::Raw | Type::Interface | Type::Text("string"), Value::String(text)) => {
            Ok(text)
        }
        _ => Err(wrong_type(argument, at, "string")),
    }
}

fn wrong_type(argument: &Datum, at: usize, wanted: &'static str) -> Fault {
    let reason = if argument.absent {
        format!("invalid value; expected {wanted}")
    } else {
        format!(
            "wrong type for value; expected {wanted}; got {}",
            argument.type_name()
        )
    };
    Fault::Argument { at, wanted, reason }
}

/// The most spaces or bytes that a template asks for at once.
const COUNT: u64 = 1 << 16;

fn number(datum: &Datum) -> Result<usize, String> {
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

fn join(value: &Datum, separator: &str) -> Result<Datum, Fault> {
    let is_list = match value.ty.indirect() {
        Type::Slice(_, Type::Text("string")) => true,
        Type::Plain => value.value.is_array(),
        _ => false,
    };
    match &value.value {
        Value::Null if is_list => Ok(Datum::text("")),
        Value::Array(items) if is_list => {
            let parts: Vec<String> = items
                .iter()
                .map(|item| print::plain(&value.item(Some(item))))
                .collect();
            Ok(Datum::text(parts.join(separator)))
        }
        _ => Err(wrong_type(value, 0, "[]string")),
    }
}

/// What Go's comparisons tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Whole,
    Float,
    Text,
    Other,
}

fn basic(datum: &Datum) -> Basic {
    match (datum.ty, &datum.value) {
        (Type::Pointer(_) | Type::Struct(_) | Type::Time, _) => Basic::Other,
        _ if datum.is_text() => Basic::Text,
        (_, Value::Bool(_)) => Basic::Bool,
        (_, Value::Number(number)) if number.is_f64() => Basic::Float,
        (_, Value::Number(_)) => Basic::Whole,
        _ => Basic::Other,
    }
}

fn equal(a: &Datum, b: &Datum) -> Result<bool, String> {
    let untyped_nil = |datum: &Datum| datum.value.is_null() && !datum.ty.is_typed();
    match (basic(a), basic(b)) {
        (Basic::Other, Basic::Other) if a.value.is_null() || b.value.is_null() => {
            Ok(a.value.is_null() && b.value.is_null())
        }
        (Basic::Other, Basic::Other) => Err(format!(
            "non-comparable type {}: {}",
            a.type_name(),
            print::plain(a)
        )),
        (Basic::Text, Basic::Text) => Ok(print::plain(a) == print::plain(b)),
        (first, second) if first == second => Ok(match (a.value.as_f64(), b.value.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => a.value == b.value,
        }),
        _ if untyped_nil(a) || untyped_nil(b) => Ok(false),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn order(a: &Datum, b: &Datum) -> Result<Ordering, String> {
    match (basic(a), basic(b)) {
        (Basic::Text, Basic::Text) => Ok(print::plain(a).cmp(&print::plain(b))),
        (Basic::Other | Basic::Bool, _) | (_, Basic::Other | Basic::Bool) => {
            Err("invalid type for comparison".to_owned())
        }
        (first, second) if first == second => match (a.value.as_i64(), b.value.as_i64()) {
            (Some(a), Some(b)) => Ok(a.cmp(&b)),
            _ => a
                .value
                .as_f64()
                .partial_cmp(&b.value.as_f64())
                .ok_or_else(|| "invalid type for comparison".to_owned()),
        },
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn index(value: &Datum, keys: &[Datum]) -> Result<Datum, String> {
    if value.value.is_null() && !value.ty.is_typed() {
        return Err("index of untyped nil".to_owned());
    }
    let mut at = value.clone();
    for key in keys {
        at = entry(&at, key)?;
    }
    Ok(at)
}

/// An element of a list, map or text.
fn entry(of: &Datum, key: &Datum) -> Result<Datum, String> {
    let position = || {
        let position = key.value.as_u64();
        position.and_then(|at| usize::try_from(at).ok())
    };
    match (of.ty.indirect(), &of.value, &key.value) {
        (Type::Struct(_), Value::Object(_), _) => {}
        (Type::Map(..), Value::Null, _) if !of.ty.is_pointer() => {
            return right_key(of, key).map(|_| of.item(None));
        }
        (Type::Slice(..), Value::Null, Value::Number(number)) if !of.ty.is_pointer() => {
            return Err(out_of_range("slice", number, 0));
        }
        (_, Value::Null, _) => return Err("index of nil pointer".to_owned()),
        (_, Value::Array(items), Value::Number(number)) => {
            return position()
                .and_then(|at| items.get(at))
                .map(|item| of.item(Some(item)))
                .ok_or_else(|| out_of_range("slice", number, items.len()));
        }
        (_, Value::Object(entries), _) => {
            return right_key(of, key).map(|name| of.item(entries.get(name)));
        }
        (_, Value::Array(_), _) => {
            return Err(format!(
                "cannot index slice/array with type {}",
                key.type_name()
            ));
        }
        (_, Value::String(text), Value::Number(number)) => {
            return position()
                .and_then(|at| text.as_bytes().get(at))
                .map(|byte| Datum::new(Value::from(*byte)))
                .ok_or_else(|| out_of_range("string", number, text.len()));
        }
        _ => {}
    }
    Err(format!("can't index item of type {}", of.type_name()))
}

/// Go itself lets the position right after the end pass, for reflection to
/// stumble on.
fn out_of_range(of: &str, position: &Number, length: usize) -> String {
    if position.as_u64() == u64::try_from(length).ok() {
        format!("reflect: {of} index out of range")
    } else {
        format!("index out of range: {position}")
    }
}

/// A key that is of the very type of a map's keys.
fn right_key<'a>(map: &Datum, key: &'a Datum) -> Result<&'a str, String> {
    let (is, wanted) = (key.type_name(), map.ty.key());
    match &key.value {
        Value::String(name) if is == wanted => Ok(name),
        _ => Err(format!("value has type {is}; should be {wanted}")),
    }
}

fn slice(value: &Datum, bounds: &[Datum]) -> Result<Datum, String> {
    let length = match &value.value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        _ => {
            return Err(format!("can't slice item of type {}", value.type_name()));
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
        Value::Array(items) => Ok(Datum::typed(
            Value::Array(items[start..end].to_vec()),
            value.ty,
        )),
        _ => Ok(Datum::absent()),
    }
}
