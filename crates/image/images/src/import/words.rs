//! Words of Dockerfile instructions: quotes, escapes and variables.
//!
//! Source: the Dockerfile reference, "Environment replacement" and the
//! instructions that take `key=value` words.

use crate::error::Error;

/// Splits at blanks outside of quotes; quotes and escapes stay in the words.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes quotes and escapes off and replaces `$name` and `${name}` by what
/// `env` (`NAME=value`) says; what it does not say is empty.
pub(super) fn expand(word: &str, env: &[String]) -> Result<String, Error> {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None) => out.push(chars.next().unwrap_or('\\')),
            ('\\', Some('"')) => match chars.next() {
                Some(c @ ('"' | '$' | '\\')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('$', None | Some('"')) => {
                let braced = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                if braced && chars.next() != Some('}') {
                    return Err(Error::Change(format!(
                        "failed to process {word:?}: unsupported modifier in substitution"
                    )));
                }
                if name.is_empty() {
                    out.push('$');
                } else {
                    out.push_str(lookup(&name, env));
                }
            }
            (c, _) => out.push(c),
        }
    }
    match quote {
        Some(_) => Err(Error::Change(format!(
            "failed to process {word:?}: unexpected end of statement while looking for matching quote"
        ))),
        None => Ok(out),
    }
}

fn lookup<'a>(name: &str, env: &'a [String]) -> &'a str {
    let found = env
        .iter()
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_default()
}
