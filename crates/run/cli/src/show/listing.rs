//! Listings of rows: a table, JSON lines, or a template of the user's.

use serde_json::{Map, Value};

use super::table::align;
use crate::failure::Failure;
use crate::template::{LABELS_FIELD, Mode, Template};
use crate::terminal::paint::{Paint, Stream};

/// The least width of a column, and the space after it.
const COLUMN_WIDTH: usize = 10;
const COLUMN_PADDING: usize = 3;

/// A listing's format, resolved from the user's words.
#[derive(Debug)]
pub(crate) struct Format {
    template: Template,
    is_table: bool,
    row_type: &'static str,
}

impl Format {
    /// Resolves a `--format` that is not a bare `table`, for rows that docker's
    /// client calls `row_type` where a field is unknown.
    pub(crate) fn parse(source: &str, row_type: &'static str) -> Result<Self, Failure> {
        let (source, is_table) = match source {
            "json" => ("{{json .}}", false),
            _ => match source.strip_prefix("table") {
                Some(columns) => (columns, true),
                None => (source, false),
            },
        };
        let source = source
            .trim_matches(' ')
            .replace("\\t", "\t")
            .replace("\\n", "\n");
        let template = Template::parse(&source)
            .map_err(|error| Failure::new(format!("template parsing error: {error}")))?;
        Ok(Self {
            template,
            is_table,
            row_type,
        })
    }

    /// The whole listing. `headers` names each column.
    pub(crate) fn write(&self, headers: &[(&str, &str)], rows: &[Row]) -> Result<String, Failure> {
        let failed = |error: String| Failure::new(format!("template parsing error: {error}"));
        let mut out = String::new();
        if self.is_table {
            let headers: Map<String, Value> = headers
                .iter()
                .map(|(name, title)| ((*name).to_owned(), Value::from(*title)))
                .collect();
            out.push_str(
                &self
                    .template
                    .execute_as(&Value::Object(headers), Mode::Header)
                    .map_err(failed)?,
            );
            out.push('\n');
        }
        for row in rows {
            let mode = Mode::Row(self.row_type);
            out.push_str(&self.template.execute_as(&row.0, mode).map_err(failed)?);
            out.push('\n');
        }
        Ok(if self.is_table {
            let table = align(&out, COLUMN_WIDTH, COLUMN_PADDING);
            Paint::of(Stream::Output).table(&table)
        } else {
            out
        })
    }
}

/// A row: its columns by name, in the order of their names.
#[derive(Debug, Clone)]
pub(crate) struct Row(pub(crate) Value);

impl Row {
    /// A row of columns and of the labels that `{{.Label}}` looks up.
    pub(crate) fn new(columns: Vec<(&str, Value)>, labels: Option<&Value>) -> Self {
        let mut columns = columns;
        columns.sort_by(|a, b| a.0.cmp(b.0));
        let mut fields: Map<String, Value> = columns
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        fields.insert(
            LABELS_FIELD.to_owned(),
            labels.cloned().unwrap_or(Value::Null),
        );
        Self(Value::Object(fields))
    }
}

/// Labels as one text: `a=1,b=2`, by name.
pub(crate) fn labels_text(labels: Option<&Value>) -> String {
    let Some(Value::Object(labels)) = labels else {
        return String::new();
    };
    let mut pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    pairs.join(",")
}

impl Row {
    /// The row's columns without what is kept for `{{.Label}}`.
    pub(crate) fn into_plain(self) -> Value {
        match self.0 {
            Value::Object(mut fields) => {
                fields.shift_remove(LABELS_FIELD);
                Value::Object(fields)
            }
            other => other,
        }
    }
}
