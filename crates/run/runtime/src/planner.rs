//! Spec to plan: pure, so that each rule of the specification is a test on
//! data.
//!
//! Called by `run/containers` for each start and by runc's command line. It
//! opens nothing; what must be opened is listed as [`SourceRequest`]s.

mod devices;
mod hooks;
mod mounts;
mod options;
mod process;
mod sysctls;
#[cfg(test)]
mod tests;

use carrack_oci::ErrorKind;
use carrack_oci::runtime::{IdMapping, Linux, NamespaceKind, Spec};
use thiserror::Error;

use crate::plan::{
    CgroupNamespace, DescriptorIndex, FirstProcess, Plan, ProcessPlan, RootPlan, SeccompPlan,
    UserPlan,
};
use crate::sources::SourceRequest;

pub use options::MOUNT_OPTIONS;

/// Mounts of one container; each bind needs a descriptor of its own in the
/// one message that carries the plan.
pub const MAX_MOUNTS: usize = 200;

/// What the planner knows besides the spec.
#[derive(Clone, Debug)]
pub struct Context {
    /// Capabilities that the runtime has at all, as bits. Others that the spec
    /// asks for are left out, as Docker does.
    pub available_capabilities: u64,
    /// The compiled filter.
    pub seccomp: Option<SeccompPlan>,
    /// Replaces `process.user`.
    pub user: Option<UserPlan>,
    /// How control groups are shown inside.
    pub cgroup: CgroupView,
    /// Whether the cgroup namespace is new.
    pub cgroup_namespace: CgroupNamespace,
    /// What process 1 is.
    pub first_process: FirstProcess,
    /// Whether the container has a user namespace of its own.
    pub user_namespace: UserNamespace,
}

/// Whether a container's ids are mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    /// The runtime's own.
    Shared,
    /// A new one, which may not make device nodes.
    Own,
}

/// How control groups are shown at `/sys/fs/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupView {
    /// v1: each hierarchy's directory on the host, and links between names.
    V1 {
        /// Name under `/sys/fs/cgroup` and the leaf's path.
        hierarchies: Vec<(String, String)>,
        /// Link name and target.
        links: Vec<(String, String)>,
    },
    /// v2: the leaf's path.
    V2(String),
}

/// A plan and what must be opened for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What init does.
    pub plan: Plan,
    /// Descriptor n + 1 of the plan's message is source n; descriptor 0 is the
    /// root mount, which the caller makes.
    pub sources: Vec<SourceRequest>,
}

/// Why a spec cannot be planned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A field is missing, malformed or out of range.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as the specification names it.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// The field is understood, but this kernel or Carrack cannot do it.
    #[error("{field}: {reason}")]
    Unsupported {
        /// The field.
        field: String,
        /// Why not.
        reason: String,
    },
}

impl PlanError {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid { .. } => ErrorKind::InvalidInput,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
        }
    }

    fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    fn unsupported(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// Plans a container.
pub fn plan(spec: &Spec, context: &Context) -> Result<Planned, PlanError> {
    let process = spec
        .process
        .as_ref()
        .ok_or_else(|| PlanError::invalid("process", "is missing"))?;
    let root = spec
        .root
        .as_ref()
        .ok_or_else(|| PlanError::invalid("root", "is missing"))?;
    let linux = spec.linux.clone().unwrap_or_default();
    if linux.mount_label.as_deref().is_some_and(|l| !l.is_empty()) {
        return Err(PlanError::unsupported(
            "linux.mountLabel",
            "SELinux is not supported",
        ));
    }
    if linux.intel_rdt.is_some() {
        return Err(PlanError::unsupported(
            "linux.intelRdt",
            "resctrl is not supported",
        ));
    }
    check_namespaces(spec, &linux)?;
    let mut sources = Sources::default();
    let mounts = mounts::plan(&spec.mounts, &context.cgroup, &mut sources)?;
    let has_dev = spec.mounts.iter().any(|m| {
        m.destination.trim_end_matches('/') == "/dev" && m.kind.as_deref() == Some("tmpfs")
    });
    let devices = devices::plan(
        &linux.devices,
        has_dev,
        context.user_namespace,
        &mut sources,
    )?;
    let mut process_plan = process_plan(process, context)?;
    process_plan.personality = process::personality(linux.personality.as_ref())?;
    let create_hooks = hooks::create(spec)?;
    // Hooks of the host look for the root where the bundle has it.
    let staging =
        Some(root.path.clone()).filter(|p| !create_hooks.is_empty() && p.starts_with('/'));
    Ok(Planned {
        plan: Plan {
            root: RootPlan {
                mount: DescriptorIndex(0),
                readonly: root.readonly,
                propagation: options::root_propagation(linux.rootfs_propagation.as_deref())?,
                staging,
            },
            hostname: name("hostname", spec.hostname.as_deref())?,
            domainname: name("domainname", spec.domainname.as_deref())?,
            cgroup_namespace: context.cgroup_namespace,
            mounts,
            devices,
            dev_links: has_dev,
            sysctls: sysctls::plan(&linux)?,
            readonly_paths: absolute_paths("linux.readonlyPaths", &linux.readonly_paths)?,
            masked_paths: absolute_paths("linux.maskedPaths", &linux.masked_paths)?,
            start_hooks: hooks::start(spec)?,
            first_process: context.first_process,
            process: process_plan,
            create_hooks,
        },
        sources: sources.list,
    })
}

/// A spec that lists its namespaces must list those that it changes. One that
/// lists none is planned for a sandbox whose owner knows, see [`Plan::check`].
fn check_namespaces(spec: &Spec, linux: &Linux) -> Result<(), PlanError> {
    let listed =
        |kind| linux.namespaces.is_empty() || linux.namespaces.iter().any(|n| n.kind == kind);
    let missing = |field: &str, kind: &str| {
        Err(PlanError::invalid(
            field,
            format!("needs a {kind} namespace of the container's own"),
        ))
    };
    if !listed(NamespaceKind::Mount) {
        return missing("linux.namespaces", "mount");
    }
    let named = |name: &Option<String>| name.as_deref().is_some_and(|n| !n.is_empty());
    if (named(&spec.hostname) || named(&spec.domainname)) && !listed(NamespaceKind::Uts) {
        return missing("hostname", "uts");
    }
    if !linux.time_offsets.is_empty() && !listed(NamespaceKind::Time) {
        return missing("linux.timeOffsets", "time");
    }
    Ok(())
}

/// Host or domain name; the kernel's `__NEW_UTS_LEN` is 64.
fn name(field: &str, name: Option<&str>) -> Result<Option<String>, PlanError> {
    match name {
        Some(name) if name.len() > 64 || name.contains('\0') => Err(PlanError::invalid(
            field,
            "is longer than 64 bytes or holds a NUL byte",
        )),
        name => Ok(name.filter(|n| !n.is_empty()).map(str::to_owned)),
    }
}

/// Lines of `/proc/PID/uid_map` or `gid_map` of mappings.
pub fn id_map_lines(mappings: &[IdMapping]) -> String {
    mounts::lines(mappings)
}

/// Lines of `/proc/PID/timens_offsets` of `linux.timeOffsets`.
pub fn time_offset_lines(linux: &Linux) -> Result<String, PlanError> {
    linux
        .time_offsets
        .iter()
        .map(|(clock, offset)| match clock.as_str() {
            "monotonic" | "boottime" => {
                Ok(format!("{clock} {} {}\n", offset.secs, offset.nanosecs))
            }
            other => Err(PlanError::invalid(
                "linux.timeOffsets",
                format!("{other:?} is neither monotonic nor boottime"),
            )),
        })
        .collect()
}

/// Plans a process, of a container or of an exec.
pub fn process_plan(
    process: &carrack_oci::runtime::Process,
    context: &Context,
) -> Result<ProcessPlan, PlanError> {
    process::plan(process, context)
}

/// The growing list of what must be opened.
#[derive(Default)]
struct Sources {
    list: Vec<SourceRequest>,
}

impl Sources {
    fn add(&mut self, request: SourceRequest) -> Result<DescriptorIndex, PlanError> {
        self.list.push(request);
        match u8::try_from(self.list.len()) {
            Ok(index) if self.list.len() <= MAX_MOUNTS => Ok(DescriptorIndex(index)),
            _ => Err(PlanError::invalid(
                "mounts",
                format!("more than {MAX_MOUNTS} bind mounts and devices"),
            )),
        }
    }
}

fn absolute_paths(field: &str, paths: &[String]) -> Result<Vec<String>, PlanError> {
    for path in paths {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(PlanError::invalid(
                field,
                format!("{path:?} is not an absolute path"),
            ));
        }
    }
    Ok(paths.to_vec())
}
