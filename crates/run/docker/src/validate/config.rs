//! Rules of `Config`, and what an image adds to it.

use carrack_oci::config as image;

use crate::config::{ContainerConfig, Healthcheck, PortSet, VolumeSet};
use crate::signals;

use super::{HOSTNAME_BYTES_MAX, Invalid};

/// Nanoseconds; shorter intervals are refused.
const HEALTH_MIN_NS: i64 = 1_000_000;

/// Said at create of a container that has a health check.
pub(crate) const HEALTH_WARNING: &str =
    "Health checks are not supported yet: the check is kept in the configuration and not run.";

pub(super) fn check_config(config: &ContainerConfig) -> Result<(), Invalid> {
    if config.hostname.len() > HOSTNAME_BYTES_MAX {
        return Err(Invalid::rule(format!(
            "hostname {:?} is too long (maximum {HOSTNAME_BYTES_MAX} bytes)",
            config.hostname
        )));
    }
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(Invalid::rule(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    if !config.stop_signal.is_empty() && signals::parse(&config.stop_signal).is_none() {
        return Err(Invalid::rule(format!(
            "invalid signal: {}",
            config.stop_signal
        )));
    }
    for variable in config.env.iter().flatten() {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(Invalid::rule(format!(
                "invalid environment variable: {variable}"
            )));
        }
    }
    no_nuls(config)?;
    match &config.healthcheck {
        Some(check) => check_health(check),
        None => Ok(()),
    }
}

/// What reaches the kernel as C strings.
fn no_nuls(config: &ContainerConfig) -> Result<(), Invalid> {
    let words = [&config.cmd, &config.entrypoint, &config.env];
    let strings = words.into_iter().flatten().flatten();
    let single = [
        &config.hostname,
        &config.domainname,
        &config.user,
        &config.working_dir,
    ];
    if strings.chain(single).any(|text| text.contains('\0')) {
        return Err(Invalid::rule(
            "command, environment, user, host name and working directory must not hold a NUL",
        ));
    }
    Ok(())
}

fn check_health(check: &Healthcheck) -> Result<(), Invalid> {
    let durations = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ];
    for (name, duration) in durations {
        if duration != 0 && duration < HEALTH_MIN_NS {
            return Err(Invalid::rule(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if check.retries < 0 {
        return Err(Invalid::rule("Retries in Healthcheck cannot be negative"));
    }
    if check.test.as_ref().is_some_and(|test| is_run(test)) {
        return Err(Invalid::NotYet("health"));
    }
    Ok(())
}

fn is_run(test: &[String]) -> bool {
    test.first().is_some_and(|first| first != "NONE")
}

/// Fills what the client left out from the image, as Docker merges them; adds
/// a warning when the image brings a health check.
pub fn merge_image(
    config: &mut ContainerConfig,
    image: &image::ContainerConfig,
    warnings: &mut Vec<String>,
) -> Result<(), Invalid> {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    if !image.exposed_ports.is_empty() {
        let ports = config.exposed_ports.get_or_insert_with(PortSet::default);
        for port in image.exposed_ports.iter() {
            // `80` and `80/tcp` are one port.
            let with_protocol = if port.contains('/') {
                port.to_owned()
            } else {
                format!("{port}/tcp")
            };
            ports.0.insert(with_protocol);
        }
    }
    merge_env(config, &image.env);
    if !image.labels.is_empty() {
        let labels = config.labels.get_or_insert_default();
        for (name, value) in &image.labels {
            labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    if !image.volumes.is_empty() {
        let volumes = config.volumes.get_or_insert_with(VolumeSet::default);
        volumes.0.extend(image.volumes.iter().map(str::to_owned));
    }
    if config.stop_signal.is_empty() {
        config.stop_signal = image.stop_signal.clone().unwrap_or_default();
    }
    if config.stop_timeout.is_none() {
        config.stop_timeout = image.stop_timeout;
    }
    if !image.on_build.is_empty() {
        config.on_build = Some(image.on_build.clone());
    }
    if config.shell.is_none() && !image.shell.is_empty() {
        config.shell = Some(image.shell.clone());
    }
    merge_health(config, image.healthcheck.as_ref(), warnings);
    // `--entrypoint ""` is sent as one empty word.
    if config.entrypoint.as_deref() == Some(&[String::new()]) {
        config.entrypoint = None;
    }
    let words = |words: &Option<Vec<String>>| words.as_ref().map_or(0, Vec::len);
    if words(&config.entrypoint) + words(&config.cmd) == 0 {
        return Err(Invalid::rule("no command specified"));
    }
    Ok(())
}

/// The image's variables follow the client's; the client's win.
fn merge_env(config: &mut ContainerConfig, image: &[String]) {
    if image.is_empty() {
        return;
    }
    let env = config.env.get_or_insert_default();
    for variable in image {
        let name = variable.split('=').next().unwrap_or_default();
        let taken = env.iter().any(|own| own.split('=').next() == Some(name));
        if !taken && !name.is_empty() && !variable.contains('\0') {
            env.push(variable.clone());
        }
    }
}

fn merge_health(
    config: &mut ContainerConfig,
    image: Option<&image::Healthcheck>,
    warnings: &mut Vec<String>,
) {
    let Some(image) = image else { return };
    let own = config.healthcheck.get_or_insert_default();
    if own.test.as_ref().is_none_or(Vec::is_empty) {
        own.test = Some(image.test.clone());
        if is_run(&image.test) {
            warnings.push(HEALTH_WARNING.to_owned());
        }
    }
    let fill = |own: &mut i64, image: i64| {
        if *own == 0 {
            *own = image;
        }
    };
    fill(&mut own.interval, image.interval);
    fill(&mut own.timeout, image.timeout);
    fill(&mut own.start_period, image.start_period);
    fill(&mut own.start_interval, image.start_interval);
    fill(&mut own.retries, image.retries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_json;
    use serde_json::json;

    fn merged(
        own: serde_json::Value,
        image: serde_json::Value,
    ) -> Result<ContainerConfig, Invalid> {
        let mut config = from_json(own).expect("config");
        let image = serde_json::from_value(image).expect("image config");
        merge_image(&mut config, &image, &mut Vec::new()).map(|()| config)
    }

    fn command(own: serde_json::Value) -> Result<Vec<String>, Invalid> {
        let image = json!({"Entrypoint": ["image-entry"], "Cmd": ["image-cmd"]});
        let config = merged(own, image)?;
        let words = [config.entrypoint, config.cmd];
        Ok(words.into_iter().flatten().flatten().collect())
    }

    #[test]
    fn commands() {
        assert_eq!(
            command(json!({})).expect("ok"),
            ["image-entry", "image-cmd"]
        );
        assert_eq!(
            command(json!({"Cmd": ["a"]})).expect("ok"),
            ["image-entry", "a"]
        );
        assert_eq!(command(json!({"Entrypoint": ["e"]})).expect("ok"), ["e"]);
        assert_eq!(
            command(json!({"Entrypoint": ["e"], "Cmd": ["a"]})).expect("ok"),
            ["e", "a"]
        );
        assert_eq!(
            command(json!({"Entrypoint": [""], "Cmd": ["a"]})).expect("ok"),
            ["a"]
        );
        assert_eq!(
            command(json!({"Entrypoint": [], "Cmd": ["a"]})).expect("ok"),
            ["a"]
        );
        assert_eq!(
            command(json!({"Entrypoint": [""]})),
            Err(Invalid::rule("no command specified"))
        );
    }

    #[test]
    fn the_clients_word_wins() {
        let config = merged(
            json!({"Cmd": ["a"], "Env": ["A=1", "B"], "Labels": {"x": "own"}, "User": "u"}),
            json!({
                "Env": ["A=2", "B=3", "C=4", "=bad"], "Labels": {"x": "image", "y": "z"},
                "User": "image", "WorkingDir": "/w", "StopSignal": "SIGINT",
                "ExposedPorts": {"80": {}}, "Volumes": {"/v": {}},
            }),
        )
        .expect("ok");
        assert_eq!(config.env.expect("set"), ["A=1", "B", "C=4"]);
        let labels = config.labels.expect("set");
        assert_eq!((labels["x"].as_str(), labels["y"].as_str()), ("own", "z"));
        assert_eq!(
            (config.user.as_str(), config.working_dir.as_str()),
            ("u", "/w")
        );
        assert_eq!(config.stop_signal, "SIGINT");
        assert!(config.exposed_ports.expect("set").0.contains("80/tcp"));
        assert!(config.volumes.expect("set").0.contains("/v"));
    }

    #[test]
    fn rules() {
        let check = |config: serde_json::Value, sentence: &str| {
            let config = from_json(config).expect("config");
            let refused = check_config(&config);
            assert_eq!(refused.expect_err(sentence).to_string(), sentence);
        };
        check(
            json!({"WorkingDir": "foo"}),
            "the working directory 'foo' is invalid, it needs to be an absolute path",
        );
        check(json!({"StopSignal": "FOO"}), "invalid signal: FOO");
        check(
            json!({"Env": ["=foo"]}),
            "invalid environment variable: =foo",
        );
        check(json!({"Env": [""]}), "invalid environment variable: ");
        check(
            json!({"Healthcheck": {"Interval": 1}}),
            "Interval in Healthcheck cannot be less than 1ms",
        );
        check(
            json!({"Healthcheck": {"Retries": -1}}),
            "Retries in Healthcheck cannot be negative",
        );
        check(
            json!({"Cmd": ["a\0b"]}),
            "command, environment, user, host name and working directory must not hold a NUL",
        );
    }

    #[test]
    fn a_health_check_that_is_asked_for_is_refused() {
        let config = from_json(json!({"Healthcheck": {"Test": ["CMD", "x"]}})).expect("config");
        let refused = check_config(&config);
        assert_eq!(refused, Err(Invalid::NotYet("health")));
        let none = from_json(json!({"Healthcheck": {"Test": ["NONE"]}})).expect("config");
        check_config(&none).expect("ok");
    }
}
