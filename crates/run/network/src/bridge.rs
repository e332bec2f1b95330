//! Bridges: found as a previous daemon left them, or made.

use std::net::IpAddr;

use rustix::io::Errno;

use crate::cidr::{Cidr4, Cidr6};
use crate::endpoint::MacAddress;
use crate::error::NetworkError;
use crate::netlink::route::{self, Link};
use crate::netlink::{Messages, NetlinkError, Socket};
use crate::pool::Pool;
use crate::subnet;
use crate::sysctl;

/// Endpoints on one bridge. The kernel refuses the 1,024th port
/// (`BR_MAX_PORTS`); the distance is for ports of netns that are still being
/// destroyed.
pub(crate) const MAX_ENDPOINTS: usize = 1000;
/// Frames of the most common links; a tunnel's smaller MTU is followed.
const DEFAULT_MTU: u32 = 1500;
/// Two daemons that start together may choose the same subnet; one moves.
const SUBNET_ATTEMPTS: usize = 8;

/// A bridge and the addresses on it.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    pub(crate) index: u32,
    /// Its own address, which is the containers' gateway.
    pub(crate) ipv4: Cidr4,
    pub(crate) ipv6: Option<Cidr6>,
    pub(crate) mtu: u32,
    pub(crate) origin: Origin,
    pub(crate) pool: Pool,
    pub(crate) endpoints: usize,
}

/// Who made a bridge: what an administrator made is not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Ours,
    Foreign,
}

/// What a bridge should be.
#[derive(Clone, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) name: &'a str,
    /// Label of the links that are ours.
    pub(crate) alias: &'a str,
    /// Asked for by name: a bridge that differs is an error or is changed.
    pub(crate) ipv4: Option<Cidr4>,
    pub(crate) ipv6: Option<Cidr6>,
    /// What it was the last time: taken where it is free.
    pub(crate) remembered: (Option<Cidr4>, Option<Cidr6>),
    /// Length that the IPv4 prefix must have, where another bridge set it.
    pub(crate) prefix4: Option<u8>,
    pub(crate) prefix6: Option<u8>,
    pub(crate) with_ipv6: bool,
    pub(crate) machine: &'a [u8],
    pub(crate) mtu: Option<u32>,
}

/// The host's network as one look shows it.
pub(crate) struct Survey {
    pub(crate) links: Vec<Link>,
    addresses: Vec<route::Address>,
    routes: Vec<route::Route>,
}

impl Survey {
    pub(crate) fn take(socket: &mut Socket) -> Result<Self, NetworkError> {
        let failed = || NetworkError::kernel("list the host's links, addresses and routes");
        Ok(Self {
            links: route::links(socket).map_err(failed())?,
            addresses: route::addresses(socket).map_err(failed())?,
            routes: route::routes(socket).map_err(failed())?,
        })
    }

    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    fn address4(&self, index: u32) -> Option<Cidr4> {
        self.addresses
            .iter()
            .filter(|each| each.index == index)
            .find_map(|each| cidr4(each.address, each.prefix))
    }

    fn address6(&self, index: u32) -> Option<Cidr6> {
        self.addresses
            .iter()
            .filter(|each| each.index == index)
            .filter_map(|each| cidr6(each.address, each.prefix))
            .find(|cidr| !cidr.address().is_unicast_link_local())
    }

    /// Networks in use on interfaces but `except`. Routes as short as half of
    /// all addresses are a default route in disguise.
    fn used(&self, except: Option<u32>) -> impl Iterator<Item = (IpAddr, u8)> {
        let addresses = self
            .addresses
            .iter()
            .filter(move |each| Some(each.index) != except)
            .map(|each| (each.address, each.prefix));
        let routes = self
            .routes
            .iter()
            .filter(move |each| except.is_none() || each.interface != except)
            .filter(|each| each.prefix > 1)
            .map(|each| (each.destination, each.prefix));
        addresses.chain(routes)
    }

    fn used4(&self, except: Option<u32>) -> Vec<Cidr4> {
        self.used(except)
            .filter_map(|(address, prefix)| cidr4(address, prefix))
            .collect()
    }

    fn used6(&self, except: Option<u32>) -> Vec<Cidr6> {
        self.used(except)
            .filter_map(|(address, prefix)| cidr6(address, prefix))
            .collect()
    }

    /// The MTU of the way out, at most Ethernet's.
    fn default_mtu(&self) -> u32 {
        let default = self
            .routes
            .iter()
            .filter(|each| each.prefix == 0 && each.destination.is_ipv4());
        let out = default.filter_map(|each| each.interface);
        out.filter_map(|index| self.links.iter().find(|link| link.index == index))
            .filter(|link| link.name != "lo")
            .map(|link| link.mtu)
            .min()
            .unwrap_or(DEFAULT_MTU)
            .clamp(576, DEFAULT_MTU)
    }
}

fn cidr4(address: IpAddr, prefix: u8) -> Option<Cidr4> {
    match address {
        IpAddr::V4(address) => Cidr4::new(address, prefix),
        IpAddr::V6(_) => None,
    }
}

fn cidr6(address: IpAddr, prefix: u8) -> Option<Cidr6> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Cidr6::new(address, prefix),
    }
}

/// Finds the bridge, or makes it.
pub(crate) fn ensure(socket: &mut Socket, wish: &Wish<'_>) -> Result<Bridge, NetworkError> {
    let mut refused = Vec::new();
    for _ in 0..SUBNET_ATTEMPTS {
        let survey = Survey::take(socket)?;
        let existing = survey.link(wish.name).cloned();
        if let Some(link) = &existing
            && let Some(bridge) = adopt(socket, &survey, link, wish)?
        {
            return Ok(bridge);
        }
        let plan = plan(&survey, wish, existing.as_ref(), &refused)?;
        let made = make(socket, &plan, wish, existing.as_ref())?;
        let survey = Survey::take(socket)?;
        if wish.ipv4.is_some() || !is_contested(&survey, &made) {
            return Ok(made);
        }
        refused.push(made.ipv4);
        let action = format!("delete bridge {}", made.name);
        act(socket, &action, |messages| {
            vec![route::delete_link(messages, made.index)]
        })?;
    }
    Err(NetworkError::NoFreeSubnet {
        bridge: wish.name.to_owned(),
    })
}

/// Takes a bridge as it is, where it can be taken so; `None` where it has to
/// get other addresses first.
fn adopt(
    socket: &mut Socket,
    survey: &Survey,
    link: &Link,
    wish: &Wish<'_>,
) -> Result<Option<Bridge>, NetworkError> {
    if link.kind.as_deref() != Some("bridge") {
        return Err(NetworkError::NotABridge {
            name: link.name.clone(),
        });
    }
    let busy = survey
        .links
        .iter()
        .any(|port| port.master == Some(link.index));
    let (ipv4, ipv6) = (survey.address4(link.index), survey.address6(link.index));
    let Some(ipv4) = ipv4 else { return Ok(None) };
    if let Some(wanted) = wish.ipv4.map(subnet::gateway4)
        && wanted != ipv4
    {
        if busy {
            return Err(NetworkError::BridgeBusy {
                bridge: link.name.clone(),
                actual: ipv4,
                wanted,
            });
        }
        return Ok(None);
    }
    if wish.with_ipv6 {
        let wanted = wish.ipv6.map(subnet::gateway6);
        match (ipv6, wanted) {
            (Some(actual), Some(wanted)) if actual != wanted && busy => {
                return Err(NetworkError::BridgeBusy6 {
                    bridge: link.name.clone(),
                    actual,
                    wanted,
                });
            }
            (Some(actual), Some(wanted)) if actual != wanted => return Ok(None),
            (None, _) if !busy => return Ok(None),
            _ => {}
        }
    }
    let action = format!("bring up bridge {}", link.name);
    act(socket, &action, |messages| {
        vec![route::set_up(messages, link.index)]
    })?;
    if wish.with_ipv6 {
        sysctl::refuse_router_advertisements(&link.name)?;
    }
    let origin = if link.alias.as_deref() == Some(wish.alias) {
        Origin::Ours
    } else {
        Origin::Foreign
    };
    let ipv6 = ipv6.filter(|_| wish.with_ipv6);
    Ok(Some(bridge(
        link.name.clone(),
        link.index,
        (ipv4, ipv6),
        link.mtu,
        origin,
    )))
}

struct Plan {
    ipv4: Cidr4,
    ipv6: Option<Cidr6>,
    mtu: u32,
    /// Addresses that an existing bridge has and must lose.
    stale: Vec<(IpAddr, u8)>,
}

fn plan(
    survey: &Survey,
    wish: &Wish<'_>,
    existing: Option<&Link>,
    refused: &[Cidr4],
) -> Result<Plan, NetworkError> {
    let except = existing.map(|link| link.index);
    let mut used4 = survey.used4(except);
    used4.extend_from_slice(refused);
    let used6 = survey.used6(except);
    let has_length = |cidr: &Cidr4| wish.prefix4.is_none_or(|prefix| cidr.prefix() == prefix);
    let own4 = except.and_then(|index| survey.address4(index));
    let ipv4 = match wish.ipv4 {
        Some(wanted) => {
            if let Some(other) = used4.iter().find(|other| other.overlaps(wanted)) {
                return Err(NetworkError::SubnetInUse {
                    subnet: wanted.to_string(),
                    other: other.to_string(),
                });
            }
            wanted
        }
        None => own4
            .or(wish.remembered.0)
            .filter(has_length)
            .filter(|cidr| used4.iter().all(|other| !other.overlaps(*cidr)))
            .or_else(|| {
                let prefix = wish.prefix4.unwrap_or(subnet::DEFAULT_PREFIX4);
                subnet::free4(&used4, prefix, wish.prefix4.is_some())
            })
            .ok_or_else(|| NetworkError::NoFreeSubnet {
                bridge: wish.name.to_owned(),
            })?,
    };
    let ipv6 = match (wish.with_ipv6, wish.ipv6) {
        (false, _) => None,
        (true, Some(wanted)) => {
            if let Some(other) = used6.iter().find(|other| other.overlaps(wanted)) {
                return Err(NetworkError::SubnetInUse {
                    subnet: wanted.to_string(),
                    other: other.to_string(),
                });
            }
            Some(wanted)
        }
        (true, None) => {
            let prefix = wish.prefix6.unwrap_or(subnet::DEFAULT_PREFIX6);
            wish.remembered
                .1
                .filter(|cidr| cidr.prefix() == prefix)
                .filter(|cidr| used6.iter().all(|other| !other.overlaps(*cidr)))
                .or_else(|| subnet::free6(&used6, wish.machine, wish.name, prefix))
        }
    };
    let stale = survey
        .addresses
        .iter()
        .filter(|each| Some(each.index) == except);
    let stale = stale.filter(|each| match each.address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    });
    Ok(Plan {
        ipv4: subnet::gateway4(ipv4),
        ipv6: ipv6.map(subnet::gateway6),
        mtu: wish.mtu.unwrap_or_else(|| survey.default_mtu()),
        stale: stale.map(|each| (each.address, each.prefix)).collect(),
    })
}

fn make(
    socket: &mut Socket,
    plan: &Plan,
    wish: &Wish<'_>,
    existing: Option<&Link>,
) -> Result<Bridge, NetworkError> {
    let action = format!("make bridge {}", wish.name);
    let mut origin = Origin::Ours;
    let index = match existing {
        Some(link) => {
            if link.alias.as_deref() != Some(wish.alias) {
                origin = Origin::Foreign;
            }
            act(socket, &action, |messages| {
                let delete = |&(address, prefix): &(IpAddr, u8)| (link.index, address, prefix);
                let mut expected = vec![route::set_up(messages, link.index)];
                for (index, address, prefix) in plan.stale.iter().map(delete) {
                    expected.push(route::delete_address(messages, index, address, prefix));
                }
                expected
            })?;
            link.index
        }
        None => {
            let mac = MacAddress::for_address(plan.ipv4.address());
            act(socket, &action, |messages| {
                vec![
                    route::new_bridge(messages, wish.name, mac, plan.mtu),
                    route::set_alias(messages, wish.name, wish.alias),
                ]
            })?;
            route::index_of(socket, wish.name)
                .and_then(|index| index.ok_or(NetlinkError::Refused(Errno::NODEV)))
                .map_err(NetworkError::kernel(&*action))?
        }
    };
    if wish.with_ipv6 {
        sysctl::refuse_router_advertisements(wish.name)?;
    }
    act(
        socket,
        &format!("give bridge {} its addresses", wish.name),
        |messages| {
            let mut expected = vec![route::add_address4(messages, index, plan.ipv4)];
            expected.extend(
                plan.ipv6
                    .map(|ipv6| route::add_address6(messages, index, ipv6)),
            );
            expected
        },
    )?;
    Ok(bridge(
        wish.name.to_owned(),
        index,
        (plan.ipv4, plan.ipv6),
        plan.mtu,
        origin,
    ))
}

/// Whether another daemon took the same subnet in the same instant; of two,
/// the one whose bridge came later moves.
fn is_contested(survey: &Survey, made: &Bridge) -> bool {
    survey.addresses.iter().any(|other| {
        other.index < made.index
            && cidr4(other.address, other.prefix).is_some_and(|cidr| cidr.overlaps(made.ipv4))
    })
}

fn bridge(
    name: String,
    index: u32,
    (ipv4, ipv6): (Cidr4, Option<Cidr6>),
    mtu: u32,
    origin: Origin,
) -> Bridge {
    let mut pool = Pool::new(ipv4.prefix());
    if let Some(offset) = ipv4.offset_of(ipv4.address()) {
        pool.reserve(offset);
    }
    // Both families share the offset: the other gateway's is taken as well.
    if let Some(offset) = ipv6.and_then(|ipv6| ipv6.offset_of(ipv6.address())) {
        pool.reserve(offset);
    }
    Bridge {
        name,
        index,
        ipv4,
        ipv6,
        mtu,
        origin,
        pool,
        endpoints: 0,
    }
}

/// Sends what `write` writes; the error is the first refusal.
pub(crate) fn act(
    socket: &mut Socket,
    action: &str,
    write: impl FnOnce(&mut Messages) -> Vec<u32>,
) -> Result<(), NetworkError> {
    let mut messages = socket.messages();
    let expected = write(&mut messages);
    let answers = socket
        .exchange(&messages, &expected)
        .map_err(NetworkError::kernel(action))?;
    for answer in answers {
        answer
            .map_err(NetlinkError::Refused)
            .map_err(NetworkError::kernel(action))?;
    }
    Ok(())
}
