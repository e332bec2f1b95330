//! From a checked request to the container that is made of it.
//!
//! Pure: what the machine has to say (device nodes, addresses of the host)
//! comes in through [`Surroundings`]. The engine applies the result.

mod devices;
mod environment;
mod logs;
mod mounts;
mod privileges;
mod resources;

use carrack_containers::{
    ContainerId, IpcMode, NamespaceMode, Namespaces, NetworkMode, NetworkRequest, NewContainer,
    Owner, RootfsRequest, SeccompRequest, Stdio, UserRequest,
};
use carrack_network::{HostPort, PortRequest, Protocol};
use carrack_oci::ChainId;
use carrack_oci::runtime::{ConsoleSize, Linux, Process, Root, SPEC_VERSION, Spec};

use crate::config::{ContainerConfig, HostConfig};
use crate::host::HostFacts;
use crate::mounts::MountPoint;
use crate::ports::{self, Transport};
use crate::signals;
use crate::validate::{Invalid, Mode, Seccomp, namespace_mode, security_options};

pub use devices::{DeviceNode, DeviceNodes};
pub use environment::{exec_environment, without_bare_names};
pub use logs::{Logged, log_attributes, log_policy, log_warnings};
pub use privileges::{DEFAULT_CAPABILITIES, capability_sets, exec_capabilities};
pub use resources::resources;

/// Seconds between the stop signal and SIGKILL.
pub const STOP_TIMEOUT_S: i64 = 10;
/// Size of `/dev/shm`, bytes.
pub const SHM_BYTES: i64 = 64 << 20;
const SIGTERM: i32 = 15;

/// Paths made unreadable unless a request says otherwise.
pub const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
/// Likewise, of devices; one for each CPU follows in [`masked_paths`].
const MASKED_DEVICES: &str = "/sys/devices/virtual/powercap";
/// Paths made read-only unless a request says otherwise.
pub const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// What a container is made of.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its identity.
    pub id: &'a ContainerId,
    /// Its name, for errors about ports.
    pub name: &'a str,
    /// What is run, the image's config merged in.
    pub config: &'a ContainerConfig,
    /// How, with the engine's defaults filled in.
    pub host_config: &'a HostConfig,
    /// Its mounts; the sources of volumes are known.
    pub mounts: &'a [MountPoint],
    /// Layers of the image, lowest first.
    pub chain: Vec<ChainId>,
}

/// What the rest of the world says.
pub struct Surroundings<'a> {
    /// The machine.
    pub host: &'a HostFacts,
    /// Looks at device nodes.
    pub devices: &'a dyn DeviceNodes,
    /// Finds the container that `container:NAME` means.
    pub find: &'a dyn Fn(&str) -> Result<Joined, Invalid>,
}

/// A container whose namespace is joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its identity.
    pub id: ContainerId,
    /// Its host name.
    pub hostname: String,
    /// Whether its `/dev/shm` may be joined.
    pub shares_ipc: bool,
}

/// Fills in what the engine decides where a request does not, as Docker does,
/// so that inspect shows what holds.
pub fn fill_defaults(host: &mut HostConfig, facts: &HostFacts) {
    let resources = &mut host.resources;
    if resources.memory > 0 && resources.memory_swap == 0 {
        resources.memory_swap = resources.memory.saturating_mul(2);
    }
    if resources.oom_kill_disable.is_none() && !facts.cgroup_v2 {
        resources.oom_kill_disable = Some(false);
    }
    if resources.pids_limit.is_some_and(|limit| limit <= 0) {
        // Both zero and −1 are unlimited; older clients always send zero.
        resources.pids_limit = None;
    }
    let set = |field: &mut String, value: &str| {
        if field.is_empty() {
            value.clone_into(field);
        }
    };
    set(&mut host.ipc_mode, "private");
    set(&mut host.runtime, "carrack");
    set(&mut host.restart_policy.name, "no");
    set(&mut host.log_config.driver, "json-file");
    host.log_config.config.get_or_insert_default();
    let cgroup_namespace = if facts.cgroup_v2 { "private" } else { "host" };
    set(&mut host.cgroupns_mode, cgroup_namespace);
    if ["", "default"].contains(&host.network_mode.as_str()) {
        "bridge".clone_into(&mut host.network_mode);
    }
    if host.shm_size == 0 {
        host.shm_size = SHM_BYTES;
    }
    if host.privileged {
        host.masked_paths.get_or_insert_default();
        host.readonly_paths.get_or_insert_default();
    } else {
        host.masked_paths
            .get_or_insert_with(|| masked_paths(facts.cpus));
        host.readonly_paths
            .get_or_insert_with(|| READONLY_PATHS.map(str::to_owned).to_vec());
    }
    host.port_bindings.get_or_insert_default();
}

/// The masked paths of a machine: thermal throttling is a file a CPU.
fn masked_paths(cpus: u32) -> Vec<String> {
    /// CPUs whose file is masked; the list is kept in every record.
    const CPUS_MAX: u32 = 256;
    let fixed = MASKED_PATHS
        .iter()
        .chain([&MASKED_DEVICES])
        .map(|path| (*path).to_owned());
    let throttles = (0..cpus.min(CPUS_MAX))
        .map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    fixed.chain(throttles).collect()
}

/// Makes the container.
pub fn translate(request: Request<'_>, around: &Surroundings<'_>) -> Result<NewContainer, Invalid> {
    let (config, host) = (request.config, request.host_config);
    let security = security_options(host)?;
    let namespaces = namespaces(config, host, around)?;
    let hostname = hostname(&request, around)?;
    let domainname = Some(config.domainname.clone()).filter(|name| !name.is_empty());
    let devices = devices::devices(host, around.devices)?;
    let mut resources = resources(&host.resources, around.devices)?;
    resources.devices = devices.rules;
    let system_paths = |paths: &Option<Vec<String>>| {
        let kept = !host.privileged && !security.all_system_paths;
        kept.then(|| paths.clone()).flatten().unwrap_or_default()
    };
    let network = network(&request, &namespaces.network)?;
    let own_uts = namespaces.uts == NamespaceMode::Private;
    let spec = Spec {
        oci_version: SPEC_VERSION.to_owned(),
        process: Some(Process {
            terminal: config.tty,
            console_size: console_size(host.console_size),
            args: command(config),
            env: environment::environment(config, &hostname),
            cwd: working_directory(config),
            capabilities: Some(privileges::container_capabilities(host, around.host)),
            rlimits: privileges::rlimits(&host.resources)?,
            no_new_privileges: security.no_new_privileges,
            oom_score_adj: i32::try_from(host.oom_score_adj).ok(),
            ..Process::default()
        }),
        root: Some(Root {
            path: String::new(),
            readonly: host.readonly_rootfs,
        }),
        hostname: own_uts.then_some(hostname),
        domainname: domainname.filter(|_| own_uts),
        mounts: mounts::mounts(request.mounts, host, &security),
        annotations: host.annotations.clone().unwrap_or_default(),
        linux: Some(Linux {
            sysctl: sysctls(host, &namespaces),
            resources: Some(resources),
            devices: devices.nodes,
            masked_paths: system_paths(&host.masked_paths),
            readonly_paths: system_paths(&host.readonly_paths),
            rootfs_propagation: mounts::rootfs_propagation(request.mounts),
            ..Linux::default()
        }),
        ..Spec::default()
    };
    Ok(NewContainer {
        id: request.id.clone(),
        owner: Owner::Docker,
        spec,
        user: UserRequest {
            user: config.user.clone(),
            additional_groups: host.group_add.clone().unwrap_or_default(),
        },
        rootfs: RootfsRequest {
            chain: request.chain,
        },
        network,
        namespaces,
        seccomp: match security.seccomp {
            _ if host.privileged => SeccompRequest::Unconfined,
            Seccomp::Default => SeccompRequest::Default,
            Seccomp::Unconfined => SeccompRequest::Unconfined,
            Seccomp::Profile(json) => SeccompRequest::Profile(json),
        },
        stdio: Stdio {
            terminal: config.tty,
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
        },
        log: log_policy(host)?,
        init: host.init.unwrap_or(false),
        shm_size_bytes: u64::try_from(host.shm_size).unwrap_or(0),
        stop_signal: signals::parse(&config.stop_signal).unwrap_or(SIGTERM),
        stop_timeout_s: config.stop_timeout.unwrap_or(STOP_TIMEOUT_S),
        auto_remove: host.auto_remove,
        owner_data: serde_json::Value::Null,
    })
}

fn command(config: &ContainerConfig) -> Vec<String> {
    let words = config.entrypoint.iter().chain(&config.cmd);
    words.flatten().cloned().collect()
}

fn working_directory(config: &ContainerConfig) -> String {
    if config.working_dir.is_empty() {
        "/".to_owned()
    } else {
        crate::mounts::clean(&config.working_dir)
    }
}

fn console_size([height, width]: [u32; 2]) -> Option<ConsoleSize> {
    let size = ConsoleSize {
        height: u16::try_from(height).ok()?,
        width: u16::try_from(width).ok()?,
    };
    (size.height > 0 && size.width > 0).then_some(size)
}

/// The host name: the client's, another container's, the host's, or the id.
fn hostname(request: &Request<'_>, around: &Surroundings<'_>) -> Result<String, Invalid> {
    let (config, host) = (request.config, request.host_config);
    if let Mode::Container(name) = namespace_mode(&host.network_mode) {
        return Ok((around.find)(name)?.hostname);
    }
    if !config.hostname.is_empty() {
        return Ok(config.hostname.clone());
    }
    let is_hosts = host.network_mode == "host" || host.uts_mode == "host";
    Ok(if is_hosts {
        around.host.hostname.clone()
    } else {
        request.id.short().to_owned()
    })
}

fn namespaces(
    config: &ContainerConfig,
    host: &HostConfig,
    around: &Surroundings<'_>,
) -> Result<Namespaces, Invalid> {
    let network = match namespace_mode(&host.network_mode) {
        Mode::Container(name) => NetworkMode::Container((around.find)(name)?.id),
        Mode::Word("host") => NetworkMode::Host,
        Mode::Word("none") => NetworkMode::None,
        _ if config.network_disabled => NetworkMode::None,
        _ => NetworkMode::Bridge,
    };
    let ipc = match namespace_mode(&host.ipc_mode) {
        Mode::Container(name) => {
            let joined = (around.find)(name)?;
            if !joined.shares_ipc {
                return Err(Invalid::rule(format!(
                    "cannot join IPC of a non-shareable container {name}: its IpcMode must be \"shareable\" or \"host\""
                )));
            }
            IpcMode::Container(joined.id)
        }
        Mode::Word("host") => IpcMode::Host,
        Mode::Word("none") => IpcMode::None,
        Mode::Word("shareable") => IpcMode::Shareable,
        _ => IpcMode::Private,
    };
    let pid = match namespace_mode(&host.pid_mode) {
        Mode::Container(name) => NamespaceMode::Container((around.find)(name)?.id),
        Mode::Word("host") => NamespaceMode::Host,
        _ => NamespaceMode::Private,
    };
    let private_unless_host = |mode: &str| match mode {
        "host" => NamespaceMode::Host,
        _ => NamespaceMode::Private,
    };
    Ok(Namespaces {
        network,
        ipc,
        pid,
        uts: private_unless_host(&host.uts_mode),
        cgroup: private_unless_host(&host.cgroupns_mode),
    })
}

/// The client's parameters, and Docker's own of a network namespace that is
/// this container's.
fn sysctls(
    host: &HostConfig,
    namespaces: &Namespaces,
) -> std::collections::BTreeMap<String, String> {
    let mut all = host.sysctls.clone().unwrap_or_default();
    if matches!(namespaces.network, NetworkMode::Bridge | NetworkMode::None) {
        let own = [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ];
        for (name, value) in own {
            all.entry(name.to_owned())
                .or_insert_with(|| value.to_owned());
        }
    }
    all
}

fn network(request: &Request<'_>, mode: &NetworkMode) -> Result<NetworkRequest, Invalid> {
    let host = request.host_config;
    let mut ports = Vec::new();
    if *mode == NetworkMode::Bridge {
        ports = ports::published(request.config, host)?
            .into_iter()
            .map(port_request)
            .collect();
    }
    let list = |field: &Option<Vec<String>>| field.clone().unwrap_or_default();
    let extra_hosts = host
        .extra_hosts
        .iter()
        .flatten()
        .filter_map(|entry| crate::validate::split_extra_host(entry))
        .map(|(name, address)| (address.to_owned(), name.to_owned()))
        .collect();
    Ok(NetworkRequest {
        ports,
        extra_hosts,
        dns_servers: list(&host.dns)
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect(),
        dns_search: list(&host.dns_search),
        dns_options: list(&host.dns_options),
        endpoint_name: request.name.to_owned(),
    })
}

fn port_request(publish: ports::Publish) -> PortRequest {
    PortRequest {
        container_port: publish.port.number,
        protocol: match publish.port.protocol {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
            Transport::Sctp => Protocol::Sctp,
        },
        host_ip: publish
            .host_ip
            .filter(|address| !address.is_unspecified() || address.is_ipv4()),
        host_port: match publish.host_ports {
            None => HostPort::Ephemeral,
            Some((first, last)) if first == last => HostPort::Exact(first),
            Some((first, last)) => HostPort::Range { first, last },
        },
    }
}

#[cfg(test)]
mod tests;
