//! Dockerfile instructions that change a config, as `docker import -c` and
//! `docker commit -c` take them.
//!
//! Source: the Dockerfile reference, each instruction's section.

use carrack_oci::{ContainerConfig, Healthcheck};

use super::words::{expand, split};
use crate::error::Error;

/// Longest text of changes, in bytes.
const MAX_CHANGES_BYTES: usize = 1 << 20;

/// Applies `changes`, each of one or more lines, to `config`.
pub(crate) fn apply(config: &mut ContainerConfig, changes: &[String]) -> Result<(), Error> {
    if changes.iter().map(String::len).sum::<usize>() > MAX_CHANGES_BYTES {
        return refuse("changes are too long");
    }
    // A backslash at a line's end joins it with the next one.
    let joined = changes.join("\n").replace("\\\n", "");
    let lines = joined.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        apply_one(config, &name.to_ascii_lowercase(), rest.trim())?;
    }
    Ok(())
}

fn apply_one(config: &mut ContainerConfig, name: &str, rest: &str) -> Result<(), Error> {
    match name {
        "cmd" => config.cmd = command(config, rest),
        "entrypoint" => {
            config.entrypoint = command(config, rest);
        }
        "env" => {
            for (key, value) in pairs("ENV", rest, &config.env.clone())? {
                let entry = format!("{key}={value}");
                let same = |old: &&mut String| old.split('=').next() == Some(&key);
                match config.env.iter_mut().find(same) {
                    Some(old) => *old = entry,
                    None => config.env.push(entry),
                }
            }
        }
        "expose" => {
            for word in words("EXPOSE", rest, config)? {
                config.exposed_ports.0.extend(ports(&word)?);
            }
        }
        "label" => config.labels.extend(pairs("LABEL", rest, &config.env)?),
        "onbuild" => config.on_build.push(trigger(rest)?),
        "user" => config.user = one("USER", rest, config)?,
        "volume" => {
            let paths = match json_words(rest) {
                Some(paths) => paths,
                None => words("VOLUME", rest, config)?,
            };
            if paths.is_empty() {
                return refuse("VOLUME requires at least one argument");
            }
            if paths.iter().any(|path| path.trim().is_empty()) {
                return refuse("VOLUME specified can not be an empty string");
            }
            config.volumes.0.extend(paths);
        }
        "workdir" => {
            let path = one("WORKDIR", rest, config)?;
            config.working_dir = join(&config.working_dir, &path);
        }
        "stopsignal" => config.stop_signal = Some(one("STOPSIGNAL", rest, config)?),
        "healthcheck" => config.healthcheck = Some(healthcheck(rest)?),
        _ => return refuse(&format!("{name} is not a valid change command")),
    }
    Ok(())
}

/// `["a", "b"]` as it is, anything else by the shell, nothing as nothing.
fn command(config: &ContainerConfig, rest: &str) -> Option<Vec<String>> {
    if rest.is_empty() {
        return None;
    }
    Some(json_words(rest).unwrap_or_else(|| {
        let mut command = if config.shell.is_empty() {
            vec!["/bin/sh".to_owned(), "-c".to_owned()]
        } else {
            config.shell.clone()
        };
        command.push(rest.to_owned());
        command
    }))
}

fn json_words(rest: &str) -> Option<Vec<String>> {
    if !rest.starts_with('[') {
        return None;
    }
    serde_json::from_str(rest).ok()
}

fn words(name: &str, rest: &str, config: &ContainerConfig) -> Result<Vec<String>, Error> {
    let words: Vec<String> = split(rest)
        .iter()
        .map(|word| expand(word, &config.env))
        .collect::<Result<_, _>>()?;
    if words.is_empty() {
        return refuse(&format!("{name} requires at least one argument"));
    }
    Ok(words)
}

fn one(name: &str, rest: &str, config: &ContainerConfig) -> Result<String, Error> {
    if rest.is_empty() {
        return refuse(&format!("{name} requires exactly one argument"));
    }
    let value = expand(rest, &config.env)?;
    if value.is_empty() {
        return refuse(&format!("{name} requires a value that is not empty"));
    }
    Ok(value)
}

/// `key=value …`, or the old form `key the whole rest`.
fn pairs(name: &str, rest: &str, env: &[String]) -> Result<Vec<(String, String)>, Error> {
    let words = split(rest);
    let Some(first) = words.first() else {
        return refuse(&format!("{name} requires at least one argument"));
    };
    let pair = |key: &str, value: &str| {
        let key = expand(key, env)?;
        if key.is_empty() {
            return refuse(&format!("{name} names can not be blank"));
        }
        Ok((key, expand(value, env)?))
    };
    if !first.contains('=') {
        let value = rest[first.len()..].trim();
        if value.is_empty() {
            return refuse(&format!("{name} must have two arguments"));
        }
        return Ok(vec![pair(first, value)?]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) => pair(key, value),
            None => refuse(&format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            )),
        })
        .collect()
}

/// `80`, `80/udp`, `7000-7002/tcp`.
fn ports(word: &str) -> Result<Vec<String>, Error> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return refuse(&format!("Invalid proto: {protocol}"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let parsed = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
    match parsed {
        Some((first, last)) if first <= last => Ok((first..=last)
            .map(|port| format!("{port}/{protocol}"))
            .collect()),
        _ => refuse(&format!("Invalid containerPort: {range}")),
    }
}

fn trigger(rest: &str) -> Result<String, Error> {
    let name = rest
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    match name.as_str() {
        "" => refuse("ONBUILD requires at least one argument"),
        "ONBUILD" => refuse("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        "MAINTAINER" | "FROM" => refuse(&format!("{name} isn't allowed as an ONBUILD trigger")),
        _ => Ok(rest.to_owned()),
    }
}

/// An absolute path, without `.`, `..` and doubled slashes.
fn join(base: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{base}/{path}")
    };
    let mut parts = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn healthcheck(rest: &str) -> Result<Healthcheck, Error> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        match name {
            "retries" => match value.parse::<i32>() {
                Ok(retries) if retries >= 0 => check.retries = i64::from(retries),
                _ => return refuse(&format!("--retries must be at least 0, not {value:?}")),
            },
            "interval" => check.interval = nanoseconds(name, value)?,
            "timeout" => check.timeout = nanoseconds(name, value)?,
            "start-period" => check.start_period = nanoseconds(name, value)?,
            "start-interval" => check.start_interval = nanoseconds(name, value)?,
            _ => return refuse(&format!("unknown flag: --{name}")),
        }
        rest = after.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command_text = command.trim();
    check.test = match kind.to_ascii_uppercase().as_str() {
        "NONE" if command_text.is_empty() => vec!["NONE".to_owned()],
        "NONE" => return refuse("HEALTHCHECK NONE takes no arguments"),
        "CMD" if command_text.is_empty() => return refuse("missing command after HEALTHCHECK CMD"),
        "CMD" => match json_words(command_text) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command_text.to_owned()],
        },
        "" => return refuse("HEALTHCHECK requires at least one argument"),
        other => return refuse(&format!("unknown type {other:?} in HEALTHCHECK (try CMD)")),
    };
    Ok(check)
}

fn nanoseconds(name: &str, value: &str) -> Result<i64, Error> {
    let duration = crate::filter::parse_go_duration(value);
    let nanoseconds = duration.and_then(|duration| i64::try_from(duration.as_nanos()).ok());
    match nanoseconds {
        Some(0) => Ok(0),
        // Docker's least.
        Some(nanoseconds) if nanoseconds >= 1_000_000 => Ok(nanoseconds),
        Some(_) => refuse(&format!("interval {name:?} cannot be less than 1ms")),
        None => refuse(&format!("time: invalid duration {value:?}")),
    }
}

fn refuse<T>(sentence: &str) -> Result<T, Error> {
    Err(Error::Change(sentence.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(changes: &[&str]) -> Result<serde_json::Value, String> {
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        let mut config = ContainerConfig::default();
        apply(&mut config, &changes).map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(config).unwrap())
    }

    #[test]
    fn applies_what_docker_takes() {
        let config = applied(&[
            "CMD [\"sh\"]",
            "ENV A=b C=\"d e\" D=$A",
            "ENV old  form of  it",
            "ENV A=c\\ d",
            "EXPOSE 80 90/UDP 7000-7001",
            "LABEL x=y 'a b'=\"it's\"",
            "VOLUME /data /more",
            "VOLUME [\"/j s\"]",
            "WORKDIR /w",
            "workdir x/../y",
            "# nothing\n\nUSER 1:$D",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD true && false",
            "ONBUILD RUN x",
            "ENTRYPOINT a \\\nb",
        ])
        .unwrap();
        expect_test::expect![[r#"
            {
              "User": "1:",
              "ExposedPorts": {
                "7000/tcp": {},
                "7001/tcp": {},
                "80/tcp": {},
                "90/udp": {}
              },
              "Env": [
                "A=c d",
                "C=d e",
                "D=",
                "old=form of  it"
              ],
              "Entrypoint": [
                "/bin/sh",
                "-c",
                "a b"
              ],
              "Cmd": [
                "sh"
              ],
              "Volumes": {
                "/data": {},
                "/j s": {},
                "/more": {}
              },
              "WorkingDir": "/w/y",
              "Labels": {
                "a b": "it's",
                "x": "y"
              },
              "StopSignal": "SIGINT",
              "Healthcheck": {
                "Test": [
                  "CMD-SHELL",
                  "true && false"
                ],
                "Interval": 90000000000,
                "Retries": 2
              },
              "OnBuild": [
                "RUN x"
              ]
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&config).unwrap());
        assert_eq!(applied(&["CMD [", "ENTRYPOINT"]).unwrap()["Cmd"][2], "[");
        assert_eq!(applied(&["ENTRYPOINT"]).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn refuses_the_rest() {
        for (change, sentence) in [
            ("FROM x", "from is not a valid change command"),
            ("RUN x", "run is not a valid change command"),
            ("EXPOSE x", "Invalid containerPort: x"),
            ("EXPOSE 80/icmp", "Invalid proto: icmp"),
            ("EXPOSE 65536", "Invalid containerPort: 65536"),
            ("ENV A", "ENV must have two arguments"),
            ("ENV", "ENV requires at least one argument"),
            ("ENV =x", "ENV names can not be blank"),
            ("USER", "USER requires exactly one argument"),
            ("VOLUME []", "VOLUME requires at least one argument"),
            ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
            (
                "HEALTHCHECK FOO",
                "unknown type \"FOO\" in HEALTHCHECK (try CMD)",
            ),
            (
                "HEALTHCHECK --interval=1ns CMD x",
                "interval \"interval\" cannot be less than 1ms",
            ),
            ("\u{0}", "\u{0} is not a valid change command"),
        ] {
            assert_eq!(applied(&[change]), Err(sentence.to_owned()), "{change}");
        }
        assert!(applied(&["LABEL a=\"open"]).is_err());
        assert!(applied(&[&"x".repeat(MAX_CHANGES_BYTES + 1)]).is_err());
    }
}
