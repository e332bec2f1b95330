//! Capabilities, `--security-opt`, `--sysctl`.

use serde_json::{Map, Value, json};

use super::{Surroundings, environment, key_values};
use crate::flags::{Parsed, quantity};

/// Puts privileges into the request.
pub(crate) fn put(
    parsed: &Parsed,
    surroundings: &Surroundings<'_>,
    host: &mut Map<String, Value>,
) -> Result<(), String> {
    let (add, drop_list) = capabilities(parsed);
    super::put_list(host, "CapAdd", add.iter().map(String::as_str));
    super::put_list(host, "CapDrop", drop_list.iter().map(String::as_str));
    super::put_map(host, "Sysctls", key_values(parsed.all("sysctl")));
    let mut options = Vec::new();
    for option in parsed.all("security-opt") {
        let option = security_option(option, surroundings)?;
        if option == "systempaths=unconfined" {
            host.insert("MaskedPaths".to_owned(), json!([]));
            host.insert("ReadonlyPaths".to_owned(), json!([]));
        } else {
            options.push(option);
        }
    }
    super::put_list(host, "SecurityOpt", options.iter().map(String::as_str));
    Ok(())
}

/// Capabilities by their kernel names, each once, in order; one that is both
/// added and dropped is added.
fn capabilities(parsed: &Parsed) -> (Vec<String>, Vec<String>) {
    let normal = |flag: &str| -> Vec<String> {
        let mut names: Vec<String> = parsed
            .all(flag)
            .map(|name| {
                let name = name.trim().to_uppercase();
                if name == "ALL" || name == "RESET" || name.starts_with("CAP_") {
                    name
                } else {
                    format!("CAP_{name}")
                }
            })
            .collect();
        names.sort();
        names.dedup();
        if names.iter().any(|name| name == "ALL") && flag == "cap-drop" {
            return vec!["ALL".to_owned()];
        }
        names
    };
    let add = normal("cap-add");
    let drop_list = normal("cap-drop")
        .into_iter()
        .filter(|name| !add.contains(name) || name == "ALL")
        .collect();
    (add, drop_list)
}

fn security_option(option: &str, surroundings: &Surroundings<'_>) -> Result<String, String> {
    let split = match option.split_once('=') {
        None if option != "no-new-privileges" => option.split_once(':'),
        split => split,
    };
    let (key, value) = split.unwrap_or((option, ""));
    if value.is_empty() && key != "no-new-privileges" {
        return Err(format!(
            "Invalid --security-opt: {}",
            quantity::quote(option)
        ));
    }
    if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
        return Ok(option.to_owned());
    }
    // The profile is a file of the client's.
    let failed =
        |what: &str, reason: &str| format!("{what} seccomp profile ({value}) failed: {reason}");
    let bytes = environment::read_bounded(&surroundings.folder.join(value))
        .map_err(|reason| failed("opening", &format!("open {value}: {reason}")))?;
    let profile: Value = serde_json::from_slice(&bytes)
        .map_err(|error| failed("compacting json for", &error.to_string()))?;
    Ok(format!("seccomp={profile}"))
}

/// Judges a `--sysctl` while flags are read.
pub(crate) fn check_sysctl(text: &str) -> Result<(), String> {
    const KNOWN: &[&str] = &[
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    match text.split_once('=') {
        Some((key, _))
            if KNOWN.contains(&key) || key.starts_with("net.") || key.starts_with("fs.mqueue.") =>
        {
            Ok(())
        }
        _ => Err(format!("sysctl '{text}' is not allowed")),
    }
}

/// Judges a `-a` while flags are read.
pub(crate) fn check_stream(text: &str) -> Result<(), String> {
    if ["stdin", "stdout", "stderr"]
        .iter()
        .any(|stream| text.eq_ignore_ascii_case(stream))
    {
        return Ok(());
    }
    Err("valid streams are STDIN, STDOUT and STDERR".to_owned())
}
