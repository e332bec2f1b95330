//! Decides the conditions of a profile for one container on one machine.

use carrack_oci::runtime::Seccomp;

use crate::profile::{Architectures, Condition, Rule};
use crate::{Arch, CapabilitySet, KernelVersion, Profile};

/// What the profile means for a container with this *bounding* set.
///
/// As Docker decides it: a rule is left out when any of its `excludes`
/// applies, or any of its `includes` does not.
pub fn resolve(
    profile: &Profile,
    bounding: &CapabilitySet,
    kernel: KernelVersion,
    arch: Arch,
) -> Seccomp {
    let applies = |rule: &&Rule| {
        !excluded(&rule.excludes, *bounding, kernel, arch)
            && included(&rule.includes, *bounding, kernel, arch)
    };
    Seccomp {
        default_action: profile.default_action,
        default_errno_ret: profile.default_errno,
        architectures: architectures(&profile.architectures, arch),
        flags: profile.flags.clone(),
        listener_path: profile.listener_path.clone(),
        listener_metadata: profile.listener_metadata.clone(),
        syscalls: profile
            .rules
            .iter()
            .filter(applies)
            .map(|rule| rule.call.clone())
            .collect(),
    }
}

fn architectures(of: &Architectures, arch: Arch) -> Vec<String> {
    let native = arch.abi().scmp_name();
    match of {
        Architectures::Listed(names) => names.clone(),
        Architectures::Mapped(map) => map
            .iter()
            .find(|(architecture, _)| architecture == native)
            .map(|(architecture, subs)| {
                std::iter::once(architecture).chain(subs).cloned().collect()
            })
            .unwrap_or_default(),
    }
}

fn excluded(by: &Condition, bounding: CapabilitySet, kernel: KernelVersion, arch: Arch) -> bool {
    by.arches.iter().any(|name| name == arch.docker_name())
        || by.capabilities.bits() & bounding.bits() != 0
        || by.min_kernel.is_some_and(|minimum| kernel >= minimum)
}

fn included(by: &Condition, bounding: CapabilitySet, kernel: KernelVersion, arch: Arch) -> bool {
    (by.arches.is_empty() || by.arches.iter().any(|name| name == arch.docker_name()))
        && !by.unknown_capability
        && by.capabilities.bits() & !bounding.bits() == 0
        && by.min_kernel.is_none_or(|minimum| kernel >= minimum)
}
