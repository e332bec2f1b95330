//! `carrack daemon`: the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carrack_cgroup::{GroupPath, Hierarchies};
use carrack_containers::{Containers, ContainersConfig};
use carrack_content::Store;
use carrack_docker::engine::image_event_sink;
use carrack_docker::events::Events;
use carrack_docker::host::HostFacts;
use carrack_docker::{Engine, EngineConfig};
use carrack_images::Images;
use carrack_network::{DockerUser, NetworkConfig, Networks};
use carrack_sandbox::{SandboxConfig, Sandboxes};
use carrack_seccomp::{Arch, Cache, CapabilitySet, KernelVersion, ProfileSource};
use carrack_serve::{Endpoint, SocketGroup};
use carrack_snapshots::Snapshots;
use carrack_volumes::Volumes;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use super::root_lock;

/// The supervisor, built by the build script.
use super::SUPERVISOR;

/// Pages of `state.redb` kept in memory.
const STATE_CACHE_BYTES: usize = 4 << 20;
/// Threads that serve requests.
const WORKERS: usize = 2;
/// Threads that may block at once: starts, copies, unpacking.
const MAX_BLOCKING: usize = 64;
/// Between two rounds of what waits for a quiet moment.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);
/// The default exec root, whose names carry no suffix.
const DEFAULT_EXEC_ROOT: &str = "/run/carrack";
/// Group that may use the socket, where the host has it.
const SOCKET_GROUP: &str = "carrack";

/// Run the engine
///
/// Several engines run side by side: the names of their bridge, firewall table
/// and cgroup come from the exec root.
#[derive(Debug, Parser)]
#[command(
    name = "carrack daemon",
    bin_name = "carrack daemon",
    max_term_width = 100
)]
pub(crate) struct Flags {
    /// Directory of what outlives a reboot: images, containers, volumes
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/carrack",
        env = "CARRACK_DATA_ROOT"
    )]
    pub(crate) data_root: PathBuf,

    /// Directory of what does not: sockets, mounts, the sandboxes' state
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/run/carrack",
        env = "CARRACK_EXEC_ROOT"
    )]
    pub(crate) exec_root: PathBuf,

    /// Socket to listen on, unix://PATH; may be given several times
    /// [default: unix://EXEC_ROOT/carrack.sock]
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,

    /// Bridge of the default network [default: made, and named after the exec
    /// root]; `none` runs without one
    #[arg(long, value_name = "NAME")]
    pub(crate) bridge: Option<String>,

    /// Address of that bridge and its subnet, as 172.31.0.1/16 [default: a free one]
    #[arg(long, value_name = "CIDR")]
    pub(crate) bip: Option<String>,

    /// Cgroup under which the containers' are made [default: named after the exec root]
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,

    /// How many sandboxes are kept ready to start a container in; 0 makes each when it is needed
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) pool: usize,
}

/// Runs the engine until it is told to stop.
pub(crate) fn run() -> anyhow::Result<()> {
    // The word `daemon` stands where clap expects the program's name.
    let flags = Flags::parse_from(std::env::args_os().skip(1));
    let filter = std::env::var("CARRACK_LOG").ok();
    carrack_telemetry::init(carrack_telemetry::Format::Text, filter.as_deref())?;
    anyhow::ensure!(
        carrack_sys::identity::is_root(),
        "the engine makes namespaces and mounts, so it must run as root; try: sudo carrack daemon"
    );
    let open_files = raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(MAX_BLOCKING)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let outcome = runtime.block_on(serve(flags, open_files));
    // Threads that still copy for a client that is gone must not hold it up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Takes as many descriptors as the host lets this process have: clients, and
/// three for each container. Supervisors inherit that; containers get what was
/// before, which is returned.
fn raise_open_files() -> Option<(u64, u64)> {
    let raised = carrack_sys::limits::resource_limit(libc::RLIMIT_NOFILE).and_then(
        |before @ (soft, hard)| {
            if soft < hard {
                carrack_sys::identity::set_resource_limit(libc::RLIMIT_NOFILE, hard, hard)?;
            }
            Ok(before)
        },
    );
    raised
        .inspect_err(|error| tracing::warn!(%error, "raise the limit of open files"))
        .ok()
}

/// A name for things of the kernel that must differ between engines.
fn name_of(exec_root: &Path) -> String {
    if exec_root == Path::new(DEFAULT_EXEC_ROOT) {
        return "carrack".to_owned();
    }
    let digest = carrack_oci::Digest::of(exec_root.as_os_str().as_encoded_bytes());
    format!("carrack-{}", &digest.hex()[..6])
}

async fn serve(flags: Flags, open_files: Option<(u64, u64)>) -> anyhow::Result<()> {
    let name = name_of(&flags.exec_root);
    for directory in [&flags.data_root, &flags.exec_root] {
        make_directory(directory)
            .with_context(|| format!("make directory {}", directory.display()))?;
    }
    // Before anything of theirs is touched.
    let _exec_root = root_lock::take(&flags.exec_root, "exec.lock", "--exec-root")?;
    let _data_root = root_lock::take(&flags.data_root, "data.lock", "--data-root")?;
    let networks = open_networks(&flags, &name)?;
    for warning in networks.iter().flat_map(|networks| networks.warnings()) {
        tracing::warn!("{warning}");
    }
    let cgroups = Hierarchies::detect(Path::new("/sys/fs/cgroup"))?;
    let parent = flags.cgroup_parent.clone().unwrap_or_else(|| name.clone());
    let parent = cgroups.parent(&GroupPath::new(&parent)?)?;
    let sandboxes = Sandboxes::open(SandboxConfig {
        sockets: flags.exec_root.join("supervisors"),
        cgroup: parent.clone(),
        networks: networks.clone(),
        pool_size: flags.pool,
        program: SUPERVISOR,
    })?;
    let state = carrack_state::State::open(&flags.data_root.join("state.redb"), STATE_CACHE_BYTES)?;
    let snapshots = Arc::new(Snapshots::open(flags.data_root.join("snapshots"))?);
    let events = Arc::new(Events::default());
    let content = Store::open(&flags.data_root.join("content"))?;
    let (images, broken) = Images::open(
        state.clone(),
        content,
        Arc::clone(&snapshots),
        image_event_sink(Arc::clone(&events)),
    )?;
    for image in broken {
        tracing::error!(image = %image.id, error = %image.error, "an image cannot be read");
    }
    let opened = Volumes::open(&flags.data_root.join("volumes"))?;
    for problem in &opened.problems {
        tracing::warn!(%problem, "a volume cannot be used");
    }
    let containers = Containers::open(ContainersConfig {
        directory: flags.data_root.join("containers"),
        state: state.clone(),
        snapshots: Arc::clone(&snapshots),
        sandboxes: sandboxes.clone(),
        networks: networks.clone(),
        seccomp: filters()?,
        cgroups,
        open_files,
    })
    .await?;
    sandboxes.fill();
    let engine = Engine::open(EngineConfig {
        containers,
        images,
        volumes: opened.volumes,
        networks: networks.clone(),
        events,
        host: HostFacts::read(),
        data_root: flags.data_root.clone(),
        engine_id: engine_id(&flags.data_root)?,
    });
    engine.collect_images_later();
    let listeners = listen(&flags)?;
    let addresses: Vec<String> = listeners
        .iter()
        .map(|l| format!("unix://{}", l.path().display()))
        .collect();
    let (handle, shutdown) = carrack_serve::shutdown();
    tokio::spawn(upkeep(Arc::clone(&snapshots), networks.clone()));
    let serving = tokio::spawn(carrack_docker_api::serve(engine, listeners, shutdown));
    announce(&addresses);
    await_end().await?;
    handle.ask();
    serving.await?;
    // After a reboot what is not on disk would have to be unpacked again.
    tokio::task::spawn_blocking(move || {
        if let Err(error) = snapshots.mark_synced() {
            tracing::warn!(%error, "make layers durable");
        }
    })
    .await?;
    sandboxes.close().await;
    if let Some(networks) = networks {
        networks.close()?;
    }
    // Left in place while containers live in it.
    let _in_use = parent.remove();
    Ok(())
}

fn open_networks(flags: &Flags, name: &str) -> anyhow::Result<Option<Arc<Networks>>> {
    if flags.bridge.as_deref() == Some("none") {
        return Ok(None);
    }
    let bip = flags
        .bip
        .as_deref()
        .map(str::parse)
        .transpose()
        .context("--bip")?;
    let bridge = flags
        .bridge
        .clone()
        .unwrap_or_else(|| match name.strip_prefix("carrack-") {
            // An interface's name has 15 characters.
            Some(suffix) => format!("cr-{suffix}"),
            None => "carrack0".to_owned(),
        });
    let networks = Networks::open(NetworkConfig {
        bridge,
        table: name.to_owned(),
        bip,
        ipv6: None,
        state_dir: flags.data_root.clone(),
        mtu: None,
        docker_user: DockerUser::Accept,
    })?;
    Ok(Some(Arc::new(networks)))
}

/// The cache of filters, with the one of most containers in it already.
fn filters() -> anyhow::Result<Cache> {
    let architecture =
        Arch::native().context("this machine's architecture has no seccomp table")?;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = KernelVersion::from_release(release.trim()).unwrap_or(KernelVersion {
        kernel: 5,
        major: 4,
    });
    let cache = Cache::new(kernel, architecture);
    let default = CapabilitySet::from_names(carrack_docker::spec::DEFAULT_CAPABILITIES);
    cache.program(ProfileSource::Default, default)?;
    Ok(cache)
}

/// An identity that stays: made once, kept beside the data.
fn engine_id(data_root: &Path) -> anyhow::Result<String> {
    let path = data_root.join("engine-id");
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        _ => {
            let id = carrack_sys::random::hex_id();
            std::fs::write(&path, format!("{id}\n"))
                .with_context(|| format!("write {}", path.display()))?;
            Ok(id)
        }
    }
}

fn make_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
}

fn listen(flags: &Flags) -> anyhow::Result<Vec<carrack_serve::BoundListener>> {
    let hosts = if flags.hosts.is_empty() {
        vec![format!(
            "unix://{}",
            flags.exec_root.join("carrack.sock").display()
        )]
    } else {
        flags.hosts.clone()
    };
    hosts
        .iter()
        .map(|host| {
            let endpoint = host.parse::<Endpoint>()?;
            let group = SocketGroup::Named(SOCKET_GROUP.to_owned());
            let bound = carrack_serve::bind(&endpoint, &group)
                .or_else(|_no_such_group| carrack_serve::bind(&endpoint, &SocketGroup::Own));
            Ok(bound?)
        })
        .collect()
}

/// Says that requests are accepted: a line for people, a datagram for systemd.
fn announce(addresses: &[String]) {
    println!(
        "carrack daemon: accepting requests on {}",
        addresses.join(", ")
    );
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let told = std::os::unix::net::UnixDatagram::unbound()
            .and_then(|socket| socket.send_to(b"READY=1", Path::new(&path)));
        if let Err(error) = told {
            tracing::warn!(%error, "tell the service manager");
        }
    }
}

async fn await_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// What waits for a quiet moment: layers become durable, and the firewall of
/// another engine that came later is looked at.
async fn upkeep(snapshots: Arc<Snapshots>, networks: Option<Arc<Networks>>) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        let (snapshots, networks) = (Arc::clone(&snapshots), networks.clone());
        let round = tokio::task::spawn_blocking(move || {
            if let Err(error) = snapshots.mark_synced() {
                tracing::warn!(%error, "make layers durable");
            }
            if let Some(networks) = networks {
                networks.synchronise_firewall();
            }
        });
        if round.await.is_err() {
            tracing::error!("upkeep panicked");
        }
    }
}
