//! v1's `devices.allow` and `devices.deny`, and a model of what the kernel
//! makes of them (`security/device_cgroup.c`).

use std::collections::BTreeSet;

use carrack_oci::runtime::DeviceRule;

use super::{ALL_ACCESS, DeviceKind, MKNOD, READ, Rule, WRITE, parse};
use crate::Error;

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V1File {
    /// `devices.allow`
    Allow,
    /// `devices.deny`
    Deny,
}

impl V1File {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "devices.allow",
            Self::Deny => "devices.deny",
        }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Write {
    /// File.
    pub file: V1File,
    /// For instance `c 1:3 rwm`, or `a`.
    pub value: String,
}

/// The writes for a list of rules, in its order. What no rule names is denied,
/// so a list that does not begin with everything is preceded by a denial.
pub fn v1_writes(rules: &[DeviceRule]) -> Result<Vec<V1Write>, Error> {
    let rules = parse(rules)?;
    Ok(steps(&rules).iter().map(Step::write).collect())
}

/// What one write tells the kernel.
enum Step {
    /// `a`: this is the default from now on, without exceptions.
    Everything { allow: bool },
    /// An exception is added or taken back.
    Exception(Exception, Direction),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Allow,
    Deny,
}

#[derive(Clone, Copy)]
struct Exception {
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

impl Step {
    fn write(&self) -> V1Write {
        match self {
            Self::Everything { allow } => V1Write {
                file: if *allow { V1File::Allow } else { V1File::Deny },
                value: "a".to_owned(),
            },
            Self::Exception(exception, direction) => V1Write {
                file: match direction {
                    Direction::Allow => V1File::Allow,
                    Direction::Deny => V1File::Deny,
                },
                value: exception.line(),
            },
        }
    }
}

impl Exception {
    fn line(&self) -> String {
        let kind = match self.kind {
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        let number = |number: Option<u32>| {
            number.map_or_else(|| "*".to_owned(), |number| number.to_string())
        };
        let mut line = format!("{kind} {}:{} ", number(self.major), number(self.minor));
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
            if self.access & bit != 0 {
                line.push(letter);
            }
        }
        line
    }
}

/// Rules of type `a` that are not total become one for each type: the kernel
/// reads a bare `a` and nothing behind it.
fn steps(rules: &[Rule]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(rules.len() + 1);
    if !rules.first().is_some_and(Rule::is_total) {
        steps.push(Step::Everything { allow: false });
    }
    for rule in rules {
        if rule.is_total() {
            steps.push(Step::Everything { allow: rule.allow });
            continue;
        }
        let direction = if rule.allow {
            Direction::Allow
        } else {
            Direction::Deny
        };
        for kind in [DeviceKind::Block, DeviceKind::Char] {
            if rule.kind.is_none_or(|own| own == kind) {
                steps.push(Step::Exception(
                    Exception {
                        kind,
                        major: rule.major,
                        minor: rule.minor,
                        access: rule.access,
                    },
                    direction,
                ));
            }
        }
    }
    steps
}

/// The kernel's state of one group.
struct Group {
    allow_by_default: bool,
    exceptions: Vec<Exception>,
}

impl Group {
    fn after(steps: &[Step]) -> Self {
        let mut group = Self {
            allow_by_default: true,
            exceptions: Vec::new(),
        };
        for step in steps {
            match step {
                Step::Everything { allow } => {
                    group.allow_by_default = *allow;
                    group.exceptions.clear();
                }
                Step::Exception(exception, direction) => {
                    let adds = (*direction == Direction::Allow) != group.allow_by_default;
                    if adds {
                        group.add(*exception);
                    } else {
                        group.take_back(exception);
                    }
                }
            }
        }
        group
    }

    fn add(&mut self, exception: Exception) {
        match self.exceptions.iter_mut().find(|own| same(own, &exception)) {
            Some(own) => own.access |= exception.access,
            None => self.exceptions.push(exception),
        }
    }

    fn take_back(&mut self, exception: &Exception) {
        for own in &mut self.exceptions {
            if same(own, exception) {
                own.access &= !exception.access;
            }
        }
        self.exceptions.retain(|own| own.access != 0);
    }

    fn allows(&self, kind: DeviceKind, major: u32, minor: u32, bit: u8) -> bool {
        let excepted = self.exceptions.iter().any(|own| {
            own.kind == kind
                && own.major.is_none_or(|own| own == major)
                && own.minor.is_none_or(|own| own == minor)
                && own.access & bit != 0
        });
        excepted != self.allow_by_default
    }
}

fn same(one: &Exception, other: &Exception) -> bool {
    one.kind == other.kind && one.major == other.major && one.minor == other.minor
}

/// Rules that cover each other in part are compared on every device that they
/// tell apart; a list beyond this many overlaps is refused.
const OVERLAPS_MAX: usize = 64;

/// Refuses a list that v1 would understand differently.
pub(super) fn check(rules: &[Rule]) -> Result<(), Error> {
    let start = rules.iter().rposition(Rule::is_total).unwrap_or(0);
    let rules = &rules[start..];
    // Only a rule against the default that follows or precedes a wider or
    // narrower one can be misunderstood: without both directions after the
    // last total rule, order does not matter.
    let body = rules.get(1..).unwrap_or(&[]);
    let first = rules.first();
    let default = first.is_some_and(|rule| rule.is_total() && rule.allow);
    let body = if first.is_some_and(Rule::is_total) {
        body
    } else {
        rules
    };
    if body.iter().all(|rule| rule.allow != default) {
        return Ok(());
    }
    let majors = numbers(body, |rule| rule.major);
    let minors = numbers(body, |rule| rule.minor);
    if majors.len() > OVERLAPS_MAX || minors.len() > OVERLAPS_MAX {
        return Err(unsupported(
            "the list of device rules is too long for cgroup v1",
        ));
    }
    let group = Group::after(&steps(rules));
    for kind in [DeviceKind::Block, DeviceKind::Char] {
        for &major in &majors {
            for &minor in &minors {
                for bit in [MKNOD, READ, WRITE] {
                    let meant = decide(rules, kind, major, minor, bit);
                    if group.allows(kind, major, minor, bit) != meant {
                        return Err(unsupported(
                            "cgroup v1 cannot express a rule that takes back a part of an earlier one",
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

/// The numbers that rules mention, and one that none does.
fn numbers(rules: &[Rule], number: fn(&Rule) -> Option<u32>) -> BTreeSet<u32> {
    let mut mentioned: BTreeSet<u32> = rules.iter().filter_map(number).collect();
    let other = (0..u32::MAX).find(|number| !mentioned.contains(number));
    mentioned.extend(other);
    mentioned
}

/// What the rules mean for one kind of access.
pub(super) fn decide(rules: &[Rule], kind: DeviceKind, major: u32, minor: u32, bit: u8) -> bool {
    debug_assert!(bit & ALL_ACCESS != 0 && bit.count_ones() == 1);
    rules
        .iter()
        .rev()
        .find(|rule| rule.access & bit != 0 && rule.names(kind, major, minor))
        .is_some_and(|rule| rule.allow)
}

fn unsupported(reason: &str) -> Error {
    Error::Unsupported {
        what: "device access".to_owned(),
        reason: reason.to_owned(),
    }
}
