//! Bridges and base rule set: at open, and when the first bridge is full.

use std::fs;
use std::net::IpAddr;

use super::preparing::port_group;
use super::{Networks, State, lock};
use crate::bridge::{self, Bridge, Origin, Survey, Wish};
use crate::config::bridge_name;
use crate::error::NetworkError;
use crate::nft::{self, Element, Masks, Set, Transaction};
use crate::remembered::{self, Subnets};

/// Bridges that one daemon makes: 16,000 containers.
pub(super) const MAX_BRIDGES: usize = 16;
/// Where systemd and dbus keep what names this machine (machine-id(5)).
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

impl Networks {
    /// The first bridge, and the successors that a previous daemon left with
    /// containers on them.
    pub(super) fn open_bridges(&self) -> Result<(), NetworkError> {
        let remembered = remembered::read(&self.config.state_dir);
        let mut state = lock(&self.state);
        let mut route = lock(&self.route);
        let first = self.wish(&self.config.bridge, &remembered);
        let first = Wish {
            ipv4: self.config.bip,
            ipv6: self.config.ipv6,
            ..first
        };
        state.bridges.push(bridge::ensure(&mut route, &first)?);
        let survey = Survey::take(&mut route)?;
        for number in 1..MAX_BRIDGES {
            let name = bridge_name(&self.config.bridge, number);
            let alias = survey.link(&name).and_then(|link| link.alias.as_deref());
            if alias == Some(&*self.alias) {
                let wish = self.wish(&name, &remembered);
                let wish = Wish {
                    prefix4: Some(state.bridges[0].ipv4.prefix()),
                    ..wish
                };
                state.bridges.push(bridge::ensure(&mut route, &wish)?);
            }
        }
        let ours = |index| state.bridges.iter().any(|bridge| bridge.index == index);
        let ports = survey
            .links
            .iter()
            .filter(|link| link.master.is_some_and(ours))
            .count();
        state.unclaimed = ports;
        self.remember(&state);
        Ok(())
    }

    /// The rule set, with the bridges that there are.
    pub(super) fn write_base(&self) -> Result<(), NetworkError> {
        let state = lock(&self.state);
        let Some(first) = state.bridges.first() else {
            return Ok(());
        };
        let masks = Masks {
            ipv4: first.ipv4.mask(),
            // Without IPv6 the set is empty, and any mask will do.
            ipv6: first
                .ipv6
                .map_or(std::net::Ipv6Addr::UNSPECIFIED, |ipv6| ipv6.mask()),
        };
        let members = members(&state.bridges);
        let (table, mut filter) = (&self.config.table, lock(&self.filter));
        nft::write_base(&mut filter, table, masks, &members).map_err(NetworkError::kernel(
            format!("write nftables table {table}"),
        ))?;
        // A kernel without nftables on bridges carries more frames, no others.
        if let Err(error) = nft::write_bridge_filter(&mut filter, table, port_group(first)) {
            tracing::warn!(%error, "cannot keep multicast reports off the bridges");
        }
        Ok(())
    }

    /// One bridge more; the caller holds the state and synchronises the
    /// firewall once it does not any more.
    pub(super) fn add_bridge(&self, state: &mut State) -> Result<(), NetworkError> {
        let unused = (1..MAX_BRIDGES)
            .map(|number| bridge_name(&self.config.bridge, number))
            .find(|name| state.bridges.iter().all(|bridge| bridge.name != *name));
        let (Some(name), Some(first)) = (unused, state.bridges.first()) else {
            return Err(self.exhausted(state));
        };
        let remembered = remembered::read(&self.config.state_dir);
        let wish = Wish {
            prefix4: Some(first.ipv4.prefix()),
            prefix6: first.ipv6.map(|ipv6| ipv6.prefix()),
            with_ipv6: first.ipv6.is_some(),
            ..self.wish(&name, &remembered)
        };
        let bridge = bridge::ensure(&mut lock(&self.route), &wish)?;
        tracing::info!(bridge = bridge.name, subnet = %bridge.ipv4, "made another bridge");
        let mut filter = lock(&self.filter);
        let mut transaction = Transaction::begin(&filter);
        for (set, elements) in members(std::slice::from_ref(&bridge)) {
            transaction.add(&self.config.table, set, &elements);
        }
        transaction
            .commit(&mut filter)
            .map_err(NetworkError::kernel(format!(
                "add bridge {} to the rules",
                bridge.name
            )))?;
        state.bridges.push(bridge);
        self.remember(state);
        Ok(())
    }

    pub(super) fn exhausted(&self, state: &State) -> NetworkError {
        NetworkError::AddressesExhausted {
            bridge: self.config.bridge.clone(),
            used: state.leases.len(),
        }
    }

    fn wish<'a>(&'a self, name: &'a str, remembered: &[Subnets]) -> Wish<'a> {
        let noted = remembered.iter().find(|noted| noted.bridge == name);
        Wish {
            name,
            alias: &self.alias,
            ipv4: None,
            ipv6: None,
            remembered: (
                noted.map(|noted| noted.ipv4),
                noted.and_then(|noted| noted.ipv6),
            ),
            prefix4: None,
            prefix6: None,
            with_ipv6: self.with_ipv6(),
            machine: &self.machine,
            mtu: self.config.mtu,
        }
    }

    fn remember(&self, state: &State) {
        let list: Vec<Subnets> = state
            .bridges
            .iter()
            .filter(|bridge| bridge.origin == Origin::Ours)
            .map(|bridge| Subnets {
                bridge: bridge.name.clone(),
                ipv4: bridge.ipv4,
                ipv6: bridge.ipv6,
            })
            .collect();
        if let Err(error) = remembered::write(&self.config.state_dir, &list) {
            let path = self.config.state_dir.display();
            tracing::warn!(%path, %error, "cannot note the bridges' subnets");
        }
    }
}

/// What the rules know of the bridges: names and networks.
fn members(bridges: &[Bridge]) -> Vec<(Set, Vec<Element>)> {
    let network = |address: IpAddr| Element::network(address);
    vec![
        (
            Set::Bridges,
            bridges
                .iter()
                .map(|bridge| Element::interface(&bridge.name))
                .collect(),
        ),
        (
            Set::Nets4,
            bridges
                .iter()
                .map(|bridge| network(bridge.ipv4.network().into()))
                .collect(),
        ),
        (
            Set::Nets6,
            bridges
                .iter()
                .filter_map(|bridge| bridge.ipv6)
                .map(|ipv6| network(ipv6.network().into()))
                .collect(),
        ),
    ]
}

/// What names this machine; random where nothing does.
pub(super) fn machine_id() -> Vec<u8> {
    MACHINE_IDS
        .iter()
        .filter_map(|path| fs::read(path).ok())
        .map(|id| id.trim_ascii().to_vec())
        .find(|id| !id.is_empty() && id != b"uninitialized")
        .unwrap_or_else(|| carrack_sys::random::hex_id().into_bytes())
}
