//! The one object a daemon holds: its bridges, who is on them, what is
//! published.
//!
//! Locks are taken in the order of the fields below and held over netlink
//! exchanges, which never wait; over a fork there is only the firewall's. A batch of containers costs one exchange with
//! the host's netns and two in each container's.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::attach::{self, Inside};
use crate::bridge::{self, Bridge, Origin};
use crate::cidr::{Cidr4, Cidr6};
use crate::config::{DockerUser, NetworkConfig};
use crate::conntrack::Sweeper;
use crate::endpoint::{Endpoint, EndpointId, PortBinding, PortRequest, Published};
use crate::error::NetworkError;
use crate::firewall::{self, Wanted};
use crate::netlink::{Socket, route};
use crate::nft;
use crate::ports::{HostFamilies, Ports};
use crate::sysctl;

mod opening;
mod preparing;
mod publishing;

use publishing::{delete_all, grouped, unspecified};

/// A daemon's default network.
///
/// Every method blocks, for microseconds to milliseconds. `open` and
/// `publish` act in the calling thread's netns, which must be the host's.
#[derive(Debug)]
pub struct Networks {
    config: NetworkConfig,
    alias: String,
    machine: Vec<u8>,
    families: HostFamilies,
    /// For the firewall's rounds, one at a time: they fork `iptables`, and no
    /// start waits for one.
    firewall: Mutex<Socket>,
    state: Mutex<State>,
    ports: Mutex<Ports>,
    route: Mutex<Socket>,
    filter: Mutex<Socket>,
    warnings: Mutex<Vec<String>>,
    flows: Arc<Sweeper>,
}

#[derive(Debug)]
struct State {
    bridges: Vec<Bridge>,
    leases: HashMap<EndpointId, Lease>,
    /// Ports of the bridges that are not in `leases`: those that were there at
    /// open, until a recovery says whose they are, then those that are lost.
    unclaimed: usize,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    bridge: usize,
    offset: u32,
}

/// What [`Networks::recover`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Endpoints whose addresses are theirs again.
    pub kept: usize,
    /// Endpoints that have no place: their bridge is gone, or their address
    /// is another's.
    pub lost: Vec<EndpointId>,
    /// Ports that were published for nobody, and are not any more.
    pub dropped_ports: usize,
    /// Ports that were not published and should have been, and are again.
    pub restored_ports: usize,
}

/// What `GET /networks/bridge` tells of one bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeDescription {
    /// Its interface.
    pub name: String,
    /// Its network.
    pub subnet4: Cidr4,
    /// Its own address.
    pub gateway4: Ipv4Addr,
    /// The same for IPv6, where the host has it.
    pub ipv6: Option<(Cidr6, Ipv6Addr)>,
    /// MTU of the bridge and its containers.
    pub mtu: u32,
    /// Endpoints on it.
    pub endpoints: usize,
}

impl Networks {
    /// Makes or adopts the bridges, writes the rule set and the sysctls.
    ///
    /// # Errors
    /// When a name or subnet cannot be used, or the kernel refuses.
    pub fn open(config: NetworkConfig) -> Result<Self, NetworkError> {
        config.validate()?;
        let route = route::open()
            .map(Socket::enlarge)
            .map_err(NetworkError::kernel("open a route socket"))?;
        let netfilter = || nft::open().map_err(NetworkError::kernel("open a netfilter socket"));
        let (filter, firewall) = (netfilter()?, netfilter()?);
        let with_ipv6 = sysctl::has_ipv6();
        sysctl::enable_forwarding(with_ipv6)?;
        sysctl::raise_neighbour_thresholds();
        let alias = format!("carrack:{}", config.table);
        let networks = Self {
            machine: opening::machine_id(),
            alias,
            families: if with_ipv6 {
                HostFamilies::Both
            } else {
                HostFamilies::Ipv4
            },
            firewall: Mutex::new(firewall),
            state: Mutex::new(State {
                bridges: Vec::new(),
                leases: HashMap::new(),
                unclaimed: 0,
            }),
            ports: Mutex::new(Ports::default()),
            route: Mutex::new(route),
            filter: Mutex::new(filter),
            warnings: Mutex::new(Vec::new()),
            flows: Arc::default(),
            config,
        };
        networks.open_bridges()?;
        networks.write_base()?;
        networks.synchronise_firewall();
        Ok(networks)
    }

    /// Puts one container's place into each netns: `lo` and `eth0` up, with
    /// addresses and default routes. One failure does not stop the others;
    /// a netns that failed may hold half of it and must be dropped.
    pub fn prepare(&self, netns: &[BorrowedFd<'_>]) -> Vec<Result<Endpoint, NetworkError>> {
        self.prepare_batch(netns)
    }

    /// Brings up `lo` and nothing else, in each netns.
    pub fn prepare_loopback(&self, netns: &[BorrowedFd<'_>]) -> Vec<Result<(), NetworkError>> {
        let list: Vec<_> = netns
            .iter()
            .map(|netns| (*netns, Inside::Loopback))
            .collect();
        attach::fill(&list)
    }

    /// Gives the addresses back, once the netns are gone; their links went
    /// with them. Unknown names are fine.
    pub fn release(&self, endpoints: &[EndpointId]) {
        let mut state = lock(&self.state);
        for id in endpoints {
            state.release(id);
        }
    }

    /// As [`Networks::release`], where somebody else stays in the netns: their
    /// links are deleted first, or the next container with such an address
    /// would meet its namesake.
    ///
    /// Takes tens of milliseconds for each.
    ///
    /// # Errors
    /// When the kernel refuses; the addresses then stay taken.
    pub fn disconnect(&self, endpoints: &[EndpointId]) -> Result<(), NetworkError> {
        // Its own socket: nobody else waits for the kernel's grace periods.
        let mut route = route::open().map_err(NetworkError::kernel("open a route socket"))?;
        for id in endpoints {
            let name = id.host_interface();
            let action = format!("delete link {name}");
            let found = route::index_of(&mut route, &name)
                .map_err(NetworkError::kernel(action.as_str()))?;
            if let Some(index) = found {
                bridge::act(&mut route, &action, |messages| {
                    vec![route::delete_link(messages, index)]
                })?;
            }
            lock(&self.state).release(id);
        }
        Ok(())
    }

    /// Publishes every port of `requests`, or none.
    ///
    /// # Errors
    /// When a port is in use, in docker's words; when the request makes no
    /// sense; when the kernel refuses.
    pub fn publish(
        &self,
        endpoint: &Endpoint,
        requests: &[PortRequest],
    ) -> Result<Published, NetworkError> {
        if !lock(&self.state).leases.contains_key(&endpoint.id) {
            return Err(NetworkError::NoSuchEndpoint {
                id: endpoint.id.clone(),
            });
        }
        if requests.is_empty() {
            return Ok(Published {
                bindings: Vec::new(),
                listeners: Vec::new(),
            });
        }
        let bound = lock(&self.ports).bind_all(endpoint, requests, self.families)?;
        let bindings: Vec<PortBinding> = bound.iter().map(|(binding, _)| *binding).collect();
        if let Err(error) = self.add_ports(endpoint, &bindings) {
            lock(&self.ports).forget(&bindings);
            return Err(error);
        }
        let listeners = bound
            .into_iter()
            .filter_map(|(binding, socket)| Some((binding, socket?)))
            .collect();
        Ok(Published {
            bindings,
            listeners,
        })
    }

    /// Takes published ports back; those that are not published are fine. The
    /// sockets are whose they were handed to.
    ///
    /// # Errors
    /// When the kernel refuses; the ports are free for this daemon all the same.
    pub fn unpublish(&self, bindings: &[PortBinding]) -> Result<(), NetworkError> {
        if bindings.is_empty() {
            return Ok(());
        }
        // Values do not matter for a deletion: any address of the family.
        let elements = grouped(bindings, |binding| Some(unspecified(binding.host_ip)));
        let mut ports = lock(&self.ports);
        let outcome = delete_all(&mut lock(&self.filter), &self.config.table, &elements);
        ports.forget(bindings);
        drop(ports);
        self.flows.forget_flows(bindings);
        outcome.map_err(NetworkError::kernel("take back published ports"))
    }

    /// After a restart: keeps the addresses and ports of the endpoints that
    /// live, drops the ports that nobody owns, restores those that were lost.
    ///
    /// To be called once after every `open`, with an empty list where nothing
    /// lives, and before the first `prepare`: until then the addresses of a
    /// previous daemon's containers are not known to be taken, and `close`
    /// removes nothing that they stand on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn recover(&self, live: &[(Endpoint, Vec<PortBinding>)]) -> Result<Report, NetworkError> {
        let mut report = Report::default();
        let mut state = lock(&self.state);
        let mut ports = lock(&self.ports);
        for (endpoint, bindings) in live {
            if state.restore(endpoint) {
                ports.remember(endpoint, bindings);
                report.kept += 1;
            } else {
                report.lost.push(endpoint.id.clone());
            }
        }
        state.continue_pools();
        drop((state, ports));
        let reconciled = self.reconcile_ports()?;
        report.dropped_ports = reconciled.dropped;
        report.restored_ports = reconciled.restored;
        lock(&self.state).unclaimed = report.lost.len();
        Ok(report)
    }

    /// At the daemon's stop: what nothing lives on goes, bridges, maps and our
    /// rules in `DOCKER-USER`. Where a container lives all of it stays: it goes
    /// on, and so does its traffic.
    ///
    /// # Errors
    /// The first refusal; everything is tried.
    pub fn close(&self) -> Result<(), NetworkError> {
        let mut firewall = lock(&self.firewall);
        let mut state = lock(&self.state);
        if !state.leases.is_empty() || state.unclaimed > 0 {
            return Ok(());
        }
        let mut outcome = Ok(());
        if self.config.docker_user == DockerUser::Accept {
            let wanted = Wanted {
                mark: &self.alias,
                bridges: &[],
                foreign: &[],
            };
            firewall::synchronise(&mut firewall, wanted, self.with_ipv6());
        }
        let mut route = lock(&self.route);
        for bridge in state
            .bridges
            .drain(..)
            .filter(|bridge| bridge.origin == Origin::Ours)
        {
            let action = format!("delete bridge {}", bridge.name);
            let deleted = bridge::act(&mut route, &action, |messages| {
                vec![route::delete_link(messages, bridge.index)]
            });
            outcome = outcome.and(deleted);
        }
        let forgotten = nft::forget_tables(&mut lock(&self.filter), &self.config.table);
        outcome.and(forgotten.map_err(NetworkError::kernel("delete the nftables tables")))
    }

    /// Looks again at the host's firewall, which may have come, changed or
    /// been flushed since open: to be called now and then. Two netlink
    /// exchanges where there is nothing to do, a fork of `iptables` where
    /// another engine's chain is.
    pub fn synchronise_firewall(&self) {
        let mut firewall = lock(&self.firewall);
        let present = nft::has_base(&mut lock(&self.filter), &self.config.table);
        if matches!(present, Ok(false))
            && let Err(error) = self.restore_rules()
        {
            tracing::warn!(%error, "cannot restore the nftables table");
        }
        if self.config.docker_user == DockerUser::LeaveAlone {
            return;
        }
        let bridges = lock(&self.state)
            .bridges
            .iter()
            .map(|bridge| bridge.name.clone())
            .collect::<Vec<_>>();
        let foreign = match route::links(&mut lock(&self.route)) {
            Ok(links) => links
                .into_iter()
                .map(|link| link.name)
                .filter(|name| firewall::is_docker_bridge(name) && !bridges.contains(name))
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "cannot list links");
                Vec::new()
            }
        };
        let wanted = Wanted {
            mark: &self.alias,
            bridges: &bridges,
            foreign: &foreign,
        };
        let warnings = firewall::synchronise(&mut firewall, wanted, self.with_ipv6());
        *lock(&self.warnings) = warnings;
    }

    /// What is in the way of containers' traffic and not ours to change, as
    /// sentences for the user.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// The bridges, the first one first.
    pub fn describe(&self) -> Vec<BridgeDescription> {
        let describe = |bridge: &Bridge| BridgeDescription {
            name: bridge.name.clone(),
            subnet4: bridge.ipv4.subnet(),
            gateway4: bridge.ipv4.address(),
            ipv6: bridge.ipv6.map(|ipv6| (ipv6.subnet(), ipv6.address())),
            mtu: bridge.mtu,
            endpoints: bridge.endpoints,
        };
        lock(&self.state).bridges.iter().map(describe).collect()
    }

    /// As a round of the firewall does that takes long.
    #[cfg(test)]
    pub(crate) fn hold_firewall(&self) -> MutexGuard<'_, Socket> {
        lock(&self.firewall)
    }

    fn with_ipv6(&self) -> bool {
        self.families == HostFamilies::Both
    }
}

/// A panic elsewhere leaves counters and maps whole: every change of them is
/// one statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
