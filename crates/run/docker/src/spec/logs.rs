//! Log options: which driver, how files are rotated, and what of a container
//! is said beside each record.

use std::collections::BTreeMap;

use carrack_containers::LogPolicy;
use regex_lite::{Regex, RegexBuilder};

use crate::config::HostConfig;
use crate::filters::PATTERN_BYTES_MAX;
use crate::go;
use crate::validate::Invalid;

/// A log file before it is rotated, and how many are kept: 100 MB a
/// container, so that no log fills a disk.
const LOG_FILE_BYTES: u64 = 20 << 20;
const LOG_FILES: u32 = 5;
/// Largest `max-size` and `max-file` taken.
const LOG_FILES_MAX: u32 = 1000;
/// Memory of a compiled `labels-regex` or `env-regex`, bytes.
const COMPILED_BYTES_MAX: usize = 64 * 1024;
/// Options that `logs --details` knows.
const ATTRIBUTE_OPTIONS: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

/// Drivers that Docker has and Carrack has not.
const OTHER_LOG_DRIVERS: [&str; 9] = [
    "syslog",
    "journald",
    "gelf",
    "fluentd",
    "awslogs",
    "splunk",
    "etwlogs",
    "gcplogs",
    "logentries",
];
const JSON_FILE_OPTIONS: [&str; 10] = [
    "max-file",
    "max-size",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];
const LOCAL_OPTIONS: [&str; 5] = [
    "max-file",
    "max-size",
    "compress",
    "mode",
    "max-buffer-size",
];

/// Where output goes.
pub fn log_policy(host: &HostConfig) -> Result<LogPolicy, Invalid> {
    let config = &host.log_config;
    let options = match config.driver.as_str() {
        "json-file" | "" => JSON_FILE_OPTIONS.as_slice(),
        "local" => LOCAL_OPTIONS.as_slice(),
        "none" => return Ok(LogPolicy::None),
        other if OTHER_LOG_DRIVERS.contains(&other) => {
            return Err(Invalid::NotYet("log-driver"));
        }
        other => {
            return Err(Invalid::rule(format!(
                "logger: no log driver named '{other}' is registered"
            )));
        }
    };
    let given = config.config.iter().flatten();
    for name in given.map(|(name, _)| name.as_str()) {
        if !options.contains(&name) {
            return Err(Invalid::rule(match config.driver.as_str() {
                "local" => format!("unknown log opt '{name}' for log driver local"),
                _ => format!("unknown log opt '{name}' for json-file log driver"),
            }));
        }
    }
    let option = |name: &str| config.config.as_ref().and_then(|options| options.get(name));
    let max_size_bytes = match option("max-size").map(String::as_str) {
        None | Some("-1") => LOG_FILE_BYTES,
        Some(text) => crate::units::parse_bytes(text)
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| Invalid::rule(format!("invalid size for max-size: '{text}'")))?,
    };
    let max_files = match option("max-file") {
        None if option("max-size").is_some() && config.driver != "local" => 1,
        None => LOG_FILES,
        Some(text) => text
            .parse()
            .ok()
            .filter(|files| (1..=LOG_FILES_MAX).contains(files))
            .ok_or_else(|| {
                Invalid::rule(format!(
                    "invalid value for max-file: '{text}': it must be from 1 to {LOG_FILES_MAX}"
                ))
            })?,
    };
    let compress = option("compress").map(|text| parse_bool(text));
    if compress.transpose()? == Some(true)
        && config.driver != "local"
        && (max_files == 1 || option("max-size").is_none())
    {
        return Err(Invalid::rule(
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ));
    }
    for name in ["labels-regex", "env-regex"] {
        option(name).map_or(Ok(()), |text| expression(text).map(|_| ()))?;
    }
    if let Some(template) = option("tag") {
        tag(template, &Logged::default())?;
    }
    Ok(LogPolicy::JsonFile {
        max_size_bytes,
        max_files,
    })
}

/// What of the options has no effect on the file, in sentences for the client.
pub fn log_warnings(host: &HostConfig) -> Vec<String> {
    let config = host.log_config.config.as_ref();
    let option = |name: &str| config.and_then(|options| options.get(name));
    let mut warnings = Vec::new();
    if host.log_config.driver == "none" {
        return warnings;
    }
    if ATTRIBUTE_OPTIONS.iter().any(|name| option(name).is_some()) {
        warnings.push(crate::not_yet::sentence("log-attributes").to_owned());
    }
    if option("compress").and_then(|text| go::parse_bool(text)) == Some(true) {
        warnings.push(crate::not_yet::sentence("log-compress").to_owned());
    }
    warnings
}

/// What attributes are taken from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logged<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its image's id.
    pub image_id: &'a str,
    /// Its image as the client named it.
    pub image: &'a str,
    /// `NAME=value`.
    pub env: &'a [String],
    /// Its labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

/// What `logs --details` says of a container: the labels and variables that
/// its log options name, and its tag.
pub fn log_attributes(host: &HostConfig, logged: &Logged<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let config = host.log_config.config.as_ref();
    let option = |name: &str| {
        let value = config.and_then(|options| options.get(name));
        value.map(String::as_str).filter(|text| !text.is_empty())
    };
    if host.log_config.driver != "json-file" {
        return found;
    }
    let labels = logged.labels.into_iter().flatten();
    let labels: Vec<_> = labels
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let env = logged.env.iter().filter_map(|text| text.split_once('='));
    let env: Vec<_> = env.collect();
    let choices = [
        (labels, option("labels"), option("labels-regex")),
        (env, option("env"), option("env-regex")),
    ];
    for (all, names, pattern) in choices {
        // Checked when the container was made.
        let pattern = pattern.and_then(|text| expression(text).ok());
        for (name, value) in all {
            let is_named = names.is_some_and(|names| names.split(',').any(|one| one == name));
            let is_matched = pattern.as_ref().is_some_and(|regex| regex.is_match(name));
            if is_named || is_matched {
                found.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    if let Some(text) = option("tag").and_then(|template| tag(template, logged).ok())
        && !text.is_empty()
    {
        found.insert("tag".to_owned(), text);
    }
    found
}

fn parse_bool(text: &str) -> Result<bool, Invalid> {
    go::parse_bool(text).ok_or_else(|| {
        Invalid::rule(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))
    })
}

fn expression(text: &str) -> Result<Regex, Invalid> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(Invalid::rule("error parsing regexp: it is too long"));
    }
    RegexBuilder::new(text)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| Invalid::rule(format!("error parsing regexp: {error}")))
}

/// Fills in a tag. Of Go's templates, the members that Docker documents for
/// tags.
fn tag(template: &str, logged: &Logged<'_>) -> Result<String, Invalid> {
    let short = |id: &str| id.chars().take(12).collect::<String>();
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let (action, after) = after
            .split_once("}}")
            .ok_or_else(|| Invalid::rule("template: log-tag:1: unclosed action"))?;
        rest = after;
        text.push_str(&match action.trim() {
            ".ID" => short(logged.id),
            ".FullID" | ".ContainerID" => logged.id.to_owned(),
            ".Name" | ".ContainerName" => logged.name.to_owned(),
            ".ImageID" => short(logged.image_id),
            ".ImageFullID" | ".ContainerImageID" => logged.image_id.to_owned(),
            ".ImageName" | ".ContainerImageName" => logged.image.to_owned(),
            ".DaemonName" => "docker".to_owned(),
            other => {
                return Err(Invalid::rule(format!(
                    "template: log-tag:1: {{{{{other}}}}} is not known; use .ID, .FullID, .Name, .ImageID, .ImageFullID, .ImageName or .DaemonName"
                )));
            }
        });
    }
    text.push_str(rest);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn host(options: serde_json::Value) -> HostConfig {
        let document = json!({"LogConfig": {"Type": "json-file", "Config": options}});
        crate::config::from_json(document).expect("a host config")
    }

    #[test]
    fn attributes() {
        let labels = BTreeMap::from([
            ("tier".to_owned(), "web".to_owned()),
            ("com.x.a".to_owned(), "1".to_owned()),
        ]);
        let env = ["A=b=c".to_owned(), "BARE".to_owned()];
        let logged = Logged {
            id: "0123456789abcdef",
            name: "shop",
            image_id: "sha256:0011",
            image: "busybox:1",
            env: &env,
            labels: Some(&labels),
        };
        let check = |options: serde_json::Value, expected: &[(&str, &str)]| {
            let got = log_attributes(&host(options.clone()), &logged);
            let got: Vec<_> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(got, expected, "{options}");
        };
        check(json!({}), &[]);
        check(json!({"labels": "tier,none"}), &[("tier", "web")]);
        check(
            json!({"labels-regex": "^com\\.", "env": "A,BARE"}),
            &[("A", "b=c"), ("com.x.a", "1")],
        );
        check(json!({"env-regex": "^(A|BARE)$"}), &[("A", "b=c")]);
        check(
            json!({"tag": "{{.ImageName}}/{{ .Name }}/{{.ID}}"}),
            &[("tag", "busybox:1/shop/0123456789ab")],
        );
    }

    #[test]
    fn options_are_checked() {
        let check = |options: serde_json::Value, expected: &str| {
            let got = match log_policy(&host(options.clone())) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected, "{options}");
        };
        check(json!({"compress": "false"}), "");
        check(
            json!({"compress": "true", "max-size": "1m", "max-file": "2"}),
            "",
        );
        check(
            json!({"compress": "true"}),
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        );
        check(
            json!({"compress": "perhaps"}),
            "strconv.ParseBool: parsing \"perhaps\": invalid syntax",
        );
        check(
            json!({"tag": "{{.Name"}),
            "template: log-tag:1: unclosed action",
        );
        let bad = |options| log_policy(&host(options)).is_err();
        assert!(bad(json!({"labels-regex": "("})));
        assert!(bad(json!({"env-regex": "((a{900}){900}){900}"})));
        assert!(bad(json!({"tag": "{{range .X}}"})));
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let options = json!({"labels": "a", "compress": "1", "max-size": "1m", "max-file": "3"});
        assert_eq!(log_warnings(&host(options)).len(), 2);
        assert!(log_warnings(&host(json!({"max-size": "1m"}))).is_empty());
    }
}
