//! Values as Go's `fmt` writes them.

use serde_json::Value;

use super::LABELS_FIELD;
use super::datum::Datum;
use super::types::{self, Type};
use super::write::{Form, float_text, number_text, write};
use crate::flags::quantity::quote;

/// The widest field and the finest precision of a `printf` verb.
const WIDTH: usize = 4096;

/// A pipeline's value, as a template prints it.
pub(super) fn datum(value: &Datum, out: &mut String) {
    if value.absent {
        out.push_str("<no value>");
    } else {
        write(
            &value.value,
            value.ty.indirect(),
            Form { named: false },
            out,
        );
    }
}

/// `%v`, or `%+v` if the fields of structs are `named`.
fn verb_v(value: &Datum, form: Form) -> String {
    let mut out = String::new();
    // To fmt a missing value is nil.
    write(&value.value, value.ty, form, &mut out);
    out
}

/// `%v`
pub(super) fn plain(value: &Datum) -> String {
    verb_v(value, Form { named: false })
}

/// `json`: compact, in the fields' own order, without what a row hides.
pub(super) fn json(datum: &Datum) -> String {
    let mut value = types::encoded(&datum.value, datum.ty);
    if let Value::Object(fields) = &mut value {
        fields.shift_remove(LABELS_FIELD);
    }
    match datum.ty {
        // Rows encode themselves, and safe for HTML.
        Type::Plain if !value.is_string() => html_safe(&value.to_string()),
        _ => value.to_string(),
    }
}

/// JSON whose texts are safe within HTML, as Go has it unless told otherwise.
pub(crate) fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

/// `print`: spaces between values that are no texts.
pub(super) fn print(values: &[Datum]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !value.is_text() && !values[at - 1].is_text() {
            out.push(' ');
        }
        out.push_str(&plain(value));
    }
    out
}

/// `println`: spaces between all values, and a line feed.
pub(super) fn println(values: &[Datum]) -> String {
    let mut out = values.iter().map(plain).collect::<Vec<_>>().join(" ");
    out.push('\n');
    out
}

/// The flags of a verb.
#[derive(Debug, Default)]
struct Verb {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// `printf`.
pub(super) fn printf(format: &str, values: &[Datum]) -> Result<String, String> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(&c) = chars.peek() {
            match c {
                '-' => verb.left = true,
                '+' => verb.plus = true,
                ' ' => verb.space = true,
                '0' => verb.zero = true,
                '#' => verb.sharp = true,
                _ => break,
            }
            chars.next();
        }
        let mut digits =
            |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Result<usize, String> {
                let mut number = 0usize;
                if chars.peek() == Some(&'*') {
                    chars.next();
                    let width = values
                        .next()
                        .and_then(|value| value.value.as_u64())
                        .unwrap_or(0);
                    return usize::try_from(width)
                        .ok()
                        .filter(|&width| width <= WIDTH)
                        .ok_or("width is too large".to_owned());
                }
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
                    number = number * 10 + digit as usize;
                    chars.next();
                    if number > WIDTH {
                        return Err("width is too large".to_owned());
                    }
                }
                Ok(number)
            };
        verb.width = digits(&mut chars)?;
        if chars.peek() == Some(&'.') {
            chars.next();
            verb.precision = Some(digits(&mut chars)?);
        }
        let Some(letter) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if letter == '%' {
            out.push('%');
            continue;
        }
        match values.next() {
            Some(value) if verb.is_beyond(letter, value) => {
                return Err(format!(
                    "%{letter} of {} is not supported",
                    value.type_name()
                ));
            }
            Some(value) => verb.write(letter, value, &mut out),
            None => out.push_str(&format!("%!{letter}(MISSING)")),
        }
    }
    let extra: Vec<String> = values
        .map(|value| format!("{}={}", value.type_name(), plain(value)))
        .collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(out)
}

/// Whether `%v` of it is more than a number or a text.
fn writes_whole(datum: &Datum) -> bool {
    !matches!(datum.value, Value::String(_) | Value::Number(_))
        || matches!(
            datum.ty,
            Type::Time | Type::Duration | Type::FileMode | Type::Pointer(_)
        )
}

impl Verb {
    /// Whether Go would print parts one by one, or source code.
    fn is_beyond(&self, letter: char, datum: &Datum) -> bool {
        let of_parts = match &datum.value {
            Value::Array(items) => letter != 'q' || !items.iter().all(Value::is_string),
            Value::Object(_) => true,
            _ => false,
        };
        let as_source = letter == 'v' && self.sharp && !datum.value.is_string();
        as_source || of_parts && !matches!(letter, 'v' | 's' | 'T')
    }

    fn write(&self, letter: char, datum: &Datum, out: &mut String) {
        let as_text = match &datum.value {
            Value::Number(number) if datum.is_text() => Some(Value::from(number.to_string())),
            _ => None,
        };
        let value = as_text.as_ref().unwrap_or(&datum.value);
        let bad = || {
            if value.is_null() && !datum.ty.is_typed() {
                return format!("%!{letter}(<nil>)");
            }
            format!("%!{letter}({}={})", datum.type_name(), plain(datum))
        };
        let is_float = value.as_f64().is_some() && value.as_i64().is_none();
        if letter == 'v' && writes_whole(datum) {
            let form = Form { named: self.plus };
            return self.pad(&verb_v(datum, form), false, out);
        }
        let text = match (letter, value) {
            ('v', Value::String(text)) | ('s', Value::String(text)) => {
                if letter == 'v' && self.sharp {
                    quote(text)
                } else {
                    self.cut(text)
                }
            }
            // A plus of %+v asks for the names of fields.
            ('v', Value::Number(number)) => return self.pad(&number_text(number), true, out),
            ('v', _) => plain(datum),
            ('s', Value::Array(_) | Value::Object(_)) => plain(datum),
            ('s', Value::Null) if matches!(datum.ty, Type::Slice(..) | Type::Map(..)) => {
                plain(datum)
            }
            ('q', Value::String(text)) => quote(&self.cut(text)),
            ('q', Value::Array(items)) => {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| quote(item.as_str().unwrap_or_default()))
                    .collect();
                format!("[{}]", items.join(" "))
            }
            ('t', Value::Bool(holds)) => holds.to_string(),
            ('T', Value::Null) if !datum.ty.is_typed() => "<nil>".to_owned(),
            ('T', _) => datum.type_name(),
            ('d', Value::Number(number)) if !is_float => {
                return self.pad(&self.signed(number.to_string()), true, out);
            }
            ('c', Value::Number(number)) => number
                .as_u64()
                .and_then(|code| u32::try_from(code).ok())
                .and_then(char::from_u32)
                .map_or_else(bad, String::from),
            ('x' | 'X', Value::String(text)) => {
                let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                if letter == 'X' {
                    hex.to_uppercase()
                } else {
                    hex
                }
            }
            ('x' | 'X' | 'o' | 'b', Value::Number(number)) if number.as_i64().is_some() => {
                let number = number.as_i64().unwrap_or_default();
                let magnitude = number.unsigned_abs();
                let digits = match letter {
                    'x' => format!("{magnitude:x}"),
                    'X' => format!("{magnitude:X}"),
                    'o' => format!("{magnitude:o}"),
                    _ => format!("{magnitude:b}"),
                };
                return self.pad(
                    &self.signed(format!("{}{digits}", if number < 0 { "-" } else { "" })),
                    true,
                    out,
                );
            }
            ('f' | 'F' | 'e' | 'g', Value::Number(number)) if is_float => {
                let number = number.as_f64().unwrap_or_default();
                let text = match letter {
                    'e' => {
                        let text = format!("{number:.*e}", self.precision.unwrap_or(6));
                        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                        let (sign, digits) = exponent
                            .strip_prefix('-')
                            .map_or(('+', exponent), |digits| ('-', digits));
                        format!("{mantissa}e{sign}{digits:0>2}")
                    }
                    'g' => match self.precision {
                        Some(precision) => crate::show::units::general(number, precision),
                        None => float_text(number),
                    },
                    _ => format!("{number:.*}", self.precision.unwrap_or(6)),
                };
                return self.pad(&self.signed(text), true, out);
            }
            _ => bad(),
        };
        self.pad(&text, false, out);
    }

    fn cut(&self, text: &str) -> String {
        text.chars()
            .take(self.precision.unwrap_or(usize::MAX))
            .collect()
    }

    fn signed(&self, text: String) -> String {
        if text.starts_with('-') {
            text
        } else if self.plus {
            format!("+{text}")
        } else if self.space {
            format!(" {text}")
        } else {
            text
        }
    }

    fn pad(&self, text: &str, is_number: bool, out: &mut String) {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            out.push_str(text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else if self.zero && is_number {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+', ' '])));
            out.push_str(sign);
            out.extend(std::iter::repeat_n('0', missing));
            out.push_str(digits);
        } else {
            out.extend(std::iter::repeat_n(' ', missing));
            out.push_str(text);
        }
    }
}
