//! A batch that the kernel applies as a whole or not at all.

use rustix::io::Errno;
use rustix::net::netlink;

use crate::netlink::{ACK, Attributes, Messages, NetlinkError, REQUEST, Socket, attribute, text};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;

pub(super) const NFT_MSG_NEWTABLE: u16 = 0;
pub(super) const NFT_MSG_DELTABLE: u16 = 2;
pub(super) const NFT_MSG_NEWCHAIN: u16 = 3;
pub(super) const NFT_MSG_GETCHAIN: u16 = 4;
pub(super) const NFT_MSG_NEWRULE: u16 = 6;
pub(super) const NFT_MSG_DELRULE: u16 = 8;
pub(super) const NFT_MSG_NEWSET: u16 = 9;
pub(super) const NFT_MSG_NEWSETELEM: u16 = 12;
pub(super) const NFT_MSG_GETSETELEM: u16 = 13;
pub(super) const NFT_MSG_DELSETELEM: u16 = 14;

/// `NFPROTO_INET`: both families in one table.
pub(super) const NFPROTO_INET: u8 = 1;
/// `NFPROTO_BRIDGE`: frames on any bridge.
pub(super) const NFPROTO_BRIDGE: u8 = 7;
/// `NFPROTO_IPV4` and `NFPROTO_IPV6`, where iptables-nft keeps its tables.
pub(crate) const NFPROTO_IPV4: u8 = 2;
pub(crate) const NFPROTO_IPV6: u8 = 10;
const NFPROTO_UNSPEC: u8 = 0;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NF_INET_FORWARD: u32 = 2;
const NF_DROP: u32 = 0;

/// Bytes of an `nfgenmsg`.
pub(super) const NFGENMSG: usize = 4;

/// Opens an nfnetlink socket in the calling thread's netns.
pub(crate) fn open() -> Result<Socket, NetlinkError> {
    Socket::open(Some(netlink::NETFILTER)).map(Socket::enlarge)
}

/// `nfgenmsg`: family, version 0, resource id in network byte order.
pub(crate) fn nfgenmsg(family: u8, resource: u16) -> [u8; NFGENMSG] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// The message type of one of our subsystem.
pub(super) fn kind(message: u16) -> u16 {
    NFNL_SUBSYS_NFTABLES << 8 | message
}

/// A list of changes; nothing happens before [`commit`](Transaction::commit).
#[derive(Debug)]
pub(crate) struct Transaction {
    family: u8,
    messages: Messages,
    expected: Vec<u32>,
}

impl Transaction {
    /// Of changes to our table of both families.
    pub(crate) fn begin(socket: &Socket) -> Self {
        Self::begin_in(NFPROTO_INET, socket)
    }

    pub(super) fn begin_in(family: u8, socket: &Socket) -> Self {
        let mut messages = socket.messages();
        messages.push(
            NFNL_MSG_BATCH_BEGIN,
            REQUEST,
            &nfgenmsg(0, NFNL_SUBSYS_NFTABLES),
            |_| (),
        );
        Self {
            family,
            messages,
            expected: Vec::new(),
        }
    }

    pub(super) fn push(
        &mut self,
        message: u16,
        flags: u16,
        body: impl FnOnce(&mut Attributes<'_>),
    ) -> &mut Self {
        let flags = REQUEST | ACK | flags;
        let header = nfgenmsg(self.family, 0);
        self.expected
            .push(self.messages.push(kind(message), flags, &header, body));
        self
    }

    /// Applies the changes; the error is the first refusal.
    pub(crate) fn commit(mut self, socket: &mut Socket) -> Result<(), NetlinkError> {
        self.messages.push(
            NFNL_MSG_BATCH_END,
            REQUEST,
            &nfgenmsg(0, NFNL_SUBSYS_NFTABLES),
            |_| (),
        );
        for answer in socket.exchange(&self.messages, &self.expected)? {
            answer.map_err(NetlinkError::Refused)?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        self.messages.bytes()
    }
}

/// A base chain on the forward hook whose policy is to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForwardChain {
    pub(crate) family: u8,
    pub(crate) table: String,
    pub(crate) chain: String,
}

/// Every chain that drops what is forwarded unless a rule of it says otherwise.
pub(crate) fn forward_chains(socket: &mut Socket) -> Result<Vec<ForwardChain>, NetlinkError> {
    let header = nfgenmsg(NFPROTO_UNSPEC, 0);
    socket.dump(
        kind(NFT_MSG_GETCHAIN),
        &header,
        |_| (),
        |message| {
            if message.kind != kind(NFT_MSG_NEWCHAIN) {
                return None;
            }
            let body = message.payload.get(NFGENMSG..)?;
            let number = |payload: &[u8]| Some(u32::from_be_bytes(payload.try_into().ok()?));
            let hook = attribute(attribute(body, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM)?;
            let policy = attribute(body, NFTA_CHAIN_POLICY)?;
            if number(hook)? != NF_INET_FORWARD || number(policy)? != NF_DROP {
                return None;
            }
            Some(ForwardChain {
                family: *message.payload.first()?,
                table: text(attribute(body, NFTA_CHAIN_TABLE)?),
                chain: text(attribute(body, NFTA_CHAIN_NAME)?),
            })
        },
    )
}

/// Whether that chain exists.
pub(crate) fn has_chain(
    socket: &mut Socket,
    family: u8,
    table: &str,
    chain: &str,
) -> Result<bool, NetlinkError> {
    let found = socket.get(
        kind(NFT_MSG_GETCHAIN),
        &nfgenmsg(family, 0),
        |body| {
            body.text(NFTA_CHAIN_TABLE, table)
                .text(NFTA_CHAIN_NAME, chain);
        },
        |_| Some(()),
    );
    match found {
        Ok(_) => Ok(true),
        Err(NetlinkError::Refused(Errno::NOENT)) => Ok(false),
        Err(error) => Err(error),
    }
}
