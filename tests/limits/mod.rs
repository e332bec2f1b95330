//! Limits hold, and what is reported agrees with the kernel.

use std::time::{Duration, Instant};

use carrack_tests::{Inventory, Shared, shared, until};

/// Longest time a hog may take to be stopped.
const HOG_BOUND: Duration = Duration::from_secs(30);

/// The shared engine with the images, and a check of leftovers at the end.
fn with_engine(test: impl FnOnce(&Shared)) {
    let mut engine = shared();
    for image in ["busybox", "static"] {
        engine.image(image);
    }
    let before = Inventory::at_rest(&engine);
    test(&engine);
    engine.sweep();
    let left = Inventory::settled(&engine, &before);
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_memory_limit_kills_the_hog() {
    with_engine(|engine| {
        engine
            .sh("docker run -d --name hog -m 32m --memory-swap 32m static eat 256")
            .ok();
        let code = engine.sh("docker wait hog");
        assert_eq!(code.ok(), "137");
        let state = engine.sh("docker inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' hog");
        assert_eq!(state.ok(), "true 137");
        // One that stays within its limit does not notice.
        let fits = engine.sh("docker run --rm -m 64m --memory-swap 64m static eat 32");
        assert_eq!(fits.ok(), "32");
    });
}

#[test]
fn half_a_cpu_is_half_a_cpu() {
    with_engine(|engine| {
        engine
            .sh("docker run -d --name spin --cpus 0.5 static spin 2 60")
            .ok();
        let used_ns = || -> u64 {
            let stats = engine.sh("docker inspect -f '{{.Id}}' spin");
            cpu_used_ns(engine, stats.ok())
        };
        let (start, before) = (Instant::now(), used_ns());
        until("ten seconds pass", Duration::from_secs(11), || {
            if start.elapsed() >= Duration::from_secs(10) {
                Ok(())
            } else {
                Err("not yet".into())
            }
        });
        let used = Duration::from_nanos(used_ns() - before).as_secs_f64();
        let per_ten = used * 10.0 / start.elapsed().as_secs_f64();
        assert!(
            (4.75..=5.25).contains(&per_ten),
            "{per_ten:.3} s of CPU in 10 s"
        );
    });
}

#[test]
fn a_pids_limit_stops_a_fork_bomb() {
    with_engine(|engine| {
        engine.sh("docker run -d --name bomb --pids-limit 20 busybox sh -c 'b() { b | b & }; b; sleep 1000'").ok();
        until("the bomb meets its limit", HOG_BOUND, || {
            let said = engine.sh("docker logs bomb 2>&1 | grep -c 'an.t fork'");
            if said.code == 0 {
                Ok(())
            } else {
                Err(said.stdout)
            }
        });
        // The engine and its other containers go on.
        assert_eq!(
            engine.sh("docker run --rm busybox echo responsive").ok(),
            "responsive"
        );
        let pids = engine.sh("docker stats --no-stream --format '{{.PIDs}}' bomb");
        let pids: u32 = pids.ok().parse().unwrap();
        assert!(pids <= 20, "{pids} processes");
        engine.sh("docker rm -f bomb").ok();
    });
}

/// Docker's client, or ours where that one drops device rates on the way
/// (docker/cli 5321).
fn client_with_rates(engine: &Shared) -> String {
    let version = engine.client_version();
    if ["25.0", "26.0", "26.1", "27.0", "27.1"].contains(&version.as_str()) {
        let program = carrack_tests::carrack_bin();
        format!("{} --host $DOCKER_HOST", program.display())
    } else {
        "docker".to_owned()
    }
}

#[test]
fn a_device_read_limit_holds() {
    with_engine(|engine| {
        let device = engine
            .sh("findmnt -no SOURCE -T $W | sed 's/\\[.*//'")
            .ok()
            .to_owned();
        engine
            .sh("dd if=/dev/urandom of=$W/data bs=1M count=8 conv=fsync 2>/dev/null")
            .ok();
        let client = client_with_rates(engine);
        let start = Instant::now();
        engine
            .sh(&format!("{client} run --rm --device-read-bps {device}:2mb -v $W:/mnt busybox dd if=/mnt/data of=/dev/null bs=256k iflag=direct 2>/dev/null"))
            .ok();
        let limited = start.elapsed();
        let start = Instant::now();
        engine.sh("docker run --rm -v $W:/mnt busybox dd if=/mnt/data of=/dev/null bs=256k iflag=direct 2>/dev/null").ok();
        let free = start.elapsed();
        // 8 MiB at 2 MiB a second.
        assert!(
            limited > Duration::from_millis(3400),
            "8 MiB at 2 MiB/s in {limited:?}"
        );
        assert!(
            limited < Duration::from_secs(8),
            "8 MiB at 2 MiB/s in {limited:?}"
        );
        assert!(
            free < limited / 2,
            "{free:?} without, {limited:?} with the limit"
        );
        engine.clear_scratch().unwrap();
    });
}

#[test]
fn stats_agree_with_the_control_group() {
    with_engine(|engine| {
        engine
            .sh("docker run -d --name st -m 128m static spin 1 20")
            .ok();
        let id = engine.sh("docker inspect -f '{{.Id}}' st").ok().to_owned();
        let stats = "curl -s --unix-socket ${DOCKER_HOST#unix://} 'http://d/v1.41/containers/st/stats?stream=false&one-shot=true'";
        let json: serde_json::Value = serde_json::from_str(engine.sh(stats).ok()).unwrap();
        let kernel = cpu_used_ns(engine, &id);
        let told = json["cpu_stats"]["cpu_usage"]["total_usage"]
            .as_u64()
            .unwrap();
        assert!(told <= kernel, "told {told} ns, the kernel {kernel} ns");
        assert!(
            kernel - told < 1_000_000_000,
            "told {told} ns, the kernel {kernel} ns"
        );
        assert_eq!(json["memory_stats"]["limit"].as_u64(), Some(128 << 20));
        let memory = json["memory_stats"]["usage"].as_u64().unwrap();
        assert!((1..64 << 20).contains(&memory), "{memory} bytes");
        assert_eq!(json["pids_stats"]["current"].as_u64(), Some(2));
        assert!(json["networks"]["eth0"]["rx_bytes"].is_u64(), "{json}");
    });
}

#[test]
fn cpusets_and_shares_reach_the_kernel() {
    with_engine(|engine| {
        engine
            .sh("docker run -d --name set --cpuset-cpus 1 --cpu-shares 256 busybox sleep 1000")
            .ok();
        let mask = engine.sh("docker exec set grep Cpus_allowed_list /proc/1/status");
        assert!(mask.ok().ends_with("\t1"), "{mask:?}");
        let id = engine.sh("docker inspect -f '{{.Id}}' set").ok().to_owned();
        // 256 shares are a weight of 10 on v2.
        let shares = group_file(engine, &id, &["cpu.shares", "cpu.weight"]);
        assert!(matches!(shares.trim(), "256" | "10"), "{shares}");
    });
}

/// CPU time of a container by the kernel's own account.
fn cpu_used_ns(engine: &Shared, id: &str) -> u64 {
    let text = group_file(engine, id, &["cpuacct.usage", "cpu.stat"]);
    match text.trim().parse() {
        Ok(ns) => ns,
        Err(_) => {
            let line = text
                .lines()
                .find_map(|l| l.strip_prefix("usage_usec "))
                .unwrap();
            line.parse::<u64>().unwrap() * 1000
        }
    }
}

/// The first of `names` that one of the container's control groups has.
fn group_file(engine: &Shared, id: &str, names: &[&str]) -> String {
    let pid = engine
        .sh(&format!("docker inspect -f '{{{{.State.Pid}}}}' {id}"))
        .ok()
        .to_owned();
    // The groups as the daemon's world numbers and names them.
    let groups = engine
        .sh(&format!("cat /proc/{pid}/cgroup"))
        .ok()
        .to_owned();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        for root in engine.world().groups() {
            let top = root.parent().unwrap();
            let of = top.file_name().unwrap().to_string_lossy().into_owned();
            if !controllers
                .split(',')
                .any(|c| of.split(',').any(|o| o == c))
                && !controllers.is_empty()
            {
                continue;
            }
            // A path above the world's own root is shown as /../…: not ours.
            for name in names {
                if let Ok(text) =
                    std::fs::read_to_string(root.join(path.trim_start_matches('/')).join(name))
                {
                    return text;
                }
            }
        }
    }
    panic!("no group of {id} has {names:?}: {groups}")
}
