//! What `info` and `version` print: the client's own structs around the
//! engine's.

use super::*;

/// `system.versionInfo` of the client.
pub(crate) const VERSION: &Type = &structure(
    "system.versionInfo",
    &[
        field("Client", CLIENT_VERSION),
        field("Server", &Type::Pointer(SERVER_VERSION)),
    ],
);

const CLIENT_VERSION: &Type = &structure(
    "system.clientVersion",
    &[
        field(
            "Platform",
            &Type::Pointer(&structure(
                "system.platformInfo",
                &[field("Name", TEXT).filled()],
            )),
        )
        .filled(),
        field("Version", TEXT).filled(),
        renamed("APIVersion", "ApiVersion", TEXT).filled(),
        field("DefaultAPIVersion", TEXT).filled(),
        field("GitCommit", TEXT).filled(),
        field("GoVersion", TEXT).filled(),
        field("Os", TEXT).filled(),
        field("Arch", TEXT).filled(),
        field("BuildTime", TEXT).filled(),
        field("Context", TEXT),
    ],
);

const SERVER_VERSION: &Type = &structure(
    "types.Version",
    &[
        field(
            "Platform",
            &structure("struct { Name string }", &[field("Name", TEXT)]),
        ),
        field(
            "Components",
            &Type::Slice(
                "[]types.ComponentVersion",
                &structure(
                    "types.ComponentVersion",
                    &[
                        field("Name", TEXT),
                        field("Version", TEXT),
                        field("Details", TEXT_MAP).filled(),
                    ],
                ),
            ),
        )
        .filled(),
        field("Version", TEXT),
        renamed("APIVersion", "ApiVersion", TEXT),
        field("MinAPIVersion", TEXT).filled(),
        field("GitCommit", TEXT),
        field("GoVersion", TEXT),
        field("Os", TEXT),
        field("Arch", TEXT),
        field("KernelVersion", TEXT).filled(),
        field("Experimental", BOOL).filled(),
        field("BuildTime", TEXT).filled(),
    ],
);

/// `system.dockerInfo` of the client.
pub(crate) const INFO: &Type = &structure(
    "system.dockerInfo",
    &[
        embedded("Info", &Type::Pointer(ENGINE_INFO)),
        field("ServerErrors", TEXTS).filled(),
        field(
            "ClientInfo",
            &Type::Pointer(&structure(
                "system.clientInfo",
                &[
                    field("Debug", BOOL),
                    embedded("clientVersion", CLIENT_VERSION),
                    field("Plugins", &Type::Slice("[]manager.Plugin", INTERFACE)),
                    field("Warnings", TEXTS),
                ],
            )),
        )
        .filled(),
        field("ClientErrors", TEXTS).filled(),
    ],
);

const PAIRS: &Type = &Type::Slice("[][2]string", TEXTS);

const ENGINE_INFO: &Type = &structure(
    "system.Info",
    &[
        field("ID", TEXT),
        field("Containers", INT),
        field("ContainersRunning", INT),
        field("ContainersPaused", INT),
        field("ContainersStopped", INT),
        field("Images", INT),
        field("Driver", TEXT),
        field("DriverStatus", PAIRS),
        field("SystemStatus", PAIRS).filled(),
        field(
            "Plugins",
            &structure(
                "system.PluginsInfo",
                &[
                    field("Volume", TEXTS),
                    field("Network", TEXTS),
                    field("Authorization", TEXTS),
                    field("Log", TEXTS),
                ],
            ),
        ),
        field("MemoryLimit", BOOL),
        field("SwapLimit", BOOL),
        field("KernelMemory", BOOL).filled(),
        field("KernelMemoryTCP", BOOL).filled(),
        renamed("CPUCfsPeriod", "CpuCfsPeriod", BOOL),
        renamed("CPUCfsQuota", "CpuCfsQuota", BOOL),
        field("CPUShares", BOOL),
        field("CPUSet", BOOL),
        field("PidsLimit", BOOL),
        field("IPv4Forwarding", BOOL),
        field("Debug", BOOL),
        field("NFd", INT),
        field("OomKillDisable", BOOL),
        field("NGoroutines", INT),
        field("SystemTime", TEXT),
        field("LoggingDriver", TEXT),
        field("CgroupDriver", TEXT),
        field("CgroupVersion", TEXT).filled(),
        field("NEventsListener", INT),
        field("KernelVersion", TEXT),
        field("OperatingSystem", TEXT),
        field("OSVersion", TEXT),
        field("OSType", TEXT),
        field("Architecture", TEXT),
        field("IndexServerAddress", TEXT),
        field("RegistryConfig", &Type::Pointer(REGISTRY_CONFIG)),
        field("NCPU", INT),
        field("MemTotal", INT64),
        field(
            "GenericResources",
            &Type::Slice("[]swarm.GenericResource", INTERFACE),
        ),
        field("DockerRootDir", TEXT),
        renamed("HTTPProxy", "HttpProxy", TEXT),
        renamed("HTTPSProxy", "HttpsProxy", TEXT),
        field("NoProxy", TEXT),
        field("Name", TEXT),
        field("Labels", TEXTS),
        field("ExperimentalBuild", BOOL),
        field("ServerVersion", TEXT),
        field(
            "Runtimes",
            &Type::Map(
                "map[string]system.RuntimeWithStatus",
                "string",
                RUNTIME_WITH_STATUS,
            ),
        ),
        field("DefaultRuntime", TEXT),
        field("Swarm", SWARM),
        field("LiveRestoreEnabled", BOOL),
        field("Isolation", &Type::Text("container.Isolation")),
        field("InitBinary", TEXT),
        field("ContainerdCommit", COMMIT),
        field("RuncCommit", COMMIT),
        field("InitCommit", COMMIT),
        field("SecurityOptions", TEXTS),
        field("ProductLicense", TEXT).filled(),
        field(
            "DefaultAddressPools",
            &Type::Slice(
                "[]system.NetworkAddressPool",
                &structure(
                    "system.NetworkAddressPool",
                    &[field("Base", TEXT), field("Size", INT)],
                ),
            ),
        )
        .filled(),
        field(
            "FirewallBackend",
            &Type::Pointer(&structure(
                "system.FirewallInfo",
                &[field("Driver", TEXT), field("Info", PAIRS).filled()],
            )),
        )
        .filled(),
        field("CDISpecDirs", TEXTS),
        field(
            "DiscoveredDevices",
            &Type::Slice(
                "[]system.DeviceInfo",
                &structure(
                    "system.DeviceInfo",
                    &[field("Source", TEXT), field("ID", TEXT)],
                ),
            ),
        )
        .filled(),
        field("Containerd", &Type::Pointer(CONTAINERD)).filled(),
        field("Warnings", TEXTS),
    ],
);

const REGISTRY_CONFIG: &Type = &Type::Struct(Struct {
    name: "registry.ServiceConfig",
    own: Own::Json,
    fields: &[
        field("AllowNondistributableArtifactsCIDRs", TEXTS).filled(),
        field("AllowNondistributableArtifactsHostnames", TEXTS).filled(),
        field("InsecureRegistryCIDRs", TEXTS),
        field(
            "IndexConfigs",
            &Type::Map(
                "map[string]*registry.IndexInfo",
                "string",
                &Type::Pointer(&structure(
                    "registry.IndexInfo",
                    &[
                        field("Name", TEXT),
                        field("Mirrors", TEXTS),
                        field("Secure", BOOL),
                        field("Official", BOOL),
                    ],
                )),
            ),
        ),
        field("Mirrors", TEXTS),
    ],
});

const RUNTIME_WITH_STATUS: &Type = &structure(
    "system.RuntimeWithStatus",
    &[
        embedded(
            "Runtime",
            &structure(
                "system.Runtime",
                &[
                    renamed("Path", "path", TEXT).filled(),
                    renamed("Args", "runtimeArgs", TEXTS).filled(),
                    renamed("Type", "runtimeType", TEXT).filled(),
                    renamed(
                        "Options",
                        "options",
                        &Type::Map("map[string]interface {}", "string", INTERFACE),
                    )
                    .filled(),
                ],
            ),
        ),
        renamed("Status", "status", TEXT_MAP).filled(),
    ],
);

const SWARM: &Type = &structure(
    "swarm.Info",
    &[
        field("NodeID", TEXT),
        field("NodeAddr", TEXT),
        field("LocalNodeState", &Type::Text("swarm.LocalNodeState")),
        field("ControlAvailable", BOOL),
        field("Error", TEXT),
        field("RemoteManagers", &Type::Slice("[]swarm.Peer", INTERFACE)),
        field("Nodes", INT).filled(),
        field("Managers", INT).filled(),
        // Of a swarm, which no engine of ours is: it is always nil.
        field("Cluster", &Type::Pointer(INTERFACE)).filled(),
        field("Warnings", TEXTS).filled(),
    ],
);

const COMMIT: &Type = &structure(
    "system.Commit",
    &[field("ID", TEXT), field("Expected", TEXT).filled()],
);

const CONTAINERD: &Type = &structure(
    "system.ContainerdInfo",
    &[
        field("Address", TEXT).filled(),
        field(
            "Namespaces",
            &structure(
                "system.ContainerdNamespaces",
                &[field("Containers", TEXT), field("Plugins", TEXT)],
            ),
        ),
    ],
);
