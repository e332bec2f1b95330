//! Supervisors that die, linger or are slow: played by the test, whose time is
//! the runtime's and stands still while nothing happens.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use carrack_cgroup::{GroupPath, Hierarchies, LeafName, Parent};
use carrack_supervision::{Event, FrameReader, Hello, Request, RunState};
use tempfile::TempDir;

use crate::adoption::Tenants;
use crate::link::Link;
use crate::{Sandbox, SandboxConfig, SandboxId, SandboxRequest, Sandboxes};

/// The most that anything may take, in the runtime's time.
const BOUND: Duration = Duration::from_secs(30);

/// A daemon's sandboxes without a daemon.
struct World {
    directory: TempDir,
    cgroup: Parent,
    sandboxes: Sandboxes,
}

impl World {
    fn new(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP: needs root");
            return None;
        }
        let directory = tempfile::Builder::new()
            .prefix("carrack-sandbox-")
            .tempdir()
            .expect("directory");
        let group = format!("carrack-sandbox-{name}-{}", std::process::id());
        let cgroup = Hierarchies::detect(Path::new("/sys/fs/cgroup"))
            .and_then(|all| all.parent(&GroupPath::new(&group)?))
            .expect("control group");
        let sandboxes = Sandboxes::open(SandboxConfig {
            sockets: directory.path().to_owned(),
            cgroup: cgroup.clone(),
            networks: None,
            pool_size: 0,
            program: b"",
        })
        .expect("sandboxes");
        Some(Self {
            directory,
            cgroup,
            sandboxes,
        })
    }

    /// A sandbox whose supervisor is played by a process that ends with its
    /// standard input, and by our end of the link.
    fn sandbox(&self) -> (Sandbox, Child, UnixStream) {
        let id = SandboxId::random();
        let leaf = self
            .cgroup
            .create_leaf(&LeafName::new(id.as_str()).expect("name"))
            .expect("leaf");
        let child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("process");
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let sandbox = Sandbox {
            id,
            supervisor_pid: child.id().cast_signed(),
            link: Link::new(theirs.into()).expect("link"),
            leaf,
            init_pid: 0,
            endpoint: None,
            netns: None,
        };
        (sandbox, child, ours)
    }

    fn listen(&self, id: &SandboxId) -> UnixListener {
        let listener = UnixListener::bind(self.socket(id)).expect("bind");
        listener.set_nonblocking(true).expect("listener");
        listener
    }

    /// Ends a listener. A process that another test forks just now has a copy
    /// until it executes its program.
    async fn hang_up(&self, id: &SandboxId, listener: UnixListener) {
        drop(listener);
        eventually("nobody listens", || {
            UnixStream::connect(self.socket(id)).is_err()
        })
        .await;
    }

    fn socket(&self, id: &SandboxId) -> std::path::PathBuf {
        self.directory.path().join(id.as_str())
    }

    fn has_leaf(&self, id: &SandboxId) -> bool {
        let leaves = self.cgroup.leaves().expect("leaves");
        leaves.iter().any(|name| name.as_str() == id.as_str())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.sandboxes.sweep_orphans(&|_| false);
        let _reported_by_the_next_run = self.cgroup.remove();
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(5)))
            .await
            .expect("pause");
    }
    panic!("not in time: {what}");
}

fn hello(container: &str) -> Event {
    Event::Hello(Hello {
        sandbox: String::new(),
        container: container.to_owned(),
        state: RunState::Fresh,
        supervisor_pid: std::process::id(),
        execs: Vec::new(),
    })
}

fn runs(process: &mut Child) -> bool {
    process.try_wait().expect("wait").is_none()
}

#[tokio::test]
async fn a_dead_parked_sandbox_is_passed_over() {
    let Some(world) = World::new("dead") else {
        return;
    };
    let (dead, mut killed, its_link) = world.sandbox();
    let (living, _process, _link) = world.sandbox();
    let (dead_id, living_id) = (dead.id.clone(), living.id.clone());
    killed.kill().expect("kill");
    drop(its_link);
    // A process that is just being executed closes its copy a moment later.
    eventually("the link is over", || !dead.link.is_open()).await;
    world.sandboxes.0.lock().extend([dead, living]);
    let taken = world
        .sandboxes
        .take(&SandboxRequest::default())
        .await
        .expect("a sandbox");
    assert_eq!(taken.id, living_id);
    eventually("the dead one's leaf is gone", || !world.has_leaf(&dead_id)).await;
    assert!(world.has_leaf(&living_id));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_whose_clients_still_read_is_not_waited_for_nor_killed() {
    let Some(world) = World::new("lingers") else {
        return;
    };
    let (sandbox, mut process, link) = world.sandbox();
    let listener = world.listen(&sandbox.id);
    let (id, pid) = (sandbox.id.clone(), sandbox.supervisor_pid);
    drop(sandbox);
    world.sandboxes.bury(&id, pid, None, None).await;
    assert!(!world.has_leaf(&id));
    assert!(!world.socket(&id).exists());
    // One whose link was lost hears that it may go.
    let (socket, _) = listener.accept().expect("a connection");
    socket.set_nonblocking(false).expect("socket");
    let mut reader = FrameReader::default();
    reader.fill(&socket).expect("a request");
    let heard = reader.message::<Request>().expect("a frame");
    assert_eq!(heard.map(|h| h.message), Some(Request::Release));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(runs(&mut process));
    // It is reaped when it ends, by the sandboxes: nobody is left to wait for.
    drop((process.stdin.take(), link));
    eventually("it is reaped", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_supervisor_is_adopted_and_a_dead_ones_socket_removed() {
    let Some(world) = World::new("slow") else {
        return;
    };
    let (slow, dead) = (SandboxId::random(), SandboxId::random());
    let listener = world.listen(&slow);
    world.hang_up(&dead, world.listen(&dead)).await;
    let greets = tokio::spawn(async move {
        tokio::time::sleep(BOUND).await;
        let (socket, _) = listener.accept().expect("a connection");
        carrack_supervision::send(&socket, &hello("c"), &[]).expect("hello");
        (listener, socket)
    });
    let adopted = world.sandboxes.adopt().await;
    let ids: Vec<_> = adopted.iter().map(|a| a.id.clone()).collect();
    assert_eq!(ids, [slow]);
    assert!(!world.socket(&dead).exists());
    drop(greets);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_a_supervisor_that_says_nothing_is_left_alone() {
    let Some(world) = World::new("silent") else {
        return;
    };
    let silent = SandboxId::random();
    let name = LeafName::new(silent.as_str()).expect("name");
    world.cgroup.create_leaf(&name).expect("leaf");
    let listener = world.listen(&silent);
    assert!(world.sandboxes.adopt().await.is_empty());
    world.sandboxes.sweep_orphans(&|_| false);
    assert!(world.has_leaf(&silent) && world.socket(&silent).exists());
    // Once it is gone, it is an orphan as any other.
    world.hang_up(&silent, listener).await;
    world.sandboxes.sweep_orphans(&|_| false);
    assert!(!world.has_leaf(&silent) && !world.socket(&silent).exists());
}

#[test]
fn tenants_are_those_who_joined() {
    let file = |path: &str| OwnedFd::from(std::fs::File::open(path).expect("file"));
    let (one, other) = (file("/proc/self/ns/net"), file("/proc/self/ns/uts"));
    let (owner, tenant) = (SandboxId::random(), SandboxId::random());
    let tenants = Tenants::default();
    let check = |any: bool| assert_eq!(tenants.any_but(&owner, one.as_fd()), any);
    check(false);
    tenants.move_in(&owner, &one);
    tenants.move_in(&tenant, &other);
    check(false);
    tenants.move_in(&tenant, &one);
    check(true);
    tenants.move_out(&tenant);
    check(false);
}
