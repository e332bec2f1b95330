//! `--network` in both forms, and the flags that go with it.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::mounts::csv;
use crate::flags::Parsed;

/// What a network is told about its new member.
#[derive(Debug, Default, Clone, PartialEq)]
struct Endpoint {
    target: String,
    aliases: Vec<String>,
    links: Vec<String>,
    ipv4: String,
    ipv6: String,
    link_local: Vec<String>,
    mac: String,
    driver_options: Map<String, Value>,
    gateway_priority: i64,
}

/// Puts networks, name service and hosts into the request.
pub(crate) fn put(
    parsed: &Parsed,
    body: &mut Map<String, Value>,
    host: &mut Map<String, Value>,
) -> Result<(), String> {
    for (flag, field) in [
        ("dns", "Dns"),
        ("dns-search", "DnsSearch"),
        ("dns-option", "DnsOptions"),
    ] {
        super::put_list(host, field, parsed.all(flag));
    }
    let hosts: Vec<String> = parsed
        .all("add-host")
        .map(extra_host)
        .collect::<Result<_, _>>()?;
    super::put_list(host, "ExtraHosts", hosts.iter().map(String::as_str));

    let mut endpoints: Vec<Endpoint> = parsed
        .all("network")
        .map(endpoint)
        .collect::<Result<_, _>>()?;
    let named = !endpoints.is_empty();
    if let Some(first) = endpoints.first() {
        super::put_text(host, "NetworkMode", &first.target);
    } else {
        endpoints.push(Endpoint {
            target: "default".to_owned(),
            ..Endpoint::default()
        });
    }
    if let Some(first) = endpoints.first_mut() {
        apply_flags(parsed, first)?;
    }
    let mut config = Map::new();
    let single = endpoints.len() == 1;
    for endpoint in &endpoints {
        let settings = endpoint.settings()?;
        if config.contains_key(&endpoint.target) {
            return Err(format!(
                "network \"{}\" is specified multiple times",
                endpoint.target
            ));
        }
        // One network without settings is said by the mode alone.
        if !(single && settings.is_empty()) {
            config.insert(endpoint.target.clone(), Value::Object(settings));
        }
    }
    let user_defined = endpoints
        .iter()
        .filter(|endpoint| is_user_defined(&endpoint.target))
        .count();
    if named && user_defined > 0 && user_defined < endpoints.len() {
        return Err("conflicting options: cannot attach both user-defined and non-user-defined network-modes".to_owned());
    }
    if !config.is_empty() {
        body.insert(
            "NetworkingConfig".to_owned(),
            json!({"EndpointsConfig": config}),
        );
    }
    Ok(())
}

fn is_user_defined(mode: &str) -> bool {
    !matches!(mode, "default" | "bridge" | "host" | "none") && !mode.starts_with("container:")
}

/// The older flags speak of the first network.
fn apply_flags(parsed: &Parsed, endpoint: &mut Endpoint) -> Result<(), String> {
    let conflict = |flag: &str, what: &str| {
        Err(format!(
            "conflicting options: cannot specify both {flag} and per-network {what}"
        ))
    };
    if parsed.given("network-alias") {
        if !endpoint.aliases.is_empty() {
            return conflict("--network-alias", "alias");
        }
        endpoint.aliases = parsed.all("network-alias").map(str::to_owned).collect();
    }
    // On the default bridge a link is a matter of the host's configuration.
    if is_user_defined(&endpoint.target) {
        endpoint.links = parsed.all("link").map(str::to_owned).collect();
    }
    for (flag, slot, what) in [
        ("ip", &mut endpoint.ipv4, "IPv4 address"),
        ("ip6", &mut endpoint.ipv6, "IPv6 address"),
        ("mac-address", &mut endpoint.mac, "MAC address"),
    ] {
        let text = parsed.text(flag);
        if text.is_empty() {
            continue;
        }
        if !slot.is_empty() {
            return conflict(&format!("--{flag}"), what);
        }
        text.clone_into(slot);
    }
    if parsed.given("link-local-ip") {
        if !endpoint.link_local.is_empty() {
            return conflict("--link-local-ip", "link-local IP addresses");
        }
        endpoint.link_local = parsed.all("link-local-ip").map(str::to_owned).collect();
    }
    Ok(())
}

impl Endpoint {
    fn settings(&self) -> Result<Map<String, Value>, String> {
        if self.target.trim().is_empty() {
            return Err("no name set for network".to_owned());
        }
        if !is_user_defined(&self.target) {
            if !self.aliases.is_empty() {
                return Err(
                    "network-scoped aliases are only supported for user-defined networks"
                        .to_owned(),
                );
            }
            if !self.links.is_empty() {
                return Err("links are only supported for user-defined networks".to_owned());
            }
        }
        let mut settings = Map::new();
        super::put_list(
            &mut settings,
            "Aliases",
            self.aliases.iter().map(String::as_str),
        );
        super::put_list(
            &mut settings,
            "Links",
            self.links.iter().map(String::as_str),
        );
        super::put_map(&mut settings, "DriverOpts", self.driver_options.clone());
        let mut addresses = Map::new();
        super::put_text(&mut addresses, "IPv4Address", &self.ipv4);
        super::put_text(&mut addresses, "IPv6Address", &self.ipv6);
        super::put_list(
            &mut addresses,
            "LinkLocalIPs",
            self.link_local.iter().map(String::as_str),
        );
        super::put_map(&mut settings, "IPAMConfig", addresses);
        super::put_text(&mut settings, "MacAddress", &self.mac);
        if self.gateway_priority != 0 {
            settings.insert("GwPriority".to_owned(), json!(self.gateway_priority));
        }
        Ok(settings)
    }
}

/// A network's name, or `name=…,alias=…`.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    let mut endpoint = Endpoint::default();
    if !is_long_form(text) {
        text.clone_into(&mut endpoint.target);
        return Ok(endpoint);
    }
    for field in csv(text)? {
        let field_lower = field.to_lowercase();
        let Some((key, value)) = field_lower
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
        else {
            return Err(format!("invalid field {field}"));
        };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "name" => value.clone_into(&mut endpoint.target),
            "alias" => endpoint.aliases.push(value.to_owned()),
            "ip" => value.clone_into(&mut endpoint.ipv4),
            "ip6" => value.clone_into(&mut endpoint.ipv6),
            "mac-address" => value.clone_into(&mut endpoint.mac),
            "link-local-ip" => endpoint.link_local.push(value.to_owned()),
            "driver-opt" => {
                let Some((key, value)) = value.split_once('=').filter(|(key, _)| !key.is_empty())
                else {
                    return Err("invalid key value pair format in driver options".to_owned());
                };
                endpoint
                    .driver_options
                    .insert(key.trim().to_owned(), json!(value.trim()));
            }
            "gw-priority" => {
                endpoint.gateway_priority = value
                    .parse()
                    .map_err(|_| format!("invalid gw-priority ({value}): invalid syntax"))?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if endpoint.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(endpoint)
}

/// Whether a text is of the form with keys: a word character on both sides of
/// some `=`.
fn is_long_form(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('=')
        .any(|(at, _)| text[..at].ends_with(is_word) && text[at + 1..].starts_with(is_word))
}

/// Judges a `--network` while flags are read.
pub(crate) fn check_network(text: &str) -> Result<(), String> {
    endpoint(text).map(|_| ())
}

/// `host:address` or `host=address`, in the first form.
fn extra_host(text: &str) -> Result<String, String> {
    let bad = || {
        format!(
            "bad format for add-host: {}",
            crate::flags::quantity::quote(text)
        )
    };
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(bad)?;
    if name.is_empty() || name.contains(':') {
        return Err(bad());
    }
    if address == "host-gateway" {
        return Ok(format!("{name}:{address}"));
    }
    let address = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    if address.parse::<IpAddr>().is_err() {
        return Err(format!(
            "invalid IP address in add-host: {}",
            crate::flags::quantity::quote(address)
        ));
    }
    Ok(format!("{name}:{address}"))
}

/// Judges an `--add-host` while flags are read.
pub(crate) fn check_extra_host(text: &str) -> Result<(), String> {
    extra_host(text).map(|_| ())
}

/// Judges a `--dns` while flags are read.
pub(crate) fn check_address(text: &str) -> Result<(), String> {
    match text.trim().parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("IP address is not correctly formatted: {text}")),
    }
}

/// Judges a `--dns-search` while flags are read.
pub(crate) fn check_domain(text: &str) -> Result<(), String> {
    let domain = text.trim_matches(' ');
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let whole = domain.strip_suffix('.').unwrap_or(domain);
    let holds = whole.len() < 255
        && whole.split('.').all(label)
        && domain.chars().any(|c| c.is_ascii_alphabetic());
    if domain == "." || holds {
        Ok(())
    } else {
        Err(format!("{domain} is not a valid domain"))
    }
}

/// Judges a `--link` while flags are read.
pub(crate) fn check_link(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("empty string specified for links".to_owned());
    }
    if text.matches(':').count() > 1 {
        return Err(format!("bad format for links: {text}"));
    }
    Ok(())
}

/// Judges a `--mac-address`.
pub(crate) fn check_mac(parsed: &Parsed) -> Result<(), String> {
    let text = parsed.text("mac-address");
    let octets: Vec<&str> = text.trim().split([':', '-']).collect();
    let is_octet = |octet: &&str| octet.len() == 2 && octet.chars().all(|c| c.is_ascii_hexdigit());
    if text.is_empty() || (matches!(octets.len(), 6 | 8 | 20) && octets.iter().all(is_octet)) {
        Ok(())
    } else {
        Err(format!("{text} is not a valid mac address"))
    }
}
