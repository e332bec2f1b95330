//! `-v`, `--mount`, `--tmpfs`: what a container finds mounted.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::Surroundings;
use crate::flags::{Parsed, quantity};

/// Puts volumes, binds and mounts into the request.
pub(crate) fn put(
    parsed: &Parsed,
    surroundings: &Surroundings<'_>,
    body: &mut Map<String, Value>,
    host: &mut Map<String, Value>,
) -> Result<(), String> {
    let mut anonymous = Map::new();
    let mut binds: Vec<String> = Vec::new();
    for text in parsed.all("volume") {
        match volume(text, &surroundings.folder)? {
            Volume::Anonymous(path) => drop(anonymous.insert(path, json!({}))),
            Volume::Bind(bind) if !binds.contains(&bind) => binds.push(bind),
            Volume::Bind(_) => {}
        }
    }
    super::put_map(body, "Volumes", anonymous);
    super::put_list(host, "Binds", binds.iter().map(String::as_str));
    let tmpfs = parsed
        .all("tmpfs")
        .map(|text| {
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            (path.to_owned(), json!(options))
        })
        .collect();
    super::put_map(host, "Tmpfs", tmpfs);
    let mounts: Vec<Value> = parsed
        .all("mount")
        .map(|text| mount(text, &surroundings.folder))
        .collect::<Result<_, _>>()?;
    if !mounts.is_empty() {
        host.insert("Mounts".to_owned(), Value::Array(mounts));
    }
    Ok(())
}

/// What `-v` means.
enum Volume {
    /// A new volume at a path of the container.
    Anonymous(String),
    /// A path of the host or a named volume, for the engine to tell apart.
    Bind(String),
}

fn volume(text: &str, folder: &Path) -> Result<Volume, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if !text.contains(':') {
        return Ok(Volume::Anonymous(text.to_owned()));
    }
    if text.split(':').any(str::is_empty) {
        return Err(format!(
            "invalid spec: {text}: empty section between colons"
        ));
    }
    if sections(text) > 3 {
        return Err(format!("invalid spec: {text}: too many colons"));
    }
    let (source, rest) = text.split_once(':').unwrap_or((text, ""));
    if source.starts_with('.') {
        return Ok(Volume::Bind(format!("{}:{rest}", absolute(source, folder))));
    }
    Ok(Volume::Bind(text.to_owned()))
}

/// Sections between colons as Docker's client counts them: one letter is a
/// drive of Windows and belongs to what follows.
fn sections(text: &str) -> usize {
    let mut parts = text.split(':');
    let mut count = 0;
    while let Some(part) = parts.next() {
        count += 1;
        if part.len() == 1 && part.as_bytes()[0].is_ascii_alphabetic() {
            let _belongs_to_it = parts.next();
        }
    }
    count
}

/// A relative path made absolute and clean, as Go's `filepath.Abs` does.
pub(crate) fn absolute(path: &str, folder: &Path) -> String {
    let joined = folder.join(path);
    let mut clean: Vec<&str> = Vec::new();
    let text = joined.to_string_lossy();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    format!("/{}", clean.join("/"))
}

/// Judges a `--mount` while flags are read.
pub(crate) fn check_mount(text: &str) -> Result<(), String> {
    mount(text, Path::new("/")).map(|_| ())
}

/// Fields of one CSV record (RFC 4180): quotes protect commas.
pub(crate) fn csv(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        if let Some(mut quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            loop {
                let Some(end) = quoted.find('"') else {
                    return Err(
                        "parse error on line 1: extraneous or missing \" in quoted-field"
                            .to_owned(),
                    );
                };
                field.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        quoted = after;
                    }
                    None => break,
                }
            }
            fields.push(field);
            match quoted.strip_prefix(',') {
                Some(after) => rest = after,
                None if quoted.is_empty() => return Ok(fields),
                None => {
                    return Err(
                        "parse error on line 1: extraneous or missing \" in quoted-field"
                            .to_owned(),
                    );
                }
            }
            continue;
        }
        let (field, after) = rest
            .split_once(',')
            .map_or((rest, None), |(field, after)| (field, Some(after)));
        if field.contains('"') {
            return Err("parse error on line 1: bare \" in non-quoted-field".to_owned());
        }
        fields.push(field.to_owned());
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// The groups of options that belong to one kind of mount.
#[derive(Default)]
struct Groups {
    bind: Map<String, Value>,
    volume: Map<String, Value>,
    image: Map<String, Value>,
    tmpfs: Map<String, Value>,
    driver: Map<String, Value>,
}

/// A `--mount`'s comma-separated options as the engine takes them.
fn mount(text: &str, folder: &Path) -> Result<Value, String> {
    let mut mount = Map::new();
    mount.insert("Type".to_owned(), json!("volume"));
    let mut groups = Groups::default();
    for field in csv(text)? {
        option(&field, folder, &mut mount, &mut groups)?;
    }
    if !groups.driver.is_empty() {
        groups
            .volume
            .insert("DriverConfig".to_owned(), Value::Object(groups.driver));
    }
    let kind = mount["Type"].as_str().unwrap_or_default().to_owned();
    if kind.is_empty() {
        return Err("type is required".to_owned());
    }
    if !mount.contains_key("Target") {
        return Err("target is required".to_owned());
    }
    let read_only = mount
        .get("ReadOnly")
        .is_some_and(|value| value == &json!(true));
    for (own, prefix, field, options) in [
        ("volume", "volume-*", "VolumeOptions", groups.volume),
        ("image", "image-*", "ImageOptions", groups.image),
        ("bind", "bind-*", "BindOptions", groups.bind),
        ("tmpfs", "tmpfs-*", "TmpfsOptions", groups.tmpfs),
    ] {
        if options.is_empty() {
            continue;
        }
        if kind != own {
            return Err(format!(
                "cannot mix '{prefix}' options with mount type '{kind}'"
            ));
        }
        mount.insert(field.to_owned(), Value::Object(options));
    }
    check_recursion(&mount, read_only)?;
    Ok(Value::Object(mount))
}

fn check_recursion(mount: &Map<String, Value>, read_only: bool) -> Result<(), String> {
    let Some(bind) = mount.get("BindOptions") else {
        return Ok(());
    };
    let requires = |recursion: &str, what: &str| {
        Err(format!(
            "option 'bind-recursive={recursion}' requires '{what}' to be specified in conjunction"
        ))
    };
    if bind.get("ReadOnlyNonRecursive").is_some() && !read_only {
        return requires("writable", "readonly");
    }
    if bind.get("ReadOnlyForceRecursive").is_some() {
        if !read_only {
            return requires("readonly", "readonly");
        }
        if bind.get("Propagation").and_then(Value::as_str) != Some("rprivate") {
            return requires("readonly", "bind-propagation=rprivate");
        }
    }
    Ok(())
}

fn option(
    field: &str,
    folder: &Path,
    mount: &mut Map<String, Value>,
    groups: &mut Groups,
) -> Result<(), String> {
    let (key, value) = field
        .split_once('=')
        .map_or((field, None), |(key, value)| (key, Some(value)));
    let key = key.trim().to_lowercase();
    let is_switch = matches!(
        key.as_str(),
        "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src"
    );
    let Some(value) = value.or(is_switch.then_some("true")) else {
        return Err(format!("invalid field '{field}' must be a key=value pair"));
    };
    let on = || match value {
        "1" | "true" | "t" | "T" | "TRUE" | "True" => Ok(true),
        "0" | "false" | "f" | "F" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    };
    match key.as_str() {
        "type" => drop(mount.insert("Type".to_owned(), json!(value.to_lowercase()))),
        "source" | "src" => {
            let source = if value.starts_with('.') {
                absolute(value, folder)
            } else {
                value.to_owned()
            };
            mount.insert("Source".to_owned(), json!(source));
        }
        "target" | "dst" | "destination" => super::put_text(mount, "Target", value),
        "readonly" | "ro" => drop(mount.insert("ReadOnly".to_owned(), json!(on()?))),
        "consistency" => super::put_text(mount, "Consistency", &value.to_lowercase()),
        "bind-propagation" => {
            super::put_text(&mut groups.bind, "Propagation", &value.to_lowercase())
        }
        "bind-nonrecursive" => drop(groups.bind.insert("NonRecursive".to_owned(), json!(on()?))),
        "bind-recursive" => match value {
            "enabled" => {}
            "disabled" => drop(groups.bind.insert("NonRecursive".to_owned(), json!(true))),
            "writable" => drop(
                groups
                    .bind
                    .insert("ReadOnlyNonRecursive".to_owned(), json!(true)),
            ),
            "readonly" => drop(
                groups
                    .bind
                    .insert("ReadOnlyForceRecursive".to_owned(), json!(true)),
            ),
            _ => {
                return Err(format!(
                    "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ));
            }
        },
        "bind-create-src" => drop(
            groups
                .bind
                .insert("CreateMountpoint".to_owned(), json!(on()?)),
        ),
        "volume-nocopy" => drop(groups.volume.insert("NoCopy".to_owned(), json!(on()?))),
        "volume-subpath" => super::put_text(&mut groups.volume, "Subpath", value),
        "volume-label" => put_pair(&mut groups.volume, "Labels", value),
        "volume-driver" => super::put_text(&mut groups.driver, "Name", value),
        "volume-opt" => put_pair(&mut groups.driver, "Options", value),
        "image-subpath" => super::put_text(&mut groups.image, "Subpath", value),
        "tmpfs-size" => {
            let bytes =
                quantity::bytes(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
            groups.tmpfs.insert("SizeBytes".to_owned(), json!(bytes));
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8)
                .map_err(|_| format!("invalid value for {key}: {value}"))?;
            groups.tmpfs.insert("Mode".to_owned(), json!(mode));
        }
        _ => return Err(format!("unexpected key '{key}' in '{field}'")),
    }
    Ok(())
}

/// Adds `name=value` to a map among the options.
fn put_pair(options: &mut Map<String, Value>, field: &str, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if !key.is_empty() {
        options.entry(field.to_owned()).or_insert_with(|| json!({}))[key] = json!(value);
    }
}
