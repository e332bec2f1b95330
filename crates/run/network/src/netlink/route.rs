//! rtnetlink: links, addresses and routes.
//!
//! Encoders append to a list of messages, so that a batch is one send;
//! listings are read into plain values. Layouts and numbers:
//! `include/uapi/linux/{rtnetlink,if_link,if_addr,veth,if_bridge}.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{ACK, CREATE, EXCL, Message, Messages, NetlinkError, REQUEST, Socket, attribute, text};
use crate::cidr::{Cidr4, Cidr6, octets};
use crate::endpoint::MacAddress;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFF_UP: u32 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// Skip duplicate address detection: the address is ours by our own books,
/// and a start must not wait a second for it.
const IFA_F_NODAD: u8 = 0x02;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTN_UNICAST: u8 = 1;

/// Bytes of an `ifinfomsg`, an `ifaddrmsg` and an `rtmsg`.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;

/// Index of `lo` in every netns.
const LOOPBACK_INDEX: u32 = 1;
/// The container's end is called so, as everybody expects.
pub(crate) const CONTAINER_INTERFACE: &str = "eth0";

/// Opens an rtnetlink socket in the calling thread's netns.
pub(crate) fn open() -> Result<Socket, NetlinkError> {
    // `NETLINK_ROUTE` is protocol 0.
    Socket::open(None)
}

/// A veth pair to make: one end a port of the bridge, the other in a netns.
#[derive(Debug)]
pub(crate) struct Veth<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) bridge_index: u32,
    /// Marks the host's end as a port of ours.
    pub(crate) group: u32,
    pub(crate) netns: BorrowedFd<'a>,
    pub(crate) mac: MacAddress,
    pub(crate) mtu: u32,
}

/// Makes the pair, both ends down; the peer is born in its netns.
///
/// One queue each: by default the kernel makes one a CPU on both ends, which
/// on a large machine is most of a container's memory, for a device that
/// takes no lock on its queues.
pub(crate) fn new_veth(messages: &mut Messages, veth: &Veth<'_>) -> u32 {
    messages.push(
        RTM_NEWLINK,
        REQUEST | ACK | CREATE | EXCL,
        &ifinfomsg(0, 0),
        |body| {
            body.text(IFLA_IFNAME, veth.host_name)
                .u32(IFLA_MTU, veth.mtu)
                .u32(IFLA_MASTER, veth.bridge_index)
                .u32(IFLA_GROUP, veth.group)
                .u32(IFLA_NUM_TX_QUEUES, 1)
                .u32(IFLA_NUM_RX_QUEUES, 1)
                .nest(IFLA_LINKINFO, |info| {
                    info.bytes(IFLA_INFO_KIND, b"veth")
                        .nest(IFLA_INFO_DATA, |data| {
                            data.nest(VETH_INFO_PEER, |peer| {
                                peer.structure(&ifinfomsg(0, 0))
                                    .text(IFLA_IFNAME, CONTAINER_INTERFACE)
                                    .bytes(IFLA_ADDRESS, &veth.mac.octets())
                                    .u32(IFLA_MTU, veth.mtu)
                                    .u32(IFLA_NUM_TX_QUEUES, 1)
                                    .u32(IFLA_NUM_RX_QUEUES, 1)
                                    .u32(IFLA_NET_NS_FD, veth.netns.as_raw_fd().cast_unsigned());
                            });
                        });
                });
        },
    )
}

/// Before a port comes up: it gets no IPv6 address of its own. What is
/// received there is the bridge's, and the route of each would be walked at
/// every change of any of them.
pub(crate) fn keep_port_bare(messages: &mut Messages, port_name: &str) -> u32 {
    messages.push(RTM_NEWLINK, REQUEST | ACK, &ifinfomsg(0, 0), |body| {
        body.text(IFLA_IFNAME, port_name)
            .nest(IFLA_AF_SPEC, |families| {
                families.nest(u16::from(AF_INET6), |inet6| {
                    inet6.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
                });
            });
    })
}

/// Whether a bridge may send a frame back through the port it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hairpin {
    On,
    Off,
}

/// Brings a port up.
pub(crate) fn set_port_up(messages: &mut Messages, port_name: &str, hairpin: Hairpin) -> u32 {
    messages.push(RTM_NEWLINK, REQUEST | ACK, &ifinfomsg(0, IFF_UP), |body| {
        body.text(IFLA_IFNAME, port_name);
        if hairpin == Hairpin::On {
            body.nest(IFLA_LINKINFO, |info| {
                info.bytes(IFLA_INFO_SLAVE_KIND, b"bridge")
                    .nest(IFLA_INFO_SLAVE_DATA, |data| {
                        data.u8(IFLA_BRPORT_MODE, 1);
                    });
            });
        }
    })
}

/// Makes a bridge that is up.
///
/// Its hardware address is given: one that follows the ports would change
/// under the containers' neighbour tables. It does not snoop on multicast:
/// nobody asks for memberships here, so it would flood all the same, until a
/// container asks and cuts its neighbours off.
pub(crate) fn new_bridge(messages: &mut Messages, name: &str, mac: MacAddress, mtu: u32) -> u32 {
    messages.push(
        RTM_NEWLINK,
        REQUEST | ACK | CREATE | EXCL,
        &ifinfomsg(0, IFF_UP),
        |body| {
            body.text(IFLA_IFNAME, name)
                .bytes(IFLA_ADDRESS, &mac.octets())
                .u32(IFLA_MTU, mtu)
                .nest(IFLA_LINKINFO, |info| {
                    info.bytes(IFLA_INFO_KIND, b"bridge")
                        .nest(IFLA_INFO_DATA, |data| {
                            data.u8(IFLA_BR_MCAST_SNOOPING, 0);
                        });
                });
        },
    )
}

/// Labels a link as ours.
pub(crate) fn set_alias(messages: &mut Messages, name: &str, alias: &str) -> u32 {
    messages.push(RTM_NEWLINK, REQUEST | ACK, &ifinfomsg(0, 0), |body| {
        body.text(IFLA_IFNAME, name)
            .bytes(IFLA_IFALIAS, alias.as_bytes());
    })
}

/// Brings a link up by its index.
pub(crate) fn set_up(messages: &mut Messages, index: u32) -> u32 {
    messages.push(
        RTM_NEWLINK,
        REQUEST | ACK,
        &ifinfomsg(index, IFF_UP),
        |_| (),
    )
}

/// Brings `lo` up, which gives it its addresses too.
pub(crate) fn set_loopback_up(messages: &mut Messages) -> u32 {
    set_up(messages, LOOPBACK_INDEX)
}

/// Deletes a link. For bridges, and for a veth whose netns stays: deleting one
/// costs the kernel a grace period of 16 ms, dropping its netns does not.
pub(crate) fn delete_link(messages: &mut Messages, index: u32) -> u32 {
    messages.push(RTM_DELLINK, REQUEST | ACK, &ifinfomsg(index, 0), |_| ())
}

/// Adds an IPv4 address.
pub(crate) fn add_address4(messages: &mut Messages, index: u32, cidr: Cidr4) -> u32 {
    let broadcast = Ipv4Addr::from_bits(cidr.network().to_bits() | !cidr.mask().to_bits());
    let header = ifaddrmsg(AF_INET, cidr.prefix(), 0, index);
    messages.push(
        RTM_NEWADDR,
        REQUEST | ACK | CREATE | EXCL,
        &header,
        |body| {
            body.bytes(IFA_LOCAL, &cidr.address().octets())
                .bytes(IFA_ADDRESS, &cidr.address().octets())
                .bytes(IFA_BROADCAST, &broadcast.octets());
        },
    )
}

/// Adds an IPv6 address, usable at once.
pub(crate) fn add_address6(messages: &mut Messages, index: u32, cidr: Cidr6) -> u32 {
    let header = ifaddrmsg(AF_INET6, cidr.prefix(), IFA_F_NODAD, index);
    messages.push(
        RTM_NEWADDR,
        REQUEST | ACK | CREATE | EXCL,
        &header,
        |body| {
            body.bytes(IFA_LOCAL, &cidr.address().octets())
                .bytes(IFA_ADDRESS, &cidr.address().octets());
        },
    )
}

/// Takes an address away.
pub(crate) fn delete_address(
    messages: &mut Messages,
    index: u32,
    address: IpAddr,
    prefix: u8,
) -> u32 {
    let header = ifaddrmsg(family(address), prefix, 0, index);
    messages.push(RTM_DELADDR, REQUEST | ACK, &header, |body| {
        body.bytes(IFA_LOCAL, &octets(address));
    })
}

/// Adds the default route of a family.
pub(crate) fn add_default_route(messages: &mut Messages, index: u32, gateway: IpAddr) -> u32 {
    let mut header = [0; RTMSG];
    header[0] = family(gateway);
    header[4] = RT_TABLE_MAIN;
    header[5] = RTPROT_BOOT;
    header[6] = RT_SCOPE_UNIVERSE;
    header[7] = RTN_UNICAST;
    messages.push(
        RTM_NEWROUTE,
        REQUEST | ACK | CREATE | EXCL,
        &header,
        |body| {
            body.bytes(RTA_GATEWAY, &octets(gateway))
                .u32(RTA_OIF, index);
        },
    )
}

/// A link as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    pub(crate) master: Option<u32>,
    pub(crate) mtu: u32,
    pub(crate) alias: Option<String>,
}

/// An address as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

/// A route as it is listed; `destination` is the unspecified address of the
/// family with prefix 0 for a default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) interface: Option<u32>,
}

/// The index of the interface with that name, `None` where there is none.
pub(crate) fn index_of(socket: &mut Socket, name: &str) -> Result<Option<u32>, NetlinkError> {
    let found = socket.get(
        RTM_GETLINK,
        &ifinfomsg(0, 0),
        |body| {
            body.text(IFLA_IFNAME, name);
        },
        |message| u32_at(message.payload, 4),
    );
    match found {
        Err(NetlinkError::Refused(rustix::io::Errno::NODEV)) => Ok(None),
        other => other,
    }
}

/// Every link of the socket's netns.
pub(crate) fn links(socket: &mut Socket) -> Result<Vec<Link>, NetlinkError> {
    socket.dump(RTM_GETLINK, &ifinfomsg(0, 0), |_| (), read_link)
}

/// Every address of the socket's netns, of both families.
pub(crate) fn addresses(socket: &mut Socket) -> Result<Vec<Address>, NetlinkError> {
    socket.dump(
        RTM_GETADDR,
        &ifaddrmsg(AF_UNSPEC, 0, 0, 0),
        |_| (),
        read_address,
    )
}

/// Every route of the socket's netns, of both families and all tables.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Route>, NetlinkError> {
    socket.dump(RTM_GETROUTE, &[0; RTMSG], |_| (), read_route)
}

fn read_link(message: &Message<'_>) -> Option<Link> {
    if message.kind != RTM_NEWLINK {
        return None;
    }
    let body = message.payload.get(IFINFOMSG..)?;
    Some(Link {
        index: u32_at(message.payload, 4)?,
        name: text(attribute(body, IFLA_IFNAME)?),
        kind: attribute(body, IFLA_LINKINFO)
            .and_then(|info| attribute(info, IFLA_INFO_KIND))
            .map(text),
        master: attribute(body, IFLA_MASTER).and_then(|value| u32_at(value, 0)),
        mtu: attribute(body, IFLA_MTU)
            .and_then(|value| u32_at(value, 0))
            .unwrap_or_default(),
        alias: attribute(body, IFLA_IFALIAS).map(text),
    })
}

fn read_address(message: &Message<'_>) -> Option<Address> {
    if message.kind != RTM_NEWADDR {
        return None;
    }
    let body = message.payload.get(IFADDRMSG..)?;
    let bytes = attribute(body, IFA_LOCAL).or_else(|| attribute(body, IFA_ADDRESS))?;
    Some(Address {
        index: u32_at(message.payload, 4)?,
        address: ip(bytes)?,
        prefix: *message.payload.get(1)?,
    })
}

fn read_route(message: &Message<'_>) -> Option<Route> {
    if message.kind != RTM_NEWROUTE {
        return None;
    }
    let body = message.payload.get(RTMSG..)?;
    let destination = match (attribute(body, RTA_DST), message.payload.first()?) {
        (Some(bytes), _) => ip(bytes)?,
        (None, &AF_INET) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (None, &AF_INET6) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (None, _) => return None,
    };
    Some(Route {
        destination,
        prefix: *message.payload.get(1)?,
        interface: attribute(body, RTA_OIF).and_then(|value| u32_at(value, 0)),
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// `up` is `IFF_UP` or nothing; the change mask says the same, so that no
/// other flag is touched.
fn ifinfomsg(index: u32, up: u32) -> [u8; IFINFOMSG] {
    let mut header = [0; IFINFOMSG];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&up.to_ne_bytes());
    header[12..16].copy_from_slice(&up.to_ne_bytes());
    header
}

fn ifaddrmsg(family: u8, prefix: u8, flags: u8, index: u32) -> [u8; IFADDRMSG] {
    let mut header = [family, prefix, flags, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
