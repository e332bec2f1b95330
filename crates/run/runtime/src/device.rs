//! The devices that every `/dev` has, `config-linux.md` "Default Devices".

use crate::plan::{DeviceKind, DevicePlan};

/// Path, major and minor number.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The default devices, as nodes that everybody may use.
pub(crate) fn defaults() -> impl Iterator<Item = DevicePlan> {
    DEFAULTS.iter().map(|(path, major, minor)| DevicePlan {
        path: (*path).to_owned(),
        kind: DeviceKind::Character,
        major: *major,
        minor: *minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        bind: None,
    })
}
