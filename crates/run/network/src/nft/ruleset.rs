//! The base rule set: what every container of a daemon has in common.
//!
//! As `nft` would write it (`testdata/base.nft` is this, loaded by `nft`):
//!
//! - **published** (called from prerouting and output): a host port's map
//!   element gives the container's address and port. The maps for every host
//!   address apply to addresses of this host alone; loopback and link-local
//!   destinations are left to the listening socket of the supervisor.
//! - **postrouting**: what leaves the bridges is masqueraded, and so is what a
//!   container sends through a published port back onto the bridges: its
//!   answer would otherwise go straight to the sender, from the wrong address.
//! - **forward**: into the bridges come answers, what other containers send,
//!   and what was published. The rest is dropped: an unpublished port cannot
//!   be reached by routing to the container's address.
//!
//! Written at every open in one transaction: rules are replaced, maps and
//! their elements stay, so that a daemon's restart interrupts nobody. A map
//! whose shape changes needs a new name.

use super::elements::{Element, Set, add_elements, flush_elements};
use super::expression::{
    Base, Ct, Expressions, Meta, REG, REG_2, REG32_1, REG32_2, REG32_5, Sense, Verdict,
};
use super::transaction::{
    NFPROTO_BRIDGE, NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6, NFT_MSG_DELRULE, NFT_MSG_DELTABLE,
    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWTABLE, Transaction, has_chain,
};
use rustix::io::Errno;

use crate::netlink::{APPEND, CREATE, NetlinkError, Socket};

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NF_ACCEPT: u32 = 1;

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFT_SET_MAP: u32 = 0x8;

const PUBLISHED: &str = "published";
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
const POSTROUTING: &str = "postrouting";
const FORWARD: &str = "forward";

/// A chain and where it hooks in.
struct Chain {
    name: &'static str,
    hook: Option<Hook>,
}

struct Hook {
    kind: &'static str,
    number: u32,
    priority: i32,
    policy: Option<u32>,
}

/// Priorities as iptables has them: `dstnat` −100, `srcnat` 100, `filter` 0.
const CHAINS: [Chain; 5] = [
    Chain {
        name: PUBLISHED,
        hook: None,
    },
    Chain {
        name: PREROUTING,
        hook: Some(Hook {
            kind: "nat",
            number: 0,
            priority: -100,
            policy: None,
        }),
    },
    Chain {
        name: OUTPUT,
        hook: Some(Hook {
            kind: "nat",
            number: 3,
            priority: -100,
            policy: None,
        }),
    },
    Chain {
        name: POSTROUTING,
        hook: Some(Hook {
            kind: "nat",
            number: 4,
            priority: 100,
            policy: None,
        }),
    },
    Chain {
        name: FORWARD,
        hook: Some(Hook {
            kind: "filter",
            number: 2,
            priority: 0,
            policy: Some(NF_ACCEPT),
        }),
    },
];

/// On the bridges themselves, before a frame is multiplied; priority `dstnat`
/// of that family.
const BRIDGE_PREROUTING: Chain = Chain {
    name: PREROUTING,
    hook: Some(Hook {
        kind: "filter",
        number: 0,
        priority: -300,
        policy: Some(NF_ACCEPT),
    }),
};

/// Masks that make an address the name of its bridge's network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Masks {
    pub(crate) ipv4: std::net::Ipv4Addr,
    pub(crate) ipv6: std::net::Ipv6Addr,
}

/// Writes table, chains, sets and rules, and puts `members` (bridges and
/// their networks) in place of what the sets held.
pub(crate) fn write_base(
    socket: &mut Socket,
    table: &str,
    masks: Masks,
    members: &[(Set, Vec<Element>)],
) -> Result<(), NetlinkError> {
    let mut transaction = Transaction::begin(socket);
    base(&mut transaction, table, masks);
    for (set, elements) in members {
        flush_elements(&mut transaction, table, *set);
        add_elements(&mut transaction, table, *set, elements);
    }
    transaction.commit(socket)
}

/// Whether the rule set is there: somebody may have flushed the host's.
pub(crate) fn has_base(socket: &mut Socket, table: &str) -> Result<bool, NetlinkError> {
    has_chain(socket, NFPROTO_INET, table, FORWARD)
}

/// Deletes our tables with all that is in them; none is fine.
pub(crate) fn forget_tables(socket: &mut Socket, table: &str) -> Result<(), NetlinkError> {
    let mut outcome = Ok(());
    for family in [NFPROTO_INET, NFPROTO_BRIDGE] {
        let mut transaction = Transaction::begin_in(family, socket);
        transaction.push(NFT_MSG_DELTABLE, 0, |body| {
            body.text(NFTA_TABLE_NAME, table);
        });
        match transaction.commit(socket) {
            Ok(()) | Err(NetlinkError::Refused(Errno::NOENT | Errno::AFNOSUPPORT)) => {}
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}

/// Keeps multicast memberships from the ports of `group` off the bridges.
///
/// A container that comes up reports its IPv6 groups four times, and a bridge
/// without a querier carries each report to every port: with 1,000 containers
/// that is 4,000 deliveries and most of the time a start takes. Nobody
/// listens: our bridges do not snoop.
pub(crate) fn write_bridge_filter(
    socket: &mut Socket,
    table: &str,
    group: u32,
) -> Result<(), NetlinkError> {
    let mut transaction = Transaction::begin_in(NFPROTO_BRIDGE, socket);
    bridge_filter(&mut transaction, table, group);
    transaction.commit(socket)
}

pub(super) fn bridge_filter(transaction: &mut Transaction, table: &str, group: u32) {
    const ETH_P_IPV6: u16 = 0x86dd;
    const ICMPV6: u8 = 58;
    const MLD2_REPORT: u8 = 143;
    /// `icmp6_type`, the first byte.
    const TYPE: (u32, u32) = (0, 1);
    transaction.push(NFT_MSG_NEWTABLE, CREATE, |body| {
        body.text(NFTA_TABLE_NAME, table).be32(NFTA_TABLE_FLAGS, 0);
    });
    new_chain(transaction, table, &BRIDGE_PREROUTING);
    delete_rules(transaction, table, &BRIDGE_PREROUTING);
    new_rule(transaction, table, BRIDGE_PREROUTING.name, &|e| {
        // First what most frames are not.
        e.meta(Meta::Protocol, REG)
            .compare(Sense::Is, &ETH_P_IPV6.to_be_bytes())
            .meta(Meta::TransportProtocol, REG)
            .compare(Sense::Is, &[ICMPV6])
            .meta(Meta::InputGroup, REG)
            .compare(Sense::Is, &group.to_ne_bytes())
            .payload(Base::Transport, TYPE.0, TYPE.1, REG)
            .compare(Sense::Is, &[MLD2_REPORT])
            .verdict(Verdict::Drop);
    });
}

/// The rule set without members.
pub(super) fn base(transaction: &mut Transaction, table: &str, masks: Masks) {
    transaction.push(NFT_MSG_NEWTABLE, CREATE, |body| {
        body.text(NFTA_TABLE_NAME, table).be32(NFTA_TABLE_FLAGS, 0);
    });
    for chain in &CHAINS {
        new_chain(transaction, table, chain);
    }
    for set in Set::ALL {
        new_set(transaction, table, set);
    }
    // The rules of a previous daemon; a new chain has none to delete.
    for chain in &CHAINS {
        delete_rules(transaction, table, chain);
    }
    rules(masks, |chain, expressions| {
        new_rule(transaction, table, chain, expressions)
    });
}

fn delete_rules(transaction: &mut Transaction, table: &str, chain: &Chain) {
    transaction.push(NFT_MSG_DELRULE, 0, |body| {
        body.text(NFTA_RULE_TABLE, table)
            .text(NFTA_RULE_CHAIN, chain.name);
    });
}

fn new_rule(transaction: &mut Transaction, table: &str, chain: &str, expressions: Write<'_>) {
    transaction.push(NFT_MSG_NEWRULE, CREATE | APPEND, |body| {
        body.text(NFTA_RULE_TABLE, table)
            .text(NFTA_RULE_CHAIN, chain)
            .nest(NFTA_RULE_EXPRESSIONS, |list| {
                expressions(&mut Expressions(list))
            });
    });
}

fn new_chain(transaction: &mut Transaction, table: &str, chain: &Chain) {
    transaction.push(NFT_MSG_NEWCHAIN, CREATE, |body| {
        body.text(NFTA_CHAIN_TABLE, table)
            .text(NFTA_CHAIN_NAME, chain.name);
        let Some(hook) = &chain.hook else { return };
        body.text(NFTA_CHAIN_TYPE, hook.kind);
        if let Some(policy) = hook.policy {
            body.be32(NFTA_CHAIN_POLICY, policy);
        }
        body.nest(NFTA_CHAIN_HOOK, |nest| {
            nest.be32(NFTA_HOOK_HOOKNUM, hook.number)
                .be32(NFTA_HOOK_PRIORITY, hook.priority.cast_unsigned());
        });
    });
}

fn new_set(transaction: &mut Transaction, table: &str, set: Set) {
    let shape = set.shape();
    transaction.push(NFT_MSG_NEWSET, CREATE, |body| {
        body.text(NFTA_SET_TABLE, table)
            .text(NFTA_SET_NAME, set.name())
            .be32(
                NFTA_SET_FLAGS,
                if shape.data.is_some() { NFT_SET_MAP } else { 0 },
            )
            .be32(NFTA_SET_KEY_TYPE, shape.key.kind)
            .be32(NFTA_SET_KEY_LEN, shape.key.bytes);
        if let Some(data) = shape.data {
            body.be32(NFTA_SET_DATA_TYPE, data.kind)
                .be32(NFTA_SET_DATA_LEN, data.bytes);
        }
        body.be32(NFTA_SET_ID, set.reference().id);
        if let Some(order) = shape.listed_order {
            body.bytes(NFTA_SET_USERDATA, &[0, 4, order, 0, 0, 0]);
        }
    });
}

/// Offsets in the IP headers.
const SOURCE4: (u32, u32) = (12, 4);
const DESTINATION4: (u32, u32) = (16, 4);
const SOURCE6: (u32, u32) = (8, 16);
const DESTINATION6: (u32, u32) = (24, 16);
/// Destination port, in all three protocols.
const PORT: (u32, u32) = (2, 2);

/// `RTN_LOCAL` as `fib` gives it.
const LOCAL: u32 = 2;
/// `IPS_DST_NAT`.
const DESTINATION_NATED: u32 = 0x20;
/// `NF_CT_STATE_BIT` of established and related.
const ESTABLISHED_OR_RELATED: u32 = 0x06;

type Write<'a> = &'a dyn Fn(&mut Expressions<'_, '_>);

fn rules(masks: Masks, mut rule: impl FnMut(&'static str, Write<'_>)) {
    use Set::{Bridges, HostPorts4, HostPorts6, Nets4, Nets6, Ports4, Ports6};

    rule(PUBLISHED, &|e| {
        is_protocol(e, NFPROTO_IPV4)
            .payload(Base::Network, DESTINATION4.0, DESTINATION4.1, REG)
            .meta(Meta::TransportProtocol, REG32_1)
            .payload(Base::Transport, PORT.0, PORT.1, REG32_2)
            .lookup_value(HostPorts4.reference())
            .destination_nat(NFPROTO_IPV4, REG32_1);
    });
    rule(PUBLISHED, &|e| {
        is_protocol(e, NFPROTO_IPV6)
            .payload(Base::Network, DESTINATION6.0, DESTINATION6.1, REG)
            .meta(Meta::TransportProtocol, REG_2)
            .payload(Base::Transport, PORT.0, PORT.1, REG32_5)
            .lookup_value(HostPorts6.reference())
            .destination_nat(NFPROTO_IPV6, REG_2);
    });
    rule(PUBLISHED, &|e| {
        e.fib_destination_type()
            .compare(Sense::Is, &LOCAL.to_ne_bytes());
        is_protocol(e, NFPROTO_IPV4)
            .payload(Base::Network, DESTINATION4.0, DESTINATION4.1, REG)
            .mask(&[255, 0, 0, 0])
            .compare(Sense::IsNot, &[127, 0, 0, 0])
            .meta(Meta::TransportProtocol, REG)
            .payload(Base::Transport, PORT.0, PORT.1, REG32_1)
            .lookup_value(Ports4.reference())
            .destination_nat(NFPROTO_IPV4, REG32_1);
    });
    rule(PUBLISHED, &|e| {
        let (mut link_local, mut link_local_mask, mut loopback) = ([0; 16], [0; 16], [0; 16]);
        link_local[..2].copy_from_slice(&[0xfe, 0x80]);
        link_local_mask[..2].copy_from_slice(&[0xff, 0xc0]);
        loopback[15] = 1;
        e.fib_destination_type()
            .compare(Sense::Is, &LOCAL.to_ne_bytes());
        is_protocol(e, NFPROTO_IPV6)
            .payload(Base::Network, DESTINATION6.0, DESTINATION6.1, REG)
            .compare(Sense::IsNot, &loopback)
            .payload(Base::Network, DESTINATION6.0, DESTINATION6.1, REG)
            .mask(&link_local_mask)
            .compare(Sense::IsNot, &link_local)
            .meta(Meta::TransportProtocol, REG)
            .payload(Base::Transport, PORT.0, PORT.1, REG32_1)
            .lookup_value(Ports6.reference())
            .destination_nat(NFPROTO_IPV6, REG_2);
    });

    for chain in [PREROUTING, OUTPUT] {
        rule(chain, &|e| {
            e.verdict(Verdict::Jump(PUBLISHED));
        });
    }

    rule(POSTROUTING, &|e| {
        e.meta(Meta::OutputName, REG)
            .lookup(Bridges.reference(), Sense::IsNot);
        is_protocol(e, NFPROTO_IPV4)
            .payload(Base::Network, SOURCE4.0, SOURCE4.1, REG)
            .mask(&masks.ipv4.octets())
            .lookup(Nets4.reference(), Sense::Is)
            .masquerade();
    });
    rule(POSTROUTING, &|e| {
        e.meta(Meta::OutputName, REG)
            .lookup(Bridges.reference(), Sense::IsNot);
        is_protocol(e, NFPROTO_IPV6)
            .payload(Base::Network, SOURCE6.0, SOURCE6.1, REG)
            .mask(&masks.ipv6.octets())
            .lookup(Nets6.reference(), Sense::Is)
            .masquerade();
    });
    rule(POSTROUTING, &|e| {
        e.meta(Meta::OutputName, REG)
            .lookup(Bridges.reference(), Sense::Is);
        e.ct(Ct::Status).any_of(DESTINATION_NATED);
        is_protocol(e, NFPROTO_IPV4)
            .payload(Base::Network, SOURCE4.0, SOURCE4.1, REG)
            .mask(&masks.ipv4.octets())
            .lookup(Nets4.reference(), Sense::Is)
            .masquerade();
    });
    rule(POSTROUTING, &|e| {
        e.meta(Meta::OutputName, REG)
            .lookup(Bridges.reference(), Sense::Is);
        e.ct(Ct::Status).any_of(DESTINATION_NATED);
        is_protocol(e, NFPROTO_IPV6)
            .payload(Base::Network, SOURCE6.0, SOURCE6.1, REG)
            .mask(&masks.ipv6.octets())
            .lookup(Nets6.reference(), Sense::Is)
            .masquerade();
    });

    rule(FORWARD, &|e| {
        e.ct(Ct::State)
            .any_of(ESTABLISHED_OR_RELATED)
            .verdict(Verdict::Accept);
    });
    rule(FORWARD, &|e| {
        e.meta(Meta::OutputName, REG)
            .lookup(Bridges.reference(), Sense::IsNot)
            .verdict(Verdict::Accept);
    });
    rule(FORWARD, &|e| {
        e.meta(Meta::InputName, REG)
            .lookup(Bridges.reference(), Sense::Is)
            .verdict(Verdict::Accept);
    });
    rule(FORWARD, &|e| {
        e.ct(Ct::Status)
            .any_of(DESTINATION_NATED)
            .verdict(Verdict::Accept);
    });
    rule(FORWARD, &|e| {
        e.verdict(Verdict::Drop);
    });
}

fn is_protocol<'e, 'a, 'b>(
    e: &'e mut Expressions<'a, 'b>,
    protocol: u8,
) -> &'e mut Expressions<'a, 'b> {
    e.meta(Meta::NetworkProtocol, REG)
        .compare(Sense::Is, &[protocol])
}
