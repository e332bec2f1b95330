//! Forgetting UDP flows whose way has changed.
//!
//! NAT is decided by a flow's first packet, and a UDP flow lasts as long as
//! somebody sends: a client that was there before its port was published (or
//! after the container behind it went) would never meet the new rules. TCP
//! needs nothing of it: a new connection is a new flow.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;

use crate::endpoint::{PortBinding, Protocol};
use crate::netlink::{ACK, Attributes, NetlinkError, REQUEST, Socket, attribute};
use crate::nft;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const CT_NEW: u16 = NFNL_SUBSYS_CTNETLINK << 8;
const CT_GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// `CTA_FILTER_FLAG(CTA_PROTO_NUM)`.
const FILTER_PROTOCOL: u32 = 1 << 3;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const NFGENMSG: usize = 4;
/// Deletions of one send.
const FLOWS_PER_SEND: usize = 128;

/// Forgets flows behind the caller's back: walking the kernel's table takes
/// 10 ms whatever is in it, which no start should wait for.
///
/// One thread at most, for as long as there is something to forget.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    bindings: Vec<PortBinding>,
    is_running: bool,
}

impl Sweeper {
    /// Has the flows to the UDP ports among `bindings` forgotten, in the
    /// calling thread's netns.
    ///
    /// A flow that stays costs its client a wait for the kernel's timeout,
    /// nobody else anything: failures are logged.
    pub(crate) fn forget_flows(self: &Arc<Self>, bindings: &[PortBinding]) {
        let udp = bindings
            .iter()
            .filter(|binding| binding.protocol == Protocol::Udp);
        let mut pending = self.lock();
        pending.bindings.extend(udp);
        if pending.bindings.is_empty() || pending.is_running {
            return;
        }
        let sweeper = Arc::clone(self);
        let thread = thread::Builder::new()
            .name("flows".into())
            .spawn(move || sweeper.run());
        match thread {
            Ok(_) => pending.is_running = true,
            Err(error) => tracing::warn!(%error, "cannot start a thread to forget UDP flows"),
        }
    }

    fn run(&self) {
        loop {
            let bindings = {
                let mut pending = self.lock();
                if pending.bindings.is_empty() {
                    pending.is_running = false;
                    return;
                }
                std::mem::take(&mut pending.bindings)
            };
            let outcome = nft::open().and_then(|mut socket| forget_flows(&mut socket, &bindings));
            if let Err(error) = outcome {
                tracing::warn!(%error, "cannot forget UDP flows to published ports");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes the flows to the UDP ports among `bindings`, in both families.
fn forget_flows(socket: &mut Socket, bindings: &[PortBinding]) -> Result<(), NetlinkError> {
    let udp = || {
        bindings
            .iter()
            .filter(|binding| binding.protocol == Protocol::Udp)
    };
    for (family, is_ipv4) in [(AF_INET, true), (AF_INET6, false)] {
        let ports: HashSet<u16> = udp()
            .filter(|binding| binding.host_ip.is_ipv4() == is_ipv4)
            .map(|binding| binding.host_port)
            .collect();
        if ports.is_empty() {
            continue;
        }
        let flows = udp_flows_to(socket, family, &ports)?;
        for chunk in flows.chunks(FLOWS_PER_SEND) {
            let mut messages = socket.messages();
            let expected: Vec<u32> = chunk
                .iter()
                .map(|tuple| {
                    let header = [family, 0, 0, 0];
                    messages.push(CT_DELETE, REQUEST | ACK, &header, |body| {
                        body.nest(CTA_TUPLE_ORIG, |nest| {
                            nest.structure(tuple);
                        });
                    })
                })
                .collect();
            for answer in socket.exchange(&messages, &expected)? {
                match answer {
                    // It ended by itself.
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(NetlinkError::Refused(errno)),
                }
            }
        }
    }
    Ok(())
}

/// The original tuples of those flows, as the kernel wrote them.
fn udp_flows_to(
    socket: &mut Socket,
    family: u8,
    ports: &HashSet<u16>,
) -> Result<Vec<Vec<u8>>, NetlinkError> {
    // The kernel filters by protocol from 5.8 on; older ones ignore it.
    let filter = |body: &mut Attributes<'_>| {
        body.nest(CTA_TUPLE_ORIG, |tuple| {
            tuple.nest(CTA_TUPLE_PROTO, |protocol| {
                protocol.u8(CTA_PROTO_NUM, Protocol::Udp.number());
            });
        })
        .nest(CTA_FILTER, |filter| {
            filter
                .u32(CTA_FILTER_ORIG_FLAGS, FILTER_PROTOCOL)
                .u32(CTA_FILTER_REPLY_FLAGS, 0);
        });
    };
    socket.dump(CT_GET, &[family, 0, 0, 0], filter, |message| {
        if message.kind != CT_NEW || message.payload.first() != Some(&family) {
            return None;
        }
        let tuple = attribute(message.payload.get(NFGENMSG..)?, CTA_TUPLE_ORIG)?;
        let protocol = attribute(tuple, CTA_TUPLE_PROTO)?;
        let number = attribute(protocol, CTA_PROTO_NUM)?;
        let port = attribute(protocol, CTA_PROTO_DST_PORT)?;
        let port = u16::from_be_bytes(port.try_into().ok()?);
        (number == [Protocol::Udp.number()] && ports.contains(&port)).then(|| tuple.to_vec())
    })
}
