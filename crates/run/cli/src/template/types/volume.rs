//! What `volume inspect` decodes.

use super::*;

/// `volume.Volume`
pub(crate) const VOLUME: &Type = &structure(
    "volume.Volume",
    &[
        field("ClusterVolume", &Type::Pointer(CLUSTER_VOLUME)).filled(),
        field("CreatedAt", TEXT).filled(),
        field("Driver", TEXT),
        field("Labels", TEXT_MAP),
        field("Mountpoint", TEXT),
        field("Name", TEXT),
        field("Options", TEXT_MAP),
        field("Scope", TEXT),
        field(
            "Status",
            &Type::Map("map[string]interface {}", "string", INTERFACE),
        )
        .filled(),
        field(
            "UsageData",
            &Type::Pointer(&structure(
                "volume.UsageData",
                &[field("RefCount", INT64), field("Size", INT64)],
            )),
        )
        .filled(),
    ],
);

/// Of a swarm, which no engine of ours is part of: it is always nil, and only
/// the names of its fields matter.
const CLUSTER_VOLUME: &Type = &structure(
    "volume.ClusterVolume",
    &[
        field("ID", TEXT),
        field("Version", INTERFACE),
        field("CreatedAt", TIME),
        field("UpdatedAt", TIME),
        field("Spec", INTERFACE),
        field("PublishStatus", INTERFACE).filled(),
        field("Info", INTERFACE).filled(),
    ],
);
