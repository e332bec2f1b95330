//! Rules of `HostConfig` and of networks.

use crate::config::{CreateRequest, HostConfig};
use crate::host::{CAPABILITIES, HostFacts};
use crate::ports;
use crate::restart::Policy;

use super::Invalid;

/// Names by which the engine's own runtime may be asked for.
const RUNTIMES: [&str; 4] = ["", "carrack", "runc", "io.containerd.runc.v2"];

/// Whether a sysctl belongs to one of a container's namespaces.
const IPC_SYSCTLS: [&str; 9] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.domainname",
];

/// A namespace mode as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode<'a> {
    /// Nothing was written.
    Default,
    /// `container:NAME`.
    Container(&'a str),
    /// A word.
    Word(&'a str),
}

/// Takes a mode apart.
pub fn namespace_mode(text: &str) -> Mode<'_> {
    match text.split_once(':') {
        Some(("container", name)) => Mode::Container(name),
        _ if text == "container" => Mode::Container(""),
        _ if text.is_empty() => Mode::Default,
        _ => Mode::Word(text),
    }
}

pub(super) fn check_network_mode(request: &CreateRequest) -> Result<(), Invalid> {
    let (config, host) = (&request.config, &request.host_config);
    let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if let Mode::Container(name) = namespace_mode(&host.network_mode) {
        let conflict = if name.is_empty() {
            "invalid network mode: invalid container format container:<name|id>"
        } else if !config.hostname.is_empty() {
            "conflicting options: hostname and the network mode"
        } else if given(&host.links) {
            "conflicting options: container type network can't be used with links. This would result in undefined behavior"
        } else if given(&host.dns) {
            "conflicting options: dns and the network mode"
        } else if given(&host.extra_hosts) {
            "conflicting options: custom host-to-IP mapping and the network mode"
        } else if host
            .port_bindings
            .as_ref()
            .is_some_and(|ports| !ports.is_empty())
            || host.publish_all_ports
        {
            "conflicting options: port publishing and the container type network mode"
        } else if config
            .exposed_ports
            .as_ref()
            .is_some_and(|ports| !ports.0.is_empty())
        {
            "conflicting options: port exposing and the container type network mode"
        } else {
            return Ok(());
        };
        return Err(Invalid::rule(conflict));
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return Err(Invalid::rule(
            "conflicting options: hostname and the UTS mode",
        ));
    }
    if given(&host.links) {
        return Err(Invalid::NotYet("link"));
    }
    Ok(())
}

/// At most one network, and it must be the one of the network mode.
pub(super) fn check_networking(request: &CreateRequest) -> Result<(), Invalid> {
    let endpoints = request.networking_config.endpoints_config.iter().flatten();
    for (network, settings) in endpoints {
        let known = ["default", "bridge", "host", "none"].contains(&network.as_str());
        if !known {
            return Err(Invalid::NotYet("network"));
        }
        let fixed = settings.ipam_config.as_ref();
        if fixed.is_some_and(|ipam| !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty())
        {
            return Err(Invalid::rule(
                "invalid endpoint settings:\nuser specified IP address is supported on user defined networks only",
            ));
        }
    }
    Ok(())
}

pub(super) fn check_host_config(
    host: &HostConfig,
    facts: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<(), Invalid> {
    let policy = Policy::parse(&host.restart_policy)?;
    if host.auto_remove && policy != Policy::No {
        return Err(Invalid::rule(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    check_modes(host)?;
    check_extra_hosts(host)?;
    check_dns(host)?;
    ports::published(&crate::config::ContainerConfig::default(), host)?;
    check_capabilities("CapAdd", host.cap_add.as_ref())?;
    check_capabilities("CapDrop", host.cap_drop.as_ref())?;
    check_sysctls(host)?;
    super::security_options(host)?;
    super::security::check_apparmor(host, facts)?;
    if !host.resources.cgroup_parent.is_empty() {
        return Err(Invalid::NotYet("cgroup-parent"));
    }
    if host
        .annotations
        .as_ref()
        .is_some_and(|map| map.contains_key(""))
    {
        return Err(Invalid::rule(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    if host.shm_size < 0 {
        return Err(Invalid::rule("SHM size can not be less than 0"));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Invalid::rule(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    if !RUNTIMES.contains(&host.runtime.as_str()) {
        return Err(Invalid::rule(format!(
            "unknown or invalid runtime name: {}",
            host.runtime
        )));
    }
    if let Some(option) = host.storage_opt.iter().flatten().next() {
        return Err(Invalid::rule(format!(
            "the storage driver has no option {}",
            option.0
        )));
    }
    let publishes = host
        .port_bindings
        .as_ref()
        .is_some_and(|ports| !ports.is_empty());
    if host.network_mode == "host" && publishes {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    if !facts.ipv4_forwarding && !["host", "none"].contains(&host.network_mode.as_str()) {
        warnings.push("IPv4 forwarding is disabled. Networking will not work.".to_owned());
    }
    if !host.cgroup.is_empty() {
        return Err(Invalid::rule("invalid Cgroup: the field is no longer used"));
    }
    Ok(())
}

fn check_modes(host: &HostConfig) -> Result<(), Invalid> {
    let one_of = |mode: &str, words: &[&str], container: bool, what: &str| {
        let good = match namespace_mode(mode) {
            Mode::Default => true,
            Mode::Container(name) => container && !name.is_empty(),
            Mode::Word(word) => words.contains(&word),
        };
        if good {
            Ok(())
        } else {
            Err(Invalid::rule(format!("invalid {what}: {mode}")))
        }
    };
    one_of(
        &host.ipc_mode,
        &["none", "private", "shareable", "host"],
        true,
        "IPC mode",
    )?;
    one_of(&host.pid_mode, &["host"], true, "PID mode")?;
    one_of(&host.uts_mode, &["host"], false, "UTS mode")?;
    one_of(&host.userns_mode, &["host"], false, "USER mode")?;
    one_of(
        &host.cgroupns_mode,
        &["private", "host"],
        false,
        "cgroup namespace mode",
    )?;
    if !["", "default"].contains(&host.isolation.as_str()) {
        return Err(Invalid::rule(format!(
            "invalid isolation ({}): linux only supports 'default'",
            host.isolation
        )));
    }
    match namespace_mode(&host.network_mode) {
        Mode::Default | Mode::Container(_) => Ok(()),
        Mode::Word("default" | "bridge" | "none" | "host") => Ok(()),
        Mode::Word(_) => Err(Invalid::NotYet("network")),
    }
}

fn check_extra_hosts(host: &HostConfig) -> Result<(), Invalid> {
    for entry in host.extra_hosts.iter().flatten() {
        let Some((name, address)) = split_extra_host(entry) else {
            return Err(Invalid::rule(format!("bad format for add-host: {entry:?}")));
        };
        if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Invalid::rule(format!("bad format for add-host: {entry:?}")));
        }
        let is_gateway = address == "host-gateway";
        if !is_gateway && address.parse::<std::net::IpAddr>().is_err() {
            return Err(Invalid::rule(format!(
                "invalid IP address in add-host: {address:?}"
            )));
        }
    }
    Ok(())
}

/// `name:address` or `name=address`; an IPv6 address may be in brackets.
pub(crate) fn split_extra_host(entry: &str) -> Option<(&str, &str)> {
    let at = entry.find([':', '='])?;
    let (name, address) = (&entry[..at], &entry[at + 1..]);
    let address = address
        .strip_prefix('[')
        .and_then(|address| address.strip_suffix(']'))
        .unwrap_or(address);
    (!name.is_empty() && !address.is_empty()).then_some((name, address))
}

fn check_dns(host: &HostConfig) -> Result<(), Invalid> {
    for server in host.dns.iter().flatten() {
        if server.parse::<std::net::IpAddr>().is_err() {
            return Err(Invalid::rule(format!("{server} is not an ip address")));
        }
    }
    let words = host.dns_search.iter().chain(&host.dns_options).flatten();
    for word in words {
        if word.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Invalid::rule(format!(
                "invalid DNS option or domain: {word:?}"
            )));
        }
    }
    Ok(())
}

fn check_capabilities(field: &str, names: Option<&Vec<String>>) -> Result<(), Invalid> {
    for name in names.into_iter().flatten() {
        let full = full_capability(name);
        if full != "ALL" && !CAPABILITIES.contains(&full.as_str()) {
            return Err(Invalid::rule(format!(
                "invalid {field}: unknown capability: \"{full}\""
            )));
        }
    }
    Ok(())
}

/// `net_admin` → `CAP_NET_ADMIN`; `all` → `ALL`.
pub(crate) fn full_capability(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" || upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    }
}

fn check_sysctls(host: &HostConfig) -> Result<(), Invalid> {
    let shares_ipc = host.ipc_mode == "host";
    for name in host.sysctls.iter().flatten().map(|(name, _)| name) {
        let refused = |reason: &str| Err(Invalid::rule(format!("sysctl {name:?} {reason}")));
        let sane = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/')
            && !name.contains("..");
        if !sane {
            return refused("is not a valid name");
        }
        if name.starts_with("net.") {
            if host.network_mode == "host" {
                return refused("not allowed in host network namespace");
            }
        } else if IPC_SYSCTLS.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
            if shares_ipc {
                return refused("not allowed in host IPC namespace");
            }
        } else {
            return refused("is not in a separate kernel namespace");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_json;
    use serde_json::json;

    fn check(host_config: serde_json::Value, sentence: &str) {
        let host: HostConfig = from_json(host_config.clone()).expect("host config");
        let facts = crate::host::example();
        let outcome = check_host_config(&host, &facts, &mut Vec::new());
        let text = outcome.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        assert_eq!(text, sentence, "{host_config}");
    }

    #[test]
    fn rules() {
        check(json!({}), "ok");
        check(
            json!({"AutoRemove": true, "RestartPolicy": {"Name": "always"}}),
            "can't create 'AutoRemove' container with restart policy",
        );
        check(json!({"ShmSize": -5}), "SHM size can not be less than 0");
        check(
            json!({"OomScoreAdj": 5000}),
            "Invalid value 5000, range for oom score adj is [-1000, 1000]",
        );
        check(
            json!({"CapAdd": ["FOO"]}),
            "invalid CapAdd: unknown capability: \"CAP_FOO\"",
        );
        check(
            json!({"CapDrop": "foo"}),
            "invalid CapDrop: unknown capability: \"CAP_FOO\"",
        );
        check(json!({"CapAdd": ["all", "cap_chown", "Net_Admin"]}), "ok");
        check(
            json!({"ExtraHosts": ["foo"]}),
            "bad format for add-host: \"foo\"",
        );
        check(
            json!({"ExtraHosts": ["a:1.2.3.4", "b=[::1]", "c:host-gateway"]}),
            "ok",
        );
        check(
            json!({"ExtraHosts": ["a:x"]}),
            "invalid IP address in add-host: \"x\"",
        );
        check(
            json!({"ExtraHosts": ["a\nb:1.2.3.4"]}),
            "bad format for add-host: \"a\\nb:1.2.3.4\"",
        );
        check(json!({"Dns": ["foo"]}), "foo is not an ip address");
        check(
            json!({"Runtime": "foo"}),
            "unknown or invalid runtime name: foo",
        );
        check(json!({"Runtime": "runc"}), "ok");
        check(
            json!({"StorageOpt": {"foo": "bar"}}),
            "the storage driver has no option foo",
        );
    }

    #[test]
    fn modes() {
        check(json!({"IpcMode": "foo"}), "invalid IPC mode: foo");
        check(
            json!({"IpcMode": "container:"}),
            "invalid IPC mode: container:",
        );
        check(json!({"PidMode": "container:a"}), "ok");
        check(json!({"PidMode": "private"}), "invalid PID mode: private");
        check(
            json!({"UTSMode": "container:a"}),
            "invalid UTS mode: container:a",
        );
        check(json!({"UsernsMode": "host"}), "ok");
        check(
            json!({"CgroupnsMode": "foo"}),
            "invalid cgroup namespace mode: foo",
        );
        check(
            json!({"NetworkMode": "mine"}),
            crate::not_yet::sentence("network"),
        );
        check(
            json!({"Isolation": "hyperv"}),
            "invalid isolation (hyperv): linux only supports 'default'",
        );
    }

    #[test]
    fn sysctls() {
        check(
            json!({"Sysctls": {"net.ipv4.ip_forward": "1", "kernel.msgmax": "1"}}),
            "ok",
        );
        check(
            json!({"Sysctls": {"kernel.core_pattern": "|/x"}}),
            "sysctl \"kernel.core_pattern\" is not in a separate kernel namespace",
        );
        check(
            json!({"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"}),
            "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace",
        );
        check(
            json!({"Sysctls": {"kernel.msgmax": "1"}, "IpcMode": "host"}),
            "sysctl \"kernel.msgmax\" not allowed in host IPC namespace",
        );
        for hostile in ["net/../../kernel", "net..x", "", "net.a b", "net.\0"] {
            check(
                json!({"Sysctls": {hostile: "1"}}),
                &format!("sysctl {hostile:?} is not a valid name"),
            );
        }
    }
}
