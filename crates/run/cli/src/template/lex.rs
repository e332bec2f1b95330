//! A template's text and its actions' words.

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside of actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `.Name`
    Field(String),
    /// `$name`; the name may be empty.
    Variable(String),
    /// A function's or keyword's name.
    Word(String),
    /// A string or a character constant's number.
    Text2(String),
    /// A number.
    Number(String),
    /// A character constant, as its code point.
    Char(char),
    /// A lone `.`
    Dot,
    /// `( ) | , = :=`
    Sign(&'static str),
    /// White space between words, which ends a chain of fields.
    Space,
}

/// A token and where it begins in the template, in bytes.
pub(super) type Placed = (Token, usize);

/// Splits a template.
pub(super) fn tokens(source: &str) -> Result<Vec<Placed>, String> {
    let mut out = Vec::new();
    let mut rest = source;
    let mut trim_next = false;
    let place = |rest: &str| source.len() - rest.len();
    let line = |rest: &str| source[..place(rest)].matches('\n').count() + 1;
    loop {
        let start = rest.find("{{");
        let mut text = &rest[..start.unwrap_or(rest.len())];
        if trim_next {
            text = text.trim_start_matches([' ', '\t', '\r', '\n']);
        }
        let Some(start) = start else {
            push_text(&mut out, text, place(rest));
            return Ok(out);
        };
        let text_at = place(rest);
        rest = &rest[start + 2..];
        if let Some(after) = rest
            .strip_prefix('-')
            .filter(|after| after.starts_with([' ', '\t', '\r', '\n']))
        {
            text = text.trim_end_matches([' ', '\t', '\r', '\n']);
            rest = after;
        }
        push_text(&mut out, text, text_at);
        let inner = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if let Some(comment) = inner.strip_prefix("/*") {
            let Some(end) = comment.find("*/") else {
                return Err(format!("template: :{}: unclosed comment", line(rest)));
            };
            let after = comment[end + 2..].trim_start_matches([' ', '\t', '\r', '\n']);
            trim_next = after.starts_with('-');
            let after = after.strip_prefix('-').unwrap_or(after);
            let Some(after) = after.strip_prefix("}}") else {
                return Err(format!(
                    "template: :{}: comment ends before closing delimiter",
                    line(rest)
                ));
            };
            rest = after;
            continue;
        }
        out.push((Token::Open, place(rest)));
        (rest, trim_next) = action(rest, &mut |token, rest| out.push((token, place(rest))))
            .map_err(|reason| format!("template: :{}: {reason}", line(rest)))?;
    }
}

fn push_text(out: &mut Vec<Placed>, text: &str, at: usize) {
    if !text.is_empty() {
        out.push((Token::Text(text.to_owned()), at));
    }
}

/// Takes a token and the text that it begins.
type Push<'a> = dyn FnMut(Token, &str) + 'a;

/// Reads one action up to its end; what follows, and whether the end trims.
fn action<'a>(mut rest: &'a str, push: &mut Push<'_>) -> Result<(&'a str, bool), String> {
    loop {
        let Some(c) = rest.chars().next() else {
            return Err("unclosed action".to_owned());
        };
        if let Some(after) = rest.strip_prefix("}}") {
            push(Token::Close, rest);
            return Ok((after, false));
        }
        if c.is_ascii_whitespace() {
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            if let Some(after) = trimmed.strip_prefix("-}}") {
                push(Token::Close, rest);
                return Ok((after, true));
            }
            push(Token::Space, rest);
            rest = trimmed;
            continue;
        }
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '"' => {
                let (text, after) = unquote(after, '"').ok_or("unterminated quoted string")?;
                push(Token::Text2(text), rest);
                after
            }
            '`' => {
                let end = after.find('`').ok_or("unterminated raw quoted string")?;
                push(Token::Text2(after[..end].to_owned()), rest);
                &after[end + 1..]
            }
            '\'' => {
                let (text, after) =
                    unquote(after, '\'').ok_or("unterminated character constant")?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => push(Token::Char(c), rest),
                    _ => return Err(format!("malformed character constant: '{text}'")),
                }
                after
            }
            '(' | ')' | '|' | ',' | '=' => {
                let sign = ["(", ")", "|", ",", "="]
                    .into_iter()
                    .find(|sign| rest.starts_with(sign));
                push(Token::Sign(sign.unwrap_or_default()), rest);
                after
            }
            ':' => {
                let after = after.strip_prefix('=').ok_or("expected :=")?;
                push(Token::Sign(":="), rest);
                after
            }
            '.' if !after.starts_with(|c: char| c.is_ascii_digit()) => {
                let end = name_end(after);
                push(
                    if end == 0 {
                        Token::Dot
                    } else {
                        Token::Field(after[..end].to_owned())
                    },
                    rest,
                );
                &after[end..]
            }
            '$' => {
                let end = name_end(after);
                push(Token::Variable(after[..end].to_owned()), rest);
                &after[end..]
            }
            c if c.is_ascii_digit() || matches!(c, '.' | '+' | '-') => {
                let end = rest
                    .char_indices()
                    .skip(1)
                    .find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
                    .map_or(rest.len(), |(at, _)| at);
                push(Token::Number(rest[..end].to_owned()), rest);
                &rest[end..]
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = name_end(rest);
                push(Token::Word(rest[..end].to_owned()), rest);
                &rest[end..]
            }
            c => {
                return Err(format!(
                    "unexpected {} in operand",
                    crate::flags::quantity::quote(&c.to_string())
                ));
            }
        };
    }
}

fn name_end(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len())
}

/// A quoted text up to `end`, its escapes resolved.
fn unquote(text: &str, end: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == end => return Some((out, &text[at + c.len_utf8()..])),
            '\n' => return None,
            '\\' => {
                let (_, escaped) = chars.next()?;
                let digits =
                    |chars: &mut std::str::CharIndices<'_>, count: usize| -> Option<char> {
                        let mut number = 0;
                        for _ in 0..count {
                            number = number * 16 + chars.next()?.1.to_digit(16)?;
                        }
                        char::from_u32(number)
                    };
                out.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    '\\' | '\'' | '"' => escaped,
                    'x' => digits(&mut chars, 2)?,
                    'u' => digits(&mut chars, 4)?,
                    'U' => digits(&mut chars, 8)?,
                    _ => return None,
                });
            }
            c => out.push(c),
        }
    }
    None
}
