//! `-p`, `--expose`: ports and ranges.

use serde_json::{Map, Value, json};

use crate::flags::{Parsed, quantity};

/// The most ports that one flag may name.
const RANGE_PORTS: u64 = 65_536;

/// Puts published and exposed ports into the request.
pub(crate) fn put(
    parsed: &Parsed,
    body: &mut Map<String, Value>,
    host: &mut Map<String, Value>,
) -> Result<(), String> {
    let mut exposed = Map::new();
    let mut bindings: Map<String, Value> = Map::new();
    for text in parsed.all("publish") {
        for published in publish(&standard_form(text)?)? {
            exposed.insert(published.container.clone(), json!({}));
            let list = bindings
                .entry(published.container)
                .or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(
                    json!({"HostIp": published.host_address, "HostPort": published.host_port}),
                );
            }
        }
    }
    for text in parsed.all("expose") {
        for port in expose(text)? {
            exposed.insert(port, json!({}));
        }
    }
    super::put_map(body, "ExposedPorts", exposed);
    super::put_map(host, "PortBindings", bindings);
    Ok(())
}

/// One port of a container and where it is published.
#[derive(Debug, PartialEq, Eq)]
struct Published {
    /// `80/tcp`
    container: String,
    host_address: String,
    /// A port, a range to choose from, or nothing for any.
    host_port: String,
}

/// `published=8080,target=80,protocol=udp` in the short form.
fn standard_form(text: &str) -> Result<String, String> {
    if !text.contains('=') {
        return Ok(text.to_owned());
    }
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for parameter in text.split(',') {
        match parameter.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some((name, _)) if !name.is_empty() => {}
            _ => {
                return Err(format!(
                    "invalid publish opts format (should be name=value but got '{parameter}')"
                ));
            }
        }
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

/// `[[host-address:][host-port]:]container-port[/protocol]`, with ranges.
fn publish(text: &str) -> Result<Vec<Published>, String> {
    let mut parts: Vec<&str> = text.rsplitn(3, ':').collect();
    parts.reverse();
    let (address, host_port, container) = match parts.as_slice() {
        [container] => ("", "", *container),
        [host_port, container] => ("", *host_port, *container),
        [address, host_port, container] => (*address, *host_port, *container),
        _ => ("", "", ""),
    };
    let (container, protocol) = split_protocol(container);
    let address = match address.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .ok_or_else(|| format!("invalid IP address: {address}"))?,
        None => address,
    };
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let (first, last) =
        range(container).map_err(|_| format!("invalid containerPort: {container}"))?;
    let host_range = if host_port.is_empty() {
        None
    } else {
        Some(range(host_port).map_err(|_| format!("invalid hostPort: {host_port}"))?)
    };
    if let Some((host_first, host_last)) = host_range {
        // A range for a single port means any port of the range.
        if last - first != host_last - host_first && first != last {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {container} and {host_port}"
            ));
        }
    }
    let protocol = protocol.to_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    Ok((first..=last)
        .map(|port| Published {
            container: format!("{port}/{protocol}"),
            host_address: address.to_owned(),
            host_port: match host_range {
                None => String::new(),
                Some((host_first, host_last)) if first == last && host_first != host_last => {
                    format!("{host_first}-{host_last}")
                }
                Some((host_first, _)) => (host_first + (port - first)).to_string(),
            },
        })
        .collect())
}

fn expose(text: &str) -> Result<Vec<String>, String> {
    if text.contains(':') {
        return Err(format!("invalid port format for --expose: {text}"));
    }
    let (port, protocol) = split_protocol(text);
    let (first, last) = range(port)
        .map_err(|error| format!("invalid range format for --expose: {text}, error: {error}"))?;
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

fn split_protocol(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((port, "")) => (port, "tcp"),
        Some((port, protocol)) => (port, protocol),
        None => (text, "tcp"),
    }
}

/// A port or a range of them.
fn range(text: &str) -> Result<(u64, u64), String> {
    if text.is_empty() {
        return Err("empty string specified for ports".to_owned());
    }
    let number = |text: &str| {
        if text.bytes().all(|b| b.is_ascii_digit()) {
            quantity::unsigned(
                text.trim_start_matches('0')
                    .get(..)
                    .filter(|t| !t.is_empty())
                    .unwrap_or("0"),
                16,
            )
        } else {
            Err(format!(
                "strconv.ParseUint: parsing {}: invalid syntax",
                quantity::quote(text)
            ))
        }
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => {
            let port = number(text)?;
            (port, port)
        }
    };
    if last < first || last - first >= RANGE_PORTS {
        return Err(format!("invalid range specified for port: {text}"));
    }
    Ok((first, last))
}
