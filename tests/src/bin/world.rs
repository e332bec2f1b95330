//! Process 1 of a test's world; started by `harness::world`, not by hand.
//!
//! `world init DIR` sets up the mounts of its fresh namespaces, prints
//! `ready PID` (its process id as the host sees it), reaps orphans and ends when
//! its standard input closes: with it the whole pid namespace ends, so nothing
//! outlives the tests, however they end.
//!
//! The other verbs are small clients and servers for cases: `world http ADDRESS
//! DIR` serves files, `world tcp ADDRESS` prints what a connection answers, `world
//! udp ADDRESS TEXT` what a datagram is answered with.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{WaitOptions, wait};

/// Pause between two looks for orphans when there is no child at all.
const REAP_EVERY: Duration = Duration::from_millis(20);

/// How long a client verb waits for an answer.
const ANSWER_BOUND: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["init", dir] => init(Path::new(dir)),
        ["tcp", address] => tcp(address),
        ["udp", address, text] => udp(address, text),
        ["http", address, dir] => http(address, Path::new(dir)),
        _ => bail!("usage: world init DIR | http ADDRESS DIR | tcp ADDRESS | udp ADDRESS TEXT"),
    }
}

fn init(dir: &Path) -> Result<()> {
    // The host's /proc is still mounted here, so this is the host's number.
    let host_pid = fs::read_link("/proc/self")?;
    let cgroups = cgroup_mounts(&fs::read_to_string("/proc/self/mountinfo")?);
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    fresh("proc", Path::new("/proc"), "")?;
    fresh("sysfs", Path::new("/sys"), "")?;
    fresh("tmpfs", Path::new("/run"), "mode=755")?;
    if !cgroups.iter().any(|c| c.at == Path::new("/sys/fs/cgroup")) {
        fresh("tmpfs", Path::new("/sys/fs/cgroup"), "mode=755")?;
    }
    for group in &cgroups {
        fs::create_dir_all(&group.at)?;
        fresh(&group.kind, &group.at, &group.data)?;
    }
    // Propagation of bind mounts is tested on a shared directory.
    mount_bind(dir, dir)?;
    mount_change(dir, MountPropagationFlags::SHARED)?;
    // The first `ip netns add` mounts /run/netns for good: before any inventory.
    for args in [
        &["link", "set", "lo", "up"][..],
        &["netns", "add", "first"],
        &["netns", "del", "first"],
    ] {
        let status = std::process::Command::new("ip").args(args).status();
        if !status.is_ok_and(|s| s.success()) {
            bail!("ip {}: failed", args.join(" "));
        }
    }
    println!("ready {}", host_pid.display());
    std::io::stdout().flush()?;
    std::thread::spawn(|| {
        loop {
            if wait(WaitOptions::empty()).is_err() {
                std::thread::sleep(REAP_EVERY);
            }
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A control group mount of the host, to be made again from inside.
struct Hierarchy {
    at: PathBuf,
    kind: String,
    data: String,
}

fn cgroup_mounts(mountinfo: &str) -> Vec<Hierarchy> {
    let parse = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let at = PathBuf::from(before.split(' ').nth(4)?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        if !kind.starts_with("cgroup") {
            return None;
        }
        let mut data: Vec<&str> = Vec::new();
        if kind == "cgroup" {
            data = options
                .split(',')
                .filter(|o| !matches!(*o, "rw" | "ro"))
                .collect();
            if data.iter().any(|o| o.starts_with("name=")) {
                data.insert(0, "none");
            }
        }
        Some(Hierarchy {
            at,
            kind: kind.to_owned(),
            data: data.join(","),
        })
    };
    mountinfo.lines().filter_map(parse).collect()
}

fn fresh(kind: &str, at: &Path, data: &str) -> Result<()> {
    let data = std::ffi::CString::new(data)?;
    mount(kind, at, kind, MountFlags::empty(), data.as_c_str())
        .with_context(|| format!("mounting {kind} on {}", at.display()))
}

/// Serves the files of `dir`, a request a connection: enough for apt.
fn http(address: &str, dir: &Path) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    println!("ready {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut head = BufReader::new(stream.try_clone()?);
        let mut request = String::new();
        head.read_line(&mut request)?;
        loop {
            let mut line = String::new();
            if head.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
        }
        let path = request
            .split(' ')
            .nth(1)
            .unwrap_or("/")
            .trim_start_matches('/');
        let (status, body) = match fs::read(dir.join(path)) {
            Ok(body) if !path.contains("..") => ("200 OK", body),
            _ => ("404 Not Found", Vec::new()),
        };
        // A client that went away is its own affair.
        let _gone = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        )
        .and_then(|()| stream.write_all(&body));
    }
    Ok(())
}

fn tcp(address: &str) -> Result<()> {
    let to = address.to_socket_addrs()?.next().context("no address")?;
    let mut stream = TcpStream::connect_timeout(&to, ANSWER_BOUND)?;
    stream.set_read_timeout(Some(ANSWER_BOUND))?;
    stream.write_all(b"x")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    std::io::stdout().write_all(&answer)?;
    Ok(())
}

fn udp(address: &str, text: &str) -> Result<()> {
    let to = address.to_socket_addrs()?.next().context("no address")?;
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(ANSWER_BOUND))?;
    socket.connect(to)?;
    socket.send(text.as_bytes())?;
    let mut answer = [0; 2048];
    let n = socket.recv(&mut answer)?;
    println!("{}", String::from_utf8_lossy(&answer[..n]));
    Ok(())
}
