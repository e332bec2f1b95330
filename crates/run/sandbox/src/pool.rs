//! The pool, and the life of sandboxes around it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrack_cgroup::{Leaf, LeafName, Parent};
use carrack_network::{EndpointId, Networks};
use carrack_supervision::{Event, Hello};
use rustix::fs::{AtFlags, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};
use tokio::sync::Notify;

use crate::graveyard::{Graveyard, QUIET};
use crate::link::{Link, LinkEvent};
use crate::{Sandbox, SandboxError, SandboxId, SandboxRequest};

/// Largest pool: each parked sandbox costs about 1.5 MB of kernel memory.
const MAX_POOL: usize = 256;
/// Sandboxes made in one batch.
const MAX_BATCH: usize = 16;
/// Pause between a start and the refill, so that the making does not take the
/// processor from the start, unless the pool runs low.
const REFILL_PAUSE: Duration = Duration::from_millis(15);
/// How long a supervisor that is left from before may take to say hello.
const HELLO_BOUND: Duration = Duration::from_secs(5);
/// Pauses between attempts to reach a supervisor that lives: doubled from the
/// first to the longest.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a supervisor may take to end once it was let go of: its clients
/// have ten seconds to read the rest.
const END_BOUND: Duration = Duration::from_secs(15);

/// What sandboxes are made with.
#[derive(Debug)]
pub struct SandboxConfig {
    /// Directory of the supervisors' sockets, made if it is missing.
    pub sockets: PathBuf,
    /// Where cgroup leaves are made.
    pub cgroup: Parent,
    /// The bridge, if there is one.
    pub networks: Option<Arc<Networks>>,
    /// Sandboxes that stand ready.
    pub pool_size: usize,
    /// The supervisor's program.
    pub program: &'static [u8],
}

/// All sandboxes of one daemon.
#[derive(Clone, Debug)]
pub struct Sandboxes(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: SandboxConfig,
    pub(crate) program: OwnedFd,
    directory: OwnedFd,
    ready: Mutex<VecDeque<Sandbox>>,
    taken: Notify,
    /// Nothing is made any more.
    closing: AtomicBool,
    graveyard: Graveyard,
}

/// A supervisor that an earlier daemon started.
#[derive(Debug)]
pub struct Adopted {
    /// The sandbox.
    pub id: SandboxId,
    /// Its supervisor's process id.
    pub supervisor_pid: i32,
    /// The connection.
    pub link: Link,
    /// What it says of itself.
    pub hello: Hello,
}

impl Sandboxes {
    /// Sets up what all sandboxes share: the supervisor's program in one
    /// sealed memory file, which all of them execute, so that its pages exist
    /// once and nobody can write them.
    pub fn open(config: SandboxConfig) -> Result<Self, SandboxError> {
        let set_up = |source: io::Error| SandboxError::SetUp {
            path: config.sockets.display().to_string(),
            source,
        };
        let directory = open_directory(&config.sockets).map_err(set_up)?;
        let program = seal(config.program).map_err(set_up)?;
        Ok(Self(Arc::new(Inner {
            config,
            program,
            directory,
            ready: Mutex::new(VecDeque::new()),
            taken: Notify::new(),
            closing: AtomicBool::new(false),
            graveyard: Graveyard::new(),
        })))
    }

    /// Begins to fill the pool, in the background; call once adoption is over.
    pub fn fill(&self) {
        let weak = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(inner) = weak.upgrade() {
                inner.refill().await;
                let idle = inner.clear_graves();
                tokio::select! {
                    () = inner.taken.notified() => {
                        if inner.lock().len() > inner.config.pool_size / 2 {
                            tokio::time::sleep(REFILL_PAUSE).await;
                        }
                    }
                    () = tokio::time::sleep(QUIET), if !idle => {}
                }
            }
        });
    }

    /// A sandbox: from the pool, or made now.
    pub async fn take(&self, request: &SandboxRequest) -> Result<Sandbox, SandboxError> {
        self.0.graveyard.started();
        if request.is_pooled() {
            let parked = self.0.lock().pop_front();
            self.0.taken.notify_one();
            if let Some(sandbox) = parked {
                return Ok(sandbox);
            }
        }
        match self.0.make(request, 1).await.pop() {
            Some(made) => made,
            None => Err(SandboxError::NoBridge),
        }
    }

    /// Destroys a sandbox that no container came into.
    pub fn discard(&self, sandbox: Sandbox) {
        self.0.discard(sandbox);
    }

    /// Cleans up after a container's end, once its supervisor was let go of:
    /// waits for the supervisor, removes the cgroup leaf and the socket, gives
    /// the address back. Goes on after errors, which are logged.
    pub async fn bury(
        &self,
        id: &SandboxId,
        supervisor_pid: i32,
        endpoint: Option<EndpointId>,
        netns: Option<OwnedFd>,
    ) {
        self.0.bury(id, supervisor_pid, endpoint, netns).await;
    }

    /// The leaf of a sandbox.
    pub fn leaf(&self, id: &SandboxId) -> Result<Leaf, SandboxError> {
        let error = |source| SandboxError::Cgroup {
            id: id.clone(),
            source,
        };
        let name = LeafName::new(id.as_str()).map_err(error)?;
        self.0.config.cgroup.open_leaf(&name).map_err(error)
    }

    /// Finds the supervisors that an earlier daemon left behind. Sockets that
    /// nobody listens on are removed.
    pub async fn adopt(&self) -> Vec<Adopted> {
        let names: Vec<SandboxId> = std::fs::read_dir(&self.0.config.sockets)
            .into_iter()
            .flatten()
            .filter_map(|entry| SandboxId::parse(entry.ok()?.file_name().to_str()?))
            .collect();
        let mut adopted = Vec::new();
        for id in names {
            match self.0.connect_to(&id).await {
                Ok(supervisor) => adopted.push(supervisor),
                Err(error) => {
                    if !is_gone(&error) {
                        tracing::warn!(sandbox = %id, %error, "reach a supervisor");
                    }
                    self.0.remove_socket(&id);
                }
            }
        }
        adopted
    }

    /// Reaches a supervisor again whose connection broke; `None` once it is
    /// gone. A connection may break while the supervisor lives: it cuts off a
    /// daemon that does not read, and both ends may run out of descriptors.
    /// While somebody listens on its socket this goes on trying.
    pub async fn reconnect(&self, id: &SandboxId) -> Option<Adopted> {
        let mut pause = RECONNECT_PAUSE;
        loop {
            match self.0.connect_to(id).await {
                Ok(supervisor) => return Some(supervisor),
                Err(error) if is_gone(&error) => return None,
                Err(error) => {
                    tracing::warn!(sandbox = %id, %error, "reach a supervisor again");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    /// Removes cgroup leaves that belong to none of `live`, and kills what is
    /// in them.
    pub fn sweep_orphans(&self, live: &dyn Fn(&SandboxId) -> bool) {
        let leaves = match self.0.config.cgroup.leaves() {
            Ok(leaves) => leaves,
            Err(error) => {
                tracing::warn!(%error, "list control groups");
                return;
            }
        };
        for name in leaves {
            if let Some(id) = SandboxId::parse(name.as_str())
                && !live(&id)
                && let Ok(leaf) = self.0.config.cgroup.open_leaf(&name)
            {
                tracing::info!(sandbox = %id, "cleaning an orphaned sandbox");
                self.0.sweep(&id, &leaf);
            }
        }
    }

    /// Destroys what is parked; containers go on.
    pub async fn close(&self) {
        self.0.closing.store(true, Ordering::SeqCst);
        let parked: Vec<Sandbox> = self.0.lock().drain(..).collect();
        for sandbox in parked {
            let Sandbox {
                id,
                supervisor_pid,
                link,
                endpoint,
                netns,
                leaf,
                ..
            } = sandbox;
            drop((link, leaf));
            self.0
                .bury(&id, supervisor_pid, endpoint.map(|e| e.id), netns)
                .await;
        }
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Sandbox>> {
        self.ready
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Path of a supervisor's socket. It goes through the open directory, so
    /// that it is short: a socket's address holds 107 bytes.
    pub(crate) fn socket_path(&self, id: &SandboxId) -> String {
        format!("/proc/self/fd/{}/{id}", self.directory.as_raw_fd())
    }

    async fn refill(self: &Arc<Self>) {
        let target = self.config.pool_size.min(MAX_POOL);
        if self.config.networks.is_none() {
            return;
        }
        loop {
            let missing = target.saturating_sub(self.lock().len());
            if missing == 0 || self.closing.load(Ordering::SeqCst) {
                return;
            }
            let batch = self
                .make(&SandboxRequest::default(), missing.min(MAX_BATCH))
                .await;
            let mut failed = false;
            for made in batch {
                match made {
                    Ok(sandbox) if self.closing.load(Ordering::SeqCst) => self.discard(sandbox),
                    Ok(sandbox) => self.lock().push_back(sandbox),
                    Err(error) => {
                        tracing::warn!(error = %describe(&error), "refill the pool");
                        failed = true;
                    }
                }
            }
            if failed {
                // The next start tries again; a loop here would only burn.
                return;
            }
        }
    }

    /// Whether nothing is left to be destroyed.
    fn clear_graves(&self) -> bool {
        let graves = self.graveyard.take_if_quiet();
        let empty = graves.is_empty() && self.graveyard.is_empty();
        drop(graves);
        empty
    }

    async fn connect_to(&self, id: &SandboxId) -> io::Result<Adopted> {
        // Not blocking: with a full backlog, that of a supervisor that is
        // stopped, connecting would wait on a thread of the runtime.
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK,
            None,
        )?;
        let address = rustix::net::SocketAddrUnix::new(self.socket_path(id))?;
        rustix::net::connect(&socket, &address)?;
        let mut link = Link::new(socket)?;
        let hello = tokio::time::timeout(HELLO_BOUND, async {
            loop {
                match link.next().await {
                    LinkEvent::Event(Event::Hello(hello)) => return Ok::<_, io::Error>(hello),
                    LinkEvent::Event(_) => {}
                    LinkEvent::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
        })
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(Adopted {
            id: id.clone(),
            supervisor_pid: i32::try_from(hello.supervisor_pid).unwrap_or(0),
            link,
            hello,
        })
    }

    pub(crate) fn discard(self: &Arc<Self>, sandbox: Sandbox) {
        let Sandbox {
            id,
            supervisor_pid,
            link,
            leaf,
            endpoint,
            netns,
            ..
        } = sandbox;
        // A supervisor that is not a container ends with its connection.
        drop((link, leaf));
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            inner
                .bury(&id, supervisor_pid, endpoint.map(|e| e.id), netns)
                .await;
        });
    }

    async fn bury(
        self: &Arc<Self>,
        id: &SandboxId,
        supervisor_pid: i32,
        endpoint: Option<EndpointId>,
        netns: Option<OwnedFd>,
    ) {
        self.await_end(supervisor_pid).await;
        let inner = Arc::clone(self);
        let id = id.clone();
        let buried = tokio::task::spawn_blocking(move || {
            if let Ok(name) = LeafName::new(id.as_str())
                && let Ok(leaf) = inner.config.cgroup.open_leaf(&name)
            {
                inner.sweep(&id, &leaf);
            } else {
                inner.remove_socket(&id);
            }
            if let (Some(networks), Some(endpoint)) = (&inner.config.networks, endpoint) {
                networks.release(&[endpoint]);
            }
            if let Some(netns) = netns {
                drop(inner.graveyard.bury(netns));
                inner.taken.notify_one();
            }
        });
        if buried.await.is_err() {
            tracing::error!("cleaning up after a sandbox panicked");
        }
    }

    /// Waits for a supervisor to end and reaps it if it is a child.
    async fn await_end(&self, pid: i32) {
        let Some(pid) = Pid::from_raw(pid) else {
            return;
        };
        let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) else {
            return;
        };
        let Ok(watched) = crate::link::watch(pidfd) else {
            return;
        };
        if tokio::time::timeout(END_BOUND, watched.readable())
            .await
            .is_err()
        {
            tracing::warn!(
                supervisor = pid.as_raw_nonzero().get(),
                "supervisor does not end; killing it"
            );
            let _ended = rustix::process::pidfd_send_signal(
                watched.get_ref(),
                rustix::process::Signal::KILL,
            );
            let _bounded = tokio::time::timeout(END_BOUND, watched.readable()).await;
        }
        // Fails for one that an earlier daemon started: then it is not ours.
        let _not_a_child = rustix::process::waitid(
            WaitId::PidFd(watched.get_ref().as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
    }

    /// Reaps a child that has ended or is about to; in the background.
    pub(crate) fn reap(&self, pid: i32) {
        tokio::task::spawn_blocking(move || {
            if let Some(pid) = Pid::from_raw(pid) {
                let _not_a_child = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            }
        });
    }

    /// Kills what is left in a leaf, removes it and the socket.
    pub(crate) fn sweep(&self, id: &SandboxId, leaf: &Leaf) {
        let killed = leaf.kill_all();
        if let Err(error) = killed.and_then(|()| leaf.remove()) {
            tracing::warn!(sandbox = %id, error = %describe(&error), "remove control group");
        }
        self.remove_socket(id);
    }

    fn remove_socket(&self, id: &SandboxId) {
        match rustix::fs::unlinkat(&self.directory, id.as_str(), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => tracing::warn!(sandbox = %id, %errno, "remove supervisor's socket"),
        }
    }
}

/// Whether nobody listens on a socket any more, or there is none.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

/// An error with its causes, for the log.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    let directory = rustix::fs::open(
        path,
        OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::fs::chmod(path, Mode::from_raw_mode(0o700))?;
    Ok(directory)
}

fn seal(program: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC;
    let memfd = rustix::fs::memfd_create("carrack-supervisor", flags).or_else(|errno| {
        // Before Linux 6.3 every memory file is executable.
        if errno == rustix::io::Errno::INVAL {
            rustix::fs::memfd_create(
                "carrack-supervisor",
                MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
            )
        } else {
            Err(errno)
        }
    })?;
    let mut file = File::from(memfd);
    file.write_all(program)?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(file.into())
}
