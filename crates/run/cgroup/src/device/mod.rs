//! Device rules: what they mean, and how each hierarchy is told.
//!
//! The meaning is the same everywhere: every kind of access that is asked for
//! (read, write, mknod) is decided by the **last** rule that names the device
//! and that access; what no rule names is denied. v2 gets an eBPF program
//! ([`program`]); v1 gets the rules one by one, in order, and a list that v1
//! would understand differently is refused ([`check`]).

mod defaults;
mod program;
mod v1;

#[cfg(test)]
mod tests;

use carrack_oci::runtime::DeviceRule;

pub use defaults::{default_rules, default_v1_writes};
pub use program::program;
pub use v1::{V1File, V1Write, v1_writes};

use crate::{Error, Version};

/// Most rules of one container; the program stays far below the kernel's bound.
pub const RULES_MAX: usize = 512;

/// Access bits, as in `<linux/bpf.h>`.
pub(crate) const MKNOD: u8 = 1;
pub(crate) const READ: u8 = 2;
pub(crate) const WRITE: u8 = 4;
pub(crate) const ALL_ACCESS: u8 = MKNOD | READ | WRITE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Block,
    Char,
}

/// A rule, checked. `None` is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) allow: bool,
    pub(crate) kind: Option<DeviceKind>,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) access: u8,
}

impl Rule {
    /// Decides every access to every device: rules before it have no effect.
    pub(crate) fn is_total(&self) -> bool {
        self.kind.is_none()
            && self.major.is_none()
            && self.minor.is_none()
            && self.access == ALL_ACCESS
    }

    pub(crate) fn names(&self, kind: DeviceKind, major: u32, minor: u32) -> bool {
        self.kind.is_none_or(|own| own == kind)
            && self.major.is_none_or(|own| own == major)
            && self.minor.is_none_or(|own| own == minor)
    }
}

/// Checks that the rules are well-formed and that `version` can express them.
///
/// v1 keeps a default and a list of exceptions: a denial there only takes back
/// an exception of the very same numbers. A list of rules whose meaning would
/// change is [`Error::Unsupported`], never silently something else.
pub fn check(rules: &[DeviceRule], version: Version) -> Result<(), Error> {
    let rules = parse(rules)?;
    match version {
        Version::V1 => v1::check(&rules),
        Version::V2 => Ok(()),
    }
}

pub(crate) fn parse(rules: &[DeviceRule]) -> Result<Vec<Rule>, Error> {
    if rules.len() > RULES_MAX {
        return Err(invalid(format!("more than {RULES_MAX} rules")));
    }
    rules.iter().map(parse_one).collect()
}

fn parse_one(rule: &DeviceRule) -> Result<Rule, Error> {
    let kind = match rule.kind.as_deref() {
        None | Some("" | "a") => None,
        Some("b") => Some(DeviceKind::Block),
        Some("c" | "u") => Some(DeviceKind::Char),
        Some(other) => return Err(invalid(format!("{:?} is no type: a, b or c", first(other)))),
    };
    let mut access = 0;
    for letter in rule.access.as_deref().unwrap_or("").chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            other => return Err(invalid(format!("{other:?} is no access: r, w or m"))),
        };
    }
    Ok(Rule {
        allow: rule.allow,
        kind,
        major: number(rule.major)?,
        minor: number(rule.minor)?,
        access: if access == 0 { ALL_ACCESS } else { access },
    })
}

fn number(number: Option<i64>) -> Result<Option<u32>, Error> {
    match number {
        None | Some(-1) => Ok(None),
        // All ones is v1's own mark for "any".
        Some(number) => u32::try_from(number)
            .ok()
            .filter(|number| *number != u32::MAX)
            .map(Some)
            .ok_or_else(|| invalid(format!("{number} is no device number"))),
    }
}

fn first(text: &str) -> String {
    text.chars().take(16).collect()
}

fn invalid(reason: String) -> Error {
    Error::Invalid {
        what: "device rule",
        reason,
    }
}
