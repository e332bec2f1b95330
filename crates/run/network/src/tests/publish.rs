//! Which ports are given, and what is said when they are not.

use std::error::Error;
use std::net::{TcpListener, UdpSocket};

use carrack_oci::ErrorKind;
use expect_test::{Expect, expect};

use super::world::*;
use crate::{HostPort, NetworkError, PortRequest, Protocol, Published};

fn sentence(error: &NetworkError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn check(result: Result<Published, NetworkError>, kind: ErrorKind, expected: &Expect) {
    let error = result.unwrap_err();
    expected.assert_eq(&sentence(&error));
    assert_eq!(error.kind(), kind);
}

fn tcp(port: u16) -> PortRequest {
    request(Protocol::Tcp, HostPort::Exact(port), 80)
}

fn ports(published: &Published) -> Vec<u16> {
    published
        .bindings
        .iter()
        .map(|binding| binding.host_port)
        .collect()
}

#[test]
fn a_used_port_is_said_as_docker_says_it() {
    in_new_netns(|| {
        let world = World::new();
        let config = crate::NetworkConfig {
            bip: "172.30.0.1/16".parse().ok(),
            ..world.config("carrack0")
        };
        let networks = crate::Networks::open(config).unwrap();
        let list = containers(&networks, 2);
        let (one, two) = (&list[0].endpoint, &list[1].endpoint);

        let somebody = TcpListener::bind("0.0.0.0:8080").unwrap();
        check(
            networks.publish(one, &[tcp(8080)]),
            ErrorKind::Conflict,
            &expect![[
                r#"failed to bind host port for 0.0.0.0:8080:172.30.0.2:80/tcp: address already in use"#
            ]],
        );
        drop(somebody);
        let somebody = UdpSocket::bind("[::]:8080").unwrap();
        let udp = request(Protocol::Udp, HostPort::Exact(8080), 80);
        assert!(networks.publish(one, &[udp]).is_err());
        drop(somebody);

        let published = eventually(|| networks.publish(one, &[tcp(8080), udp]));
        check(
            networks.publish(two, &[tcp(8080)]),
            ErrorKind::Conflict,
            &expect![[r#"Bind for 0.0.0.0:8080 failed: port is already allocated"#]],
        );
        // Really bound, for everybody.
        assert!(TcpListener::bind("127.0.0.1:8080").is_err());
        assert!(UdpSocket::bind("[::1]:8080").is_err());
        let elsewhere = PortRequest {
            host_ip: Some(ip(HOST4)),
            ..tcp(8080)
        };
        check(
            networks.publish(two, &[elsewhere]),
            ErrorKind::Conflict,
            &expect![[
                r#"failed to bind host port for 192.0.2.1:8080:172.30.0.3:80/tcp: address already in use"#
            ]],
        );

        // The supervisor is gone with its sockets, the daemon has not taken
        // the port back yet.
        drop(published.listeners);
        check(
            networks.publish(two, &[tcp(8080)]),
            ErrorKind::Conflict,
            &expect![[r#"Bind for 0.0.0.0:8080 failed: port is already allocated"#]],
        );
        networks.unpublish(&published.bindings).unwrap();
        networks.unpublish(&published.bindings).unwrap();
        eventually(|| networks.publish(two, &[tcp(8080)]));

        let elsewhere = PortRequest {
            host_ip: Some(ip("198.51.100.1")),
            ..tcp(1)
        };
        check(
            networks.publish(one, &[elsewhere]),
            ErrorKind::Conflict,
            &expect![[
                r#"failed to bind host port for 198.51.100.1:1:172.30.0.2:80/tcp: cannot assign requested address"#
            ]],
        );
        for hostile in [
            PortRequest {
                container_port: 0,
                ..tcp(1)
            },
            PortRequest {
                host_ip: Some(ip("224.0.0.1")),
                ..tcp(1)
            },
            request(Protocol::Tcp, HostPort::Range { first: 9, last: 8 }, 80),
            request(Protocol::Tcp, HostPort::Range { first: 0, last: 8 }, 80),
        ] {
            assert_eq!(
                networks.publish(one, &[hostile]).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
    });
}

#[test]
fn all_ports_or_none() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        let somebody = TcpListener::bind("127.0.0.1:8082").unwrap();
        let requests = [tcp(8080), tcp(8081), tcp(8082)];
        assert!(networks.publish(&container.endpoint, &requests).is_err());
        for port in [8080, 8081] {
            drop(eventually(|| TcpListener::bind(("0.0.0.0", port))));
            refuses_tcp(&world.outside, ip(HOST4), port);
        }
        // Twice the same port in one request.
        assert!(
            networks
                .publish(&container.endpoint, &[tcp(8080), tcp(8080)])
                .is_err()
        );
        drop(somebody);
        let published = eventually(|| networks.publish(&container.endpoint, &requests));
        assert_eq!(ports(&published), [8080, 8080, 8081, 8081, 8082, 8082]);
    });
}

#[test]
fn ranges_and_ephemeral_ports() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        let endpoint = &container.endpoint;
        let range = request(
            Protocol::Tcp,
            HostPort::Range {
                first: 8000,
                last: 8002,
            },
            80,
        );
        let somebody = TcpListener::bind("[::1]:8000").unwrap();
        let one = networks.publish(endpoint, &[range]).unwrap();
        assert_eq!(ports(&one), [8001, 8001], "8000 is taken in one family");
        let two = networks.publish(endpoint, &[range]).unwrap();
        assert_eq!(ports(&two), [8002, 8002]);
        let error = networks.publish(endpoint, &[range]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        drop(somebody);

        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003").unwrap();
        let any = request(Protocol::Tcp, HostPort::Ephemeral, 80);
        let three: Vec<_> = (0..3)
            .map(|_| networks.publish(endpoint, &[any]).unwrap())
            .collect();
        let given: Vec<_> = three.iter().map(ports).collect();
        assert_eq!(given, [[40000, 40000], [40001, 40001], [40002, 40002]]);
        networks.unpublish(&three[0].bindings).unwrap();
        let mut three = three;
        drop(three.remove(0));
        let four = networks.publish(endpoint, &[any]).unwrap();
        assert_eq!(
            ports(&four),
            [40003, 40003],
            "the one given back comes last"
        );
        assert_eq!(
            ports(&eventually(|| networks.publish(endpoint, &[any]))),
            [40000, 40000]
        );
    });
}

#[test]
fn sctp_is_published_with_or_without_the_hosts_help() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        let sctp = request(Protocol::Sctp, HostPort::Exact(9999), 9999);
        let published = networks.publish(&container.endpoint, &[sctp]).unwrap();
        assert_eq!(published.bindings.len(), 2);
        assert!(run("nft", &["list", "map", "inet", "carrack0", "ports4"]).contains("sctp . 9999"));
        networks.unpublish(&published.bindings).unwrap();
    });
}

#[test]
fn a_thousand_ports_in_one_request() {
    in_new_netns(|| {
        let world = World::new();
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        let requests: Vec<_> = (20000..21000).map(tcp).collect();
        let published = networks.publish(&container.endpoint, &requests).unwrap();
        assert_eq!(published.bindings.len(), 2000);
        serve_tcp(&container.netns, 80);
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 20999).unwrap(), OUTSIDE4);
        networks.unpublish(&published.bindings).unwrap();
        drop(published);
        refuses_tcp(&world.outside, ip(HOST4), 20999);
    });
}

#[test]
fn without_ipv6_only_ipv4_is_published() {
    in_new_netns(|| {
        let world = World::new();
        for which in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1").unwrap();
        }
        let networks = world.open();
        let container = containers(&networks, 1).remove(0);
        assert_eq!(container.endpoint.ipv6, None);
        serve_tcp(&container.netns, 80);
        let published = networks.publish(&container.endpoint, &[tcp(8080)]).unwrap();
        assert_eq!(published.bindings.len(), 1);
        assert_eq!(ask_tcp(&world.outside, ip(HOST4), 8080).unwrap(), OUTSIDE4);
    });
}
