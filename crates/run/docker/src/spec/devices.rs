//! Device nodes and the rules for them.

use std::io;

use carrack_cgroup::device::default_rules;
use carrack_oci::runtime::{DeviceRule, LinuxDevice};

use crate::config::{DeviceMapping, HostConfig};
use crate::mounts::clean;
use crate::validate::Invalid;

/// Device nodes given by one mapping of a directory.
const NODES_MAX: usize = 4096;

/// Looks at device nodes: the machine's in the engine, made-up ones in tests.
pub trait DeviceNodes {
    /// The node at `path`, symlinks followed.
    fn node(&self, path: &str) -> io::Result<DeviceNode>;

    /// All nodes below the directory `path`, with their paths; nothing when
    /// `path` is no directory. At most `max`.
    fn below(&self, path: &str, max: usize) -> io::Result<Option<Vec<(String, DeviceNode)>>>;
}

/// A device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// `c` or `b`.
    pub kind: char,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a container gets.
#[derive(Debug, Default)]
pub(super) struct Devices {
    pub(super) nodes: Vec<LinuxDevice>,
    pub(super) rules: Vec<DeviceRule>,
}

pub(super) fn devices(host: &HostConfig, found: &dyn DeviceNodes) -> Result<Devices, Invalid> {
    if host.privileged {
        return privileged(found);
    }
    let mut devices = Devices {
        nodes: Vec::new(),
        rules: default_rules(),
    };
    for mapping in host.resources.devices.iter().flatten() {
        add_mapping(&mut devices, mapping, found)?;
    }
    for rule in host.resources.device_cgroup_rules.iter().flatten() {
        devices.rules.push(parse_rule(rule)?);
    }
    Ok(devices)
}

/// Every node of the host, and access to all.
fn privileged(found: &dyn DeviceNodes) -> Result<Devices, Invalid> {
    /// Directories of the host's `/dev` that a container has its own of.
    const OWN: [&str; 6] = [
        "/dev/pts/",
        "/dev/shm/",
        "/dev/fd/",
        "/dev/mqueue/",
        "/dev/.lxc/",
        "/dev/.lxd-mounts/",
    ];
    const OWN_NODES: [&str; 2] = ["/dev/console", "/dev/ptmx"];
    let nodes = found
        .below("/dev", NODES_MAX)
        .map_err(|error| Invalid::rule(format!("error gathering devices of the host: {error}")))?;
    let nodes = nodes
        .into_iter()
        .flatten()
        .filter(|(path, _)| {
            !OWN.iter().any(|own| path.starts_with(own)) && !OWN_NODES.contains(&path.as_str())
        })
        .map(|(path, node)| linux_device(path, node))
        .collect();
    let rules = vec![DeviceRule {
        allow: true,
        access: Some("rwm".to_owned()),
        ..DeviceRule::default()
    }];
    Ok(Devices { nodes, rules })
}

fn add_mapping(
    devices: &mut Devices,
    mapping: &DeviceMapping,
    found: &dyn DeviceNodes,
) -> Result<(), Invalid> {
    let host_path = mapping.path_on_host.as_str();
    let inside = match mapping.path_in_container.as_str() {
        "" => host_path,
        path => path,
    };
    let permissions = match mapping.cgroup_permissions.as_str() {
        "" => "rwm",
        letters => letters,
    };
    let is_good = permissions.chars().all(|letter| "rwm".contains(letter));
    if !is_good || !host_path.starts_with('/') || !inside.starts_with('/') {
        return Err(Invalid::rule(format!(
            "invalid device mapping {host_path:?}:{inside:?}:{permissions:?}"
        )));
    }
    let failed = |error: io::Error| {
        Invalid::rule(format!(
            "error gathering device information while adding custom device {host_path:?}: {error}"
        ))
    };
    match found.node(host_path) {
        Ok(node) => devices.add(clean(inside), node, permissions),
        Err(error) => {
            let Some(nodes) = found.below(host_path, NODES_MAX).map_err(failed)? else {
                return Err(failed(error));
            };
            if nodes.is_empty() {
                return Err(failed(io::Error::other("not a device node")));
            }
            for (path, node) in nodes {
                let below = path.strip_prefix(host_path).unwrap_or(&path);
                devices.add(clean(&format!("{inside}/{below}")), node, permissions);
            }
        }
    }
    Ok(())
}

impl Devices {
    fn add(&mut self, path: String, node: DeviceNode, permissions: &str) {
        self.rules.push(DeviceRule {
            allow: true,
            kind: Some(node.kind.to_string()),
            major: Some(node.major),
            minor: Some(node.minor),
            access: Some(permissions.to_owned()),
        });
        self.nodes.push(linux_device(path, node));
    }
}

fn linux_device(path: String, node: DeviceNode) -> LinuxDevice {
    LinuxDevice {
        path,
        kind: node.kind.to_string(),
        major: node.major,
        minor: node.minor,
        file_mode: Some(node.mode & 0o7777),
        uid: Some(node.uid),
        gid: Some(node.gid),
    }
}

/// `c 42:* rmw`.
fn parse_rule(text: &str) -> Result<DeviceRule, Invalid> {
    let invalid = || Invalid::rule(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, access] = words[..] else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(-1),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse::<i64>().map_err(|_| invalid())
        }
        _ => Err(invalid()),
    };
    let good = ["a", "b", "c"].contains(&kind)
        && (1..=3).contains(&access.len())
        && access.chars().all(|letter| "rwm".contains(letter));
    if !good {
        return Err(invalid());
    }
    Ok(DeviceRule {
        allow: true,
        kind: Some(kind.to_owned()),
        major: Some(number(major)?),
        minor: Some(number(minor)?),
        access: Some(access.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let rule = parse_rule("c 42:* rmw").expect("good");
        assert_eq!((rule.major, rule.minor), (Some(42), Some(-1)));
        for bad in [
            "", "foo", "c 1:2", "x 1:2 r", "c 1 r", "c a:1 r", "c 1:1 rx", "c 1:1 ", "c -1:1 r",
        ] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }
}
