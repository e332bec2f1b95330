//! What `network inspect` decodes, and a container's places in networks.

use super::*;

/// `network.Inspect`
pub(crate) const NETWORK: &Type = &structure(
    "network.Inspect",
    &[
        field("Name", TEXT),
        renamed("ID", "Id", TEXT),
        field("Created", TIME),
        field("Scope", TEXT),
        field("Driver", TEXT),
        field("EnableIPv4", BOOL),
        field("EnableIPv6", BOOL),
        field(
            "IPAM",
            &structure(
                "network.IPAM",
                &[
                    field("Driver", TEXT),
                    field("Options", TEXT_MAP),
                    field("Config", &Type::Slice("[]network.IPAMConfig", SUBNET)),
                ],
            ),
        ),
        field("Internal", BOOL),
        field("Attachable", BOOL),
        field("Ingress", BOOL),
        field(
            "ConfigFrom",
            &structure("network.ConfigReference", &[field("Network", TEXT)]),
        ),
        field("ConfigOnly", BOOL),
        field(
            "Containers",
            &Type::Map("map[string]network.EndpointResource", "string", MEMBER),
        ),
        field("Options", TEXT_MAP),
        field("Labels", TEXT_MAP),
        field(
            "Peers",
            &Type::Slice(
                "[]network.PeerInfo",
                &structure(
                    "network.PeerInfo",
                    &[field("Name", TEXT), field("IP", TEXT)],
                ),
            ),
        )
        .filled(),
        field(
            "Services",
            &Type::Map("map[string]network.ServiceInfo", "string", SERVICE),
        )
        .filled(),
    ],
);

const SUBNET: &Type = &structure(
    "network.IPAMConfig",
    &[
        field("Subnet", TEXT).filled(),
        field("IPRange", TEXT).filled(),
        field("Gateway", TEXT).filled(),
        renamed("AuxAddress", "AuxiliaryAddresses", TEXT_MAP).filled(),
    ],
);

const MEMBER: &Type = &structure(
    "network.EndpointResource",
    &[
        field("Name", TEXT),
        field("EndpointID", TEXT),
        field("MacAddress", TEXT),
        field("IPv4Address", TEXT),
        field("IPv6Address", TEXT),
    ],
);

const SERVICE: &Type = &structure(
    "network.ServiceInfo",
    &[
        field("VIP", TEXT),
        field("Ports", TEXTS),
        field("LocalLBIndex", INT),
        field(
            "Tasks",
            &Type::Slice(
                "[]network.Task",
                &structure(
                    "network.Task",
                    &[
                        field("Name", TEXT),
                        field("EndpointID", TEXT),
                        field("EndpointIP", TEXT),
                        field("Info", TEXT_MAP),
                    ],
                ),
            ),
        ),
    ],
);

/// `network.EndpointSettings`
pub(super) const ENDPOINT: &Type = &structure(
    "network.EndpointSettings",
    &[
        field(
            "IPAMConfig",
            &Type::Pointer(&structure(
                "network.EndpointIPAMConfig",
                &[
                    field("IPv4Address", TEXT).filled(),
                    field("IPv6Address", TEXT).filled(),
                    field("LinkLocalIPs", TEXTS).filled(),
                ],
            )),
        ),
        field("Links", TEXTS),
        field("Aliases", TEXTS),
        field("MacAddress", TEXT),
        field("DriverOpts", TEXT_MAP),
        field("GwPriority", INT),
        field("NetworkID", TEXT),
        field("EndpointID", TEXT),
        field("Gateway", TEXT),
        field("IPAddress", TEXT),
        field("IPPrefixLen", INT),
        field("IPv6Gateway", TEXT),
        field("GlobalIPv6Address", TEXT),
        field("GlobalIPv6PrefixLen", INT),
        field("DNSNames", TEXTS),
    ],
);
