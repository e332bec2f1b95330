//! Ports as clients write them.
//!
//! Numbers and protocols alone are decided here; which port of the host is
//! free is the network's to say.

use std::net::IpAddr;

use crate::config::{ContainerConfig, HostConfig, PublishedPort};

/// A port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Number.
    pub number: u16,
    /// Protocol.
    pub protocol: Transport,
}

/// Protocols that have ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl From<carrack_network::Protocol> for Transport {
    fn from(protocol: carrack_network::Protocol) -> Self {
        match protocol {
            carrack_network::Protocol::Tcp => Self::Tcp,
            carrack_network::Protocol::Udp => Self::Udp,
            carrack_network::Protocol::Sctp => Self::Sctp,
        }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}

/// A port to be published, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The container's port.
    pub port: Port,
    /// Address of the host; none is every one.
    pub host_ip: Option<IpAddr>,
    /// First and last port of the host that will do; none is any free one.
    pub host_ports: Option<(u16, u16)>,
}

/// Why a port is refused; `Display` is Docker's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not `number[/protocol]`, or not a number or range.
    #[error("invalid port specification: {0:?}")]
    Specification(String),
    /// Not an address.
    #[error("invalid host IP address: {0:?}")]
    HostIp(String),
    /// A protocol without ports.
    #[error("invalid port specification: {port:?}: unknown protocol {protocol:?}")]
    Protocol {
        /// As it was written.
        port: String,
        /// The protocol in it.
        protocol: String,
    },
}

/// Parses `80`, `80/tcp`.
pub fn parse_port(text: &str) -> Result<Port, PortError> {
    let invalid = || PortError::Specification(text.to_owned());
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" | "" => Transport::Tcp,
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        other => {
            return Err(PortError::Protocol {
                port: text.to_owned(),
                protocol: other.to_owned(),
            });
        }
    };
    let number = parse_number(number)
        .filter(|number| *number != 0)
        .ok_or_else(invalid)?;
    Ok(Port { number, protocol })
}

/// The exposed ports of a config; a range `80-82/tcp` stands for each.
pub fn exposed(config: &ContainerConfig) -> Result<Vec<Port>, PortError> {
    let mut ports = Vec::new();
    for text in config.exposed_ports.iter().flat_map(|ports| &ports.0) {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let Some((first, last)) = numbers.split_once('-') else {
            ports.push(parse_port(text)?);
            continue;
        };
        let first = parse_port(&format!("{first}/{protocol}"))?;
        let last = parse_port(&format!("{last}/{protocol}"))?;
        if first.number > last.number {
            return Err(PortError::Specification(text.clone()));
        }
        ports.extend((first.number..=last.number).map(|number| Port { number, ..first }));
    }
    Ok(ports)
}

/// The ports to be published: the bindings, and with `PublishAllPorts` every
/// exposed port without one.
pub fn published(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<Publish>, PortError> {
    let mut all = Vec::new();
    for (text, bindings) in host.port_bindings.iter().flatten() {
        let port = parse_port(text)?;
        if bindings.is_empty() {
            all.push(anywhere(port));
        }
        for binding in bindings {
            all.push(publish(port, binding)?);
        }
    }
    if host.publish_all_ports {
        for port in exposed(config)? {
            if !all.iter().any(|publish| publish.port == port) {
                all.push(anywhere(port));
            }
        }
    }
    Ok(all)
}

fn anywhere(port: Port) -> Publish {
    Publish {
        port,
        host_ip: None,
        host_ports: None,
    }
}

fn publish(port: Port, binding: &PublishedPort) -> Result<Publish, PortError> {
    let host_ip = match binding.host_ip.as_str() {
        "" => None,
        text => {
            let address = text.parse::<IpAddr>();
            Some(address.map_err(|_| PortError::HostIp(text.to_owned()))?)
        }
    };
    let invalid = || PortError::Specification(binding.host_port.clone());
    let (first, last) = match binding.host_port.split_once('-') {
        Some(ends) => ends,
        None => (binding.host_port.as_str(), binding.host_port.as_str()),
    };
    let host_ports = match first {
        "" if last.is_empty() => None,
        first => {
            let first = parse_number(first).ok_or_else(invalid)?;
            let last = parse_number(last).ok_or_else(invalid)?;
            if first > last {
                return Err(invalid());
            }
            // Port 0 means any, as it does to bind(2).
            (last != 0).then_some((first.max(1), last))
        }
    };
    Ok(Publish {
        port,
        host_ip,
        host_ports,
    })
}

/// Digits alone.
fn parse_number(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_json;
    use serde_json::json;

    fn check(exposed: &[&str], host: serde_json::Value, expected: &str) {
        let exposed: serde_json::Map<_, _> = exposed
            .iter()
            .map(|port| ((*port).to_owned(), json!({})))
            .collect();
        let config = from_json(json!({"ExposedPorts": exposed})).expect("config");
        let host = from_json(host).expect("host config");
        let text = match published(&config, &host) {
            Ok(all) => all
                .iter()
                .map(|each| {
                    let ip = each.host_ip.map_or("*".to_owned(), |ip| ip.to_string());
                    format!("{} {ip} {:?};", each.port, each.host_ports)
                })
                .collect(),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn bindings() {
        let bind = |port: &str, ip: &str, host: &str| json!({"PortBindings": {port: [{"HostIp": ip, "HostPort": host}]}});
        check(
            &[],
            bind("80/tcp", "", "8080"),
            "80/tcp * Some((8080, 8080));",
        );
        check(&[], bind("80", "127.0.0.1", ""), "80/tcp 127.0.0.1 None;");
        check(
            &[],
            bind("53/udp", "::1", "53"),
            "53/udp ::1 Some((53, 53));",
        );
        check(
            &[],
            bind("80/TCP", "", "8000-8010"),
            "80/tcp * Some((8000, 8010));",
        );
        check(&[], bind("80/tcp", "", "0"), "80/tcp * None;");
        check(
            &[],
            json!({"PortBindings": {"80/tcp": []}}),
            "80/tcp * None;",
        );
        check(
            &["81", "80-82/tcp"],
            json!({"PublishAllPorts": true}),
            "80/tcp * None;81/tcp * None;82/tcp * None;",
        );
    }

    #[test]
    fn refused() {
        let bind = |port: &str, ip: &str, host: &str| json!({"PortBindings": {port: [{"HostIp": ip, "HostPort": host}]}});
        check(
            &[],
            bind("foo", "", "1"),
            r#"error: invalid port specification: "foo""#,
        );
        check(
            &[],
            bind("0/tcp", "", "1"),
            r#"error: invalid port specification: "0/tcp""#,
        );
        check(
            &[],
            bind("65536", "", "1"),
            r#"error: invalid port specification: "65536""#,
        );
        check(
            &[],
            bind("+80", "", "1"),
            r#"error: invalid port specification: "+80""#,
        );
        check(
            &[],
            bind("80/foo", "", "1"),
            r#"error: invalid port specification: "80/foo": unknown protocol "foo""#,
        );
        check(
            &[],
            bind("80", "", "foo"),
            r#"error: invalid port specification: "foo""#,
        );
        check(
            &[],
            bind("80", "", "9-8"),
            r#"error: invalid port specification: "9-8""#,
        );
        check(
            &[],
            bind("80", "", "-8"),
            r#"error: invalid port specification: "-8""#,
        );
        check(
            &[],
            bind("80", "x", "8"),
            r#"error: invalid host IP address: "x""#,
        );
    }
}
