//! Published ports as map elements.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::{Networks, lock};
use crate::endpoint::{Endpoint, PortBinding};
use crate::error::NetworkError;
use crate::netlink::{NetlinkError, Socket};
use crate::nft::{Element, Set, Transaction};

impl Networks {
    /// One transaction for all of a container's ports.
    pub(super) fn add_ports(
        &self,
        endpoint: &Endpoint,
        bindings: &[PortBinding],
    ) -> Result<(), NetworkError> {
        let elements = grouped(bindings, |binding| endpoint.address_like(binding.host_ip));
        if !elements.is_empty() {
            let mut filter = lock(&self.filter);
            let mut transaction = Transaction::begin(&filter);
            for (set, elements) in &elements {
                transaction.add(&self.config.table, *set, elements);
            }
            let outcome = transaction.commit(&mut filter);
            drop(filter);
            match outcome {
                // Somebody flushed the host's rules, ours among them.
                Err(NetlinkError::Refused(Errno::NOENT)) => self.restore_rules()?,
                outcome => {
                    let action = || format!("publish ports of {}", endpoint.ipv4.address());
                    outcome.map_err(NetworkError::kernel(action()))?;
                }
            }
        }
        // After the elements, so that no packet makes the old flow anew.
        self.flows.forget_flows(bindings);
        Ok(())
    }

    /// Writes the rule set and every published port again.
    pub(super) fn restore_rules(&self) -> Result<(), NetworkError> {
        let table = &self.config.table;
        tracing::warn!(table, "the nftables table is gone: writing it again");
        self.write_base()?;
        self.reconcile_ports().map(|_| ())
    }

    /// Makes the maps hold what is published, no more and no less.
    ///
    /// The ports stay locked: nothing is taken back in between.
    pub(super) fn reconcile_ports(&self) -> Result<Reconciled, NetworkError> {
        let ports = lock(&self.ports);
        let mut filter = lock(&self.filter);
        let table = &self.config.table;
        let failed = || NetworkError::kernel("reconcile published ports");
        let mut wanted = ports.elements();
        let mut found = HashMap::new();
        for set in Set::MAPS {
            let list = set.list(&mut filter, table).map_err(failed())?;
            found.insert(set, list.into_iter().collect::<HashSet<Element>>());
        }
        let mut reconciled = Reconciled::default();
        let mut transaction = Transaction::begin(&filter);
        for (set, found) in &found {
            let wanted = wanted.remove(set).unwrap_or_default();
            let orphans: Vec<_> = found.difference(&wanted).cloned().collect();
            let missing: Vec<_> = wanted.difference(found).cloned().collect();
            for (protocol, port) in orphans.iter().filter_map(Element::host_port) {
                tracing::info!(port, %protocol, "dropping a published port that nobody owns");
            }
            reconciled.dropped += orphans.len();
            reconciled.restored += missing.len();
            transaction.delete(table, *set, &orphans);
            transaction.add(table, *set, &missing);
        }
        if reconciled != Reconciled::default() {
            transaction.commit(&mut filter).map_err(failed())?;
        }
        Ok(reconciled)
    }
}

/// What was wrong in the maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciled {
    pub(super) dropped: usize,
    pub(super) restored: usize,
}

/// The elements of bindings, by map.
pub(super) fn grouped(
    bindings: &[PortBinding],
    container: impl Fn(&PortBinding) -> Option<IpAddr>,
) -> HashMap<Set, Vec<Element>> {
    let mut groups: HashMap<Set, Vec<Element>> = HashMap::new();
    for binding in bindings {
        if let Some((set, element)) = Element::published(binding, container(binding)) {
            groups.entry(set).or_default().push(element);
        }
    }
    groups
}

/// Deletes elements in one transaction; where one of them is gone already, by
/// a transaction each.
pub(super) fn delete_all(
    filter: &mut Socket,
    table: &str,
    groups: &HashMap<Set, Vec<Element>>,
) -> Result<(), NetlinkError> {
    if groups.is_empty() {
        return Ok(());
    }
    let mut transaction = Transaction::begin(filter);
    for (set, elements) in groups {
        transaction.delete(table, *set, elements);
    }
    match transaction.commit(filter) {
        Err(NetlinkError::Refused(Errno::NOENT)) => {}
        outcome => return outcome,
    }
    let mut outcome = Ok(());
    for (set, elements) in groups {
        for element in elements {
            let mut transaction = Transaction::begin(filter);
            transaction.delete(table, *set, std::slice::from_ref(element));
            match transaction.commit(filter) {
                Err(NetlinkError::Refused(Errno::NOENT)) => {}
                each => outcome = outcome.and(each),
            }
        }
    }
    outcome
}

/// The unspecified address of that family.
pub(super) fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
