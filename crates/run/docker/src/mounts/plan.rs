//! All mounts of a container in one list.

use std::collections::BTreeMap;

use crate::config::{ContainerConfig, HostConfig};

use super::parse::{anonymous_volume, parse_bind, parse_mount, parse_tmpfs, parse_volumes_from};
use super::{MountError, MountPoint, PointKind};

/// What the list is made of.
#[derive(Debug)]
pub struct MountRequest<'a> {
    /// The container's config, the image's volumes merged in.
    pub config: &'a ContainerConfig,
    /// Its host config.
    pub host_config: &'a HostConfig,
    /// API below 1.44: read-only binds leave the mounts below them writable.
    pub read_only_is_shallow: bool,
}

/// Makes the list, ordered so that what lies deeper is mounted later.
/// `points_of` gives the mounts of the containers named by `--volumes-from`.
///
/// What is said later wins, as Docker has it: volumes of other containers,
/// then `-v`, then `--mount`, then `--tmpfs`; two of the last three at one
/// place are refused. The image's volumes fill what is left.
pub fn plan<E: From<MountError>>(
    request: &MountRequest<'_>,
    mut points_of: impl FnMut(&str) -> Result<Vec<MountPoint>, E>,
) -> Result<Vec<MountPoint>, E> {
    let host = request.host_config;
    let mut points = BTreeMap::new();
    for from in host.volumes_from.iter().flatten() {
        let (container, read_only) = parse_volumes_from(from)?;
        for mut point in points_of(container)? {
            if point.kind == PointKind::Tmpfs {
                continue;
            }
            point.read_only |= read_only == Some(true);
            // It is not this container's to be removed with it.
            point.anonymous = false;
            points.insert(point.destination.clone(), point);
        }
    }
    let mut own = BTreeMap::new();
    let mut add = |point: MountPoint| {
        let destination = point.destination.clone();
        match own.insert(destination.clone(), point) {
            Some(_) => Err(MountError::Duplicate(destination)),
            None => Ok(()),
        }
    };
    for bind in host.binds.iter().flatten() {
        let mut point = parse_bind(bind, &host.volume_driver)?;
        point.read_only_non_recursive = request.read_only_is_shallow;
        add(point)?;
    }
    for mount in host.mounts.iter().flatten() {
        let mut point = parse_mount(mount)?;
        point.read_only_non_recursive |= request.read_only_is_shallow;
        add(point)?;
    }
    for (destination, options) in host.tmpfs.iter().flatten() {
        add(parse_tmpfs(destination, options)?)?;
    }
    points.extend(own);
    for destination in request.config.volumes.iter().flat_map(|volumes| &volumes.0) {
        let point = anonymous_volume(destination)?;
        points.entry(point.destination.clone()).or_insert(point);
    }
    let mut points: Vec<MountPoint> = points.into_values().collect();
    points.sort_by_key(|point| point.destination.matches('/').count());
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_json;
    use serde_json::json;

    fn planned(
        config: serde_json::Value,
        host_config: serde_json::Value,
    ) -> Result<Vec<String>, MountError> {
        let request = MountRequest {
            config: &from_json(config).expect("config"),
            host_config: &from_json(host_config).expect("host config"),
            read_only_is_shallow: false,
        };
        let other = |name: &str| {
            assert_eq!(name, "other");
            Ok::<_, MountError>(vec![parse_bind("shared:/s", "").expect("good")])
        };
        let points = plan(&request, other)?;
        Ok(points
            .into_iter()
            .map(|point| {
                let access = if point.read_only { "ro" } else { "rw" };
                let kind = point.kind.as_str();
                format!(
                    "{kind} {}{} {} {access}",
                    point.source, point.volume, point.destination
                )
            })
            .collect())
    }

    #[test]
    fn one_list_in_order_of_depth() {
        let points = planned(
            json!({"Volumes": {"/data/deep": {}, "/b": {}}}),
            json!({
                "Binds": ["/h/x:/b/c/d", "/h:/b"],
                "Mounts": [{"Type": "tmpfs", "Target": "/t"}],
                "Tmpfs": {"/run": "size=1m"},
                "VolumesFrom": ["other:ro"],
            }),
        );
        let expected = [
            "bind /h /b rw",
            "tmpfs  /run rw",
            "volume shared /s ro",
            "tmpfs  /t rw",
            "volume  /data/deep rw",
            "bind /h/x /b/c/d rw",
        ];
        assert_eq!(points.expect("good"), expected);
    }

    #[test]
    fn two_at_one_place() {
        let points = planned(json!({}), json!({"Binds": ["/a:/b", "/c:/b/"]}));
        assert_eq!(points, Err(MountError::Duplicate("/b".into())));
        let points = planned(json!({}), json!({"Binds": ["/a:/b"], "Tmpfs": {"/b": ""}}));
        assert_eq!(points, Err(MountError::Duplicate("/b".into())));
        let points = planned(
            json!({}),
            json!({"Binds": ["/a:/s"], "VolumesFrom": ["other"]}),
        );
        assert_eq!(points.expect("good"), ["bind /a /s rw"]);
    }

    #[test]
    fn hostile_image_volumes() {
        for path in ["relative", "/", "/a/../..", "/x\0y", ""] {
            let points = planned(json!({"Volumes": {path: {}}}), json!({}));
            assert!(points.is_err(), "{path:?}");
        }
    }
}
