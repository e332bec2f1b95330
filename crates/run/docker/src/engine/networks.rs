//! The networks that are there by themselves: bridge, host and none.

use std::collections::BTreeMap;

use carrack_containers::{NetworkMode, Phase};
use carrack_network::BridgeDescription;
use carrack_oci::Digest;

use crate::events::Subject;
use crate::filters::{FilterError, Filters};
use crate::{Error, Result};

use super::{Container, Engine};

/// Name of the default network.
pub const BRIDGE: &str = "bridge";

/// The networks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// The default one.
    Bridge,
    /// The host's own.
    Host,
    /// Loopback alone.
    None,
}

impl NetworkKind {
    const ALL: [Self; 3] = [Self::Bridge, Self::Host, Self::None];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => BRIDGE,
            Self::Host => "host",
            Self::None => "none",
        }
    }

    /// Its driver.
    pub fn driver(self) -> &'static str {
        match self {
            Self::Bridge => BRIDGE,
            Self::Host => "host",
            Self::None => "null",
        }
    }

    fn has(self, container: &Container) -> bool {
        matches!(
            (self, &container.view.new.namespaces.network),
            (Self::Bridge, NetworkMode::Bridge)
                | (Self::Host, NetworkMode::Host)
                | (Self::None, NetworkMode::None)
        )
    }
}

/// A network and who is on it.
#[derive(Clone, Debug)]
pub struct NetworkView {
    /// Which.
    pub kind: NetworkKind,
    /// 64 hexadecimal digits, the same after a restart.
    pub id: String,
    /// The bridges behind the default network.
    pub bridges: Vec<BridgeDescription>,
    /// Running containers on it.
    pub containers: BTreeMap<String, Container>,
}

/// Id of a network: a digest of its name, so that it needs no record.
pub fn network_id(name: &str) -> String {
    Digest::of(format!("carrack network {name}").as_bytes())
        .hex()
        .to_owned()
}

const PRUNE_KEYS: [&str; 3] = ["until", "label", "label!"];
const FILTER_KEYS: [&str; 7] = ["name", "id", "driver", "type", "scope", "dangling", "label"];

impl Engine {
    /// The networks that `filters` let through.
    pub fn networks(&self, filters: &Filters) -> Result<Vec<NetworkView>> {
        filters.require_keys(&FILTER_KEYS)?;
        for kind in filters.values("type") {
            if !["builtin", "custom"].contains(&kind.as_str()) {
                return Err(FilterError::Value {
                    key: "type".to_owned(),
                    value: kind.clone(),
                }
                .into());
            }
        }
        let dangling = filters.boolean("dangling")?;
        let containers = self.running();
        let (names, ids) = (filters.patterns("name"), filters.patterns("id"));
        let passes = |kind: &NetworkKind| {
            names.fits(kind.name())
                && ids.fits(&network_id(kind.name()))
                && filters.any("driver", |driver| driver == kind.driver())
                && filters.any("type", |kind| kind == "builtin")
                && filters.any("scope", |scope| scope == "local")
                && filters.values("label").is_empty()
                // What is there by itself never dangles.
                && dangling != Some(true)
        };
        let kinds = NetworkKind::ALL.into_iter().filter(passes);
        Ok(kinds
            .map(|kind| self.network_view(kind, &containers))
            .collect())
    }

    /// One network by name or the beginning of its id.
    pub fn network(&self, reference: &str) -> Result<NetworkView> {
        let is_meant = |kind: &NetworkKind| {
            kind.name() == reference
                || !reference.is_empty() && network_id(kind.name()).starts_with(reference)
        };
        let kind = NetworkKind::ALL
            .into_iter()
            .find(is_meant)
            .ok_or_else(|| Error::NoSuchNetwork(reference.to_owned()))?;
        Ok(self.network_view(kind, &self.running()))
    }

    /// Removing a network: those there are cannot be.
    pub fn remove_network(&self, reference: &str) -> Result<()> {
        let network = self.network(reference)?;
        Err(Error::PredefinedNetwork(network.kind.name().to_owned()))
    }

    /// Removes networks that nobody uses: none, since those that are there by
    /// themselves stay.
    pub fn prune_networks(&self, filters: &Filters) -> Result<()> {
        filters.require_keys(&PRUNE_KEYS)?;
        super::prune::parse_until(filters)?;
        self.event(Subject::Network, "prune", "", &[("reclaimed", "0")]);
        Ok(())
    }

    fn running(&self) -> Vec<Container> {
        let mut all = self.containers();
        all.retain(|container| {
            matches!(container.view.state.phase, Phase::Running | Phase::Paused)
        });
        all
    }

    fn network_view(&self, kind: NetworkKind, containers: &[Container]) -> NetworkView {
        let bridges = match (kind, &self.networks) {
            (NetworkKind::Bridge, Some(networks)) => networks.describe(),
            _ => Vec::new(),
        };
        NetworkView {
            kind,
            id: network_id(kind.name()),
            bridges,
            containers: containers
                .iter()
                .filter(|container| kind.has(container))
                .map(|container| (container.id().to_string(), container.clone()))
                .collect(),
        }
    }
}
