//! Ports of the host: which to take, and the sockets that hold them.
//!
//! A published port is really bound, so that it is in use for everybody: the
//! next `bind` fails as it must, and so does ours where somebody else was
//! first. Sockets are bound in the calling thread's netns.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};

use crate::endpoint::{Endpoint, HostPort, PortBinding, PortRequest, Protocol};
use crate::error::{BindRefused, NetworkError};
use crate::nft::{Element, Set};

/// Where the kernel says which ports it gives to clients; dockerd publishes
/// in that range too.
const LOCAL_PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// IANA's dynamic range, where the kernel's cannot be read.
const DEFAULT_RANGE: (u16, u16) = (49152, 65535);
/// Ephemeral candidates that are tried before giving up.
const EPHEMERAL_ATTEMPTS: usize = 1024;
/// The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// What this daemon has published.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// The host's side, and the map element behind it where there is one.
    taken: HashMap<(IpAddr, u16, Protocol), Option<(Set, Element)>>,
    /// Where the search for an ephemeral port goes on: a port that was given
    /// back is used again late.
    next_ephemeral: u16,
}

/// The host's addresses for the requests without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostFamilies {
    Ipv4,
    Both,
}

impl Ports {
    /// Takes every port of `requests`, or none.
    pub(crate) fn bind_all(
        &mut self,
        endpoint: &Endpoint,
        requests: &[PortRequest],
        families: HostFamilies,
    ) -> Result<Vec<(PortBinding, Option<OwnedFd>)>, NetworkError> {
        let mut bound = Vec::with_capacity(requests.len() * 2);
        for request in requests {
            if let Err(error) = self.bind_one(endpoint, request, families, &mut bound) {
                self.forget(bound.iter().map(|(binding, _)| binding));
                return Err(error);
            }
        }
        Ok(bound)
    }

    /// Notes what is published for an endpoint.
    pub(crate) fn remember<'a>(
        &mut self,
        endpoint: &Endpoint,
        bindings: impl IntoIterator<Item = &'a PortBinding>,
    ) {
        let note = |binding: &PortBinding| {
            let container = endpoint.address_like(binding.host_ip);
            (key(binding), Element::published(binding, container))
        };
        self.taken.extend(bindings.into_iter().map(note));
    }

    /// The elements that the maps must hold.
    pub(crate) fn elements(&self) -> HashMap<Set, HashSet<Element>> {
        let mut elements: HashMap<Set, HashSet<Element>> = HashMap::new();
        for (set, element) in self.taken.values().flatten() {
            elements.entry(*set).or_default().insert(element.clone());
        }
        elements
    }

    /// Gives ports back.
    pub(crate) fn forget<'a>(&mut self, bindings: impl IntoIterator<Item = &'a PortBinding>) {
        for binding in bindings {
            self.taken.remove(&key(binding));
        }
    }

    fn bind_one(
        &mut self,
        endpoint: &Endpoint,
        request: &PortRequest,
        families: HostFamilies,
        bound: &mut Vec<(PortBinding, Option<OwnedFd>)>,
    ) -> Result<(), NetworkError> {
        let invalid = |reason| NetworkError::InvalidPort {
            port: request.container_port,
            protocol: request.protocol,
            reason,
        };
        if request.container_port == 0 {
            return Err(invalid("the container's port cannot be 0"));
        }
        if request.host_ip.is_some_and(|ip| ip.is_multicast()) {
            return Err(invalid("the host's address cannot be a multicast group"));
        }
        let (first, last) = match request.host_port {
            HostPort::Exact(0) | HostPort::Ephemeral => ephemeral_range(),
            HostPort::Exact(port) => (port, port),
            HostPort::Range { first, last } if first == 0 || first > last => {
                return Err(invalid("the host's ports must be a range from low to high"));
            }
            HostPort::Range { first, last } => (first, last),
        };
        let exact = first == last;
        let is_ephemeral = matches!(request.host_port, HostPort::Ephemeral | HostPort::Exact(0));
        let start = if is_ephemeral {
            self.next_ephemeral.clamp(first, last)
        } else {
            first
        };
        let candidates = (start..=last).chain(first..start);
        for port in candidates.take(if is_ephemeral {
            EPHEMERAL_ATTEMPTS
        } else {
            usize::MAX
        }) {
            match self.bind_port(endpoint, request, families, port) {
                Ok(sockets) => {
                    if is_ephemeral {
                        self.next_ephemeral = if port == last { first } else { port + 1 };
                    }
                    self.remember(endpoint, sockets.iter().map(|(binding, _)| binding));
                    bound.extend(sockets);
                    return Ok(());
                }
                Err(error) if exact || !is_in_use(&error) => return Err(error),
                Err(_) => {}
            }
        }
        Err(NetworkError::PortsExhausted {
            container: endpoint.ipv4.address().into(),
            container_port: request.container_port,
            protocol: request.protocol,
            first,
            last,
        })
    }

    /// Binds one port on each of the request's host addresses.
    fn bind_port(
        &self,
        endpoint: &Endpoint,
        request: &PortRequest,
        families: HostFamilies,
        port: u16,
    ) -> Result<Vec<(PortBinding, Option<OwnedFd>)>, NetworkError> {
        let mut sockets = Vec::with_capacity(2);
        for host_ip in host_addresses(request.host_ip, families) {
            let binding = PortBinding {
                host_ip,
                host_port: port,
                container_port: request.container_port,
                protocol: request.protocol,
            };
            // Also while the previous container's socket is closed and its
            // map element not yet deleted.
            if self.taken.contains_key(&key(&binding)) {
                return Err(NetworkError::PortAllocated {
                    host: binding.host(),
                });
            }
            match hold(&binding) {
                Ok(socket) => sockets.push((binding, socket)),
                // Nobody asked for IPv6 by name, and the host lacks it.
                Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
                    if request.host_ip.is_none() && host_ip.is_ipv6() => {}
                Err(errno) => {
                    return Err(NetworkError::BindHostPort {
                        host: binding.host(),
                        container: endpoint
                            .address_like(host_ip)
                            .unwrap_or(endpoint.ipv4.address().into()),
                        container_port: request.container_port,
                        protocol: request.protocol,
                        source: BindRefused(errno),
                    });
                }
            }
        }
        Ok(sockets)
    }
}

fn key(binding: &PortBinding) -> (IpAddr, u16, Protocol) {
    (binding.host_ip, binding.host_port, binding.protocol)
}

fn is_in_use(error: &NetworkError) -> bool {
    match error {
        NetworkError::PortAllocated { .. } => true,
        NetworkError::BindHostPort { source, .. } => source.is_in_use(),
        _ => false,
    }
}

fn host_addresses(host_ip: Option<IpAddr>, families: HostFamilies) -> impl Iterator<Item = IpAddr> {
    let (first, second) = match (host_ip, families) {
        // `::ffff:192.0.2.1` is that IPv4 address: rules see it so.
        (Some(ip), _) => (ip.to_canonical(), None),
        (None, HostFamilies::Ipv4) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), None),
        (None, HostFamilies::Both) => (
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        ),
    };
    std::iter::once(first).chain(second)
}

fn ephemeral_range() -> (u16, u16) {
    fs::read_to_string(LOCAL_PORT_RANGE)
        .ok()
        .and_then(|text| parse_range(&text))
        .unwrap_or(DEFAULT_RANGE)
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

/// The socket that holds a port; none for SCTP on a host without SCTP, where
/// nobody else can have the port either.
fn hold(binding: &PortBinding) -> Result<Option<OwnedFd>, Errno> {
    let family = match binding.host_ip {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, protocol) = match binding.protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = match socket_with(family, kind, flags, Some(protocol)) {
        Err(Errno::PROTONOSUPPORT) if binding.protocol == Protocol::Sctp => return Ok(None),
        other => other?,
    };
    if binding.host_ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // A listening port that is held fails all the same; what it allows is to
    // listen again while old connections are in TIME_WAIT. On UDP it would
    // allow two holders.
    if binding.protocol != Protocol::Udp {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(
        &socket,
        &SocketAddr::new(binding.host_ip, binding.host_port),
    )?;
    if binding.protocol != Protocol::Udp {
        listen(&socket, BACKLOG)?;
    }
    Ok(Some(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_the_kernel() {
        assert_eq!(parse_range("32768\t60999\n"), Some((32768, 60999)));
        for text in ["", "1", "0 5", "9 5", "1 70000", "a b", "-1 5"] {
            assert_eq!(parse_range(text), None, "{text:?}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let found: Vec<_> = host_addresses(Some(mapped), HostFamilies::Both).collect();
        assert_eq!(found, [IpAddr::from([192, 0, 2, 1])]);
        assert_eq!(host_addresses(None, HostFamilies::Both).count(), 2);
        assert_eq!(host_addresses(None, HostFamilies::Ipv4).count(), 1);
    }
}
