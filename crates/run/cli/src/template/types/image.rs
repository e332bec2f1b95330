//! What `image inspect` decodes.

use super::container::{CONFIG, GRAPH_DRIVER, HEALTHCHECK};
use super::*;

/// `image.InspectResponse`
pub(crate) const IMAGE: &Type = &structure(
    "image.InspectResponse",
    &[
        renamed("ID", "Id", TEXT),
        field("RepoTags", TEXTS),
        field("RepoDigests", TEXTS),
        field("Parent", TEXT),
        field("Comment", TEXT),
        field("Created", TEXT).filled(),
        field("Container", TEXT).filled(),
        field("ContainerConfig", &Type::Pointer(CONFIG)).filled(),
        field("DockerVersion", TEXT),
        field("Author", TEXT),
        field("Config", &Type::Pointer(IMAGE_CONFIG)),
        field("Architecture", TEXT),
        field("Variant", TEXT).filled(),
        field("Os", TEXT),
        field("OsVersion", TEXT).filled(),
        field("Size", INT64),
        field("VirtualSize", INT64).filled(),
        field("GraphDriver", GRAPH_DRIVER),
        field(
            "RootFS",
            &structure(
                "image.RootFS",
                &[
                    field("Type", TEXT).filled(),
                    field("Layers", TEXTS).filled(),
                ],
            ),
        ),
        field(
            "Metadata",
            &structure("image.Metadata", &[field("LastTagTime", TIME).filled()]),
        ),
        field("Descriptor", &Type::Pointer(DESCRIPTOR)).filled(),
        field(
            "Manifests",
            &Type::Slice("[]image.ManifestSummary", MANIFEST),
        )
        .filled(),
    ],
);

const IMAGE_CONFIG: &Type = &structure(
    "v1.DockerOCIImageConfig",
    &[
        embedded(
            "ImageConfig",
            &structure(
                "v1.ImageConfig",
                &[
                    field("User", TEXT).filled(),
                    field("ExposedPorts", SET).filled(),
                    field("Env", TEXTS).filled(),
                    field("Entrypoint", TEXTS).filled(),
                    field("Cmd", TEXTS).filled(),
                    field("Volumes", SET).filled(),
                    field("WorkingDir", TEXT).filled(),
                    field("Labels", TEXT_MAP).filled(),
                    field("StopSignal", TEXT).filled(),
                    field("ArgsEscaped", BOOL).filled(),
                ],
            ),
        ),
        embedded(
            "DockerOCIImageConfigExt",
            &structure(
                "v1.DockerOCIImageConfigExt",
                &[
                    field("Healthcheck", &Type::Pointer(HEALTHCHECK)).filled(),
                    field("OnBuild", TEXTS).filled(),
                    field("Shell", TEXTS).filled(),
                ],
            ),
        ),
    ],
);

const DIGEST: &Type = &Type::Text("digest.Digest");

/// `v1.Descriptor` of the image specification.
pub(super) const DESCRIPTOR: &Type = &structure(
    "v1.Descriptor",
    &[
        renamed("MediaType", "mediaType", TEXT),
        renamed("Digest", "digest", DIGEST),
        renamed("Size", "size", INT64),
        renamed("URLs", "urls", TEXTS).filled(),
        renamed("Annotations", "annotations", TEXT_MAP).filled(),
        renamed(
            "Data",
            "data",
            &Type::Slice("[]uint8", &Type::Number("uint8")),
        )
        .filled(),
        renamed("Platform", "platform", &Type::Pointer(PLATFORM)).filled(),
        renamed("ArtifactType", "artifactType", TEXT).filled(),
    ],
);

const PLATFORM: &Type = &structure(
    "v1.Platform",
    &[
        renamed("Architecture", "architecture", TEXT),
        renamed("OS", "os", TEXT),
        renamed("OSVersion", "os.version", TEXT).filled(),
        renamed("OSFeatures", "os.features", TEXTS).filled(),
        renamed("Variant", "variant", TEXT).filled(),
    ],
);

const MANIFEST: &Type = &structure(
    "image.ManifestSummary",
    &[
        field("ID", TEXT),
        field("Descriptor", DESCRIPTOR),
        field("Available", BOOL),
        field(
            "Size",
            &structure(
                "struct { Content int64 \"json:\\\"Content\\\"\"; Total int64 \"json:\\\"Total\\\"\" }",
                &[field("Content", INT64), field("Total", INT64)],
            ),
        ),
        field("Kind", &Type::Text("image.ManifestKind")),
        field("ImageData", &Type::Pointer(IMAGE_DATA)).filled(),
        field(
            "AttestationData",
            &Type::Pointer(&structure(
                "image.AttestationProperties",
                &[field("For", DIGEST)],
            )),
        )
        .filled(),
    ],
);

const IMAGE_DATA: &Type = &structure(
    "image.ImageProperties",
    &[
        field("Platform", PLATFORM),
        field(
            "Size",
            &structure(
                "struct { Unpacked int64 \"json:\\\"Unpacked\\\"\" }",
                &[field("Unpacked", INT64)],
            ),
        ),
        field("Containers", TEXTS),
    ],
);
