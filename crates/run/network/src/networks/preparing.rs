//! Endpoints: addresses from the books, links from the kernel.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::opening::MAX_BRIDGES;
use super::{Lease, Networks, State, lock};
use crate::attach::{self, Inside};
use crate::bridge::{Bridge, MAX_ENDPOINTS};
use crate::cidr::{Cidr4, Cidr6};
use crate::endpoint::{Address6, Endpoint, EndpointId, MacAddress};
use crate::error::NetworkError;
use crate::netlink::route::{self, Hairpin};
use crate::netlink::{Messages, NetlinkError};
use crate::sysctl;

/// Ports of one send; each answer needs room in the socket's buffer.
const PORTS_PER_SEND: usize = 64;

type Outcome = Option<Result<Endpoint, NetworkError>>;

/// An endpoint that has its address and not yet its link.
struct Pending {
    /// Where in the batch.
    at: usize,
    lease: Lease,
    bridge_index: u32,
    group: u32,
    mtu: u32,
    endpoint: Endpoint,
}

impl Networks {
    pub(super) fn prepare_batch(
        &self,
        netns: &[BorrowedFd<'_>],
    ) -> Vec<Result<Endpoint, NetworkError>> {
        let mut outcomes: Vec<Outcome> = netns.iter().map(|_| None).collect();
        // Bridges whose ports the kernel says are all taken, by netns that are
        // still being destroyed: what met one of them tries the next.
        let mut full = HashSet::new();
        let bridges = lock(&self.state).bridges.len();
        for _ in 0..MAX_BRIDGES {
            let pending = self.lease(&mut outcomes, &full);
            if pending.is_empty() {
                break;
            }
            let linked = self.link(netns, pending, &mut full, &mut outcomes);
            let filled = self.fill(netns, linked, &mut outcomes);
            self.bring_up(filled, &mut outcomes);
        }
        if lock(&self.state).bridges.len() > bridges {
            self.synchronise_firewall();
        }
        let exhausted = || Err(self.exhausted(&lock(&self.state)));
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(exhausted))
            .collect()
    }

    /// Takes an address for each of the batch that has no outcome yet.
    fn lease(&self, outcomes: &mut [Outcome], full: &HashSet<usize>) -> Vec<Pending> {
        let mut state = lock(&self.state);
        let mut pending = Vec::new();
        for (at, outcome) in outcomes.iter_mut().enumerate().filter(|(_, o)| o.is_none()) {
            let lease = match state.take_address(full) {
                Some(lease) => Ok(lease),
                None => self.add_bridge(&mut state).and_then(|()| {
                    state
                        .take_address(full)
                        .ok_or_else(|| self.exhausted(&state))
                }),
            };
            match lease {
                Ok(lease) => {
                    let bridge = &state.bridges[lease.bridge];
                    let (bridge_index, mtu) = (bridge.index, bridge.mtu);
                    let group = port_group(&state.bridges[0]);
                    match endpoint(bridge, lease.offset) {
                        Some(endpoint) => {
                            state.leases.insert(endpoint.id.clone(), lease);
                            pending.push(Pending {
                                at,
                                lease,
                                bridge_index,
                                group,
                                mtu,
                                endpoint,
                            });
                        }
                        None => *outcome = Some(Err(self.exhausted(&state))),
                    }
                }
                Err(error) => *outcome = Some(Err(error)),
            }
        }
        pending
    }

    /// Makes the veth pairs; gives those that were made.
    fn link(
        &self,
        netns: &[BorrowedFd<'_>],
        pending: Vec<Pending>,
        full: &mut HashSet<usize>,
        outcomes: &mut [Outcome],
    ) -> Vec<Pending> {
        let with_ipv6 = self.with_ipv6();
        let answers = self.act_on_ports(&pending, |messages, each, expected| {
            expected.push(route::new_veth(
                messages,
                &route::Veth {
                    host_name: &each.endpoint.host_interface,
                    bridge_index: each.bridge_index,
                    group: each.group,
                    netns: netns[each.at],
                    mac: each.endpoint.mac,
                    mtu: each.mtu,
                },
            ));
            if with_ipv6 {
                expected.push(route::keep_port_bare(
                    messages,
                    &each.endpoint.host_interface,
                ));
            }
        });
        let mut linked = Vec::with_capacity(pending.len());
        for (each, answer) in pending.into_iter().zip(answers) {
            match answer {
                Ok(()) => linked.push(each),
                Err(error) if error.refusal() == Some(Errno::XFULL) => {
                    lock(&self.state).release(&each.endpoint.id);
                    full.insert(each.lease.bridge);
                }
                Err(source) => {
                    let action = format!("make a veth pair on bridge {}", each.endpoint.bridge);
                    self.fail(&each, NetworkError::Kernel { action, source }, outcomes);
                }
            }
        }
        linked
    }

    /// The containers' side.
    fn fill(
        &self,
        netns: &[BorrowedFd<'_>],
        linked: Vec<Pending>,
        outcomes: &mut [Outcome],
    ) -> Vec<Pending> {
        let list: Vec<_> = linked
            .iter()
            .map(|each| (netns[each.at], Inside::Endpoint(&each.endpoint)))
            .collect();
        let answers = attach::fill(&list);
        let mut filled = Vec::with_capacity(linked.len());
        for (each, answer) in linked.into_iter().zip(answers) {
            match answer {
                Ok(()) => filled.push(each),
                Err(error) => self.fail(&each, error, outcomes),
            }
        }
        filled
    }

    /// The ports come up last: a port whose other end is up has its carrier
    /// from the start, and the host sees one change instead of three.
    fn bring_up(&self, filled: Vec<Pending>, outcomes: &mut [Outcome]) {
        let hairpin = if sysctl::bridged_frames_pass_ip_hooks() {
            Hairpin::On
        } else {
            Hairpin::Off
        };
        let answers = self.act_on_ports(&filled, |messages, each, expected| {
            expected.push(route::set_port_up(
                messages,
                &each.endpoint.host_interface,
                hairpin,
            ));
        });
        for (each, answer) in filled.into_iter().zip(answers) {
            match answer {
                Ok(()) => outcomes[each.at] = Some(Ok(each.endpoint)),
                Err(source) => {
                    let action = format!("bring up {}", each.endpoint.host_interface);
                    self.fail(&each, NetworkError::Kernel { action, source }, outcomes);
                }
            }
        }
    }

    fn fail(&self, each: &Pending, error: NetworkError, outcomes: &mut [Outcome]) {
        lock(&self.state).release(&each.endpoint.id);
        outcomes[each.at] = Some(Err(error));
    }

    /// Sends what `write` writes for each, many to a send; the answer for each
    /// is the first refusal of its messages.
    fn act_on_ports(
        &self,
        list: &[Pending],
        mut write: impl FnMut(&mut Messages, &Pending, &mut Vec<u32>),
    ) -> Vec<Result<(), NetlinkError>> {
        let mut route = lock(&self.route);
        let mut outcomes = Vec::with_capacity(list.len());
        for chunk in list.chunks(PORTS_PER_SEND) {
            let mut messages = route.messages();
            let mut expected = Vec::with_capacity(chunk.len() * 2);
            let ends: Vec<usize> = chunk
                .iter()
                .map(|each| {
                    write(&mut messages, each, &mut expected);
                    expected.len()
                })
                .collect();
            match route.exchange(&messages, &expected) {
                Ok(answers) => {
                    let mut start = 0;
                    for end in ends {
                        let own = answers[start..end].iter().try_for_each(|answer| *answer);
                        outcomes.push(own.map_err(NetlinkError::Refused));
                        start = end;
                    }
                }
                Err(error) => outcomes.extend(chunk.iter().map(|_| Err(error))),
            }
        }
        outcomes
    }
}

impl State {
    /// The next address, on the first bridge with room.
    fn take_address(&mut self, full: &HashSet<usize>) -> Option<Lease> {
        for (at, bridge) in self.bridges.iter_mut().enumerate() {
            if bridge.endpoints >= MAX_ENDPOINTS || full.contains(&at) {
                continue;
            }
            if let Some(offset) = bridge.pool.allocate() {
                bridge.endpoints += 1;
                return Some(Lease { bridge: at, offset });
            }
        }
        None
    }

    /// Gives an endpoint's address back.
    pub(super) fn release(&mut self, id: &EndpointId) {
        let Some(lease) = self.leases.remove(id) else {
            return;
        };
        let bridge = &mut self.bridges[lease.bridge];
        bridge.pool.release(lease.offset);
        bridge.endpoints -= 1;
    }

    /// Takes the very address that an endpoint of a previous daemon has.
    pub(super) fn restore(&mut self, endpoint: &Endpoint) -> bool {
        if self.leases.contains_key(&endpoint.id) {
            return true;
        }
        let named = self
            .bridges
            .iter()
            .position(|bridge| bridge.name == endpoint.bridge);
        let Some(at) = named else { return false };
        let bridge = &mut self.bridges[at];
        let offset = bridge.ipv4.offset_of(endpoint.ipv4.address());
        let Some(offset) = offset.filter(|offset| bridge.pool.reserve(*offset)) else {
            return false;
        };
        bridge.endpoints += 1;
        self.leases
            .insert(endpoint.id.clone(), Lease { bridge: at, offset });
        true
    }

    /// After a recovery: new addresses come behind those that are in use.
    pub(super) fn continue_pools(&mut self) {
        for (at, bridge) in self.bridges.iter_mut().enumerate() {
            let taken = self.leases.values().filter(|lease| lease.bridge == at);
            if let Some(highest) = taken.map(|lease| lease.offset).max() {
                bridge.pool.continue_after(highest);
            }
        }
    }
}

/// The interface group of a daemon's ports: administrators number theirs from
/// 1, daemons differ by their first bridge.
pub(super) fn port_group(first: &Bridge) -> u32 {
    0xca00_0000 | (first.index & 0x00ff_ffff)
}

fn endpoint(bridge: &Bridge, offset: u32) -> Option<Endpoint> {
    let address = bridge.ipv4.nth(offset)?;
    let ipv6 = match bridge.ipv6 {
        Some(own) => Some(Address6 {
            address: Cidr6::new(own.nth(offset)?, own.prefix())?,
            gateway: own.address(),
        }),
        None => None,
    };
    let id = EndpointId::random();
    Some(Endpoint {
        bridge: bridge.name.clone(),
        host_interface: id.host_interface(),
        id,
        mac: MacAddress::for_address(address),
        ipv4: Cidr4::new(address, bridge.ipv4.prefix())?,
        gateway4: bridge.ipv4.address(),
        ipv6,
    })
}
