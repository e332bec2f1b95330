//! Mounts of the runtime specification: Docker's default ones, then the
//! container's own. `/dev/shm` and the files of `/etc` are added by
//! `run/containers`, which knows the sandbox.

use carrack_oci::runtime::Mount;

use crate::config::HostConfig;
use crate::mounts::{MountPoint, PointKind};
use crate::validate::SecurityOptions;

/// destination, type, source, options.
const DEFAULT: [(&str, &str, &str, &str); 6] = [
    ("/proc", "proc", "proc", "nosuid,noexec,nodev"),
    (
        "/dev",
        "tmpfs",
        "tmpfs",
        "nosuid,strictatime,mode=755,size=65536k",
    ),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5",
    ),
    ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
    (
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        "ro,nosuid,noexec,nodev",
    ),
    ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
];

/// All mounts, in order. A default one gives way to a mount of the
/// container's at the same place.
pub(super) fn mounts(
    points: &[MountPoint],
    host: &HostConfig,
    security: &SecurityOptions,
) -> Vec<Mount> {
    let is_taken = |destination: &str| {
        points.iter().any(|point| {
            point.destination == destination
                || destination.starts_with("/dev/") && point.destination == "/dev"
        })
    };
    let writable_system = host.privileged && !host.readonly_rootfs;
    let own = points.iter().map(mount);
    DEFAULT
        .iter()
        .filter(|(destination, ..)| !is_taken(destination))
        .map(|(destination, kind, source, options)| {
            let read_only_goes = match *destination {
                "/sys" => writable_system,
                "/sys/fs/cgroup" => security.writable_cgroups.unwrap_or(host.privileged),
                _ => false,
            };
            Mount {
                destination: (*destination).to_owned(),
                kind: Some((*kind).to_owned()),
                source: Some((*source).to_owned()),
                options: options
                    .split(',')
                    .filter(|option| !(read_only_goes && *option == "ro"))
                    .map(str::to_owned)
                    .collect(),
                ..Mount::default()
            }
        })
        .chain(own)
        .collect()
}

fn mount(point: &MountPoint) -> Mount {
    if point.kind == PointKind::Tmpfs {
        return Mount {
            destination: point.destination.clone(),
            kind: Some("tmpfs".to_owned()),
            source: Some("tmpfs".to_owned()),
            options: point.tmpfs_options.clone(),
            ..Mount::default()
        };
    }
    let bind = if point.non_recursive { "bind" } else { "rbind" };
    let access = match (point.read_only, point.read_only_non_recursive) {
        (false, _) => None,
        (true, true) => Some("ro"),
        (true, false) => Some("rro"),
    };
    let propagation = match point.propagation.as_str() {
        "" => "rprivate",
        asked => asked,
    };
    Mount {
        destination: point.destination.clone(),
        kind: Some("bind".to_owned()),
        source: Some(point.source.clone()),
        options: [Some(bind), access, Some(propagation)]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect(),
        ..Mount::default()
    }
}

/// A shared or slave bind needs a root that passes it on.
pub(super) fn rootfs_propagation(points: &[MountPoint]) -> Option<String> {
    let has = |words: [&str; 2]| {
        points
            .iter()
            .any(|point| words.contains(&point.propagation.as_str()))
    };
    if has(["shared", "rshared"]) {
        Some("rshared".to_owned())
    } else if has(["slave", "rslave"]) {
        Some("rslave".to_owned())
    } else {
        None
    }
}
