//! A container's control group, made at the path that its configuration says.

use std::path::Path;

use carrack_cgroup::{GroupPath, Hierarchies, Leaf, LeafName};
use carrack_oci::ErrorKind;
use carrack_oci::runtime::{DeviceRule, Resources, Spec};

use crate::{Error, Result};

const MOUNTED: &str = "/sys/fs/cgroup";

/// Where a container's group is, below each hierarchy's root. One that nobody
/// gave a place lies below a group of its `--root`: ids are used again in
/// another.
pub(crate) fn path(spec: &Spec, root: &Path, id: &str) -> String {
    let linux = spec.linux.as_ref();
    let given = linux.and_then(|linux| linux.cgroups_path.as_deref());
    match given.filter(|path| !path.is_empty()) {
        Some(path) => path.trim_matches('/').to_owned(),
        None => format!("{OWN_PARENT}-{:08x}/{id}", fingerprint(root)),
    }
}

/// A number of a root's path, FNV-1a: the same for every call of every build.
fn fingerprint(root: &Path) -> u32 {
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let bytes = absolute.as_os_str().as_encoded_bytes();
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Beginning of the parents of groups that nobody gave a place.
const OWN_PARENT: &str = "carrack-runtime";
/// Tries to make a group whose parent somebody else removes just then.
const MAKE_TRIES: u32 = 5;

/// Makes a group, or takes one that is there and empty.
pub(crate) fn make(path: &str) -> Result<Leaf> {
    let mut tries = 1;
    loop {
        match try_make(path) {
            Err(Error::Cgroup(error))
                if error.kind() == ErrorKind::NotFound && tries < MAKE_TRIES =>
            {
                tries += 1;
            }
            made => return made,
        }
    }
}

fn try_make(path: &str) -> Result<Leaf> {
    let (parent, name) = split(path)?;
    let parent = parent_of(parent)?;
    match parent.create_leaf(&name) {
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let leaf = parent.open_leaf(&name)?;
            if leaf.processes()?.is_empty() {
                // Hierarchies that lack it get it.
                leaf.remove()?;
                Ok(parent.create_leaf(&name)?)
            } else {
                Err(Error::State(format!(
                    "the control group {path} is not empty: it is somebody else's"
                )))
            }
        }
        made => Ok(made?),
    }
}

/// Opens a container's group.
pub(crate) fn open(path: &str) -> Result<Leaf> {
    let (parent, name) = split(path)?;
    Ok(parent_of(parent)?.open_leaf(&name)?)
}

/// Removes a container's group with what a program inside made below it; one
/// that is gone is fine.
pub(crate) fn remove(path: &str) -> Result<()> {
    match open(path) {
        Err(Error::Cgroup(error)) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(leaf) => {
            leaf.remove()?;
            if split(path)?.0.starts_with(OWN_PARENT) {
                // Another container's group keeps it.
                let _still_used = leaf.parent().remove();
            }
            Ok(())
        }
    }
}

fn parent_of(path: &str) -> Result<carrack_cgroup::Parent> {
    let hierarchies = Hierarchies::detect(Path::new(MOUNTED))?;
    Ok(hierarchies.parent(&GroupPath::new(path)?)?)
}

/// A group at the root of the hierarchies lies below one of ours: a parent is
/// where controllers are handed down.
fn split(path: &str) -> Result<(&str, LeafName)> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((OWN_PARENT, path));
    Ok((parent, LeafName::new(name)?))
}

/// Puts a configuration's limits into force.
pub(crate) fn apply(leaf: &Leaf, resources: Option<&Resources>) -> Result<Vec<String>> {
    let mut resources = resources.cloned().unwrap_or_default();
    resources.devices = devices(&resources.devices);
    let ignored = leaf.apply(&resources)?;
    Ok(ignored.iter().map(left_out).collect())
}

/// A limit that has no meaning here, as a sentence.
pub(crate) fn left_out(ignored: &carrack_cgroup::Ignored) -> String {
    format!("{} is left out: {}", ignored.property, ignored.reason)
}

/// The configuration's rules in their order, with the devices that every
/// container has: behind the "nothing" that a list begins with, so that what
/// is denied afterwards stays denied.
fn devices(given: &[DeviceRule]) -> Vec<DeviceRule> {
    let denies_all = |rule: &&DeviceRule| {
        !rule.allow
            && matches!(rule.kind.as_deref(), None | Some("" | "a"))
            && rule.major.is_none_or(|n| n < 0)
            && rule.minor.is_none_or(|n| n < 0)
    };
    if given.is_empty() {
        return Vec::new();
    }
    let count = given.iter().take_while(denies_all).count();
    let defaults = carrack_cgroup::device::default_rules();
    let (first, rest) = given.split_at(count);
    let allowed = defaults.into_iter().filter(|rule| rule.allow);
    first
        .iter()
        .cloned()
        .chain(allowed)
        .chain(rest.iter().cloned())
        .collect()
}
