//! Beside a running dockerd, whose firewall drops what is not its own.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use carrack_tests::{Kind, Options, own, until};
use rustix::process::{Pid, Signal, kill_process};

/// Longest time for dockerd to come up or go.
const PEER_BOUND: Duration = Duration::from_secs(30);

#[test]
fn ports_and_outbound_traffic_work_beside_dockerd() {
    if Kind::from_env() == Kind::Dockerd || carrack_tests::skipped("network/beside") {
        return;
    }
    let mut engine = own(Options::default());
    // The first daemon only made the world: dockerd is there before the one under test.
    engine.signal(Signal::TERM);
    if engine.sh("command -v dockerd").code != 0 {
        println!("SKIP: network/beside: no dockerd on this machine");
        return;
    }
    // dockerd drops forwarded packets when it finds forwarding off and turns it on.
    engine.sh("echo 0 > /proc/sys/net/ipv4/ip_forward").ok();
    let place = engine.world().dir().join("peer");
    std::fs::create_dir_all(&place).unwrap();
    let log = File::create(engine.world().dir().join("peer.log")).unwrap();
    let mut dockerd = engine
        .world()
        .daemon("dockerd".as_ref())
        .args([
            format!("--data-root={}", place.display()),
            "--exec-root=/run/peer".to_owned(),
        ])
        .args(["--pidfile=/run/peer.pid", "-H=unix:///run/peer.sock"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let socket = engine.world().path("/run/peer.sock");
    until("dockerd listens", PEER_BOUND, || {
        UnixStream::connect(&socket)
            .map(drop)
            .map_err(|e| e.to_string())
    });
    until("dockerd has its firewall", PEER_BOUND, || {
        let out = engine
            .sh("iptables -S FORWARD | grep -c -- '-P FORWARD DROP'; iptables -S DOCKER-USER");
        if out.stdout.starts_with('1') && out.code == 0 {
            Ok(())
        } else {
            Err(out.stdout)
        }
    });
    let user_chain = engine.sh("iptables -S DOCKER-USER").ok().to_owned();

    engine.boot().unwrap();
    engine.image("static");
    engine.image("busybox");
    engine.sh(". $TESTS/network/outside.sh; outside_up").ok();
    engine
        .sh("docker run -d --name web -p 48080:80 static serve 80")
        .ok();
    for from in [
        "world tcp 127.0.0.1:48080",
        "ip netns exec client $(command -v world) tcp 192.0.2.1:48080",
    ] {
        until(from, PEER_BOUND, || {
            let out = engine.sh(from);
            if out.code == 0 && out.stdout.starts_with("peer ") {
                Ok(())
            } else {
                Err(out.stderr)
            }
        });
    }
    assert_eq!(
        engine
            .sh("docker run --rm busybox ping -c 1 -w 5 192.0.2.2 | grep -c '1 packets received'")
            .ok(),
        "1"
    );
    // While a container lives, the accept outlives the daemon that put it there.
    engine.signal(Signal::TERM);
    until(
        "the container is reached without its daemon",
        PEER_BOUND,
        || {
            let out = engine.sh("ip netns exec client $(command -v world) tcp 192.0.2.1:48080");
            if out.code == 0 && out.stdout.starts_with("peer ") {
                Ok(())
            } else {
                Err(out.stderr)
            }
        },
    );
    engine.boot().unwrap();
    engine.sweep();
    engine.sh(". $TESTS/network/outside.sh; outside_down").ok();

    // Where none does, it goes at the stop.
    engine.signal(Signal::TERM);
    assert_eq!(engine.sh("iptables -S DOCKER-USER").ok(), user_chain);

    let pid = carrack_tests::harness::world::child_of(dockerd.id()).unwrap();
    kill_process(
        Pid::from_raw(pid.try_into().unwrap()).unwrap(),
        Signal::TERM,
    )
    .unwrap();
    until("dockerd ends", PEER_BOUND, || {
        dockerd
            .try_wait()
            .map_err(|e| e.to_string())?
            .ok_or_else(|| "it runs".to_owned())
    });
}
