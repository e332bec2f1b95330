//! The container's side: what is done inside a netns.
//!
//! `setns` changes one thread, so a batch is done by a thread of its own that
//! ends in the last netns it entered; the caller's threads never move. A
//! socket keeps the netns in which it was opened, so entering is only for
//! opening it.

use std::io;
use std::os::fd::BorrowedFd;
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::endpoint::Endpoint;
use crate::error::NetworkError;
use crate::netlink::{NetlinkError, Socket, route};
use crate::sysctl;

/// What a netns gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inside<'a> {
    /// `lo` alone.
    Loopback,
    /// `lo`, and addresses and default routes of the `eth0` that is there.
    Endpoint(&'a Endpoint),
}

/// Fills every netns of the list; one that fails does not stop the others.
pub(crate) fn fill(list: &[(BorrowedFd<'_>, Inside<'_>)]) -> Vec<Result<(), NetworkError>> {
    if list.is_empty() {
        return Vec::new();
    }
    let work = || {
        list.iter()
            .map(|(netns, inside)| one(*netns, *inside))
            .collect()
    };
    thread::scope(|scope| {
        match thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work)
        {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => {
                let again = || io::Error::new(error.kind(), error.to_string());
                list.iter()
                    .map(|_| Err(NetworkError::Thread(again())))
                    .collect()
            }
        }
    })
}

fn one(netns: BorrowedFd<'_>, inside: Inside<'_>) -> Result<(), NetworkError> {
    let mut socket = enter(netns).map_err(failed("open a netlink socket"))?;
    let mut first = socket.messages();
    let loopback = [route::set_loopback_up(&mut first)];
    let Inside::Endpoint(endpoint) = inside else {
        return check(&mut socket, &first, &loopback, "bring up lo");
    };
    check(&mut socket, &first, &loopback, "bring up lo")?;
    // Not always 2: kernels with tunnel modules give each netns fallback
    // devices.
    let index = route::index_of(&mut socket, route::CONTAINER_INTERFACE)
        .map_err(failed("find eth0"))?
        .ok_or(NetlinkError::Refused(Errno::NODEV))
        .map_err(failed("find eth0"))?;
    if endpoint.ipv6.is_some() {
        sysctl::quieten(route::CONTAINER_INTERFACE)?;
    }
    let mut messages = socket.messages();
    let mut expected = vec![
        route::set_up(&mut messages, index),
        route::add_address4(&mut messages, index, endpoint.ipv4),
        route::add_default_route(&mut messages, index, endpoint.gateway4.into()),
    ];
    if let Some(ipv6) = endpoint.ipv6 {
        expected.push(route::add_address6(&mut messages, index, ipv6.address));
        expected.push(route::add_default_route(
            &mut messages,
            index,
            ipv6.gateway.into(),
        ));
    }
    check(
        &mut socket,
        &messages,
        &expected,
        "give eth0 its addresses and routes",
    )
}

fn enter(netns: BorrowedFd<'_>) -> Result<Socket, NetlinkError> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
        .map_err(NetlinkError::Socket)?;
    route::open()
}

fn check(
    socket: &mut Socket,
    messages: &crate::netlink::Messages,
    expected: &[u32],
    action: &'static str,
) -> Result<(), NetworkError> {
    for answer in socket
        .exchange(messages, expected)
        .map_err(failed(action))?
    {
        answer
            .map_err(NetlinkError::Refused)
            .map_err(failed(action))?;
    }
    Ok(())
}

fn failed(action: &'static str) -> impl Fn(NetlinkError) -> NetworkError {
    move |source| NetworkError::Netns { action, source }
}
