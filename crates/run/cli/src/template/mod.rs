//! The subset of Go's `text/template` that people give to `--format`.
//!
//! Fields, `index`, pipes, `range`, `with`, `if`, variables, comparison,
//! `printf` and docker's own functions (`json`, `join`, `table` columns and
//! their like). A template that goes beyond is refused with a sentence; it
//! never prints something else than Go would.
//!
//! Data is JSON. docker's client reads it into structs first, so [`types`] says
//! which fields there are, in which order, and what those are that JSON leaves
//! out.

mod datum;
mod eval;
mod functions;
mod inspector;
mod lex;
mod parse;
mod print;
pub(crate) mod types;
mod write;

use serde_json::Value;

use eval::MissingKey;
pub(crate) use eval::Mode;
pub(crate) use inspector::{Inspector, Json, Object};
pub(crate) use print::html_safe;

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template {
    name: &'static str,
    source: String,
    nodes: Vec<parse::Node>,
}

/// The name under which a row keeps its labels, for `{{.Label "name"}}`.
/// No field of an answer has a NUL in its name.
pub(crate) const LABELS_FIELD: &str = "\0labels";

/// The most bytes that one execution may print: a template can multiply.
const OUTPUT_BYTES: usize = 256 * 1024 * 1024;
/// How deep a template's expressions and blocks may nest.
const DEPTH: usize = 100;

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// A sentence that begins with `template: :`.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        Self::parse_named("", source)
    }

    /// Parses a template that has a name in its errors.
    ///
    /// # Errors
    /// A sentence that begins with `template: NAME:`.
    pub(crate) fn parse_named(name: &'static str, source: &str) -> Result<Self, String> {
        let nodes = lex::tokens(source)
            .and_then(parse::parse)
            .map_err(|error| match error.strip_prefix("template: :") {
                Some(rest) => format!("template: {name}:{rest}"),
                None => error,
            })?;
        Ok(Self {
            name,
            source: source.to_owned(),
            nodes,
        })
    }

    /// Prints the template with `data` as its dot.
    ///
    /// # Errors
    /// A sentence that begins with `template: :`.
    pub(crate) fn execute_as(&self, data: &Value, mode: Mode) -> Result<String, String> {
        let (printed, done) = self.print(data, mode);
        done.map(|()| printed)
    }

    /// What the template prints up to its end or to an error, and that error,
    /// for those who have written the one before they meet the other.
    pub(crate) fn print(&self, data: &Value, mode: Mode) -> (String, Result<(), String>) {
        eval::execute(self, data, mode, MissingKey::NoValue)
    }

    /// Whether the template reads the field `name` of the dot.
    pub(crate) fn reads(&self, name: &str) -> bool {
        parse::reads(&self.nodes, name)
    }
}

#[cfg(test)]
mod tests;
