//! The pool, and the life of sandboxes around it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carrack_cgroup::{Leaf, LeafName, Parent};
use carrack_network::{EndpointId, Networks};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use tokio::sync::{Notify, RwLock};

use crate::adoption::{Adopted, Foundlings, Tenants};
use crate::graveyard::{Graveyard, QUIET};
use crate::{Sandbox, SandboxError, SandboxId, SandboxRequest};

/// Largest pool: each parked sandbox costs about 1.5 MB of kernel memory.
const MAX_POOL: usize = 256;
/// Sandboxes made in one batch.
const MAX_BATCH: usize = 16;
/// Pause between a start and the refill, so that the making does not take the
/// processor from the start, unless the pool runs low.
const REFILL_PAUSE: Duration = Duration::from_millis(15);

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
pub struct Sandboxes(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: SandboxConfig,
    pub(crate) program: OwnedFd,
    pub(crate) directory: OwnedFd,
    ready: Mutex<VecDeque<Sandbox>>,
    pub(crate) taken: Notify,
    /// Nothing is made any more.
    closing: AtomicBool,
    pub(crate) graveyard: Graveyard,
    pub(crate) foundlings: Foundlings,
    pub(crate) tenants: Tenants,
    /// Held for reading by whatever cleans up.
    pub(crate) burials: RwLock<()>,
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
            foundlings: Foundlings::default(),
            tenants: Tenants::default(),
            burials: RwLock::new(()),
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
            let parked = self.0.pop_living();
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
    /// removes the cgroup leaf and the socket, gives the address back. Its
    /// supervisor goes on while clients read the rest, and is reaped later.
    /// Where another sandbox joined its network, that one is cut off. Goes on
    /// after errors, which are logged.
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
    /// nobody listens on are removed; one that listens and says nothing for a
    /// minute is left alone, with all that is its own.
    pub async fn adopt(&self) -> Vec<Adopted> {
        self.0.adopt().await
    }

    /// Reaches a supervisor again whose connection broke; `None` once it is
    /// gone. A connection may break while the supervisor lives: it cuts off a
    /// daemon that does not read, and both ends may run out of descriptors.
    /// While somebody listens on its socket this goes on trying.
    pub async fn reconnect(&self, id: &SandboxId) -> Option<Adopted> {
        self.0.reconnect(id).await
    }

    /// Whether [`Sandboxes::adopt`] met a supervisor there that lives and said
    /// nothing: what it runs still runs.
    pub fn is_silent(&self, id: &SandboxId) -> bool {
        self.0.is_silent(id)
    }

    /// Removes cgroup leaves that belong to none of `live`, and kills what is
    /// in them. Blocks for up to seconds: for the time before requests are
    /// served.
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
                && !self.0.is_silent(&id)
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
            self.0.destroy(sandbox).await;
        }
        self.0.await_burials().await;
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Sandbox>> {
        self.ready
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A parked sandbox whose supervisor lives: somebody may have killed it.
    fn pop_living(self: &Arc<Self>) -> Option<Sandbox> {
        loop {
            let sandbox = self.lock().pop_front()?;
            if sandbox.link.is_open() {
                return Some(sandbox);
            }
            self.discard_dead(sandbox);
        }
    }

    fn remove_dead(self: &Arc<Self>) {
        let mut ready = self.lock();
        let (living, dead): (VecDeque<_>, VecDeque<_>) =
            ready.drain(..).partition(|sandbox| sandbox.link.is_open());
        *ready = living;
        drop(ready);
        for sandbox in dead {
            self.discard_dead(sandbox);
        }
    }

    fn discard_dead(self: &Arc<Self>, sandbox: Sandbox) {
        tracing::warn!(sandbox = %sandbox.id, "a parked supervisor was killed");
        self.discard(sandbox);
    }

    /// Names of the supervisors' sockets.
    pub(crate) fn socket_names(&self) -> Vec<SandboxId> {
        std::fs::read_dir(&self.config.sockets)
            .into_iter()
            .flatten()
            .filter_map(|entry| SandboxId::parse(entry.ok()?.file_name().to_str()?))
            .collect()
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
        self.remove_dead();
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
}

/// An error with its causes, for the log.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
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
