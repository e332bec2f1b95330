use std::path::PathBuf;

use super::*;
use crate::flags::{Flag, Order, ParseError, SWITCH, flag, letter};

/// The folder that relative paths of the recorded command lines are in.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// A body without the fields that mean nothing: what the recording kept.
fn prune(value: &Value, name: &str) -> Value {
    const DATA: &[&str] = &[
        "Labels",
        "Tmpfs",
        "Volumes",
        "ExposedPorts",
        "PortBindings",
        "Sysctls",
        "Options",
        "Config",
        "Annotations",
        "StorageOpt",
        "EndpointsConfig",
    ];
    match value {
        Value::Object(fields) => {
            let mut kept: Vec<(String, Value)> = fields
                .iter()
                .map(|(key, value)| (key.clone(), prune(value, key)))
                .collect();
            if !DATA.contains(&name) {
                kept.retain(|(_, value)| {
                    !matches!(value, Value::Null | Value::Bool(false))
                        && value != &json!("")
                        && value != &json!(0)
                        && value != &json!([])
                        && value != &json!({})
                });
            }
            kept.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(kept.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| prune(item, "")).collect()),
        other => other.clone(),
    }
}

/// Splits a line as the shell did for the recording.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn answer(line: &str) -> String {
    let tables: &[&'static [Flag]] = &[
        CONTAINER_AND_RUN,
        table::CONTAINER,
        table::STORAGE,
        table::NETWORKING,
        table::RESOURCES,
        table::SECURITY,
    ];
    let parsed = match Parsed::read(
        &words(line),
        tables.iter().flat_map(|table| table.iter()),
        Order::OptionsFirst,
    ) {
        Ok(parsed) => parsed,
        Err(ParseError::Bad(text)) => return format!("125 {text}"),
        Err(ParseError::Help) => return "help".to_owned(),
    };
    let variable = |name: &str| match name {
        "HOME" => Some("/home/me".to_owned()),
        "TERM" => Some("xterm".to_owned()),
        _ => None,
    };
    let surroundings = Surroundings {
        variable: &variable,
        folder: folder(),
        add_proxies: &|_| {},
    };
    let attachment = if parsed.on("detach") {
        Attachment::Detached
    } else {
        Attachment::Attached
    };
    let request = match CreateRequest::read(&parsed, &surroundings, attachment) {
        Ok(request) => request,
        Err(text) => return format!("125 docker: {text}"),
    };
    if let Err(text) = reference::familiar(&request.image) {
        return format!("125 docker: {text}");
    }
    let mut query = Vec::new();
    for name in ["name", "platform"] {
        if parsed.given(name) {
            query.push(format!("{name}={}", parsed.text(name).replace('/', "%2F")));
        }
    }
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{} ", query.join("&"))
    };
    format!("{query}{}", prune(&Value::Object(request.body), ""))
}

/// What `run` has beside the tables of `create`.
static CONTAINER_AND_RUN: &[Flag] = &[
    letter("detach", 'd', SWITCH, ""),
    flag("detach-keys", crate::flags::STRING, ""),
    flag("sig-proxy", SWITCH, ""),
];

/// `testdata/create.txt` holds command lines of `docker run` and what the
/// real client (28.2) sent for them, or its status and sentence.
#[test]
fn requests_are_the_ones_that_docker_sends() {
    let recorded = std::fs::read_to_string(folder().join("create.txt")).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in recorded.split("$ ").filter(|entry| !entry.is_empty()) {
        let (line, expected) = entry.trim_end().split_once('\n').unwrap();
        // What the verb decides, not the request.
        if expected.starts_with("1 ") || line.starts_with("--pull bogus") {
            continue;
        }
        count += 1;
        let expected = expected.replace("FOLDER", &folder().display().to_string());
        let expected = match expected.find('{') {
            Some(at) if !expected.starts_with(|c: char| c.is_ascii_digit()) => {
                let body: Value = serde_json::from_str(&expected[at..]).unwrap();
                format!("{}{}", &expected[..at], prune(&body, ""))
            }
            _ => expected,
        };
        let found = answer(line);
        if found != expected {
            wrong.push(format!("$ {line}\n  docker: {expected}\n  ours:   {found}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count > 200, "only {count} lines were compared");
}

#[test]
fn hostile_flags_are_sentences() {
    for line in [
        "--mount type=bind,\"src=/a busybox",
        "-p 1-65535:1-65536 busybox",
        "-p 18446744073709551615 busybox",
        "--device-cgroup-rule c busybox",
        "--ulimit nofile=99999999999999999999 busybox",
        "-m 99999999999999999999999e busybox",
        "--network name=x,= busybox",
        "--add-host = busybox",
        "--dns-search -.- busybox",
        "--mac-address :::::: busybox",
    ] {
        let text = answer(line);
        assert!(text.starts_with("125 "), "{line}: {text}");
    }
}
