//! The values that callers keep and store: endpoints and published ports.
//!
//! They are plain and serialisable: a daemon that was killed reads them back
//! and hands them to [`Networks::recover`](crate::Networks::recover).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cidr::{Cidr4, Cidr6};

/// Names one endpoint for as long as it lives: 64 random hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(String);

impl EndpointId {
    pub(crate) fn random() -> Self {
        Self(carrack_sys::random::hex_id())
    }

    /// The name of the host's end of the veth pair.
    pub(crate) fn host_interface(&self) -> String {
        format!("veth{}", &self.0[..8])
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hardware address; as text `02:42:ac:1e:00:02`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The locally administered address that belongs to an IPv4 address.
    ///
    /// Deterministic, so that an address that is used again finds the
    /// neighbours' tables right.
    pub fn for_address(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// The six bytes.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Text that is no hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid hardware address")]
pub struct InvalidMac;

impl FromStr for MacAddress {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2)
                .ok_or(InvalidMac)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(InvalidMac);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| InvalidMac)?;
        }
        if parts.next().is_some() {
            Err(InvalidMac)
        } else {
            Ok(Self(bytes))
        }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = InvalidMac;

    fn try_from(text: String) -> Result<Self, InvalidMac> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

/// One container's place on a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name.
    pub id: EndpointId,
    /// The bridge it is a port of.
    pub bridge: String,
    /// The host's end of the veth pair; the container's is `eth0`.
    pub host_interface: String,
    /// Hardware address of `eth0`.
    pub mac: MacAddress,
    /// Address of `eth0`.
    pub ipv4: Cidr4,
    /// The bridge's address, which is the default route.
    pub gateway4: Ipv4Addr,
    /// The same for IPv6, where the host has it.
    pub ipv6: Option<Address6>,
}

/// The IPv6 half of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address6 {
    /// Address of `eth0`.
    pub address: Cidr6,
    /// The bridge's address, which is the default route.
    pub gateway: std::net::Ipv6Addr,
}

impl Endpoint {
    /// The container's address in the family of `like`, where it has one.
    pub(crate) fn address_like(&self, like: IpAddr) -> Option<IpAddr> {
        match like {
            IpAddr::V4(_) => Some(IpAddr::V4(self.ipv4.address())),
            IpAddr::V6(_) => self.ipv6.map(|ipv6| IpAddr::V6(ipv6.address.address())),
        }
    }
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp]
            .into_iter()
            .find(|each| each.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Which port of the host is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostPort {
    /// Any free one of the host's ephemeral range.
    Ephemeral,
    /// This one.
    Exact(u16),
    /// The first free one, both ends included.
    Range {
        /// The first candidate.
        first: u16,
        /// The last candidate.
        last: u16,
    },
}

/// A port to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRequest {
    /// The port inside.
    pub container_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's address to publish on; `None` is every address of both families.
    pub host_ip: Option<IpAddr>,
    /// The port outside.
    pub host_port: HostPort,
}

/// A published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortBinding {
    /// The host's address; unspecified for every address of its family.
    pub host_ip: IpAddr,
    /// The port outside.
    pub host_port: u16,
    /// The port inside.
    pub container_port: u16,
    /// The protocol of both.
    pub protocol: Protocol,
}

impl PortBinding {
    /// The host's side.
    pub fn host(&self) -> SocketAddr {
        SocketAddr::new(self.host_ip, self.host_port)
    }
}

/// What [`Networks::publish`](crate::Networks::publish) made.
#[derive(Debug)]
pub struct Published {
    /// The bindings, one for each host address; to be recorded.
    pub bindings: Vec<PortBinding>,
    /// The sockets that hold the host's ports, non-blocking, for TCP and SCTP
    /// listening. They are for the container's supervisor, which relays what
    /// the host sends to its own loopback. Closing one frees the port.
    pub listeners: Vec<(PortBinding, OwnedFd)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses() {
        let mac = MacAddress::for_address(Ipv4Addr::new(172, 30, 0, 2));
        assert_eq!(mac.to_string(), "02:42:ac:1e:00:02");
        assert_eq!("02:42:ac:1e:00:02".parse(), Ok(mac));
        for text in [
            "",
            "02",
            "02:42:ac:1e:00",
            "02:42:ac:1e:00:02:03",
            "02:42:ac:1e:00:+2",
            "0242:ac:1e:00:02",
        ] {
            assert_eq!(text.parse::<MacAddress>(), Err(InvalidMac), "{text:?}");
        }
    }

    /// The on-disk form: a change of it must be seen.
    #[test]
    fn stored_forms() {
        let endpoint = Endpoint {
            id: EndpointId("ab".repeat(32)),
            bridge: "carrack0".into(),
            host_interface: "veth01234567".into(),
            mac: MacAddress::for_address(Ipv4Addr::new(172, 30, 0, 2)),
            ipv4: "172.30.0.2/16".parse().unwrap(),
            gateway4: Ipv4Addr::new(172, 30, 0, 1),
            ipv6: Some(Address6 {
                address: "fd00::2/64".parse().unwrap(),
                gateway: "fd00::1".parse().unwrap(),
            }),
        };
        let text = serde_json::to_string(&endpoint).unwrap();
        expect_test::expect![[r#"{"id":"abababababababababababababababababababababababababababababababab","bridge":"carrack0","host_interface":"veth01234567","mac":"02:42:ac:1e:00:02","ipv4":"172.30.0.2/16","gateway4":"172.30.0.1","ipv6":{"address":"fd00::2/64","gateway":"fd00::1"}}"#]].assert_eq(&text);
        assert_eq!(serde_json::from_str::<Endpoint>(&text).unwrap(), endpoint);
        let binding = PortBinding {
            host_ip: "::".parse().unwrap(),
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let text = serde_json::to_string(&binding).unwrap();
        expect_test::expect![[
            r#"{"host_ip":"::","host_port":8080,"container_port":80,"protocol":"tcp"}"#
        ]]
        .assert_eq(&text);
    }
}
