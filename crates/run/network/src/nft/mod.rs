//! nf_tables over nfnetlink: our table, its rules, and its maps' elements.
//!
//! The rule set is written once, at open; what changes with a container is
//! elements of maps, one transaction of a few hundred bytes. Nothing here
//! forks `nft`; the tests compare with what `nft` itself sends.
//!
//! Layouts and numbers: `include/uapi/linux/netfilter/nf_tables.h`.

mod elements;
mod expression;
mod ruleset;
mod transaction;

pub(crate) use elements::{Element, Set};
pub(crate) use ruleset::{Masks, forget_tables, has_base, write_base, write_bridge_filter};
pub(crate) use transaction::{ForwardChain, Transaction, forward_chains, has_chain, open};

#[cfg(test)]
mod tests;
