//! `linux.sysctl` to paths below `/proc/sys`.

use carrack_oci::runtime::{Linux, NamespaceKind};

use super::PlanError;
use crate::sysctl;

pub(super) fn plan(linux: &Linux) -> Result<Vec<(String, String)>, PlanError> {
    linux
        .sysctl
        .iter()
        .map(|(name, value)| {
            let path = path(name)?;
            check(linux, name, &path)?;
            if value.contains('\0') {
                return Err(PlanError::invalid(
                    "linux.sysctl",
                    format!("the value of {name} holds a NUL byte"),
                ));
            }
            Ok((path, value.clone()))
        })
        .collect()
}

/// `net.ipv4.ip_forward` to `net/ipv4/ip_forward`. As with sysctl(8), what
/// separates first decides: in `net/ipv4/conf/eth0.1/forwarding` the dot stays,
/// in `net.ipv4.conf.eth0/1.forwarding` the slash means one.
fn path(name: &str) -> Result<String, PlanError> {
    let dots_separate = name
        .find(['.', '/'])
        .is_some_and(|at| name[at..].starts_with('.'));
    let path: String = if dots_separate {
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        name.chars().map(swap).collect()
    } else {
        name.to_owned()
    };
    let plain = path
        .split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
    if plain {
        Ok(path)
    } else {
        Err(PlanError::invalid(
            "linux.sysctl",
            format!("{name:?} is not a parameter's name"),
        ))
    }
}

/// It must belong to a namespace; where the spec lists its namespaces, to one
/// of those.
fn check(linux: &Linux, name: &str, path: &str) -> Result<(), PlanError> {
    let (kind, word) = match sysctl::namespace(path) {
        Some(libc::CLONE_NEWNET) => (NamespaceKind::Network, "network"),
        Some(libc::CLONE_NEWIPC) => (NamespaceKind::Ipc, "ipc"),
        Some(_) => (NamespaceKind::Uts, "uts"),
        None => {
            return Err(PlanError::invalid(
                "linux.sysctl",
                format!("{name} is the machine's, not in a separate namespace"),
            ));
        }
    };
    if linux.namespaces.is_empty() || linux.namespaces.iter().any(|n| n.kind == kind) {
        Ok(())
    } else {
        Err(PlanError::invalid(
            "linux.sysctl",
            format!("{name} needs a {word} namespace of the container's own"),
        ))
    }
}
