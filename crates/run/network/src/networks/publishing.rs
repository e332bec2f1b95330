//! Published ports as map elements.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::{Networks, lock};
use crate::endpoint::{Endpoint, PortBinding};
use crate::netlink::{NetlinkError, Socket};
use crate::nft::{Element, Set, Transaction};

impl Networks {
    /// One transaction for all of a container's ports.
    pub(super) fn add_ports(
        &self,
        endpoint: &Endpoint,
        bindings: &[PortBinding],
    ) -> Result<(), NetlinkError> {
        let elements = grouped(bindings, |binding| endpoint.address_like(binding.host_ip));
        let mut filter = lock(&self.filter);
        if !elements.is_empty() {
            let mut transaction = Transaction::begin(&filter);
            for (set, elements) in &elements {
                transaction.add_new(&self.config.table, *set, elements);
            }
            transaction.commit(&mut filter)?;
        }
        // After the elements, so that no packet makes the old flow anew.
        self.flows.forget_flows(bindings);
        Ok(())
    }
}

/// The elements of one endpoint's bindings.
pub(super) fn elements_of<'a>(
    endpoint: &'a Endpoint,
    bindings: &'a [PortBinding],
) -> impl Iterator<Item = (Set, Element)> + 'a {
    bindings
        .iter()
        .filter_map(|binding| Element::published(binding, endpoint.address_like(binding.host_ip)))
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
