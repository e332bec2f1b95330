//! The named sets and maps of our table, and their elements.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::expression::SetRef;
use super::transaction::{
    NFGENMSG, NFPROTO_INET, NFT_MSG_DELSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_NEWSETELEM,
    Transaction, kind, nfgenmsg,
};
use crate::cidr::octets;
use crate::endpoint::{PortBinding, Protocol};
use crate::netlink::{CREATE, NetlinkError, Socket, attribute, attributes};

const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;

/// Elements of one message: their nest's length is 16 bits, and the largest
/// element has 72 bytes.
const ELEMENTS_PER_MESSAGE: usize = 256;
/// Bytes of an interface's name as a key (`IFNAMSIZ`).
const IFNAMSIZ: usize = 16;

/// The sets (names of bridges, their networks) and maps (published ports).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Set {
    /// Names of our bridges.
    Bridges = 1,
    /// Networks of our bridges.
    Nets4,
    /// The same for IPv6.
    Nets6,
    /// Protocol and port, on any address of this host → container.
    Ports4,
    /// The same for IPv6.
    Ports6,
    /// Address, protocol and port → container.
    HostPorts4,
    /// The same for IPv6.
    HostPorts6,
}

/// nft's number for a type, or several in a concatenation, and its length;
/// only listing cares about the number.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataType {
    pub(super) kind: u32,
    pub(super) bytes: u32,
}

/// Key and, for a map, value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) key: DataType,
    pub(super) data: Option<DataType>,
    /// The key's byte order for `nft list` (`NFTNL_UDATA_SET_KEYBYTEORDER`):
    /// 1 the machine's, 2 the network's. Concatenations need none.
    pub(super) listed_order: Option<u8>,
}

const IPV4: DataType = DataType { kind: 7, bytes: 4 };
const IPV6: DataType = DataType { kind: 8, bytes: 16 };
const PROTOCOL: DataType = DataType { kind: 12, bytes: 4 };
const SERVICE: DataType = DataType { kind: 13, bytes: 4 };
const INTERFACE: DataType = DataType {
    kind: 41,
    bytes: 16,
};

/// A concatenation: six bits of the number a type, each part on a 4-byte border.
const fn then(first: DataType, second: DataType) -> DataType {
    DataType {
        kind: first.kind << 6 | second.kind,
        bytes: first.bytes + second.bytes,
    }
}

impl Set {
    pub(super) const ALL: [Self; 7] = [
        Self::Bridges,
        Self::Nets4,
        Self::Nets6,
        Self::Ports4,
        Self::Ports6,
        Self::HostPorts4,
        Self::HostPorts6,
    ];
    /// Those that hold published ports.
    pub(crate) const MAPS: [Self; 4] = [
        Self::Ports4,
        Self::Ports6,
        Self::HostPorts4,
        Self::HostPorts6,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bridges => "bridges",
            Self::Nets4 => "nets4",
            Self::Nets6 => "nets6",
            Self::Ports4 => "ports4",
            Self::Ports6 => "ports6",
            Self::HostPorts4 => "hostports4",
            Self::HostPorts6 => "hostports6",
        }
    }

    pub(super) fn reference(self) -> SetRef {
        SetRef {
            name: self.name(),
            id: self as u32,
        }
    }

    pub(super) fn shape(self) -> Shape {
        let port = then(PROTOCOL, SERVICE);
        let map = |key, address| {
            let data = Some(then(address, SERVICE));
            Shape {
                key,
                data,
                listed_order: None,
            }
        };
        let set = |key, order| Shape {
            key,
            data: None,
            listed_order: Some(order),
        };
        match self {
            Self::Bridges => set(INTERFACE, 1),
            Self::Nets4 => set(IPV4, 2),
            Self::Nets6 => set(IPV6, 2),
            Self::Ports4 => map(port, IPV4),
            Self::Ports6 => map(port, IPV6),
            Self::HostPorts4 => map(then(then(IPV4, PROTOCOL), SERVICE), IPV4),
            Self::HostPorts6 => map(then(then(IPV6, PROTOCOL), SERVICE), IPV6),
        }
    }
}

/// One element as bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Element {
    pub(crate) key: Vec<u8>,
    pub(crate) data: Option<Vec<u8>>,
}

impl Element {
    pub(crate) fn interface(name: &str) -> Self {
        let mut key = name.as_bytes().to_vec();
        key.resize(IFNAMSIZ, 0);
        Self { key, data: None }
    }

    pub(crate) fn network(address: IpAddr) -> Self {
        Self {
            key: octets(address),
            data: None,
        }
    }

    /// The map and the element that publish `binding` at `container`.
    ///
    /// `None` where no map does: a loopback or link-local address of the host
    /// is served by the supervisor's socket alone, and so is a container that
    /// lacks the family.
    pub(crate) fn published(
        binding: &PortBinding,
        container: Option<IpAddr>,
    ) -> Option<(Set, Self)> {
        let container = container?;
        let set = match binding.host_ip {
            IpAddr::V4(ip) if ip.is_loopback() => return None,
            IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local() => return None,
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Set::Ports4,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Set::Ports6,
            IpAddr::V4(_) => Set::HostPorts4,
            IpAddr::V6(_) => Set::HostPorts6,
        };
        let mut key = match set {
            Set::HostPorts4 | Set::HostPorts6 => octets(binding.host_ip),
            _ => Vec::new(),
        };
        key.extend_from_slice(&[binding.protocol.number(), 0, 0, 0]);
        push_port(&mut key, binding.host_port);
        let mut data = octets(container);
        push_port(&mut data, binding.container_port);
        Some((
            set,
            Self {
                key,
                data: Some(data),
            },
        ))
    }

    /// The host's protocol and port of a map's key, for saying what it was.
    pub(crate) fn host_port(&self) -> Option<(Protocol, u16)> {
        let tail = self.key.len().checked_sub(8)?;
        let port = [*self.key.get(tail + 4)?, *self.key.get(tail + 5)?];
        Some((
            Protocol::from_number(*self.key.get(tail)?)?,
            u16::from_be_bytes(port),
        ))
    }
}

fn push_port(bytes: &mut Vec<u8>, port: u16) {
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
}

/// Adds elements; one that exists with another value refuses the transaction.
pub(super) fn add_elements(
    transaction: &mut Transaction,
    table: &str,
    set: Set,
    elements: &[Element],
) {
    push_elements(
        transaction,
        NFT_MSG_NEWSETELEM,
        CREATE,
        table,
        set,
        elements,
    );
}

/// Empties a set.
pub(super) fn flush_elements(transaction: &mut Transaction, table: &str, set: Set) {
    transaction.push(NFT_MSG_DELSETELEM, 0, |body| {
        body.text(NFTA_SET_ELEM_LIST_TABLE, table)
            .text(NFTA_SET_ELEM_LIST_SET, set.name());
    });
}

impl Transaction {
    /// Adds elements; those that are there already stay, a key that has
    /// another value refuses the transaction.
    pub(crate) fn add(&mut self, table: &str, set: Set, elements: &[Element]) {
        add_elements(self, table, set, elements);
    }

    /// Deletes elements by key; one that does not exist refuses the transaction.
    pub(crate) fn delete(&mut self, table: &str, set: Set, elements: &[Element]) {
        push_elements(self, NFT_MSG_DELSETELEM, 0, table, set, elements);
    }
}

fn push_elements(
    transaction: &mut Transaction,
    message: u16,
    flags: u16,
    table: &str,
    set: Set,
    elements: &[Element],
) {
    for chunk in elements.chunks(ELEMENTS_PER_MESSAGE) {
        transaction.push(message, flags, |body| {
            body.text(NFTA_SET_ELEM_LIST_TABLE, table)
                .text(NFTA_SET_ELEM_LIST_SET, set.name())
                .nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
                    for element in chunk {
                        list.nest(NFTA_LIST_ELEM, |body| {
                            body.nest(NFTA_SET_ELEM_KEY, |key| {
                                key.bytes(NFTA_DATA_VALUE, &element.key);
                            });
                            let data = element.data.as_ref();
                            let data = data.filter(|_| message == NFT_MSG_NEWSETELEM);
                            if let Some(data) = data {
                                body.nest(NFTA_SET_ELEM_DATA, |value| {
                                    value.bytes(NFTA_DATA_VALUE, data);
                                });
                            }
                        });
                    }
                });
        });
    }
}

impl Set {
    /// Everything the set holds in the kernel.
    pub(crate) fn list(
        self,
        socket: &mut Socket,
        table: &str,
    ) -> Result<Vec<Element>, NetlinkError> {
        let lists = socket.dump(
            kind(NFT_MSG_GETSETELEM),
            &nfgenmsg(NFPROTO_INET, 0),
            |body| {
                body.text(NFTA_SET_ELEM_LIST_TABLE, table)
                    .text(NFTA_SET_ELEM_LIST_SET, self.name());
            },
            |message| {
                if message.kind != kind(NFT_MSG_NEWSETELEM) {
                    return None;
                }
                let body = message.payload.get(NFGENMSG..)?;
                let list = attribute(body, NFTA_SET_ELEM_LIST_ELEMENTS)?;
                Some(
                    attributes(list)
                        .filter(|(kind, _)| *kind == NFTA_LIST_ELEM)
                        .filter_map(|(_, element)| read_element(element))
                        .collect::<Vec<_>>(),
                )
            },
        )?;
        Ok(lists.into_iter().flatten().collect())
    }
}

fn read_element(bytes: &[u8]) -> Option<Element> {
    let value = |kind| attribute(bytes, kind).and_then(|nest| attribute(nest, NFTA_DATA_VALUE));
    Some(Element {
        key: value(NFTA_SET_ELEM_KEY)?.to_vec(),
        data: value(NFTA_SET_ELEM_DATA).map(<[u8]>::to_vec),
    })
}
