//! `--device`, limits of block devices, `--ulimit`.

use serde_json::{Map, Value, json};

use crate::flags::{Parsed, quantity};

/// Puts devices and limits by device or resource into the request.
pub(crate) fn put(parsed: &Parsed, host: &mut Map<String, Value>) -> Result<(), String> {
    let devices: Vec<Value> = parsed.all("device").map(device).collect::<Result<_, _>>()?;
    if !devices.is_empty() {
        host.insert("Devices".to_owned(), Value::Array(devices));
    }
    super::put_list(host, "DeviceCgroupRules", parsed.all("device-cgroup-rule"));
    type Reader = fn(&str) -> Result<Value, String>;
    let lists: [(&str, &str, Reader); 5] = [
        ("blkio-weight-device", "BlkioWeightDevice", weight),
        ("device-read-bps", "BlkioDeviceReadBps", bytes_rate),
        ("device-write-bps", "BlkioDeviceWriteBps", bytes_rate),
        ("device-read-iops", "BlkioDeviceReadIOps", operations_rate),
        ("device-write-iops", "BlkioDeviceWriteIOps", operations_rate),
    ];
    for (flag, field, read) in lists {
        let values: Vec<Value> = parsed.all(flag).map(read).collect::<Result<_, _>>()?;
        if !values.is_empty() {
            host.insert(field.to_owned(), Value::Array(values));
        }
    }
    // The last of a name counts; the list is by name.
    let mut limits = std::collections::BTreeMap::new();
    for text in parsed.all("ulimit") {
        let limit = ulimit(text)?;
        limits.insert(limit["Name"].to_string(), limit);
    }
    if !limits.is_empty() {
        host.insert(
            "Ulimits".to_owned(),
            Value::Array(limits.into_values().collect()),
        );
    }
    Ok(())
}

/// Some of `rwm`, each once.
fn is_mode(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 3
        && text
            .chars()
            .all(|c| "rwm".contains(c) && text.matches(c).count() == 1)
}

/// `host-path[:container-path][:rwm]`
fn device(text: &str) -> Result<Value, String> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 3 || parts[0].is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    let (source, target, mode) = match parts.as_slice() {
        [source, mode] if is_mode(mode) => (*source, *source, *mode),
        [source, target] => (*source, *target, "rwm"),
        [source, target, mode] => (*source, *target, *mode),
        _ => (text, text, "rwm"),
    };
    if !is_mode(mode) {
        return Err(format!("bad mode specified: {mode}"));
    }
    if !target.starts_with('/') {
        return Err(format!("{target} is not an absolute path"));
    }
    let target = super::mounts::absolute(target, std::path::Path::new("/"));
    let source = if source.starts_with('/') {
        super::mounts::absolute(source, std::path::Path::new("/"))
    } else {
        source.to_owned()
    };
    Ok(json!({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}))
}

/// `c 1:3 rwm`
pub(crate) fn check_rule(text: &str) -> Result<(), String> {
    let number =
        |text: &str| text == "*" || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    let parts: Vec<&str> = text.split(' ').collect();
    let holds = match parts.as_slice() {
        [kind, numbers, mode] => {
            matches!(*kind, "a" | "b" | "c")
                && numbers
                    .split_once(':')
                    .is_some_and(|(major, minor)| number(major) && number(minor))
                && !mode.is_empty()
                && mode.len() <= 3
                && mode.chars().all(|c| "rwm".contains(c))
        }
        _ => false,
    };
    if holds {
        Ok(())
    } else {
        Err(format!("invalid device cgroup format '{text}'"))
    }
}

fn path_and_value(text: &str) -> Result<(&str, &str), String> {
    let (path, value) = text
        .split_once(':')
        .filter(|(path, _)| !path.is_empty())
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path, value))
}

fn bytes_rate(text: &str) -> Result<Value, String> {
    let (path, value) = path_and_value(text)?;
    let rate = quantity::bytes(value).map_err(|_| {
        format!(
            "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    })?;
    Ok(json!({"Path": path, "Rate": rate}))
}

fn operations_rate(text: &str) -> Result<Value, String> {
    let (path, value) = path_and_value(text)?;
    let rate: u64 = value.parse().map_err(|_| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive integer")
    })?;
    Ok(json!({"Path": path, "Rate": rate}))
}

fn weight(text: &str) -> Result<Value, String> {
    let (path, value) = path_and_value(text)?;
    let weight = value
        .parse::<u16>()
        .ok()
        .filter(|weight| *weight == 0 || (10..=1000).contains(weight));
    let weight = weight.ok_or_else(|| format!("invalid weight for device: {text}"))?;
    Ok(json!({"Path": path, "Weight": weight}))
}

/// Judges while flags are read.
pub(crate) fn check_bytes_rate(text: &str) -> Result<(), String> {
    bytes_rate(text).map(|_| ())
}
/// Judges while flags are read.
pub(crate) fn check_operations_rate(text: &str) -> Result<(), String> {
    operations_rate(text).map(|_| ())
}
/// Judges while flags are read.
pub(crate) fn check_weight(text: &str) -> Result<(), String> {
    weight(text).map(|_| ())
}
/// Judges while flags are read.
pub(crate) fn check_ulimit(text: &str) -> Result<(), String> {
    ulimit(text).map(|_| ())
}

/// setrlimit(2)'s resources by the names that docker gives them.
const RESOURCES: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `name=soft[:hard]`
fn ulimit(text: &str) -> Result<Value, String> {
    let Some((name, limits)) = text.split_once('=') else {
        return Err(format!("invalid ulimit argument: {text}"));
    };
    if !RESOURCES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| {
        text.parse::<i64>().map_err(|_| {
            format!(
                "strconv.ParseInt: parsing {}: invalid syntax",
                quantity::quote(text)
            )
        })
    };
    let parts: Vec<&str> = limits.split(':').collect();
    let (soft, hard) = match parts.as_slice() {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        _ => {
            return Err(format!(
                "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    if hard != -1 {
        let must = "ulimit soft limit must be less than or equal to hard limit";
        if soft == -1 {
            return Err(format!("{must}: soft: -1 (unlimited), hard: {hard}"));
        }
        if soft > hard {
            return Err(format!("{must}: {soft} > {hard}"));
        }
    }
    Ok(json!({"Name": name, "Soft": soft, "Hard": hard}))
}
