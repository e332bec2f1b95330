//! `mounts` to mount steps and sources.

use carrack_oci::runtime::{IdMapping, Mount};
use carrack_sys::mount::{ATTR_RDONLY, MountAttributes};

use super::options::{self, Bind, Parsed};
use super::{CgroupView, PlanError, Sources};
use crate::plan::{FileSystemPlan, MountPlan, MountSource};
use crate::sources::{BindRequest, IdMap, SourceRequest};

pub(super) fn plan(
    mounts: &[Mount],
    cgroup: &CgroupView,
    sources: &mut Sources,
) -> Result<Vec<MountPlan>, PlanError> {
    mounts
        .iter()
        .map(|mount| {
            if !mount.destination.starts_with('/') {
                return Err(PlanError::invalid(
                    "mounts.destination",
                    format!("{:?} is not absolute", mount.destination),
                ));
            }
            if mount
                .destination
                .split('/')
                .all(|part| matches!(part, "" | "."))
            {
                return Err(PlanError::invalid(
                    "mounts.destination",
                    "the root cannot be covered",
                ));
            }
            if mount.destination.contains('\0') {
                return Err(PlanError::invalid("mounts.destination", "holds a NUL byte"));
            }
            Ok(MountPlan {
                destination: mount.destination.clone(),
                source: source(mount, cgroup, sources)?,
            })
        })
        .collect()
}

fn source(
    mount: &Mount,
    cgroup: &CgroupView,
    sources: &mut Sources,
) -> Result<MountSource, PlanError> {
    let options = options::parse(&mount.options)?;
    let kind = mount.kind.as_deref().unwrap_or_default();
    if options.bind.is_some() || kind == "bind" {
        return bind(mount, &options, sources);
    }
    if options.id_map.is_some() || !mount.uid_mappings.is_empty() {
        return Err(PlanError::unsupported(
            mount.destination.as_str(),
            "only a bind mount can be idmapped",
        ));
    }
    match kind {
        "" | "none" => Err(PlanError::invalid(
            mount.destination.as_str(),
            "a mount needs a type or the option bind",
        )),
        "cgroup" | "cgroup2" => cgroup_source(&options, cgroup, sources),
        _ => Ok(MountSource::FileSystem(file_system(mount, kind, options))),
    }
}

fn file_system(mount: &Mount, kind: &str, options: Parsed) -> FileSystemPlan {
    FileSystemPlan {
        kind: kind.to_owned(),
        source: mount.source.clone().unwrap_or_else(|| kind.to_owned()),
        parameters: options.parameters,
        attributes: options.set | options.set_below,
        propagation: options.propagation,
        copy_up: options.copy_up,
    }
}

fn bind(mount: &Mount, options: &Parsed, sources: &mut Sources) -> Result<MountSource, PlanError> {
    let path = mount
        .source
        .clone()
        .filter(|s| s.starts_with('/') && !s.contains('\0'))
        .ok_or_else(|| {
            PlanError::invalid(
                mount.destination.as_str(),
                "a bind mount needs an absolute source",
            )
        })?;
    let maps_nothing = mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty();
    let id_map = match (options.id_map, maps_nothing) {
        (None, true) => None,
        (how, _) => Some(IdMap {
            recursive: how == Some(Bind::Recursive),
            uid: lines(&mount.uid_mappings),
            gid: lines(&mount.gid_mappings),
        }),
    };
    if id_map
        .as_ref()
        .is_some_and(|m| m.uid.is_empty() || m.gid.is_empty())
    {
        return Err(PlanError::invalid(
            mount.destination.as_str(),
            "an idmapped mount needs uidMappings and gidMappings",
        ));
    }
    let (own, all) = propagation(options);
    let request = BindRequest {
        path,
        recursive: options.bind == Some(Bind::Recursive),
        attributes: MountAttributes {
            set: options.set,
            clear: options.clear,
            propagation: own,
            user_namespace: 0,
        },
        attributes_below: MountAttributes {
            set: options.set_below,
            clear: options.clear_below,
            propagation: all,
            user_namespace: 0,
        },
        id_map,
    };
    Ok(MountSource::Descriptor(
        sources.add(SourceRequest::Bind(request))?,
    ))
}

/// Propagation of a bind mount itself and of all that comes along.
///
/// A clone begins in the peer group of what it was cloned from, so that a
/// mount made in it inside the container would show on the host. It leaves the
/// group unless it is asked to be shared, and so does all below.
fn propagation(options: &Parsed) -> (u64, u64) {
    match (options.propagation, options.propagation_below) {
        (0, _) => (0, options::MS_PRIVATE),
        (kind, true) => (0, kind),
        (kind @ options::MS_SHARED, false) => (kind, 0),
        (kind @ options::MS_SLAVE, false) => (0, kind),
        (kind, false) => (kind, options::MS_PRIVATE),
    }
}

/// A mapping as the lines of `/proc/PID/uid_map`.
pub(crate) fn lines(mappings: &[IdMapping]) -> String {
    mappings
        .iter()
        .map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size))
        .collect()
}

fn cgroup_source(
    options: &Parsed,
    view: &CgroupView,
    sources: &mut Sources,
) -> Result<MountSource, PlanError> {
    let (own, all) = propagation(options);
    let leaf = |path: &str| {
        SourceRequest::Bind(BindRequest {
            path: path.to_owned(),
            recursive: false,
            attributes: MountAttributes {
                set: options.set,
                clear: options.clear,
                propagation: own,
                user_namespace: 0,
            },
            attributes_below: MountAttributes {
                propagation: all,
                ..MountAttributes::default()
            },
            id_map: None,
        })
    };
    match view {
        CgroupView::V2(path) => Ok(MountSource::Descriptor(sources.add(leaf(path))?)),
        CgroupView::V1 { hierarchies, links } => {
            let hierarchies = hierarchies
                .iter()
                .map(|(name, path)| Ok((name.clone(), sources.add(leaf(path))?)))
                .collect::<Result<Vec<_>, PlanError>>()?;
            Ok(MountSource::CgroupHierarchies {
                hierarchies,
                links: links.clone(),
                readonly: options.set & ATTR_RDONLY != 0,
            })
        }
    }
}
