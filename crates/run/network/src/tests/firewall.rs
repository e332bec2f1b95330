//! Beside a firewall like dockerd's, written by hand: a `FORWARD` policy of
//! `DROP`, `DOCKER-USER` first, a guarded bridge.

use super::world::*;
use crate::{DockerUser, HostPort, NetworkConfig, Networks, Protocol};

const NFT: [&str; 2] = ["iptables-nft", "ip6tables-nft"];
const LEGACY: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];

/// The chains as dockerd leaves them; its bridge has a server behind it.
fn docker(tools: [&str; 2]) -> Result<(), String> {
    run("ip", &["link", "add", "docker0", "type", "bridge"]);
    run(
        "ip",
        &["address", "add", "198.51.100.1/24", "dev", "docker0"],
    );
    run("ip", &["link", "set", "docker0", "up"]);
    for tool in tools {
        let probe = std::process::Command::new(tool)
            .args(["-w", "-S", "FORWARD"])
            .output();
        match probe {
            Ok(output) if output.status.success() => {}
            other => return Err(format!("{tool} does not work here: {other:?}")),
        }
        for rule in [
            "-P FORWARD DROP",
            "-N DOCKER-USER",
            "-A DOCKER-USER -j RETURN",
            "-A FORWARD -j DOCKER-USER",
            "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
        ] {
            let mut arguments = vec!["-w"];
            arguments.extend(rule.split(' '));
            run(tool, &arguments);
        }
    }
    Ok(())
}

fn beside(tools: [&'static str; 2]) {
    in_new_netns(|| {
        let world = World::new();
        if let Err(reason) = docker(tools) {
            println!("SKIP: {reason}");
            return;
        }
        let before: Vec<_> = tools.iter().map(|tool| run(tool, &["-S"])).collect();
        serve_tcp(&world.outside, 80);
        let networks = world.open();
        assert_eq!(networks.warnings(), [""; 0]);
        let container = containers(&networks, 1).remove(0);
        serve_tcp(&container.netns, 80);
        let requests = [request(Protocol::Tcp, HostPort::Exact(8080), 80)];
        let published = networks.publish(&container.endpoint, &requests).unwrap();
        let check = || {
            for (host, outside) in [(HOST4, OUTSIDE4), (HOST6, OUTSIDE6)] {
                assert_eq!(ask_tcp(&world.outside, ip(host), 8080).unwrap(), outside);
                assert_eq!(ask_tcp(&container.netns, ip(outside), 80).unwrap(), host);
            }
        };
        check();
        let with = run(tools[0], &["-S"]);
        // Another engine's containers stay guarded from ours.
        assert!(
            with.contains("-i carrack0 -o docker0") && with.contains("-j RETURN"),
            "{with}"
        );
        // Killed and started again: the same rules, once.
        drop(networks);
        let networks = world.open();
        networks.synchronise_firewall();
        assert_eq!(run(tools[0], &["-S"]), with);
        check();
        networks
            .recover(&[(container.endpoint.clone(), published.bindings.clone())])
            .unwrap();
        // At a stop it goes on, and its traffic with it.
        networks.close().unwrap();
        assert_eq!(run(tools[0], &["-S"]), with);
        check();
        networks.unpublish(&published.bindings).unwrap();
        networks.release(std::slice::from_ref(&container.endpoint.id));
        networks.close().unwrap();
        let after: Vec<_> = tools.iter().map(|tool| run(tool, &["-S"])).collect();
        assert_eq!(after, before, "nothing of ours stays in the chain");
        refuses_tcp(&world.outside, ip(HOST4), 8080);
    });
}

#[test]
fn beside_docker_with_iptables_nft() {
    beside(NFT);
}

#[test]
fn beside_docker_with_iptables_legacy() {
    beside(LEGACY);
}

#[test]
fn what_is_in_the_way_is_named() {
    in_new_netns(|| {
        let world = World::new();
        assert_eq!(world.open().warnings(), [""; 0]);
        run(
            "nft",
            &[
                "add table inet admin; add chain inet admin transit { type filter hook forward priority 0; policy drop; }",
            ],
        );
        run("iptables-nft", &["-P", "FORWARD", "DROP"]);
        let networks = world.open();
        expect_test::expect![[r#"
            nftables: policy of chain inet admin transit is drop: containers on carrack0 reach nothing outside, and their published ports are closed to other hosts; hint: nft insert rule inet admin transit iifname carrack0 accept; nft insert rule inet admin transit oifname carrack0 accept
            nftables: policy of chain ip filter FORWARD is drop and there is no chain DOCKER-USER: containers on carrack0 reach nothing outside, and their published ports are closed to other hosts; hint: iptables -I FORWARD -i carrack0 -j ACCEPT; iptables -I FORWARD -o carrack0 -j ACCEPT"#]].assert_eq(&networks.warnings().join("\n"));
        // Somebody mends it; the daemon sees it the next time it looks.
        run("nft", &["delete", "table", "inet", "admin"]);
        run("iptables-nft", &["-P", "FORWARD", "ACCEPT"]);
        networks.synchronise_firewall();
        assert_eq!(networks.warnings(), [""; 0]);
    });
    in_new_netns(|| {
        let world = World::new();
        let output = std::process::Command::new("iptables-legacy")
            .args(["-w", "-P", "FORWARD", "DROP"])
            .output();
        if !output.is_ok_and(|output| output.status.success()) {
            println!("SKIP: half of it: iptables-legacy does not work here");
            return;
        }
        let warnings = world.open().warnings();
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].starts_with("iptables-legacy: policy of chain FORWARD is DROP"),
            "{warnings:?}"
        );
    });
}

#[test]
fn told_to_leave_the_chain_alone() {
    in_new_netns(|| {
        let world = World::new();
        if let Err(reason) = docker(NFT) {
            println!("SKIP: {reason}");
            return;
        }
        let before = run(NFT[0], &["-S"]);
        let config = NetworkConfig {
            docker_user: DockerUser::LeaveAlone,
            ..world.config("carrack0")
        };
        let networks = Networks::open(config).unwrap();
        assert_eq!(run(NFT[0], &["-S"]), before);
        networks.close().unwrap();
        assert_eq!(run(NFT[0], &["-S"]), before);
    });
}
