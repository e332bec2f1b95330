//! Which mounts a container has: from `-v`, `--mount`, `--tmpfs`,
//! `--volumes-from` and the image's volumes to one list, ordered as it is
//! mounted.
//!
//! Pure. The engine then makes the volumes that the list names.

mod parse;
mod plan;
mod point;
pub(crate) mod propagation;
mod tmpfs;

pub(crate) use parse::clean;
pub use parse::{MountError, parse_bind, parse_mount, parse_volumes_from};
pub use plan::{MountRequest, plan};
pub use point::{MountPoint, PointKind};
pub use tmpfs::{TMPFS_DEFAULTS, merge_options as merge_tmpfs_options};
