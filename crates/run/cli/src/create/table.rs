//! The flags of `run` and `create`, grouped as the help shows them.

use super::{devices, environment, mounts, network, security};
use crate::flags::{
    BYTES, BYTES_OR_UNLIMITED, DECIMAL, DURATION, Flag, INT, Kind, LIST, STRING, SWITCH, UINT16,
    alias, flag, letter,
};

const STREAM: Kind = Kind::new("list", security::check_stream);
const VARIABLE: Kind = Kind::new("list", environment::check_variable);
const LABEL: Kind = Kind::new("list", environment::check_label);
const MOUNT: Kind = Kind::new("mount", mounts::check_mount);
const NETWORK: Kind = Kind::new("network", network::check_network);
const EXTRA_HOST: Kind = Kind::new("list", network::check_extra_host);
const ADDRESS: Kind = Kind::new("list", network::check_address);
const DOMAIN: Kind = Kind::new("list", network::check_domain);
const LINK: Kind = Kind::new("list", network::check_link);
const SYSCTL: Kind = Kind::new("map", security::check_sysctl);
const DEVICE_RULE: Kind = Kind::new("list", devices::check_rule);
const BYTES_RATE: Kind = Kind::new("list", devices::check_bytes_rate);
const OPERATIONS_RATE: Kind = Kind::new("list", devices::check_operations_rate);
const WEIGHT: Kind = Kind::new("list", devices::check_weight);
const ULIMIT: Kind = Kind::new("ulimit", devices::check_ulimit);
const MAP: Kind = Kind::new("map", |_| Ok(()));

/// Of the container itself.
pub(crate) static CONTAINER: &[Flag] = &[
    letter(
        "attach",
        'a',
        STREAM,
        "Attach to one of STDIN, STDOUT and STDERR",
    ),
    flag("cidfile", STRING, "Write the container's id to this file"),
    flag(
        "entrypoint",
        STRING,
        "Program to run in place of the image's entrypoint",
    ),
    letter(
        "env",
        'e',
        VARIABLE,
        "Set a variable; without a value, take the client's",
    ),
    flag("env-file", LIST, "Read variables from a file"),
    letter("hostname", 'h', STRING, "Host name inside the container"),
    flag("domainname", STRING, "NIS domain name inside the container"),
    flag(
        "init",
        SWITCH,
        "Run an init that forwards signals and reaps processes",
    ),
    letter("interactive", 'i', SWITCH, "Keep standard input open"),
    letter("label", 'l', LABEL, "Set metadata, name=value"),
    flag("label-file", LIST, "Read labels from a file"),
    flag("annotation", MAP, "Add an annotation for the OCI runtime"),
    flag("log-driver", STRING, "Where the container's output goes"),
    flag("log-opt", LIST, "Option of the log driver"),
    flag("name", STRING, "Name of the container"),
    flag("platform", STRING, "Platform of the image, os/arch"),
    flag(
        "pull",
        STRING,
        "When to pull the image: always, missing, never",
    ),
    letter("quiet", 'q', SWITCH, "Do not show progress of a pull"),
    flag(
        "restart",
        STRING,
        "What to do when it exits: no, on-failure[:max], always, unless-stopped",
    ),
    flag(
        "rm",
        SWITCH,
        "Remove the container and its anonymous volumes when it exits",
    ),
    flag("runtime", STRING, "OCI runtime to use"),
    flag(
        "stop-signal",
        STRING,
        "Signal that asks the container to stop",
    ),
    flag("stop-timeout", INT, "Seconds to wait before it is killed"),
    letter("tty", 't', SWITCH, "Give the container a terminal"),
    letter(
        "user",
        'u',
        STRING,
        "User, and group, by name or number: user[:group]",
    ),
    flag("group-add", LIST, "Add a supplementary group"),
    letter(
        "workdir",
        'w',
        STRING,
        "Working directory inside the container",
    ),
    flag("isolation", STRING, ""),
    flag("disable-content-trust", SWITCH, ""),
    flag("use-api-socket", SWITCH, ""),
    flag(
        "no-healthcheck",
        SWITCH,
        "Do not run the image's health check",
    ),
    flag("health-cmd", STRING, ""),
    flag("health-interval", DURATION, ""),
    flag("health-retries", INT, ""),
    flag("health-start-interval", DURATION, ""),
    flag("health-start-period", DURATION, ""),
    flag("health-timeout", DURATION, ""),
];

/// What it finds mounted.
pub(crate) static STORAGE: &[Flag] = &[
    flag(
        "mount",
        MOUNT,
        "Mount something: type=bind|volume|tmpfs,source=…,target=…",
    ),
    flag("read-only", SWITCH, "Make the root file system read-only"),
    flag("storage-opt", LIST, "Option of the storage"),
    flag("tmpfs", LIST, "Mount a tmpfs: path[:options]"),
    letter(
        "volume",
        'v',
        LIST,
        "Mount a path or volume: [source:]target[:options]",
    ),
    flag("volume-driver", STRING, "Driver of new volumes"),
    flag(
        "volumes-from",
        LIST,
        "Mount what another container has: name[:ro]",
    ),
];

/// How it is reached.
pub(crate) static NETWORKING: &[Flag] = &[
    flag(
        "add-host",
        EXTRA_HOST,
        "Add a line to /etc/hosts: name:address",
    ),
    flag("dns", ADDRESS, "Address of a name server"),
    flag("dns-option", LIST, "Option of the resolver"),
    alias("dns-opt", LIST, "dns-option"),
    flag("dns-search", DOMAIN, "Domain to search names in"),
    flag("expose", LIST, "Expose a port or range"),
    flag("ip", STRING, "IPv4 address"),
    flag("ip6", STRING, "IPv6 address"),
    flag("link", LINK, "Link to another container: name[:alias]"),
    flag("link-local-ip", LIST, "Link-local address"),
    flag("mac-address", STRING, "MAC address"),
    flag(
        "network",
        NETWORK,
        "Network: bridge, none, host, container:name",
    ),
    alias("net", NETWORK, "network"),
    flag("network-alias", LIST, "Further name within the network"),
    alias("net-alias", LIST, "network-alias"),
    letter(
        "publish",
        'p',
        LIST,
        "Publish a port: [[address:][port]:]port[/protocol]",
    ),
    letter("publish-all", 'P', SWITCH, "Publish every exposed port"),
];

/// What it may use.
pub(crate) static RESOURCES: &[Flag] = &[
    flag("blkio-weight", UINT16, "Share of block I/O, 10 to 1000"),
    flag(
        "blkio-weight-device",
        WEIGHT,
        "Share of a device's I/O: path:weight",
    ),
    flag("cgroup-parent", STRING, "Cgroup to be placed in"),
    flag("cpu-period", INT, "Length of a CPU period in microseconds"),
    flag("cpu-quota", INT, "CPU time in a period in microseconds"),
    flag(
        "cpu-rt-period",
        INT,
        "Length of a real-time period in microseconds",
    ),
    flag(
        "cpu-rt-runtime",
        INT,
        "Real-time CPU time in a period in microseconds",
    ),
    letter("cpu-shares", 'c', INT, "Share of CPU time"),
    flag("cpus", DECIMAL, "Number of CPUs"),
    flag("cpuset-cpus", STRING, "CPUs to run on: 0-3, 0,1"),
    flag("cpuset-mems", STRING, "Memory nodes to use: 0-3, 0,1"),
    flag(
        "device-read-bps",
        BYTES_RATE,
        "Limit reads from a device: path:bytes",
    ),
    flag(
        "device-read-iops",
        OPERATIONS_RATE,
        "Limit reads from a device: path:operations",
    ),
    flag(
        "device-write-bps",
        BYTES_RATE,
        "Limit writes to a device: path:bytes",
    ),
    flag(
        "device-write-iops",
        OPERATIONS_RATE,
        "Limit writes to a device: path:operations",
    ),
    flag("gpus", STRING, ""),
    letter("memory", 'm', BYTES, "Limit of memory"),
    flag(
        "memory-reservation",
        BYTES,
        "Memory that it should keep within",
    ),
    flag(
        "memory-swap",
        BYTES_OR_UNLIMITED,
        "Limit of memory and swap; -1 for no limit",
    ),
    flag(
        "memory-swappiness",
        INT,
        "How readily memory is swapped, 0 to 100",
    ),
    flag("kernel-memory", BYTES, ""),
    flag(
        "oom-kill-disable",
        SWITCH,
        "Do not kill it when memory runs out",
    ),
    flag(
        "oom-score-adj",
        INT,
        "Preference when the host's memory runs out, -1000 to 1000",
    ),
    flag("pids-limit", INT, "Limit of processes; -1 for no limit"),
    flag("shm-size", BYTES, "Size of /dev/shm"),
    flag("ulimit", ULIMIT, "Limit of a resource: name=soft[:hard]"),
];

/// What it may do.
pub(crate) static SECURITY: &[Flag] = &[
    flag("cap-add", LIST, "Add a capability"),
    flag("cap-drop", LIST, "Drop a capability"),
    flag("cgroupns", STRING, "Cgroup namespace: host, private"),
    flag("device", LIST, "Add a device: path[:path][:rwm]"),
    flag(
        "device-cgroup-rule",
        DEVICE_RULE,
        "Allow devices: type major:minor mode",
    ),
    flag(
        "ipc",
        STRING,
        "IPC namespace: none, private, shareable, host, container:name",
    ),
    flag("pid", STRING, "PID namespace: host, container:name"),
    flag("privileged", SWITCH, "Give it every capability and device"),
    flag(
        "security-opt",
        LIST,
        "seccomp=…, no-new-privileges, systempaths=unconfined",
    ),
    flag(
        "sysctl",
        SYSCTL,
        "Set a kernel parameter of its own: name=value",
    ),
    flag("userns", STRING, "User namespace: host"),
    flag("uts", STRING, "UTS namespace: host"),
];

/// Flags that wait for a later part, and the entry that says so.
pub(crate) static NOT_YET: &[(&str, &str)] = &[
    ("gpus", "gpus"),
    ("use-api-socket", "use-api-socket"),
    ("health-cmd", "health"),
    ("health-interval", "health"),
    ("health-retries", "health"),
    ("health-start-interval", "health"),
    ("health-start-period", "health"),
    ("health-timeout", "health"),
];
