//! A host, a network outside of it, and containers: all of them netns that
//! are gone when the test is.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{DockerUser, Endpoint, HostPort, NetworkConfig, Networks, PortRequest, Protocol};

const CLONE_NEWNET: u64 = 0x4000_0000;
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// The host's and the outside's addresses.
pub(crate) const HOST4: &str = "192.0.2.1";
pub(crate) const OUTSIDE4: &str = "192.0.2.2";
pub(crate) const HOST6: &str = "2001:db8::1";
pub(crate) const OUTSIDE6: &str = "2001:db8::2";

/// Runs `test` on a thread in a netns of its own; skips without the privilege.
pub(crate) fn in_new_netns(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            if let Err(error) = carrack_sys::process::unshare(CLONE_NEWNET) {
                println!("SKIP: needs CAP_SYS_ADMIN to make a netns: {error}");
                return;
            }
            run("ip", &["link", "set", "lo", "up"]);
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A new netns.
pub(crate) fn netns() -> OwnedFd {
    let make = || {
        carrack_sys::process::unshare(CLONE_NEWNET).unwrap();
        OwnedFd::from(std::fs::File::open("/proc/thread-self/ns/net").unwrap())
    };
    thread::spawn(make).join().unwrap()
}

/// Runs `work` inside `netns`.
pub(crate) fn within<T: Send>(netns: impl AsFd, work: impl FnOnce() -> T + Send) -> T {
    let netns = netns.as_fd();
    thread::scope(|scope| {
        let entered = move || {
            move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        scope
            .spawn(entered)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a program in the calling thread's netns; it must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A host with one link to an outside netns, by which its default routes go.
pub(crate) struct World {
    pub(crate) outside: OwnedFd,
    state_dir: PathBuf,
}

impl World {
    /// Makes it around the calling thread, which is in a new netns.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let outside = netns();
        let path = format!("/proc/{}/fd/{}", std::process::id(), outside.as_raw_fd());
        run(
            "ip",
            &[
                "link", "add", "up0", "type", "veth", "peer", "name", "out0", "netns", &path,
            ],
        );
        run("ip", &["link", "set", "up0", "up"]);
        run(
            "ip",
            &["address", "add", &format!("{HOST4}/24"), "dev", "up0"],
        );
        run(
            "ip",
            &[
                "address",
                "add",
                &format!("{HOST6}/64"),
                "dev",
                "up0",
                "nodad",
            ],
        );
        run("ip", &["route", "add", "default", "via", OUTSIDE4]);
        within(&outside, || {
            run("ip", &["link", "set", "lo", "up"]);
            run("ip", &["link", "set", "out0", "up"]);
            run(
                "ip",
                &["address", "add", &format!("{OUTSIDE4}/24"), "dev", "out0"],
            );
            run(
                "ip",
                &[
                    "address",
                    "add",
                    &format!("{OUTSIDE6}/64"),
                    "dev",
                    "out0",
                    "nodad",
                ],
            );
        });
        run("ip", &["-6", "route", "add", "default", "via", OUTSIDE6]);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("carrack-network-{}-{number}", std::process::id());
        Self {
            outside,
            state_dir: std::env::temp_dir().join(name),
        }
    }

    pub(crate) fn config(&self, name: &str) -> NetworkConfig {
        NetworkConfig {
            bridge: name.into(),
            table: name.into(),
            bip: None,
            ipv6: None,
            state_dir: self.state_dir.clone(),
            mtu: None,
            docker_user: DockerUser::Accept,
        }
    }

    pub(crate) fn open(&self) -> Networks {
        Networks::open(self.config("carrack0")).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state_dir);
    }
}

/// A container as far as its network goes.
pub(crate) struct Container {
    pub(crate) netns: OwnedFd,
    pub(crate) endpoint: Endpoint,
}

pub(crate) fn containers(networks: &Networks, count: usize) -> Vec<Container> {
    let list: Vec<OwnedFd> = (0..count).map(|_| netns()).collect();
    let borrowed: Vec<BorrowedFd<'_>> = list.iter().map(AsFd::as_fd).collect();
    let endpoints: Vec<_> = networks
        .prepare(&borrowed)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    list.into_iter()
        .zip(endpoints)
        .map(|(netns, endpoint)| Container { netns, endpoint })
        .collect()
}

impl Container {
    pub(crate) fn ipv4(&self) -> IpAddr {
        self.endpoint.ipv4.address().into()
    }

    pub(crate) fn ipv6(&self) -> IpAddr {
        self.endpoint.ipv6.unwrap().address.address().into()
    }
}

pub(crate) fn request(protocol: Protocol, host_port: HostPort, container_port: u16) -> PortRequest {
    PortRequest {
        container_port,
        protocol,
        host_ip: None,
        host_port,
    }
}

/// Accepts in `netns` on both families for as long as the process lives, and
/// tells each client its own address.
pub(crate) fn serve_tcp(netns: &OwnedFd, port: u16) {
    let listener = within(netns, || TcpListener::bind(("::", port)).unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let peer = stream.peer_addr().unwrap().ip().to_canonical();
            let _ = stream.write_all(peer.to_string().as_bytes());
        }
    });
}

/// The same for UDP.
pub(crate) fn serve_udp(netns: &OwnedFd, port: u16) {
    let socket = within(netns, || UdpSocket::bind(("::", port)).unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let text = peer.ip().to_canonical().to_string();
            let _ = socket.send_to(text.as_bytes(), peer);
        }
    });
}

/// Where the server sees the client, or why it does not.
pub(crate) fn ask_tcp(from: impl AsFd, to: IpAddr, port: u16) -> Result<String, std::io::Error> {
    let begun = std::time::Instant::now();
    // A link that has just been set up, on a busy machine, may have no carrier
    // or no neighbour yet.
    let early = |answer: &Result<String, std::io::Error>| {
        matches!(answer, Err(error) if matches!(
            error.kind(),
            std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable
        )) && begun.elapsed() < PATIENCE
    };
    within(from, || {
        loop {
            let answer = ask_tcp_here(to, port, PATIENCE);
            if !early(&answer) {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

pub(crate) fn ask_tcp_here(
    to: IpAddr,
    port: u16,
    patience: Duration,
) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to, port), patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// That a connection cannot be made.
pub(crate) fn refuses_tcp(from: impl AsFd, to: IpAddr, port: u16) {
    let answer = within(from, || ask_tcp_here(to, port, SILENCE));
    assert!(answer.is_err(), "{to}:{port} answered: {answer:?}");
}

pub(crate) fn ask_udp(from: impl AsFd, to: IpAddr, port: u16) -> Result<String, std::io::Error> {
    within(from, || {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        ask_udp_on(&socket, to, port, PATIENCE)
    })
}

pub(crate) fn ask_udp_on(
    socket: &UdpSocket,
    to: IpAddr,
    port: u16,
    patience: Duration,
) -> Result<String, std::io::Error> {
    socket.set_read_timeout(Some(patience))?;
    socket.send_to(b"?", (to, port))?;
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// One unanswered datagram: the flow is known to the kernel afterwards.
pub(crate) fn ask_udp_in_vain(socket: &UdpSocket, to: IpAddr, port: u16) {
    assert!(ask_udp_on(socket, to, port, SILENCE).is_err());
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Tries until it works: a port that was just closed is held a moment longer
/// by the children that other tests are forking.
pub(crate) fn eventually<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let start = std::time::Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error:?}"),
        }
        thread::yield_now();
    }
}

/// The netns of the calling thread.
pub(crate) fn here() -> OwnedFd {
    OwnedFd::from(std::fs::File::open("/proc/thread-self/ns/net").unwrap())
}
