//! The path of a start.
//!
//! ```text
//! take a sandbox ─> mount the layers ─> write /etc files, limits, ports ─> send plan ─> "Started"
//! ```
//! Nothing here syncs a file: the container is on record since its creation,
//! and that it runs is known from its supervisor.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use carrack_network::{Endpoint, PortBinding, Protocol, Published};
use carrack_runtime::planner;
use carrack_runtime::sources;
use carrack_sandbox::{LinkEvent, NamespaceSource, NetworkSource, Sandbox, SandboxRequest};
use carrack_supervision::{
    Batch, Event, LogFile, RelayEntry, RelayProtocol, Relays, Request, Start, Streams,
};
use carrack_telemetry::PathTrace;
use rustix::fs::OFlags;

use crate::attach::Early;
use crate::containers::{Shared, log_name};
use crate::control::running;
use crate::entry::{Entry, Run};
use crate::in_place::in_place;
use crate::record::{RECORD_VERSION, RunRecord};
use crate::{
    ContainerEventKind, ContainerId, Containers, Error, IpcMode, LogPolicy, NamespaceMode,
    NetworkMode, NewContainer, Phase, Result, RootfsAccess, etc_files, expected, rootfs, run, spec,
};

/// How long a program may take to be executed: milliseconds, but for a
/// machine in deep trouble and for slow hooks.
const START_BOUND: Duration = Duration::from_secs(60);

/// What a start made and must take back if it fails.
struct Prepared {
    sandbox: Sandbox,
    descriptors: Vec<OwnedFd>,
    start: Start,
    relays: Option<(Relays, Vec<OwnedFd>)>,
    ports: Vec<PortBinding>,
    oom_file: Option<std::fs::File>,
}

impl Containers {
    /// Starts a container; returns when its program runs, or could not.
    pub async fn start(&self, id: &ContainerId) -> Result<()> {
        let entry = self.entry(id)?;
        let _turn = entry.operation.lock().await;
        match entry.phase() {
            Phase::Created | Phase::Exited => {}
            Phase::Paused => return Err(Error::StartPaused),
            Phase::Running => return Err(Error::AlreadyRunning(id.clone())),
            Phase::Removing | Phase::Dead => return Err(Error::Removing(id.clone())),
        }
        let mut trace = PathTrace::begin("start");
        self.await_unmounted(&entry).await;
        let new = Arc::clone(&entry.lock().new);
        let started = self.start_in_sandbox(&entry, &new, &mut trace).await;
        trace.end(id.as_str());
        if let Err(error) = &started {
            {
                let mut inner = entry.lock();
                inner.state.error = error.with_causes();
                inner.state.exit_code = error.exit_code();
            }
            run::answer_early(&entry);
            unmount_shared_memory(&entry.directory);
        }
        started
    }

    /// Two mounts of one writable layer must not exist at once, so the last
    /// run's must be gone.
    pub(crate) async fn await_unmounted(&self, entry: &Entry) {
        let mut progress = entry.progress.subscribe();
        let gone = progress.wait_for(|p| !p.mounted);
        let _bounded = tokio::time::timeout(START_BOUND, gone).await;
    }

    async fn start_in_sandbox(
        &self,
        entry: &Arc<Entry>,
        new: &Arc<NewContainer>,
        trace: &mut PathTrace,
    ) -> Result<()> {
        let request = self.sandbox_request(new)?;
        let shm = self.shared_memory(entry, new)?;
        let sandbox = self.0.config.sandboxes.take(&request).await?;
        trace.mark("sandbox");
        let prepared = in_place(|| prepare(&self.0, entry, new, sandbox, &shm));
        trace.mark("prepare");
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(failed) => {
                let (error, sandbox) = *failed;
                self.0.config.sandboxes.discard(sandbox);
                RunRecord::remove(&entry.directory);
                return Err(error);
            }
        };
        self.launch(entry, prepared, trace).await
    }

    async fn launch(
        &self,
        entry: &Arc<Entry>,
        prepared: Prepared,
        trace: &mut PathTrace,
    ) -> Result<()> {
        let Prepared {
            mut sandbox,
            descriptors,
            start,
            relays,
            ports,
            oom_file,
        } = prepared;
        expected::all_registered(entry).await;
        let sent = send_all(entry, &sandbox, start, &descriptors, relays);
        trace.mark("send");
        drop(descriptors);
        trace.mark("close");
        let outcome = match sent {
            Err(error) => Err(error),
            Ok(()) => match tokio::time::timeout(START_BOUND, await_started(&mut sandbox)).await {
                Ok(outcome) => outcome.map_err(|failure| match failure {
                    Some(failure) => Error::Start(failure),
                    None => Error::SupervisorLost(entry.id.clone()),
                }),
                Err(_) => Err(Error::SupervisorLost(entry.id.clone())),
            },
        };
        trace.mark("executed");
        let (pid, at_ns) = match outcome {
            Ok(started) => started,
            Err(error) => {
                self.abandon(entry, sandbox, &ports);
                return Err(error);
            }
        };
        let sender = match sandbox.link.sender() {
            Ok(sender) => Arc::new(sender),
            Err(source) => {
                self.abandon(entry, sandbox, &ports);
                return Err(Error::file("copy descriptor of", &entry.directory, source));
            }
        };
        let Sandbox {
            id,
            supervisor_pid,
            link,
            endpoint,
            netns,
            ..
        } = sandbox;
        let oom_before = oom_file
            .as_ref()
            .and_then(|f| carrack_cgroup::oom_kills(f).ok())
            .unwrap_or(0);
        {
            let mut inner = entry.lock();
            inner.state.phase = Phase::Running;
            inner.state.pid = pid;
            inner.state.started_at = Some(run::time(at_ns));
            inner.state.oom_killed = false;
            inner.state.error.clear();
            inner.state.exit_code = 0;
            inner.state.ports.clone_from(&ports);
            inner.end_requested = false;
            inner.run = Some(Run {
                sandbox: id,
                supervisor_pid,
                sender,
                endpoint,
                ports,
                netns,
                oom_file,
                oom_before,
            });
        }
        entry.progress.send_modify(|p| {
            p.active = true;
            p.mounted = true;
        });
        // Clients that came while the container was being started.
        let early = Early::take(entry);
        let mut batch = Batch::default();
        if let Err(error) = early
            .push(&mut batch)
            .and_then(|()| link.send_batch(&batch))
        {
            tracing::warn!(container = %entry.id, %error, "hand over early clients");
        }
        self.announce(&entry.id, ContainerEventKind::Started);
        run::follow(self.clone(), Arc::clone(entry), link);
        trace.mark("announce");
        Ok(())
    }

    /// Takes back what a start that failed has made.
    fn abandon(&self, entry: &Entry, sandbox: Sandbox, ports: &[PortBinding]) {
        if let Some(networks) = &self.0.config.networks
            && let Err(error) = networks.unpublish(ports)
        {
            tracing::warn!(container = %entry.id, %error, "take back ports");
        }
        let _gone = sandbox.link.send(&Request::Release, &[]);
        self.0.config.sandboxes.discard(sandbox);
        RunRecord::remove(&entry.directory);
    }

    fn sandbox_request(&self, new: &NewContainer) -> Result<SandboxRequest> {
        let join = |id: &ContainerId, what: &'static str, file: &str| -> Result<Arc<OwnedFd>> {
            let other = self.entry(id)?;
            let not_running = || Error::JoinNotRunning {
                what,
                id: id.clone(),
            };
            running(&other).map_err(|_| not_running())?;
            let namespace = other.open_of_first_process(file, OFlags::RDONLY);
            Ok(Arc::new(namespace.map_err(|error| match error {
                Error::NotRunning(_) => not_running(),
                error => error,
            })?))
        };
        let source = |mode: &NamespaceMode, what, file| {
            Ok::<_, Error>(match mode {
                NamespaceMode::Private => NamespaceSource::New,
                NamespaceMode::Host => NamespaceSource::Host,
                NamespaceMode::Container(id) => NamespaceSource::Join(join(id, what, file)?),
            })
        };
        let spaces = &new.namespaces;
        let network = match &spaces.network {
            NetworkMode::Bridge => NetworkSource::Bridge,
            NetworkMode::None => NetworkSource::Loopback,
            NetworkMode::Host => NetworkSource::Host,
            NetworkMode::Container(id) => NetworkSource::Join(join(id, "network", "ns/net")?),
        };
        let ipc = match &spaces.ipc {
            IpcMode::Private | IpcMode::Shareable | IpcMode::None => NamespaceSource::New,
            IpcMode::Host => NamespaceSource::Host,
            IpcMode::Container(id) => NamespaceSource::Join(join(id, "IPC namespace", "ns/ipc")?),
        };
        // A container that shares the host's network or takes part in another
        // one's keeps the host name that goes with it only if asked to.
        Ok(SandboxRequest {
            network,
            pid: source(&spaces.pid, "process namespace", "ns/pid")?,
            ipc,
            uts: source(&spaces.uts, "UTS namespace", "ns/uts")?,
            user: None,
            time_offsets: None,
        })
    }

    fn shared_memory(&self, entry: &Entry, new: &NewContainer) -> Result<spec::SharedMemory> {
        spec::shared_memory(new, &entry.directory.join(SHM), |id| {
            Ok(self.entry(id)?.directory.join(SHM))
        })
    }
}

/// Directory of a shareable container's `/dev/shm`.
pub(crate) const SHM: &str = "shm";

/// Everything that blocks, in one go.
fn prepare(
    shared: &Arc<Shared>,
    entry: &Entry,
    new: &NewContainer,
    mut sandbox: Sandbox,
    shm: &spec::SharedMemory,
) -> std::result::Result<Prepared, Box<(Error, Sandbox)>> {
    let mut published = None;
    match prepare_in(shared, entry, new, &mut sandbox, shm, &mut published) {
        Ok((start, descriptors)) => {
            let (ports, relays) = relays(published, sandbox.endpoint.as_ref());
            Ok(Prepared {
                oom_file: sandbox.leaf.oom_file().ok(),
                sandbox,
                descriptors,
                start,
                relays,
                ports,
            })
        }
        Err(error) => {
            if let (Some(networks), Some(published)) = (&shared.config.networks, published)
                && let Err(error) = networks.unpublish(&published.bindings)
            {
                tracing::warn!(container = %new.id, %error, "take back ports");
            }
            Err(Box::new((error, sandbox)))
        }
    }
}

fn prepare_in(
    shared: &Shared,
    entry: &Entry,
    new: &NewContainer,
    sandbox: &mut Sandbox,
    shm: &spec::SharedMemory,
    published: &mut Option<Published>,
) -> Result<(Start, Vec<OwnedFd>)> {
    let mut trace = PathTrace::begin("start-prepare");
    let directory = &entry.directory;
    let root = rootfs::mount(shared, directory, new, RootfsAccess::Write)?;
    trace.mark("mount");
    if let Some(networks) = &shared.config.networks
        && let Some(endpoint) = &sandbox.endpoint
        && !new.network.ports.is_empty()
    {
        *published = Some(
            networks
                .publish(endpoint, &new.network.ports)
                .map_err(|source| Error::Publish {
                    name: new.network.endpoint_name.clone(),
                    id: endpoint.id.as_str().to_owned(),
                    source,
                })?,
        );
    }
    RunRecord {
        version: RECORD_VERSION,
        sandbox: sandbox.id.as_str().to_owned(),
        supervisor_pid: sandbox.supervisor_pid,
        endpoint: sandbox.endpoint.clone(),
        ports: published
            .as_ref()
            .map_or_else(Vec::new, |p| p.bindings.clone()),
    }
    .write(directory)?;
    trace.mark("ports-record");
    let hostname = new.spec.hostname.clone().unwrap_or_default();
    let domainname = new.spec.domainname.clone().unwrap_or_default();
    etc_files::write_all(
        directory,
        (&hostname, &domainname),
        &new.namespaces.network,
        &new.network,
        sandbox.endpoint.as_ref(),
    )?;
    trace.mark("etc");
    if new.namespaces.ipc == IpcMode::Shareable {
        mount_shared_memory(directory, new.shm_size_bytes)?;
    }
    if let Some(resources) = new.spec.linux.as_ref().and_then(|l| l.resources.as_ref()) {
        for ignored in sandbox.leaf.apply(resources)? {
            tracing::debug!(container = %new.id, ?ignored, "limit without meaning here");
        }
    }
    trace.mark("limits");
    let etc = match &new.namespaces.network {
        NetworkMode::Container(other) => shared.config.directory.join(other.as_str()),
        _ => directory.clone(),
    };
    let mut spec = spec::complete(shared, new, directory, &etc, shm);
    if new.namespaces.uts != NamespaceMode::Private {
        spec.hostname = None;
        spec.domainname = None;
    }
    trace.mark("spec");
    let context = spec::context(shared, new, &sandbox.leaf)?;
    trace.mark("context");
    let mut planned = planner::plan(&spec, &context)?;
    trace.mark("plan");
    planned.plan.process.null_stdin = !new.stdio.open_stdin && !new.stdio.terminal;
    planned.plan.process.make_directory = true;
    let mut descriptors = vec![open_directory(directory)?, root];
    descriptors.extend(sources::open_all(&planned.sources)?);
    trace.mark("sources");
    trace.end(new.id.as_str());
    let start = Start {
        container: new.id.as_str().to_owned(),
        streams: Streams {
            terminal: new.stdio.terminal,
            open_stdin: new.stdio.open_stdin,
            stdin_once: new.stdio.stdin_once,
        },
        log: match new.log {
            LogPolicy::None => None,
            LogPolicy::JsonFile {
                max_size_bytes,
                max_files,
            } => Some(LogFile {
                name: log_name(&new.id),
                max_size_bytes,
                max_files,
            }),
        },
        plan: planned.plan,
    };
    Ok((start, descriptors))
}

fn open_directory(path: &std::path::Path) -> Result<OwnedFd> {
    use rustix::fs::Mode;
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::file("open", path, errno.into()))
}

/// A tmpfs on the host that other containers may join.
fn mount_shared_memory(directory: &std::path::Path, size_bytes: u64) -> Result<()> {
    let path = directory.join(SHM);
    let options = std::ffi::CString::new(format!("mode=1777,size={size_bytes}"))
        .map_err(|error| Error::Internal(error.to_string()))?;
    let made = std::fs::create_dir(&path).or_else(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    });
    made.map_err(|source| Error::file("make", &path, source))?;
    unmount_shared_memory(directory);
    let flags = rustix::mount::MountFlags::NOSUID
        | rustix::mount::MountFlags::NOEXEC
        | rustix::mount::MountFlags::NODEV;
    rustix::mount::mount("shm", &path, "tmpfs", flags, options.as_c_str())
        .map_err(|errno| Error::file("mount", &path, errno.into()))
}

/// Takes the tmpfs away; there may be none.
pub(crate) fn unmount_shared_memory(directory: &std::path::Path) {
    let path = directory.join(SHM);
    if path.exists() {
        let _not_mounted = rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH);
    }
}

/// All that the supervisor needs, in one message: it is woken once.
fn send_all(
    entry: &Entry,
    sandbox: &Sandbox,
    start: Start,
    descriptors: &[OwnedFd],
    relays: Option<(Relays, Vec<OwnedFd>)>,
) -> Result<()> {
    let early = Early::take(entry);
    let (relays, sockets) = relays.map_or((None, Vec::new()), |(r, s)| (Some(r), s));
    let filled = || {
        let mut batch = Batch::default();
        if let Some(relays) = relays {
            batch.push(&Request::Relay(relays), &borrowed(&sockets))?;
        }
        early.push(&mut batch)?;
        batch.push(&Request::Start(Box::new(start)), &borrowed(descriptors))?;
        Ok(batch)
    };
    filled()
        .and_then(|batch| sandbox.link.send_batch(&batch))
        .map_err(|source| Error::Link {
            id: entry.id.clone(),
            source,
        })
}

fn borrowed(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}

async fn await_started(
    sandbox: &mut Sandbox,
) -> std::result::Result<(u32, u64), Option<carrack_runtime::plan::Failure>> {
    loop {
        match sandbox.link.next().await {
            LinkEvent::Event(Event::Started { pid, at_ns }) => return Ok((pid, at_ns)),
            LinkEvent::Event(Event::StartFailed(failure)) => return Err(Some(failure)),
            LinkEvent::Event(Event::Refused { request, reason }) => {
                tracing::warn!(sandbox = %sandbox.id, request, reason, "supervisor refused");
            }
            LinkEvent::Event(_) | LinkEvent::HandedBack(..) => {}
            LinkEvent::Closed => return Err(None),
        }
    }
}

/// The sockets of published ports and where the supervisor relays them to.
fn relays(
    published: Option<Published>,
    endpoint: Option<&Endpoint>,
) -> (Vec<PortBinding>, Option<(Relays, Vec<OwnedFd>)>) {
    let (Some(published), Some(endpoint)) = (published, endpoint) else {
        return (Vec::new(), None);
    };
    let mut entries = Vec::with_capacity(published.listeners.len());
    let mut sockets = Vec::with_capacity(published.listeners.len());
    for (binding, socket) in published.listeners {
        let address = match (binding.host_ip.is_ipv6(), endpoint.ipv6) {
            (true, Some(ipv6)) => ipv6.address.address().into(),
            _ => endpoint.ipv4.address().into(),
        };
        entries.push(RelayEntry {
            protocol: match binding.protocol {
                Protocol::Tcp => RelayProtocol::Tcp,
                Protocol::Udp => RelayProtocol::Udp,
                Protocol::Sctp => RelayProtocol::Reserve,
            },
            target: SocketAddr::new(address, binding.container_port),
        });
        sockets.push(socket);
    }
    (published.bindings, Some((Relays { entries }, sockets)))
}
