//! `-e`, `--env-file`, `--label`, `--label-file`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Surroundings, key_values};
use crate::flags::Parsed;

/// The largest file of variables or labels, in bytes.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Puts variables and labels into the request.
pub(crate) fn put(
    parsed: &Parsed,
    surroundings: &Surroundings<'_>,
    body: &mut Map<String, Value>,
) -> Result<(), String> {
    let mut variables = variables(parsed, surroundings)?;
    (surroundings.add_proxies)(&mut variables);
    if !variables.is_empty() {
        body.insert("Env".to_owned(), json!(variables));
    }
    let mut labels = Vec::new();
    for file in parsed.all("label-file") {
        // A label has no value to be taken from anywhere: it must have one.
        labels.extend(read_file(file, surroundings, &|_| None)?);
    }
    labels.extend(parsed.all("label").map(str::to_owned));
    super::put_map(
        body,
        "Labels",
        key_values(labels.iter().map(String::as_str)),
    );
    Ok(())
}

/// The variables of files, then of flags. A name without a value takes it
/// from the client's environment; without one there, from a flag it is passed
/// on as it is, which takes the variable away.
pub(crate) fn variables(
    parsed: &Parsed,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<String>, String> {
    let mut variables = Vec::new();
    for file in parsed.all("env-file") {
        variables.extend(read_file(file, surroundings, surroundings.variable)?);
    }
    for text in parsed.all("env") {
        match (text.contains('='), (surroundings.variable)(text)) {
            (false, Some(value)) => variables.push(format!("{text}={value}")),
            _ => variables.push(text.to_owned()),
        }
    }
    Ok(variables)
}

/// Judges a `-e` while flags are read.
pub(crate) fn check_variable(text: &str) -> Result<(), String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(())
}

/// Judges a `--label` while flags are read.
pub(crate) fn check_label(text: &str) -> Result<(), String> {
    let key = text
        .split('=')
        .next()
        .unwrap_or_default()
        .trim_start_matches([' ', '\t']);
    if key.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if key.contains([' ', '\t']) {
        return Err(format!("label '{key}' contains whitespaces"));
    }
    Ok(())
}

fn read_file(
    name: &str,
    surroundings: &Surroundings<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let bytes = read_bounded(&surroundings.folder.join(name))
        .map_err(|reason| format!("open {name}: {reason}"))?;
    parse_file(&bytes, variable).map_err(|reason| format!("invalid env file ({name}): {reason}"))
}

/// Reads a file that a flag names.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| go_reason(&error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| go_reason(&error))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("the file is over {FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

/// A system error as Go's library says it: lowercase, without its number.
pub(crate) fn go_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

fn parse_file(
    bytes: &[u8],
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut out = Vec::new();
    for (number, line) in bytes.split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| {
            format!(
                "invalid utf8 bytes at line {}: {}",
                number + 1,
                String::from_utf8_lossy(line)
            )
        })?;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .map_or((line, None), |(name, value)| (name, Some(value)));
        if name.chars().any(char::is_whitespace) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if let Some(value) = value.map(str::to_owned).or_else(|| variable(name)) {
            out.push(format!("{name}={value}"))
        }
    }
    Ok(out)
}
