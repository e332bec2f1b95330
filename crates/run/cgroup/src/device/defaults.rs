//! What a container may reach unless it is told otherwise.

use std::sync::LazyLock;

use carrack_oci::runtime::DeviceRule;

use super::v1::{V1Write, v1_writes};

/// type, major, minor, access; −1 is any.
const DEFAULT: [(&str, i64, i64, &str); 11] = [
    ("c", -1, -1, "m"),
    ("b", -1, -1, "m"),
    ("c", 1, 3, "rwm"),    // null
    ("c", 1, 5, "rwm"),    // zero
    ("c", 1, 7, "rwm"),    // full
    ("c", 1, 8, "rwm"),    // random
    ("c", 1, 9, "rwm"),    // urandom
    ("c", 5, 0, "rwm"),    // tty
    ("c", 5, 1, "rwm"),    // console
    ("c", 5, 2, "rwm"),    // ptmx
    ("c", 136, -1, "rwm"), // pts
];

/// Docker's default: nothing, but nodes may be made, and the usual
/// character devices and terminals used.
#[must_use]
pub fn default_rules() -> Vec<DeviceRule> {
    let all = DeviceRule {
        allow: false,
        access: Some("rwm".to_owned()),
        ..DeviceRule::default()
    };
    let allowed = DEFAULT
        .iter()
        .map(|(kind, major, minor, access)| DeviceRule {
            allow: true,
            kind: Some((*kind).to_owned()),
            major: Some(*major),
            minor: Some(*minor),
            access: Some((*access).to_owned()),
        });
    std::iter::once(all).chain(allowed).collect()
}

/// The same as v1 wants it, computed once: a pool writes it into every leaf.
#[must_use]
pub fn default_v1_writes() -> &'static [V1Write] {
    static WRITES: LazyLock<Vec<V1Write>> = LazyLock::new(|| {
        v1_writes(&default_rules()).expect("invariant: the default rules are well-formed")
    });
    &WRITES
}
