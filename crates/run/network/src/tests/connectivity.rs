//! Who reaches whom.

use std::os::fd::AsFd;

use super::world::*;
use crate::{HostPort, Protocol};

#[test]
fn a_container_reaches_its_neighbours_and_the_world() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let list = containers(&networks, 3);
        serve_tcp(&list[1].netns, 80);
        serve_udp(&list[1].netns, 80);
        serve_tcp(&world.outside, 80);
        let from = &list[0];
        // Neighbours see who asks; the world sees the host.
        assert_eq!(
            ask_tcp(&from.netns, list[1].ipv4(), 80).unwrap(),
            from.ipv4().to_string()
        );
        assert_eq!(
            ask_tcp(&from.netns, list[1].ipv6(), 80).unwrap(),
            from.ipv6().to_string()
        );
        assert_eq!(
            ask_udp(&from.netns, list[1].ipv4(), 80).unwrap(),
            from.ipv4().to_string()
        );
        assert_eq!(ask_tcp(&from.netns, ip(OUTSIDE4), 80).unwrap(), HOST4);
        assert_eq!(ask_tcp(&from.netns, ip(OUTSIDE6), 80).unwrap(), HOST6);
        // Itself, by loopback of both families.
        serve_tcp(&from.netns, 80);
        assert_eq!(
            ask_tcp(&from.netns, ip("127.0.0.1"), 80).unwrap(),
            "127.0.0.1"
        );
        assert_eq!(ask_tcp(&from.netns, ip("::1"), 80).unwrap(), "::1");
        // The host reaches a container without publishing.
        let gateway = from.endpoint.gateway4.to_string();
        assert_eq!(ask_tcp(here(), list[1].ipv4(), 80).unwrap(), gateway);
    });
}

#[test]
fn the_container_finds_what_it_expects() {
    in_new_netns(|| {
        let world = World::new();
        run("ip", &["link", "set", "up0", "mtu", "1400"]);
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        let description = networks.describe();
        assert_eq!((description.len(), description[0].endpoints), (1, 1));
        assert_eq!(description[0].mtu, 1400, "the way out's");
        let endpoint = &container.endpoint;
        let show = |arguments: &[&str]| within(&container.netns, || run("ip", arguments));
        let link = show(&["-o", "link", "show", "eth0"]);
        assert!(link.contains(&endpoint.mac.to_string()), "{link}");
        assert!(
            link.contains("mtu 1400") && link.contains("LOWER_UP"),
            "{link}"
        );
        let addresses = show(&["-o", "address", "show", "dev", "eth0"]);
        let ipv6 = endpoint.ipv6.unwrap();
        for expected in [endpoint.ipv4.to_string(), ipv6.address.to_string()] {
            assert!(addresses.contains(&expected), "{addresses}");
        }
        assert!(!addresses.contains(&format!("{} scope global tentative", ipv6.address)));
        let route = format!("default via {} dev eth0", endpoint.gateway4);
        assert!(show(&["route"]).contains(&route));
        let route = format!("default via {} dev eth0", ipv6.gateway);
        assert!(show(&["-6", "route"]).contains(&route));
        let port = run("ip", &["-o", "link", "show", &endpoint.host_interface]);
        assert!(port.contains("master carrack0"), "{port}");
    });
}

#[test]
fn loopback_alone() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let netns = netns();
        networks
            .prepare_loopback(&[netns.as_fd()])
            .remove(0)
            .unwrap();
        let addresses = within(&netns, || run("ip", &["-o", "address"]));
        assert!(addresses.contains("127.0.0.1/8") && addresses.contains("::1/128"));
        assert!(!addresses.contains("eth0"));
    });
}

#[test]
fn a_published_port_is_reached_from_outside() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        serve_tcp(&container.netns, 80);
        serve_udp(&container.netns, 53);
        refuses_tcp(&world.outside, ip(HOST4), 8080);
        let published = networks
            .publish(
                &container.endpoint,
                &[
                    request(Protocol::Tcp, HostPort::Exact(8080), 80),
                    request(Protocol::Udp, HostPort::Exact(5353), 53),
                ],
            )
            .unwrap();
        assert_eq!(
            (published.bindings.len(), published.listeners.len()),
            (4, 4)
        );
        // The client's address is seen as it is.
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);
        assert_eq!(ask_tcp(&world.outside, ip(HOST6), 8080).unwrap(), OUTSIDE6);
        assert_eq!(ask_udp(&world.outside, ip(HOST4), 5353).unwrap(), OUTSIDE4);
        assert_eq!(ask_udp(&world.outside, ip(HOST6), 5353).unwrap(), OUTSIDE6);
        // The host itself, by its outer addresses and the bridge's.
        assert_eq!(ask_tcp(here(), ip(HOST4), 8080).unwrap(), HOST4);
        assert_eq!(ask_tcp(here(), ip(HOST6), 8080).unwrap(), HOST6);
        let gateway = container.endpoint.gateway4;
        assert_eq!(
            ask_tcp(here(), gateway.into(), 8080).unwrap(),
            gateway.to_string()
        );
        // Loopback is the supervisor's: the socket accepts, nobody answers here.
        let answer = ask_tcp_here(ip("127.0.0.1"), 8080, std::time::Duration::from_millis(200));
        assert!(answer.is_err());

        networks.unpublish(&published.bindings).unwrap();
        drop(published);
        refuses_tcp(&world.outside, ip(HOST4), 8080);
        refuses_tcp(&world.outside, ip(HOST6), 8080);
    });
}

#[test]
fn a_port_on_one_address_is_on_no_other() {
    in_new_netns(|| {
        let world = World::new();
        run("ip", &["address", "add", "192.0.2.9/24", "dev", "up0"]);
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        serve_tcp(&container.netns, 80);
        let on = |host_ip: &str, port| crate::PortRequest {
            host_ip: Some(ip(host_ip)),
            ..request(Protocol::Tcp, HostPort::Exact(port), 80)
        };
        let requests = [
            on("192.0.2.9", 8080),
            on("127.0.0.1", 8081),
            on(HOST6, 8082),
            on("::1", 8083),
        ];
        let published = networks.publish(&container.endpoint, &requests).unwrap();
        assert_eq!(published.bindings.len(), 4);
        assert_eq!(
            ask_tcp(&world.outside, ip("192.0.2.9"), 8080).unwrap(),
            OUTSIDE4
        );
        assert_eq!(ask_tcp(&world.outside, ip(HOST6), 8082).unwrap(), OUTSIDE6);
        refuses_tcp(&world.outside, ip(HOST4), 8080);
        for port in [8081, 8083] {
            refuses_tcp(&world.outside, ip(HOST4), port);
            refuses_tcp(&world.outside, ip(HOST6), port);
        }
        networks.unpublish(&published.bindings).unwrap();
    });
}

/// With and without `br_netfilter` on the way.
#[test]
fn containers_reach_published_ports_by_the_hosts_address() {
    for bridged in ["0", "1"] {
        in_new_netns(|| {
            let switch = "/proc/sys/net/bridge/bridge-nf-call-iptables";
            let switch6 = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
            for switch in [switch, switch6] {
                if let Err(error) = std::fs::write(switch, bridged) {
                    println!("SKIP: half of it: no br_netfilter: {error}");
                }
            }
            let world = World::new();
            let networks = world.open();
            let list = containers(&networks, 2);
            serve_tcp(&list[0].netns, 80);
            let requests = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
            let published = networks.publish(&list[0].endpoint, &requests).unwrap();
            for from in &list {
                for to in [ip(HOST4), ip(HOST6), from.endpoint.gateway4.into()] {
                    let seen = ask_tcp(&from.netns, to, 8080);
                    let gateway = if to.is_ipv4() {
                        from.endpoint.gateway4.to_string()
                    } else {
                        from.endpoint.ipv6.unwrap().gateway.to_string()
                    };
                    assert_eq!(seen.unwrap(), gateway, "bridge-nf {bridged}, to {to}");
                }
            }
            assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);
            networks.unpublish(&published.bindings).unwrap();
        });
    }
}

#[test]
fn an_unpublished_port_is_not_reached_by_routing() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        for port in [80, 81] {
            serve_tcp(&container.netns, port);
        }
        let requests = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
        let published = networks.publish(&container.endpoint, &requests).unwrap();
        let subnet = networks.describe()[0].subnet4.to_string();
        let subnet6 = networks.describe()[0].ipv6.unwrap().0.to_string();
        within(&world.outside, || {
            run("ip", &["route", "add", &subnet, "via", HOST4]);
            run("ip", &["-6", "route", "add", &subnet6, "via", HOST6]);
        });
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);
        for port in [80, 81] {
            refuses_tcp(&world.outside, container.ipv4(), port);
            refuses_tcp(&world.outside, container.ipv6(), port);
        }
        networks.unpublish(&published.bindings).unwrap();
    });
}

/// NAT is decided by a flow's first packet: one that was there before the
/// port was published must not stay where it was.
#[test]
fn a_udp_client_that_was_early_is_heard() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let list = containers(&networks, 2);
        let client = within(&world.outside, || {
            std::net::UdpSocket::bind("0.0.0.0:0").unwrap()
        });
        let ask = || {
            ask_udp_on(
                &client,
                ip(HOST4),
                53,
                std::time::Duration::from_millis(100),
            )
        };
        ask_udp_in_vain(&client, ip(HOST4), 53);
        let requests = [request(Protocol::Udp, HostPort::Exact(53), 53)];
        for container in &list {
            serve_udp(&container.netns, 53);
            let published = eventually(|| networks.publish(&container.endpoint, &requests));
            // Flows are forgotten a moment later.
            assert_eq!(eventually(ask), OUTSIDE4);
            networks.unpublish(&published.bindings).unwrap();
        }
    });
}
