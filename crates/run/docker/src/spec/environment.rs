//! Variables of a container's and an exec's program.

use crate::config::ContainerConfig;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's own variables with the configured ones over them. `HOME` follows
/// from the user, who is looked up in the container.
pub(super) fn environment(config: &ContainerConfig, hostname: &str) -> Vec<String> {
    let own = [
        Some(DEFAULT_PATH.to_owned()),
        Some(format!("HOSTNAME={hostname}")),
        config.tty.then(|| "TERM=xterm".to_owned()),
    ];
    let configured = config.env.iter().flatten().map(String::as_str);
    replace_or_append(own.into_iter().flatten().collect(), configured)
}

/// Variables of an exec: the container's with the exec's over them.
pub fn exec_environment(container: &[String], exec: &[String], terminal: bool) -> Vec<String> {
    let mut env = container.to_vec();
    env.retain(|variable| terminal || variable != "TERM=xterm");
    if terminal && !env.iter().any(|variable| variable.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    replace_or_append(env, exec.iter().map(String::as_str))
}

/// The list without names that stand alone: they took something out.
pub fn without_bare_names(env: &[String]) -> Vec<String> {
    env.iter()
        .filter(|variable| variable.contains('='))
        .cloned()
        .collect()
}

/// A later value replaces an earlier one in its place; a name without a value
/// takes the variable out.
fn replace_or_append<'a>(
    mut env: Vec<String>,
    later: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    for variable in later {
        let name = variable.split('=').next().unwrap_or_default();
        let same = |own: &String| own.split('=').next() == Some(name);
        if !variable.contains('=') {
            env.retain(|own| !same(own));
        } else if let Some(own) = env.iter_mut().find(|own| same(own)) {
            variable.clone_into(own);
        } else {
            env.push(variable.to_owned());
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn configured_over_own() {
        let config = ContainerConfig {
            env: Some(strings(&["PATH=/bin", "A=b=c", "HOSTNAME"])),
            tty: true,
            ..ContainerConfig::default()
        };
        assert_eq!(
            environment(&config, "h"),
            ["PATH=/bin", "TERM=xterm", "A=b=c"]
        );
    }

    #[test]
    fn of_execs() {
        let container = strings(&["PATH=/bin", "A=1"]);
        assert_eq!(
            exec_environment(&container, &strings(&["A=2", "B=3"]), true),
            ["PATH=/bin", "A=2", "TERM=xterm", "B=3"]
        );
        assert_eq!(
            exec_environment(&container, &strings(&["A"]), false),
            ["PATH=/bin"]
        );
        assert_eq!(without_bare_names(&strings(&["A", "B=1"])), ["B=1"]);
    }
}
