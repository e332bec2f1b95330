//! What `volume inspect` decodes.

use super::*;

/// `volume.Volume`
pub(crate) const VOLUME: &Type = &structure(
    "volume.Volume",
    &[
        // Of a swarm, which no engine of ours is: it is always nil.
        field("ClusterVolume", &Type::Pointer(INTERFACE)).filled(),
        field("CreatedAt", TEXT).filled(),
        field("Driver", TEXT),
        field("Labels", TEXT_MAP),
        field("Mountpoint", TEXT),
        field("Name", TEXT),
        field("Options", TEXT_MAP),
        field("Scope", TEXT),
        field("Status", &Type::Map("map[string]interface {}", INTERFACE)).filled(),
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
