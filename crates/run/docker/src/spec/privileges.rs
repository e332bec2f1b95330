//! Capabilities and limits of a process.

use carrack_oci::runtime::{Capabilities, Rlimit};

use crate::config::{HostConfig, Resources};
use crate::host::HostFacts;
use crate::validate::{Invalid, full_capability};

/// Docker's default capabilities.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// `setrlimit(2)` names without `RLIMIT_`.
const LIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

pub(super) fn container_capabilities(host: &HostConfig, facts: &HostFacts) -> Capabilities {
    if host.privileged {
        return capability_sets(all(facts));
    }
    let list = |field: &Option<Vec<String>>| -> Vec<String> {
        field
            .iter()
            .flatten()
            .map(|name| full_capability(name))
            .collect()
    };
    capability_sets(adjusted(&list(&host.cap_add), &list(&host.cap_drop), facts))
}

/// Everything, for an exec with `Privileged`.
pub fn exec_capabilities(facts: &HostFacts) -> Capabilities {
    capability_sets(all(facts))
}

/// What root may have here: a machine may lack some.
fn all(facts: &HostFacts) -> Vec<String> {
    facts
        .capabilities
        .iter()
        .map(|name| (*name).to_owned())
        .collect()
}

/// The default with some added and dropped. Adding all and dropping some is
/// all but those; dropping all and adding some is those.
fn adjusted(add: &[String], drop: &[String], facts: &HostFacts) -> Vec<String> {
    let is_all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut capabilities = if is_all(add) {
        all(facts)
    } else if is_all(drop) {
        Vec::new()
    } else {
        DEFAULT_CAPABILITIES.map(str::to_owned).to_vec()
    };
    if !is_all(drop) {
        capabilities.retain(|name| !drop.contains(name));
    }
    for name in add {
        if name != "ALL" && !capabilities.contains(name) {
            capabilities.push(name.clone());
        }
    }
    capabilities
}

/// Bounding, effective and permitted alike; nothing is inheritable, or a
/// file's capabilities would reach further than its owner meant.
pub fn capability_sets(names: Vec<String>) -> Capabilities {
    Capabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
        inheritable: Vec::new(),
        ambient: Vec::new(),
    }
}

pub(super) fn rlimits(resources: &Resources) -> Result<Vec<Rlimit>, Invalid> {
    resources
        .ulimits
        .iter()
        .flatten()
        .map(|ulimit| {
            let name = ulimit.name.to_ascii_lowercase();
            if !LIMITS.contains(&name.as_str()) {
                return Err(Invalid::rule(format!(
                    "invalid ulimit type: {}",
                    ulimit.name
                )));
            }
            let (soft, hard) = (limit(ulimit.soft), limit(ulimit.hard));
            if soft > hard {
                return Err(Invalid::rule(format!(
                    "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                    ulimit.soft, ulimit.hard
                )));
            }
            Ok(Rlimit {
                kind: format!("RLIMIT_{}", name.to_ascii_uppercase()),
                soft,
                hard,
            })
        })
        .collect()
}

/// −1 is unlimited.
fn limit(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_json;
    use serde_json::json;

    fn count(host: serde_json::Value) -> usize {
        let host: HostConfig = from_json(host).expect("host config");
        container_capabilities(&host, &crate::host::example())
            .bounding
            .len()
    }

    #[test]
    fn add_and_drop() {
        assert_eq!(count(json!({})), 14);
        assert_eq!(count(json!({"Privileged": true})), 41);
        assert_eq!(count(json!({"CapAdd": ["ALL"]})), 41);
        assert_eq!(
            count(json!({"CapAdd": ["ALL"], "CapDrop": ["chown", "CAP_KILL"]})),
            39
        );
        assert_eq!(count(json!({"CapDrop": ["ALL"]})), 0);
        assert_eq!(count(json!({"CapDrop": ["all"], "CapAdd": ["chown"]})), 1);
        assert_eq!(count(json!({"CapAdd": ["NET_ADMIN", "chown"]})), 15);
        assert_eq!(
            count(json!({"CapDrop": ["chown"], "CapAdd": ["chown"]})),
            14
        );
    }

    #[test]
    fn nothing_is_inheritable() {
        let host: HostConfig = from_json(json!({"Privileged": true})).expect("host config");
        let sets = container_capabilities(&host, &crate::host::example());
        assert!(sets.inheritable.is_empty() && sets.ambient.is_empty());
    }

    #[test]
    fn a_machine_that_lacks_some() {
        let mut facts = crate::host::example();
        facts
            .capabilities
            .retain(|name| *name != "CAP_SYS_RESOURCE");
        assert_eq!(all(&facts).len(), 40);
    }
}
