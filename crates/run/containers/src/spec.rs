//! From a container's record to the plan of one run.

use std::path::Path;

use carrack_cgroup::{Leaf, Shown};
use carrack_oci::runtime::{Mount, Process, Rlimit, Spec};
use carrack_runtime::plan::{CgroupNamespace, FirstProcess, SeccompPlan, UserPlan};
use carrack_runtime::planner::{CgroupView, Context, UserNamespace};
use carrack_seccomp::{CapabilitySet, ProfileSource};

use crate::containers::Shared;
use crate::{
    ContainerId, Error, IpcMode, NamespaceMode, NewContainer, Result, SeccompRequest, UserRequest,
    etc_files,
};

/// Where `/dev/shm` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SharedMemory {
    /// A new tmpfs.
    Private,
    /// A directory of the host.
    Bind(String),
    /// None.
    Absent,
}

/// The spec with what this crate adds: files of `/etc`, `/dev/shm` and limits.
pub(crate) fn complete(
    shared: &Shared,
    new: &NewContainer,
    directory: &Path,
    etc_directory: &Path,
    shared_memory: &SharedMemory,
) -> Spec {
    let mut spec = new.spec.clone();
    if let Some(process) = &mut spec.process {
        limit_open_files(process, shared.config.open_files);
    }
    let mut added = Vec::new();
    let taken = |spec: &Spec, target: &str| {
        spec.mounts
            .iter()
            .any(|m| m.destination.trim_end_matches('/') == target)
    };
    if !taken(&spec, "/dev/shm") {
        added.extend(shared_memory_mount(new.shm_size_bytes, shared_memory));
    }
    for (target, name) in etc_files::FILES {
        if !taken(&spec, target) {
            let from = if name == "hostname" {
                directory
            } else {
                etc_directory
            };
            added.push(bind(target, from.join(name).display().to_string()));
        }
    }
    // The user's own mounts may lie below these, so they come after.
    let position = spec
        .mounts
        .iter()
        .position(|m| m.kind.as_deref() == Some("bind"))
        .unwrap_or(spec.mounts.len());
    spec.mounts.splice(position..position, added);
    spec
}

/// Gives a process the limit of open files that the daemon was started with,
/// unless it asks for one itself: the daemon's own may be another by now.
pub(crate) fn limit_open_files(process: &mut Process, limit: Option<(u64, u64)>) {
    const OPEN_FILES: &str = "RLIMIT_NOFILE";
    let asked = process.rlimits.iter().any(|own| own.kind == OPEN_FILES);
    if let Some((soft, hard)) = limit
        && !asked
    {
        process.rlimits.push(Rlimit {
            kind: OPEN_FILES.to_owned(),
            soft,
            hard,
        });
    }
}

fn shared_memory_mount(size_bytes: u64, shared_memory: &SharedMemory) -> Option<Mount> {
    let options = |list: &[&str]| list.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>();
    match shared_memory {
        SharedMemory::Absent => None,
        SharedMemory::Bind(path) => Some(bind("/dev/shm", path.clone())),
        SharedMemory::Private => {
            let mut list = options(&["nosuid", "noexec", "nodev", "mode=1777"]);
            list.push(format!("size={size_bytes}"));
            Some(Mount {
                destination: "/dev/shm".to_owned(),
                kind: Some("tmpfs".to_owned()),
                source: Some("shm".to_owned()),
                options: list,
                ..Mount::default()
            })
        }
    }
}

fn bind(target: &str, source: String) -> Mount {
    Mount {
        destination: target.to_owned(),
        kind: Some("bind".to_owned()),
        source: Some(source),
        options: ["rbind", "rprivate"]
            .iter()
            .map(|o| (*o).to_owned())
            .collect(),
        ..Mount::default()
    }
}

/// What the planner needs besides the spec.
pub(crate) fn context(shared: &Shared, new: &NewContainer, leaf: &Leaf) -> Result<Context> {
    Ok(Context {
        available_capabilities: shared.available_capabilities,
        seccomp: seccomp(shared, new, &new.seccomp)?,
        user: Some(user(&new.user)),
        cgroup: cgroup_view(leaf),
        cgroup_namespace: match new.namespaces.cgroup {
            NamespaceMode::Private => CgroupNamespace::New,
            NamespaceMode::Host | NamespaceMode::Container(_) => CgroupNamespace::Keep,
        },
        first_process: if new.init {
            FirstProcess::Reaper
        } else {
            FirstProcess::Program
        },
        user_namespace: UserNamespace::Shared,
    })
}

/// A user as the init looks it up.
pub(crate) fn user(request: &UserRequest) -> UserPlan {
    UserPlan::Named {
        user: request.user.clone(),
        groups: request.additional_groups.clone(),
    }
}

/// The compiled filter of a container, from the cache.
pub(crate) fn seccomp(
    shared: &Shared,
    new: &NewContainer,
    request: &SeccompRequest,
) -> Result<Option<SeccompPlan>> {
    let source = match request {
        SeccompRequest::Unconfined => return Ok(None),
        SeccompRequest::Default => ProfileSource::Default,
        SeccompRequest::Profile(json) => ProfileSource::Json(json.as_bytes()),
    };
    let names = new
        .spec
        .process
        .as_ref()
        .and_then(|p| p.capabilities.as_ref())
        .map(|c| c.bounding.as_slice())
        .unwrap_or_default();
    let bounding = CapabilitySet::from_names(names);
    let program = shared.config.seccomp.program(source, bounding)?;
    match program {
        None => Ok(None),
        Some(program) if program.needs_listener() => Err(Error::Internal(
            "a seccomp profile with SCMP_ACT_NOTIFY needs a listener, which Docker has no way to name"
                .to_owned(),
        )),
        Some(program) => Ok(Some(SeccompPlan {
            program: program.to_bytes(),
            flags: program.flags().bits(),
        })),
    }
}

fn cgroup_view(leaf: &Leaf) -> CgroupView {
    match leaf.shown() {
        Shown::V1 { hierarchies, links } => CgroupView::V1 { hierarchies, links },
        Shown::V2(path) => CgroupView::V2(path),
    }
}

/// Which directory of the host `/dev/shm` is, if any.
pub(crate) fn shared_memory(
    new: &NewContainer,
    own: &Path,
    other: impl FnOnce(&ContainerId) -> Result<std::path::PathBuf>,
) -> Result<SharedMemory> {
    Ok(match &new.namespaces.ipc {
        IpcMode::Private => SharedMemory::Private,
        IpcMode::None => SharedMemory::Absent,
        IpcMode::Host => SharedMemory::Bind("/dev/shm".to_owned()),
        IpcMode::Shareable => SharedMemory::Bind(own.display().to_string()),
        IpcMode::Container(id) => SharedMemory::Bind(other(id)?.display().to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_what_was_asked_for_or_the_daemons_first() {
        let check = |asked: Option<(u64, u64)>, given, expected: &[(u64, u64)]| {
            let mut process = Process::default();
            process.rlimits.extend(asked.map(|(soft, hard)| Rlimit {
                kind: "RLIMIT_NOFILE".to_owned(),
                soft,
                hard,
            }));
            limit_open_files(&mut process, given);
            let found: Vec<_> = process.rlimits.iter().map(|l| (l.soft, l.hard)).collect();
            assert_eq!(found, expected);
        };
        check(None, Some((1024, 4096)), &[(1024, 4096)]);
        check(Some((5, 6)), Some((1024, 4096)), &[(5, 6)]);
        check(None, None, &[]);
    }
}
