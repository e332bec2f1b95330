//! What it costs. On demand, in a release build, on a quiet machine:
//! `cargo test --release -p carrack-network -- --ignored --nocapture measure`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::world::*;
use crate::{HostPort, Protocol};

const ROUNDS: usize = 25;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
#[ignore = "prints figures"]
fn measure_prepare() {
    for bridged in ["1", "0"] {
        in_new_netns(|| {
            let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", bridged);
            let world = World::new();
            let networks = world.open();
            for batch in [1, 16] {
                let mut times = Vec::new();
                // Kept: what the kernel pays for destroying netns is another
                // figure.
                let mut kept = Vec::new();
                for _ in 0..ROUNDS {
                    let list: Vec<OwnedFd> = (0..batch).map(|_| netns()).collect();
                    let borrowed: Vec<BorrowedFd<'_>> = list.iter().map(AsFd::as_fd).collect();
                    let start = Instant::now();
                    let endpoints = networks.prepare(&borrowed);
                    times.push(start.elapsed());
                    assert!(endpoints.iter().all(Result::is_ok));
                    let ids: Vec<_> = endpoints.into_iter().map(|each| each.unwrap().id).collect();
                    networks.release(&ids);
                    kept.push(list);
                }
                let whole = median(times);
                let each = whole / batch as u32;
                println!("bridge-nf {bridged}: prepare {batch}: {whole:?}, {each:?} each");
            }
        });
    }
}

#[test]
#[ignore = "prints figures"]
fn measure_publish() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        for (label, protocol, count) in [
            ("tcp", Protocol::Tcp, 1u16),
            ("udp", Protocol::Udp, 1),
            ("tcp", Protocol::Tcp, 16),
        ] {
            let requests: Vec<_> = (8000..8000 + count)
                .map(|port| request(protocol, HostPort::Exact(port), 80))
                .collect();
            let (mut publish, mut unpublish) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS * 8 {
                let start = Instant::now();
                let published = networks.publish(&container.endpoint, &requests).unwrap();
                publish.push(start.elapsed());
                let start = Instant::now();
                networks.unpublish(&published.bindings).unwrap();
                unpublish.push(start.elapsed());
            }
            let (publish, unpublish) = (median(publish), median(unpublish));
            println!("{count} {label}: publish {publish:?}, unpublish {unpublish:?}");
        }
    });
}

/// More containers than one bridge has ports for.
#[test]
#[ignore = "takes seconds and half a gigabyte"]
fn measure_eleven_hundred_endpoints() {
    in_new_netns(|| {
        let world = World::new();
        let start = Instant::now();
        let networks = world.open();
        println!("open: {:?}", start.elapsed());
        let start = Instant::now();
        let netns: Vec<OwnedFd> = (0..1100).map(|_| netns()).collect();
        println!("1,100 netns: {:?}", start.elapsed());
        let start = Instant::now();
        let mut list = Vec::new();
        let mut waiting = netns.into_iter().peekable();
        while waiting.peek().is_some() {
            let batch: Vec<OwnedFd> = waiting.by_ref().take(16).collect();
            let borrowed: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
            let since = Instant::now();
            let endpoints = networks.prepare(&borrowed);
            if list.len() % 320 == 0 {
                println!("after {}: {:?} each", list.len(), since.elapsed() / 16);
            }
            let endpoints = endpoints.into_iter().map(Result::unwrap);
            let pairs = batch.into_iter().zip(endpoints);
            list.extend(pairs.map(|(netns, endpoint)| Container { netns, endpoint }));
        }
        println!("1,100 endpoints: {:?}", start.elapsed());
        let described: Vec<_> = networks
            .describe()
            .iter()
            .map(|each| each.endpoints)
            .collect();
        assert_eq!(described, [1000, 100]);
        let (first, last) = (&list[0], &list[1099]);
        assert_ne!(first.endpoint.bridge, last.endpoint.bridge);
        serve_tcp(&last.netns, 80);
        serve_tcp(&world.outside, 80);
        let seen = ask_tcp(&first.netns, last.ipv4(), 80).unwrap();
        assert_eq!(
            seen,
            first.ipv4().to_string(),
            "both bridges reach each other"
        );
        assert_eq!(ask_tcp(&last.netns, ip(OUTSIDE6), 80).unwrap(), HOST6);
        let requests = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
        let published = networks.publish(&last.endpoint, &requests).unwrap();
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);
        networks.unpublish(&published.bindings).unwrap();
    });
}
