//! What callers read of a failure: a line on standard error, and a record in
//! the file of `--log`, text or JSON.

use std::io::Write;

use crate::Error;
use crate::arguments::{Global, LogFormat};

/// Tells of a failed command.
pub(crate) fn failed(global: &Global, error: &Error) {
    let text = error.to_string();
    if let Some(path) = &global.log {
        write(global, "error", &text).unwrap_or_else(|why| {
            eprintln!("cannot write the log {}: {why}", path.display());
        });
    }
    eprintln!("{text}");
}

/// Tells of something that did not stop a command.
pub(crate) fn warning(global: &Global, text: &str) {
    if write(global, "warning", text).is_err() || global.log.is_none() {
        eprintln!("warning: {text}");
    }
}

fn write(global: &Global, level: &str, text: &str) -> std::io::Result<()> {
    let Some(path) = &global.log else {
        return Ok(());
    };
    let time = jiff::Timestamp::now();
    let line = match global.log_format {
        LogFormat::Json => {
            serde_json::json!({"level": level, "msg": text, "time": time.to_string()}).to_string()
        }
        LogFormat::Text => format!("time=\"{time}\" level={level} msg={text:?}"),
    };
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}
