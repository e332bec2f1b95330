//! What `container inspect` decodes.

use super::image::DESCRIPTOR;
use super::network::ENDPOINT;
use super::*;

/// `container.InspectResponse`
pub(crate) const CONTAINER: &Type = &structure(
    "container.InspectResponse",
    &[
        embedded("ContainerJSONBase", &Type::Pointer(BASE)),
        field(
            "Mounts",
            &Type::Slice("[]container.MountPoint", MOUNT_POINT),
        ),
        field("Config", &Type::Pointer(CONFIG)),
        field("NetworkSettings", &Type::Pointer(NETWORK_SETTINGS)),
        field("ImageManifestDescriptor", &Type::Pointer(DESCRIPTOR)).filled(),
    ],
);

const BASE: &Type = &structure(
    "container.ContainerJSONBase",
    &[
        renamed("ID", "Id", TEXT),
        field("Created", TEXT),
        field("Path", TEXT),
        field("Args", TEXTS),
        field("State", &Type::Pointer(STATE)),
        field("Image", TEXT),
        field("ResolvConfPath", TEXT),
        field("HostnamePath", TEXT),
        field("HostsPath", TEXT),
        field("LogPath", TEXT),
        field("Name", TEXT),
        field("RestartCount", INT),
        field("Driver", TEXT),
        field("Platform", TEXT),
        field("MountLabel", TEXT),
        field("ProcessLabel", TEXT),
        field("AppArmorProfile", TEXT),
        field("ExecIDs", TEXTS),
        field("HostConfig", &Type::Pointer(HOST_CONFIG)),
        field("GraphDriver", GRAPH_DRIVER),
        field("SizeRw", &Type::Pointer(INT64)).filled(),
        field("SizeRootFs", &Type::Pointer(INT64)).filled(),
    ],
);

const STATE: &Type = &structure(
    "container.State",
    &[
        field("Status", TEXT),
        field("Running", BOOL),
        field("Paused", BOOL),
        field("Restarting", BOOL),
        field("OOMKilled", BOOL),
        field("Dead", BOOL),
        field("Pid", INT),
        field("ExitCode", INT),
        field("Error", TEXT),
        field("StartedAt", TEXT),
        field("FinishedAt", TEXT),
        field("Health", &Type::Pointer(HEALTH)).filled(),
    ],
);

const HEALTH: &Type = &structure(
    "container.Health",
    &[
        field("Status", TEXT),
        field("FailingStreak", INT),
        field(
            "Log",
            &Type::Slice("[]*container.HealthcheckResult", &Type::Pointer(PROBE)),
        ),
    ],
);

const PROBE: &Type = &structure(
    "container.HealthcheckResult",
    &[
        field("Start", TIME),
        field("End", TIME),
        field("ExitCode", INT),
        field("Output", TEXT),
    ],
);

pub(super) const GRAPH_DRIVER: &Type = &structure(
    "storage.DriverData",
    &[field("Data", TEXT_MAP), field("Name", TEXT)],
);

const MOUNT_TYPE: &Type = &Type::Text("mount.Type");
const PROPAGATION: &Type = &Type::Text("mount.Propagation");

const MOUNT_POINT: &Type = &structure(
    "container.MountPoint",
    &[
        field("Type", MOUNT_TYPE).filled(),
        field("Name", TEXT).filled(),
        field("Source", TEXT),
        field("Destination", TEXT),
        field("Driver", TEXT).filled(),
        field("Mode", TEXT),
        field("RW", BOOL),
        field("Propagation", PROPAGATION),
    ],
);

const WORDS: &Type = &Type::Slice("strslice.StrSlice", TEXT);

pub(super) const CONFIG: &Type = &structure(
    "container.Config",
    &[
        field("Hostname", TEXT),
        field("Domainname", TEXT),
        field("User", TEXT),
        field("AttachStdin", BOOL),
        field("AttachStdout", BOOL),
        field("AttachStderr", BOOL),
        field("ExposedPorts", &Type::Map("nat.PortSet", "nat.Port", EMPTY)).filled(),
        field("Tty", BOOL),
        field("OpenStdin", BOOL),
        field("StdinOnce", BOOL),
        field("Env", TEXTS),
        field("Cmd", WORDS),
        field("Healthcheck", &Type::Pointer(HEALTHCHECK)).filled(),
        field("ArgsEscaped", BOOL).filled(),
        field("Image", TEXT),
        field("Volumes", SET),
        field("WorkingDir", TEXT),
        field("Entrypoint", WORDS),
        field("NetworkDisabled", BOOL).filled(),
        field("MacAddress", TEXT).filled(),
        field("OnBuild", TEXTS),
        field("Labels", TEXT_MAP),
        field("StopSignal", TEXT).filled(),
        field("StopTimeout", &Type::Pointer(INT)).filled(),
        field("Shell", WORDS).filled(),
    ],
);

pub(super) const HEALTHCHECK: &Type = &structure(
    "v1.HealthcheckConfig",
    &[
        field("Test", TEXTS).filled(),
        field("Interval", DURATION).filled(),
        field("Timeout", DURATION).filled(),
        field("StartPeriod", DURATION).filled(),
        field("StartInterval", DURATION).filled(),
        field("Retries", INT).filled(),
    ],
);

const PORT_MAP: &Type = &Type::Map(
    "nat.PortMap",
    "nat.Port",
    &Type::Slice(
        "[]nat.PortBinding",
        &structure(
            "nat.PortBinding",
            &[renamed("HostIP", "HostIp", TEXT), field("HostPort", TEXT)],
        ),
    ),
);

const HOST_CONFIG: &Type = &structure(
    "container.HostConfig",
    &[
        field("Binds", TEXTS),
        field("ContainerIDFile", TEXT),
        field(
            "LogConfig",
            &structure(
                "container.LogConfig",
                &[field("Type", TEXT), field("Config", TEXT_MAP)],
            ),
        ),
        field("NetworkMode", &Type::Text("container.NetworkMode")),
        field("PortBindings", PORT_MAP),
        field(
            "RestartPolicy",
            &structure(
                "container.RestartPolicy",
                &[
                    field("Name", &Type::Text("container.RestartPolicyMode")),
                    field("MaximumRetryCount", INT),
                ],
            ),
        ),
        field("AutoRemove", BOOL),
        field("VolumeDriver", TEXT),
        field("VolumesFrom", TEXTS),
        field(
            "ConsoleSize",
            &Type::Slice("[2]uint", &Type::Number("uint")),
        ),
        field("Annotations", TEXT_MAP).filled(),
        field("CapAdd", WORDS),
        field("CapDrop", WORDS),
        field("CgroupnsMode", &Type::Text("container.CgroupnsMode")),
        renamed("DNS", "Dns", TEXTS),
        renamed("DNSOptions", "DnsOptions", TEXTS),
        renamed("DNSSearch", "DnsSearch", TEXTS),
        field("ExtraHosts", TEXTS),
        field("GroupAdd", TEXTS),
        field("IpcMode", &Type::Text("container.IpcMode")),
        field("Cgroup", &Type::Text("container.CgroupSpec")),
        field("Links", TEXTS),
        field("OomScoreAdj", INT),
        field("PidMode", &Type::Text("container.PidMode")),
        field("Privileged", BOOL),
        field("PublishAllPorts", BOOL),
        field("ReadonlyRootfs", BOOL),
        field("SecurityOpt", TEXTS),
        field("StorageOpt", TEXT_MAP).filled(),
        field("Tmpfs", TEXT_MAP).filled(),
        field("UTSMode", &Type::Text("container.UTSMode")),
        field("UsernsMode", &Type::Text("container.UsernsMode")),
        field("ShmSize", INT64),
        field("Sysctls", TEXT_MAP).filled(),
        field("Runtime", TEXT).filled(),
        field("Isolation", &Type::Text("container.Isolation")),
        embedded("Resources", RESOURCES),
        field("Mounts", &Type::Slice("[]mount.Mount", MOUNT)).filled(),
        field("MaskedPaths", TEXTS),
        field("ReadonlyPaths", TEXTS),
        field("Init", &Type::Pointer(BOOL)).filled(),
    ],
);

const RESOURCES: &Type = &structure(
    "container.Resources",
    &[
        renamed("CPUShares", "CpuShares", INT64),
        field("Memory", INT64),
        renamed("NanoCPUs", "NanoCpus", INT64),
        field("CgroupParent", TEXT),
        field("BlkioWeight", UINT16),
        field("BlkioWeightDevice", WEIGHTS),
        field("BlkioDeviceReadBps", THROTTLES),
        field("BlkioDeviceWriteBps", THROTTLES),
        field("BlkioDeviceReadIOps", THROTTLES),
        field("BlkioDeviceWriteIOps", THROTTLES),
        renamed("CPUPeriod", "CpuPeriod", INT64),
        renamed("CPUQuota", "CpuQuota", INT64),
        renamed("CPURealtimePeriod", "CpuRealtimePeriod", INT64),
        renamed("CPURealtimeRuntime", "CpuRealtimeRuntime", INT64),
        field("CpusetCpus", TEXT),
        field("CpusetMems", TEXT),
        field("Devices", &Type::Slice("[]container.DeviceMapping", DEVICE)),
        field("DeviceCgroupRules", TEXTS),
        field(
            "DeviceRequests",
            &Type::Slice("[]container.DeviceRequest", DEVICE_REQUEST),
        ),
        field("KernelMemory", INT64).filled(),
        field("KernelMemoryTCP", INT64).filled(),
        field("MemoryReservation", INT64),
        field("MemorySwap", INT64),
        field("MemorySwappiness", &Type::Pointer(INT64)),
        field("OomKillDisable", &Type::Pointer(BOOL)),
        field("PidsLimit", &Type::Pointer(INT64)),
        field(
            "Ulimits",
            &Type::Slice("[]*units.Ulimit", &Type::Pointer(ULIMIT)),
        ),
        renamed("CPUCount", "CpuCount", INT64),
        renamed("CPUPercent", "CpuPercent", INT64),
        field("IOMaximumIOps", UINT64),
        field("IOMaximumBandwidth", UINT64),
    ],
);

const WEIGHTS: &Type = &Type::Slice(
    "[]*blkiodev.WeightDevice",
    &Type::Pointer(&Type::Struct(Struct {
        name: "blkiodev.WeightDevice",
        fields: &[field("Path", TEXT), field("Weight", UINT16)],
        own: Own::Text(&[("Path", ":"), ("Weight", "")]),
    })),
);

const THROTTLES: &Type = &Type::Slice(
    "[]*blkiodev.ThrottleDevice",
    &Type::Pointer(&Type::Struct(Struct {
        name: "blkiodev.ThrottleDevice",
        fields: &[field("Path", TEXT), field("Rate", UINT64)],
        own: Own::Text(&[("Path", ":"), ("Rate", "")]),
    })),
);

const ULIMIT: &Type = &Type::Struct(Struct {
    name: "units.Ulimit",
    fields: &[
        field("Name", TEXT),
        field("Hard", INT64),
        field("Soft", INT64),
    ],
    own: Own::Text(&[("Name", "="), ("Soft", ":"), ("Hard", "")]),
});

const DEVICE: &Type = &structure(
    "container.DeviceMapping",
    &[
        field("PathOnHost", TEXT),
        field("PathInContainer", TEXT),
        field("CgroupPermissions", TEXT),
    ],
);

const TEXTS_LIST: &Type = &Type::Slice("[][]string", TEXTS);

const DEVICE_REQUEST: &Type = &structure(
    "container.DeviceRequest",
    &[
        field("Driver", TEXT),
        field("Count", INT),
        field("DeviceIDs", TEXTS),
        field("Capabilities", TEXTS_LIST),
        field("Options", TEXT_MAP),
    ],
);

const MOUNT: &Type = &structure(
    "mount.Mount",
    &[
        field("Type", MOUNT_TYPE).filled(),
        field("Source", TEXT).filled(),
        field("Target", TEXT).filled(),
        field("ReadOnly", BOOL).filled(),
        field("Consistency", &Type::Text("mount.Consistency")).filled(),
        field("BindOptions", &Type::Pointer(BIND_OPTIONS)).filled(),
        field("VolumeOptions", &Type::Pointer(VOLUME_OPTIONS)).filled(),
        field(
            "ImageOptions",
            &Type::Pointer(&structure(
                "mount.ImageOptions",
                &[field("Subpath", TEXT).filled()],
            )),
        )
        .filled(),
        field("TmpfsOptions", &Type::Pointer(TMPFS_OPTIONS)).filled(),
        field(
            "ClusterOptions",
            &Type::Pointer(&structure("mount.ClusterOptions", &[])),
        )
        .filled(),
    ],
);

const BIND_OPTIONS: &Type = &structure(
    "mount.BindOptions",
    &[
        field("Propagation", PROPAGATION).filled(),
        field("NonRecursive", BOOL).filled(),
        field("CreateMountpoint", BOOL).filled(),
        field("ReadOnlyNonRecursive", BOOL).filled(),
        field("ReadOnlyForceRecursive", BOOL).filled(),
    ],
);

const VOLUME_OPTIONS: &Type = &structure(
    "mount.VolumeOptions",
    &[
        field("NoCopy", BOOL).filled(),
        field("Labels", TEXT_MAP).filled(),
        field("Subpath", TEXT).filled(),
        field(
            "DriverConfig",
            &Type::Pointer(&structure(
                "mount.Driver",
                &[
                    field("Name", TEXT).filled(),
                    field("Options", TEXT_MAP).filled(),
                ],
            )),
        )
        .filled(),
    ],
);

const TMPFS_OPTIONS: &Type = &structure(
    "mount.TmpfsOptions",
    &[
        field("SizeBytes", INT64).filled(),
        field("Mode", &Type::FileMode).filled(),
        field("Options", TEXTS_LIST).filled(),
    ],
);

const NETWORK_SETTINGS: &Type = &structure(
    "container.NetworkSettings",
    &[
        embedded("NetworkSettingsBase", NETWORK_SETTINGS_BASE),
        embedded("DefaultNetworkSettings", DEFAULT_NETWORK_SETTINGS),
        field(
            "Networks",
            &Type::Map(
                "map[string]*network.EndpointSettings",
                "string",
                &Type::Pointer(ENDPOINT),
            ),
        ),
    ],
);

const ADDRESSES: &Type = &Type::Slice(
    "[]network.Address",
    &structure(
        "network.Address",
        &[field("Addr", TEXT), field("PrefixLen", INT)],
    ),
);

const NETWORK_SETTINGS_BASE: &Type = &structure(
    "container.NetworkSettingsBase",
    &[
        field("Bridge", TEXT),
        field("SandboxID", TEXT),
        field("SandboxKey", TEXT),
        field("Ports", PORT_MAP),
        field("HairpinMode", BOOL),
        field("LinkLocalIPv6Address", TEXT),
        field("LinkLocalIPv6PrefixLen", INT),
        field("SecondaryIPAddresses", ADDRESSES),
        field("SecondaryIPv6Addresses", ADDRESSES),
    ],
);

const DEFAULT_NETWORK_SETTINGS: &Type = &structure(
    "container.DefaultNetworkSettings",
    &[
        field("EndpointID", TEXT),
        field("Gateway", TEXT),
        field("GlobalIPv6Address", TEXT),
        field("GlobalIPv6PrefixLen", INT),
        field("IPAddress", TEXT),
        field("IPPrefixLen", INT),
        field("IPv6Gateway", TEXT),
        field("MacAddress", TEXT),
    ],
);
