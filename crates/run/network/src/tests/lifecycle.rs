//! Daemons that come, go, are killed, and live side by side.

use std::net::TcpListener;
use std::os::fd::AsFd;

use carrack_oci::ErrorKind;

use super::world::*;
use crate::{HostPort, NetworkConfig, Networks, Protocol, Report};

fn map(name: &str) -> String {
    run("nft", &["list", "map", "inet", "carrack0", name])
}

#[test]
fn after_a_kill_what_lives_goes_on_and_orphans_go() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let list = containers(&networks, 3);
        for container in &list {
            serve_tcp(&container.netns, 80);
        }
        let publish = |at: usize, port| {
            let requests = [request(Protocol::Tcp, HostPort::Exact(port), 80)];
            networks.publish(&list[at].endpoint, &requests).unwrap()
        };
        let (one, two) = (publish(0, 8080), publish(1, 8081));
        let before = networks.describe();
        // Killed: nothing is closed. The second container dies meanwhile, and
        // somebody empties one map.
        drop(networks);
        drop(two.listeners);
        run("nft", &["flush", "map", "inet", "carrack0", "ports6"]);

        let networks = world.open();
        assert_eq!(
            ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(),
            OUTSIDE4,
            "open interrupts nobody"
        );
        let live = [
            (list[0].endpoint.clone(), one.bindings.clone()),
            (list[2].endpoint.clone(), Vec::new()),
        ];
        let report = networks.recover(&live).unwrap();
        assert_eq!(
            report,
            Report {
                kept: 2,
                lost: vec![],
                dropped_ports: 1,
                restored_ports: 1
            }
        );
        assert_eq!(networks.describe()[0].subnet4, before[0].subnet4);
        assert!(map("ports4").contains("tcp . 8080") && !map("ports4").contains("8081"));
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);
        assert_eq!(ask_tcp(&world.outside, ip(HOST6), 8080).unwrap(), OUTSIDE6);
        refuses_tcp(&world.outside, ip(HOST4), 8081);
        // Nothing more to do the second time.
        let report = networks.recover(&live).unwrap();
        assert_eq!(
            report,
            Report {
                kept: 2,
                ..Report::default()
            }
        );
        // Addresses in use are not given again, the port is known as taken.
        let new = containers(&networks, 2);
        assert!(
            new.iter()
                .all(|new| list.iter().all(|old| old.ipv4() != new.ipv4()))
        );
        let taken = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
        assert!(networks.publish(&new[0].endpoint, &taken).is_err());
        // One that claims an address of another has no place.
        let mut impostor = list[1].endpoint.clone();
        impostor.ipv4 = list[0].endpoint.ipv4;
        let live = [live[0].clone(), live[1].clone(), (impostor.clone(), vec![])];
        assert_eq!(networks.recover(&live).unwrap().lost, [impostor.id]);
    });
}

#[test]
fn at_a_stop_everything_goes_unless_somebody_lives() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let list = containers(&networks, 2);
        let first = networks.describe()[0].subnet4;
        serve_tcp(&list[0].netns, 80);
        let requests = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
        let published = networks.publish(&list[0].endpoint, &requests).unwrap();
        networks.close().unwrap();
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);

        let networks = world.open();
        networks
            .recover(&[(list[0].endpoint.clone(), published.bindings.clone())])
            .unwrap();
        networks.unpublish(&published.bindings).unwrap();
        networks.release(&[list[0].endpoint.id.clone(), list[0].endpoint.id.clone()]);
        drop(list);
        networks.close().unwrap();
        networks.close().unwrap();
        assert_eq!(run("nft", &["list", "ruleset"]), "");
        assert!(!run("ip", &["-o", "link"]).contains("carrack0:"));
        // The same subnet the next time.
        assert_eq!(world.open().describe()[0].subnet4, first);
    });
}

/// Netns are destroyed by the kernel in its own time.
fn wait_until(condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < std::time::Duration::from_secs(5),
            "it does not come true"
        );
        std::thread::yield_now();
    }
}

#[test]
fn daemons_live_side_by_side() {
    in_new_netns(|| {
        let world = World::new();
        let open = |name: &str| {
            let config = world.config(name);
            let state_dir = config.state_dir.join(name);
            Networks::open(NetworkConfig {
                state_dir,
                ..config
            })
            .unwrap()
        };
        let (one, two) = (open("one0"), open("two0"));
        let (a, b) = (&one.describe()[0], &two.describe()[0]);
        assert!(
            !a.subnet4.overlaps(b.subnet4),
            "{} {}",
            a.subnet4,
            b.subnet4
        );
        assert!(!a.ipv6.unwrap().0.overlaps(b.ipv6.unwrap().0));
        let (x, y) = (containers(&one, 1).remove(0), containers(&two, 1).remove(0));
        serve_tcp(&x.netns, 80);
        serve_tcp(&world.outside, 80);
        let requests = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
        let _published = one.publish(&x.endpoint, &requests).unwrap();
        assert!(two.publish(&y.endpoint, &requests).is_err());
        assert_eq!(ask_tcp(&y.netns, ip(OUTSIDE4), 80).unwrap(), HOST4);
        assert!(
            ask_tcp(&y.netns, ip(HOST4), 8080).is_ok(),
            "published is published"
        );
        refuses_tcp(&y.netns, x.ipv4(), 80);
        two.release(&[y.endpoint.id]);
        two.close().unwrap();
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);
    });
}

#[test]
fn one_bad_netns_does_not_stop_the_batch() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let (good, occupied) = (netns(), netns());
        let file = std::fs::File::open("/dev/null").unwrap();
        within(&occupied, || {
            run("ip", &["link", "add", "eth0", "type", "bridge"])
        });
        let results = networks.prepare(&[file.as_fd(), good.as_fd(), occupied.as_fd()]);
        assert!(results[0].is_err() && results[1].is_ok() && results[2].is_err());
        assert_eq!(networks.describe()[0].endpoints, 1);
        let unknown = results[1].as_ref().unwrap().id.clone();
        networks.release(std::slice::from_ref(&unknown));
        networks.release(&[unknown]);
        assert_eq!(networks.describe()[0].endpoints, 0);
    });
}

#[test]
fn configured_subnets_are_checked_against_the_host() {
    in_new_netns(|| {
        let world = World::new();
        let open = |bip: &str, ipv6: &str| {
            let config = world.config("carrack0");
            Networks::open(NetworkConfig {
                bip: bip.parse().ok(),
                ipv6: ipv6.parse().ok(),
                ..config
            })
        };
        let kind = |result: Result<Networks, crate::NetworkError>| result.unwrap_err().kind();
        assert_eq!(kind(open("192.0.2.1/16", "-")), ErrorKind::Conflict);
        assert_eq!(kind(open("-", "2001:db8::1/48")), ErrorKind::Conflict);
        run(
            "ip",
            &[
                "link", "add", "carrack0", "type", "veth", "peer", "name", "carrack1",
            ],
        );
        assert_eq!(kind(open("-", "-")), ErrorKind::Conflict);
        run("ip", &["link", "delete", "carrack0"]);

        let networks = open("10.9.0.254/24", "fd09::/64").unwrap();
        let description = &networks.describe()[0];
        assert_eq!(description.gateway4.to_string(), "10.9.0.254");
        assert_eq!(description.ipv6.unwrap().1.to_string(), "fd09::1");
        let list = containers(&networks, 3);
        // Offset 1 is the IPv6 gateway's.
        assert_eq!(list[0].ipv4().to_string(), "10.9.0.2");
        assert_eq!(list[0].ipv6().to_string(), "fd09::2");
        drop(networks);
        // With containers on it, the bridge stays what it is.
        assert_eq!(kind(open("10.8.0.1/24", "-")), ErrorKind::Conflict);
        assert_eq!(kind(open("-", "fd08::1/64")), ErrorKind::Conflict);
        assert_eq!(
            open("-", "-").unwrap().describe()[0].subnet4.to_string(),
            "10.9.0.0/24"
        );
        drop(list);
        wait_until(|| !run("ip", &["-o", "link"]).contains("veth"));
        let networks = open("10.8.0.1/24", "fd08::1/64").unwrap();
        assert_eq!(networks.describe()[0].subnet4.to_string(), "10.8.0.0/24");
        let addresses = run("ip", &["-o", "address", "show", "dev", "carrack0"]);
        assert!(
            !addresses.contains("10.9.") && !addresses.contains("fd09"),
            "{addresses}"
        );
        assert_eq!(ask_tcp_after_all(&networks, &world), HOST4);
    });
}

fn ask_tcp_after_all(networks: &Networks, world: &World) -> String {
    serve_tcp(&world.outside, 80);
    let container = containers(networks, 1).remove(0);
    ask_tcp(&container.netns, ip(OUTSIDE4), 80).unwrap()
}

#[test]
fn a_small_subnet_runs_out_and_goes_on_on_the_next_bridge() {
    in_new_netns(|| {
        let world = World::new();
        let config = NetworkConfig {
            bip: "10.9.0.1/29".parse().ok(),
            ..world.config("carrack0")
        };
        let networks = Networks::open(config).unwrap();
        let list = containers(&networks, 7);
        let bridges: Vec<_> = list
            .iter()
            .map(|each| each.endpoint.bridge.as_str())
            .collect();
        assert_eq!(bridges[..5], ["carrack0"; 5]);
        assert_eq!(bridges[5..], ["carrack0-1"; 2]);
        serve_tcp(&list[0].netns, 80);
        serve_tcp(&list[6].netns, 80);
        serve_tcp(&world.outside, 80);
        // Between the bridges, unmasked; and outwards from the second.
        for (from, to) in [(0, 6), (6, 0)] {
            let (from, to) = (&list[from], &list[to]);
            assert_eq!(
                ask_tcp(&from.netns, to.ipv4(), 80).unwrap(),
                from.ipv4().to_string()
            );
            assert_eq!(
                ask_tcp(&from.netns, to.ipv6(), 80).unwrap(),
                from.ipv6().to_string()
            );
        }
        assert_eq!(ask_tcp(&list[6].netns, ip(OUTSIDE4), 80).unwrap(), HOST4);
        assert_eq!(ask_tcp(&list[6].netns, ip(OUTSIDE6), 80).unwrap(), HOST6);
        let requests = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
        let published = networks.publish(&list[6].endpoint, &requests).unwrap();
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);
        // A restart finds both bridges.
        drop(networks);
        let networks = world.open();
        let live: Vec<_> = list
            .iter()
            .map(|each| (each.endpoint.clone(), vec![]))
            .collect();
        let report = networks.recover(&live).unwrap();
        assert_eq!((report.kept, report.dropped_ports), (7, 2));
        drop(published);
        for container in &list {
            networks.release(std::slice::from_ref(&container.endpoint.id));
        }
        networks.close().unwrap();
        assert!(!run("ip", &["-o", "link"]).contains("carrack0"));
        drop(eventually(|| TcpListener::bind("0.0.0.0:8080")));
    });
}

#[test]
fn a_daemon_that_was_killed_early_takes_nothing_away() {
    in_new_netns(|| {
        let world = World::new();
        let container = containers(&world.open(), 1).remove(0);
        serve_tcp(&world.outside, 80);
        // Opened and stopped before anybody said what lives.
        world.open().close().unwrap();
        assert_eq!(ask_tcp(&container.netns, ip(OUTSIDE4), 80).unwrap(), HOST4);
        let networks = world.open();
        networks
            .recover(&[(container.endpoint.clone(), vec![])])
            .unwrap();
        networks.release(&[container.endpoint.id]);
        networks.close().unwrap();
        assert_eq!(run("nft", &["list", "ruleset"]), "");
    });
}

/// `systemctl restart nftables` flushes every table of the host.
#[test]
fn flushed_rules_come_back() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let list = containers(&networks, 2);
        for container in &list {
            serve_tcp(&container.netns, 80);
        }
        let requests = |port| [request(Protocol::Tcp, HostPort::Exact(port), 80)];
        let one = networks
            .publish(&list[0].endpoint, &requests(8080))
            .unwrap();
        run("nft", &["flush", "ruleset"]);
        refuses_tcp_answer(&world);
        // The next container brings them back for everybody.
        let two = networks
            .publish(&list[1].endpoint, &requests(8081))
            .unwrap();
        for port in [8080, 8081] {
            assert_eq!(ask_tcp(&world.outside, ip(HOST4), port).unwrap(), OUTSIDE4);
        }
        // So does looking.
        run("nft", &["flush", "ruleset"]);
        networks.synchronise_firewall();
        for port in [8080, 8081] {
            assert_eq!(ask_tcp(&world.outside, ip(HOST6), port).unwrap(), OUTSIDE6);
        }
        run("nft", &["flush", "ruleset"]);
        networks.unpublish(&one.bindings).unwrap();
        networks.unpublish(&two.bindings).unwrap();
    });
}

/// Without rules the supervisor's socket accepts, and here nobody answers.
fn refuses_tcp_answer(world: &World) {
    let patience = std::time::Duration::from_millis(200);
    assert!(within(&world.outside, || ask_tcp_here(ip(HOST4), 8080, patience)).is_err());
}

/// A netns that somebody else joined outlives its container: without its link,
/// so that the address may be another's.
#[test]
fn the_link_of_a_netns_that_stays_goes_with_its_address() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        let links = || within(&container.netns, || run("ip", &["-o", "link"]));
        assert!(links().contains("eth0"));
        let id = container.endpoint.id.clone();
        networks.disconnect(std::slice::from_ref(&id)).unwrap();
        assert!(!links().contains("eth0"));
        assert_eq!(networks.describe()[0].endpoints, 0);
        // Again, and after it, is fine.
        networks.disconnect(std::slice::from_ref(&id)).unwrap();
        networks.release(&[id]);
        networks.close().unwrap();
    });
}

/// The firewall's rounds fork programs; a start that publishes ports must not
/// wait for one.
#[test]
fn a_round_of_the_firewall_holds_nobody_up() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        let round = networks.hold_firewall();
        let requests = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
        let published = networks.publish(&container.endpoint, &requests).unwrap();
        networks.unpublish(&published.bindings).unwrap();
        drop(round);
    });
}
