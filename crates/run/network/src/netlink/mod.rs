//! Netlink as far as this crate needs it: framing, attributes, and a socket
//! whose every exchange is one send and the answers that are already queued.
//!
//! rtnetlink (`route`) and nfnetlink (`crate::nft`, `crate::conntrack`) stand
//! on it. Nothing here knows what a message means.

mod message;
pub(crate) mod route;
mod socket;

pub(crate) use message::{Attributes, Message, Messages, attribute, attributes, text};
pub use socket::NetlinkError;
pub(crate) use socket::Socket;

/// `NLM_F_REQUEST`: on everything that is sent to the kernel.
pub(crate) const REQUEST: u16 = 0x001;
/// `NLM_F_ACK`: answer even when it went well.
pub(crate) const ACK: u16 = 0x004;
/// `NLM_F_DUMP`: list instead of get.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`: refuse to touch what exists.
pub(crate) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: make what does not exist.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: at the end of the list.
pub(crate) const APPEND: u16 = 0x800;
/// `NLA_F_NESTED`: the attribute's payload is attributes.
pub(crate) const NESTED: u16 = 0x8000;
