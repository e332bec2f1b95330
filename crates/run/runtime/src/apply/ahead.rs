//! What nearly every container has, made while its init is parked: the file
//! systems of Docker's default mounts, and a `/dev` that is furnished. A plan
//! that asks for the same gets these; another one gets its own.

use std::os::fd::OwnedFd;

use carrack_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY, ATTR_STRICTATIME};
use rustix::fs::Mode;

use super::{devices, mounts};
use crate::device;
use crate::plan::FileSystemPlan;

const STRICT: u64 = ATTR_NOSUID | ATTR_NOEXEC | ATTR_NODEV;

/// Where, kind, source, parameters, attributes: what the planner makes of
/// Docker's defaults.
type Usual = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    u64,
);
const USUAL: [Usual; 6] = [
    ("/proc", "proc", "proc", &[], STRICT),
    (
        "/dev",
        "tmpfs",
        "tmpfs",
        &["mode=755", "size=65536k"],
        ATTR_NOSUID | ATTR_STRICTATIME,
    ),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ATTR_NOSUID | ATTR_NOEXEC,
    ),
    ("/sys", "sysfs", "sysfs", &[], STRICT | ATTR_RDONLY),
    ("/dev/mqueue", "mqueue", "mqueue", &[], STRICT),
    (
        "/dev/shm",
        "tmpfs",
        "shm",
        &["mode=1777", "size=67108864"],
        STRICT,
    ),
];

/// A file system made ahead.
pub(super) struct Made {
    at: &'static str,
    plan: FileSystemPlan,
    mount: OwnedFd,
    /// It is a `/dev` with the default devices, links and directories.
    pub(super) furnished: bool,
}

impl Made {
    pub(super) fn into_mount(self) -> OwnedFd {
        self.mount
    }
}

/// File systems made ahead of their plan.
#[derive(Default)]
pub struct Ahead(Vec<Made>);

impl Ahead {
    /// Makes them; what cannot be made in these namespaces is left out. The
    /// process' mask must be empty.
    pub(super) fn make() -> Self {
        Self(USUAL.iter().filter_map(make).collect())
    }

    /// Hands out what a plan asks for, if it is there.
    pub(super) fn take(&mut self, at: &str, plan: &FileSystemPlan) -> Option<Made> {
        let position = self
            .0
            .iter()
            .position(|made| made.at == at && made.plan == *plan)?;
        Some(self.0.swap_remove(position))
    }
}

fn make(usual: &Usual) -> Option<Made> {
    let (at, kind, source, parameters, attributes) = *usual;
    let parameter = |text: &&str| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => ((*text).to_owned(), None),
    };
    let plan = FileSystemPlan {
        kind: kind.to_owned(),
        source: source.to_owned(),
        parameters: parameters.iter().map(parameter).collect(),
        attributes,
        propagation: 0,
        copy_up: false,
    };
    let mount = mounts::new_file_system(&plan, None).ok()?;
    let furnished = at == "/dev" && furnish(&mount);
    Some(Made {
        at,
        plan,
        mount,
        furnished,
    })
}

/// Puts into a `/dev` what will be asked for. A user namespace allows no
/// nodes: then all of it is done later, and finds the directories.
fn furnish(dev: &OwnedFd) -> bool {
    let directory = |name| rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755)).is_ok();
    ["pts", "mqueue", "shm"].into_iter().all(directory)
        && device::defaults().all(|device| devices::make_in(dev, &device).is_ok())
        && devices::link_in(dev).is_ok()
}
