//! `list`.

use serde_json::Value;

use super::{Call, state};
use crate::arguments::{Flag, switch, value};
use crate::record;
use crate::{Error, Result, output};

pub(super) const FLAGS: &[Flag] = &[
    value(&["format", "f"], "table or json"),
    switch(&["quiet", "q"], "only ids"),
];

pub(super) fn list(call: &Call<'_>) -> Result<u8> {
    call.parsed.exactly("list", 0)?;
    let all = record::all(&call.global.root)?;
    if call.parsed.is_set("quiet") {
        for found in &all {
            output::line(format_args!("{}", found.record.id))?;
        }
        return Ok(0);
    }
    match call.parsed.value("format") {
        None | Some("" | "table") => {
            let mut rows =
                vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
            rows.extend(all.iter().map(|found| {
                let document = state::document(found);
                ["id", "pid", "status", "bundle", "created", "owner"].map(|key| {
                    match &document[key] {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    }
                })
            }));
            print_table(&rows)
        }
        Some("json") => {
            let documents: Vec<Value> = all.iter().map(state::document).collect();
            output::line(format_args!("{}", Value::Array(documents)))?;
            Ok(0)
        }
        Some(_) => Err(Error::Usage("invalid format option".to_owned())),
    }
}

fn print_table(rows: &[[String; 6]]) -> Result<u8> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        output::line(format_args!("{}", cells.join("   ").trim_end()))?;
    }
    Ok(0)
}
