//! Our messages beside what `nft` 1.0.6 sent for the same (`testdata/*.hex`,
//! taken with `strace -e write=3`), and beside what it lists of them.

use expect_test::expect;

use super::elements::{Element, Set};
use super::ruleset::{Masks, base};
use super::transaction::{
    NFGENMSG, NFT_MSG_DELSETELEM, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET,
    NFT_MSG_NEWSETELEM, Transaction, kind, open,
};
use crate::endpoint::{PortBinding, Protocol};
use crate::netlink::{Message, attributes};
use crate::tests::world::{in_new_netns, run};

const TABLE: &str = "carrack0";
/// `NFTA_SET_USERDATA` and `NFTA_SET_ELEM_LIST_SET_ID`: notes of nft for its
/// own listing, and a second way to name a set.
const USERDATA: u16 = 13;
const SET_ID: u16 = 4;

fn masks() -> Masks {
    Masks {
        ipv4: [255, 255, 0, 0].into(),
        ipv6: [0xffff, 0xffff, 0xffff, 0xffff, 0, 0, 0, 0].into(),
    }
}

fn captured(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The attributes of the messages of one kind, without those in `but`.
fn bodies(mut bytes: &[u8], message: u16, but: &[u16]) -> Vec<Vec<(u16, Vec<u8>)>> {
    let mut found = Vec::new();
    while let Some((each, rest)) = Message::split(bytes) {
        if each.kind == kind(message) {
            let list = attributes(&each.payload[NFGENMSG..]);
            let list = list.filter(|(kind, _)| !but.contains(kind));
            found.push(
                list.map(|(kind, payload)| (kind, payload.to_vec()))
                    .collect(),
            );
        }
        bytes = rest;
    }
    found
}

fn check(ours: &Transaction, captured_hex: &str, message: u16, but: &[u16], count: usize) {
    let theirs = bodies(&captured(captured_hex), message, but);
    assert_eq!(theirs.len(), count, "the fixture has what the test thinks");
    let ours = bodies(ours.bytes(), message, but);
    assert_eq!(ours.len(), theirs.len());
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "message {at} of kind {message}");
    }
}

fn element(host_ip: &str, port: u16, protocol: Protocol, to: &str, to_port: u16) -> (Set, Element) {
    let binding = PortBinding {
        host_ip: host_ip.parse().unwrap(),
        host_port: port,
        container_port: to_port,
        protocol,
    };
    Element::published(&binding, to.parse().ok()).unwrap()
}

#[test]
fn the_base_rule_set_is_what_nft_sends() {
    let mut ours = Transaction::begin(&open().unwrap());
    base(&mut ours, TABLE, masks());
    let hex = include_str!("../../testdata/base.hex");
    check(&ours, hex, NFT_MSG_NEWCHAIN, &[], 5);
    check(&ours, hex, NFT_MSG_NEWSET, &[USERDATA], 7);
    check(&ours, hex, NFT_MSG_NEWRULE, &[], 15);
}

#[test]
fn elements_are_what_nft_sends() {
    let mut ours = Transaction::begin(&open().unwrap());
    let elements = [element("0.0.0.0", 8080, Protocol::Tcp, "172.30.0.2", 80).1];
    ours.add(TABLE, Set::Ports4, &elements);
    check(
        &ours,
        include_str!("../../testdata/add-ports4.hex"),
        NFT_MSG_NEWSETELEM,
        &[SET_ID],
        1,
    );

    let mut ours = Transaction::begin(&open().unwrap());
    let (set, element) = element("2001:db8::1", 53, Protocol::Udp, "fd00::2", 5353);
    assert_eq!(set, Set::HostPorts6);
    assert_eq!(element.host_port(), Some((Protocol::Udp, 53)));
    ours.add(TABLE, set, &[element]);
    check(
        &ours,
        include_str!("../../testdata/add-hostports6.hex"),
        NFT_MSG_NEWSETELEM,
        &[SET_ID],
        1,
    );

    let mut ours = Transaction::begin(&open().unwrap());
    ours.delete(TABLE, Set::Ports4, &elements);
    check(
        &ours,
        include_str!("../../testdata/delete-ports4.hex"),
        NFT_MSG_DELSETELEM,
        &[SET_ID],
        1,
    );
}

#[test]
fn loopback_and_link_local_addresses_have_no_element() {
    for host_ip in ["127.0.0.1", "127.9.9.9", "::1", "fe80::1"] {
        let host_ip = host_ip.parse().unwrap();
        let binding = PortBinding {
            host_ip,
            host_port: 1,
            container_port: 1,
            protocol: Protocol::Tcp,
        };
        assert_eq!(
            Element::published(&binding, Some(host_ip)),
            None,
            "{host_ip}"
        );
    }
}

/// The kernel takes it, twice, keeping the elements; `nft` reads it as we mean it.
#[test]
fn nft_lists_it() {
    in_new_netns(|| {
        let mut socket = open().unwrap();
        let members = |name| vec![(Set::Bridges, vec![Element::interface(name)])];
        super::write_base(&mut socket, TABLE, masks(), &members("old0")).unwrap();
        let mut transaction = Transaction::begin(&socket);
        for (set, element) in [
            element("0.0.0.0", 8080, Protocol::Tcp, "172.30.0.2", 80),
            element("192.0.2.1", 53, Protocol::Udp, "172.30.0.3", 5353),
            element("2001:db8::1", 99, Protocol::Sctp, "fd00::2", 98),
        ] {
            transaction.add(TABLE, set, &[element]);
        }
        transaction.commit(&mut socket).unwrap();
        super::write_base(&mut socket, TABLE, masks(), &members("carrack0")).unwrap();
        let (set, element) = element("192.0.2.1", 53, Protocol::Udp, "172.30.0.3", 5353);
        assert_eq!(set.list(&mut socket, TABLE).unwrap(), [element]);
        // Since nft 1.1 this priority is listed by its name.
        let listing = run("nft", &["list", "table", "inet", TABLE])
            .replace("hook output priority dstnat", "hook output priority -100");
        expect![[r#"
            table inet carrack0 {
            	set bridges {
            		type ifname
            		elements = { "carrack0" }
            	}

            	set nets4 {
            		type ipv4_addr
            	}

            	set nets6 {
            		type ipv6_addr
            	}

            	map ports4 {
            		type inet_proto . inet_service : ipv4_addr . inet_service
            		elements = { tcp . 8080 : 172.30.0.2 . 80 }
            	}

            	map ports6 {
            		type inet_proto . inet_service : ipv6_addr . inet_service
            	}

            	map hostports4 {
            		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
            		elements = { 192.0.2.1 . udp . 53 : 172.30.0.3 . 5353 }
            	}

            	map hostports6 {
            		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
            		elements = { 2001:db8::1 . sctp . 99 : fd00::2 . 98 }
            	}

            	chain published {
            		dnat ip to ip daddr . meta l4proto . th dport map @hostports4
            		dnat ip6 to ip6 daddr . meta l4proto . th dport map @hostports6
            		fib daddr type local ip daddr != 127.0.0.0/8 dnat ip to meta l4proto . th dport map @ports4
            		fib daddr type local ip6 daddr != ::1 ip6 daddr != fe80::/10 dnat ip6 to meta l4proto . th dport map @ports6
            	}

            	chain prerouting {
            		type nat hook prerouting priority dstnat; policy accept;
            		jump published
            	}

            	chain output {
            		type nat hook output priority -100; policy accept;
            		jump published
            	}

            	chain postrouting {
            		type nat hook postrouting priority srcnat; policy accept;
            		oifname != @bridges ip saddr & 255.255.0.0 == @nets4 masquerade
            		oifname != @bridges ip6 saddr & ffff:ffff:ffff:ffff:: == @nets6 masquerade
            		oifname @bridges ct status dnat ip saddr & 255.255.0.0 == @nets4 masquerade
            		oifname @bridges ct status dnat ip6 saddr & ffff:ffff:ffff:ffff:: == @nets6 masquerade
            	}

            	chain forward {
            		type filter hook forward priority filter; policy accept;
            		ct state established,related accept
            		oifname != @bridges accept
            		iifname @bridges accept
            		ct status dnat accept
            		drop
            	}
            }
        "#]].assert_eq(&listing);
        super::write_bridge_filter(&mut socket, TABLE, 0xca00_0005).unwrap();
        super::write_bridge_filter(&mut socket, TABLE, 0xca00_0005).unwrap();
        let listing = run("nft", &["list", "table", "bridge", TABLE]);
        expect![[r#"
            table bridge carrack0 {
            	chain prerouting {
            		type filter hook prerouting priority dstnat; policy accept;
            		iifgroup 3388997637 icmpv6 type mld2-listener-report drop
            	}
            }
        "#]]
        .assert_eq(&listing);
        super::forget_tables(&mut socket, TABLE).unwrap();
        super::forget_tables(&mut socket, TABLE).unwrap();
        assert_eq!(run("nft", &["list", "ruleset"]), "");
    });
}

/// A transaction with one bad message (a key that has another value) changes
/// nothing.
#[test]
fn all_or_nothing() {
    in_new_netns(|| {
        let mut socket = open().unwrap();
        super::write_base(&mut socket, TABLE, masks(), &[]).unwrap();
        let (set, one) = element("0.0.0.0", 1, Protocol::Tcp, "172.30.0.2", 80);
        let (_, two) = element("0.0.0.0", 2, Protocol::Tcp, "172.30.0.2", 80);
        let mut transaction = Transaction::begin(&socket);
        transaction.add(TABLE, set, std::slice::from_ref(&one));
        transaction.commit(&mut socket).unwrap();
        let mut transaction = Transaction::begin(&socket);
        transaction.add(TABLE, set, std::slice::from_ref(&two));
        let (_, other) = element("0.0.0.0", 1, Protocol::Tcp, "172.30.0.3", 80);
        transaction.add(TABLE, set, &[other]);
        let refused = transaction.commit(&mut socket).unwrap_err();
        assert!(refused.refusal().is_some(), "{refused}");
        assert_eq!(set.list(&mut socket, TABLE).unwrap(), [one]);
    });
}
