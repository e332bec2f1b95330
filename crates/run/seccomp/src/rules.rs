//! The rules of one ABI: numbers instead of names, order decided.
//!
//! What several rules for one call mean together is libseccomp's choice, and
//! profiles rely on it:
//! - a rule whose action is the default one says nothing;
//! - the first rule without a condition decides the call, whatever else there
//!   is, before or after it;
//! - of rules with conditions any may match. Where two with different actions
//!   match the same call, the one on the higher argument goes first, then
//!   `=`, `≠` and masks before `<` and `≤` before `>` and `≥`, then the
//!   narrower one;
//! - the same condition with two actions is an error.
//!
//! As runc does it, conditions on the same argument within one rule are
//! alternatives, not a conjunction.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use carrack_oci::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};

use crate::arch::{Abi, Call};
use crate::emit::Action;
use crate::{Error, Result};

/// Rules with conditions that one call may have: each needs instructions.
const MAX_RULES_OF_CALL: usize = 1024;
/// Pairs of rule and name in a profile.
const MAX_RULES: usize = 64 << 10;
/// Arguments of a call.
const ARGUMENTS: usize = 6;
/// `MAX_ERRNO` of `linux/err.h`: what a call can return.
const MAX_ERRNO: u32 = 4095;
/// `SECCOMP_RET_DATA`: what a tracer can be told.
const MAX_TRACE: u32 = 0xFFFF;
const EPERM: u32 = 1;

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Whatever the arguments.
    Always(Action),
    /// The first rule that matches, else the default action.
    First(Vec<Rule>),
}

/// Conditions that must all hold, in the order of arguments, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: Action,
}

/// A condition on one argument, reduced to what the ABI compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) argument: u8,
    pub(crate) operator: SeccompOperator,
    /// Compared with; under the mask for a masked comparison.
    pub(crate) value: u64,
    /// All ones but for a masked comparison.
    pub(crate) mask: u64,
}

/// The rules of one ABI by number.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) abi: Abi,
    pub(crate) by_number: BTreeMap<u32, Verdict>,
    /// The largest number that any rule names, also a redundant one.
    pub(crate) largest: Option<u32>,
}

/// The default action of a filter.
///
/// # Errors
/// [`Error::Errno`], [`Error::Notify`].
pub(crate) fn default_action(seccomp: &Seccomp) -> Result<Action> {
    if seccomp.default_action == SeccompAction::Notify {
        return Err(Error::Notify {
            place: "as default action",
        });
    }
    action(seccomp.default_action, seccomp.default_errno_ret)
}

/// The kernel's value of an action.
///
/// # Errors
/// [`Error::Errno`] for a value that the kernel would cut.
fn action(action: SeccompAction, errno: Option<u32>) -> Result<Action> {
    let data = |limit: u32| {
        let value = errno.unwrap_or(EPERM);
        if value > limit {
            return Err(Error::Errno { value, limit });
        }
        Ok(value)
    };
    Ok(Action(match action {
        SeccompAction::KillThread => 0,
        SeccompAction::KillProcess => 0x8000_0000,
        SeccompAction::Trap => 0x0003_0000,
        SeccompAction::Errno => 0x0005_0000 | data(MAX_ERRNO)?,
        SeccompAction::Notify => 0x7FC0_0000,
        SeccompAction::Trace => 0x7FF0_0000 | data(MAX_TRACE)?,
        SeccompAction::Log => 0x7FFC_0000,
        SeccompAction::Allow => 0x7FFF_0000,
    }))
}

/// Whether any rule asks a listener.
///
/// # Errors
/// [`Error::Notify`] for `write`, without which a container cannot start.
pub(crate) fn notifies(seccomp: &Seccomp) -> Result<bool> {
    let mut found = false;
    for call in &seccomp.syscalls {
        if call.action == SeccompAction::Notify {
            found = true;
            if call.names.iter().any(|name| name == "write") {
                return Err(Error::Notify {
                    place: "for the write syscall",
                });
            }
        }
    }
    Ok(found)
}

/// The rules for each of `abis`.
///
/// # Errors
/// [`Error`] for a condition or a value that cannot be, and for too many.
pub(crate) fn rules(seccomp: &Seccomp, default: Action, abis: &[Abi]) -> Result<Vec<Rules>> {
    let pairs: usize = seccomp.syscalls.iter().map(|call| call.names.len()).sum();
    if pairs > MAX_RULES {
        return Err(Error::TooManyRules {
            scope: "in all".to_owned(),
            limit: MAX_RULES,
        });
    }
    let mut rules: Vec<Rules> = abis.iter().map(|&abi| Rules::new(abi)).collect();
    for group in &seccomp.syscalls {
        let action = action(group.action, group.errno_ret)?;
        let alternatives = alternatives(group)?;
        for call in group.names.iter().filter_map(|name| Call::find(name)) {
            for rules in &mut rules {
                rules.count(call);
                if action != default {
                    rules.add_call(call, &alternatives, action)?;
                }
            }
        }
    }
    Ok(rules)
}

impl Rules {
    fn new(abi: Abi) -> Self {
        Self {
            abi,
            by_number: BTreeMap::new(),
            largest: None,
        }
    }

    fn count(&mut self, call: Call) {
        self.largest = self.largest.max(self.abi.number(call));
    }

    fn add_call(
        &mut self,
        call: Call,
        alternatives: &[Vec<SeccompArg>],
        action: Action,
    ) -> Result<()> {
        for alternative in alternatives {
            if let Some((number, selector)) = self.abi.multiplexed(call) {
                let conditions = reduce(&with_selector(alternative, selector), self.abi);
                self.add(call, number, conditions, action)?;
            }
            if let Some(number) = self.abi.number(call) {
                self.add(call, number, reduce(alternative, self.abi), action)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        call: Call,
        number: u32,
        conditions: Vec<Condition>,
        action: Action,
    ) -> Result<()> {
        let verdict = self
            .by_number
            .entry(number)
            .or_insert_with(|| Verdict::First(Vec::new()));
        let Verdict::First(rules) = verdict else {
            return Ok(());
        };
        if conditions.is_empty() {
            *verdict = Verdict::Always(action);
            return Ok(());
        }
        insert(rules, Rule { conditions, action }, call.name())
    }
}

/// Puts a rule at its place.
fn insert(rules: &mut Vec<Rule>, new: Rule, name: &str) -> Result<()> {
    for old in rules.iter() {
        if new.conditions.starts_with(&old.conditions) {
            // What matches `new` matches `old` as well.
            if old.action != new.action && old.conditions.len() == new.conditions.len() {
                return Err(contradiction(name));
            }
            return Ok(());
        }
        if old.conditions.starts_with(&new.conditions) && old.action != new.action {
            return Err(contradiction(name));
        }
    }
    if rules.len() >= MAX_RULES_OF_CALL {
        return Err(Error::TooManyRules {
            scope: format!("for {name}"),
            limit: MAX_RULES_OF_CALL,
        });
    }
    let place = rules
        .iter()
        .position(|old| order(&new, old) == Ordering::Less)
        .unwrap_or(rules.len());
    rules.insert(place, new);
    Ok(())
}

fn contradiction(name: &str) -> Error {
    Error::Contradiction {
        call: name.to_owned(),
    }
}

fn order(a: &Rule, b: &Rule) -> Ordering {
    for (a, b) in a.conditions.iter().zip(&b.conditions) {
        let narrower = match class(a.operator) {
            1 => a.value.cmp(&b.value),
            _ => b.value.cmp(&a.value),
        };
        let order = b
            .argument
            .cmp(&a.argument)
            .then(class(a.operator).cmp(&class(b.operator)))
            .then(narrower);
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// Which kinds of comparison go first.
fn class(operator: SeccompOperator) -> u8 {
    match operator {
        SeccompOperator::Equal | SeccompOperator::NotEqual | SeccompOperator::MaskedEqual => 0,
        SeccompOperator::Less | SeccompOperator::LessOrEqual => 1,
        SeccompOperator::Greater | SeccompOperator::GreaterOrEqual => 2,
    }
}

/// Splits a rule that names an argument twice into one rule a condition.
fn alternatives(group: &SeccompSyscall) -> Result<Vec<Vec<SeccompArg>>> {
    let args = &group.args;
    let mut seen = [false; ARGUMENTS];
    let mut twice = false;
    for arg in args {
        let Some(seen) = usize::try_from(arg.index)
            .ok()
            .and_then(|index| seen.get_mut(index))
        else {
            return Err(Error::Argument {
                call: group.names.first().cloned().unwrap_or_default(),
                index: arg.index,
            });
        };
        twice |= std::mem::replace(seen, true);
    }
    if twice {
        return Ok(args.iter().map(|arg| vec![*arg]).collect());
    }
    Ok(vec![args.clone()])
}

/// The same conditions behind `socketcall(2)` or `ipc(2)`. libseccomp keeps
/// the ones on the later arguments and replaces the one on the first.
fn with_selector(args: &[SeccompArg], selector: u64) -> Vec<SeccompArg> {
    let mut args: Vec<SeccompArg> = args.iter().copied().filter(|arg| arg.index != 0).collect();
    args.push(SeccompArg {
        index: 0,
        value: selector,
        value_two: 0,
        op: SeccompOperator::Equal,
    });
    args
}

/// Conditions in the order of arguments, without those that always hold.
fn reduce(args: &[SeccompArg], abi: Abi) -> Vec<Condition> {
    let width = if abi.is_narrow() {
        u64::from(u32::MAX)
    } else {
        u64::MAX
    };
    let mut conditions: Vec<Condition> = args
        .iter()
        .map(|arg| {
            let (value, mask) = match arg.op {
                SeccompOperator::MaskedEqual => (arg.value_two, arg.value & width),
                _ => (arg.value, width),
            };
            Condition {
                argument: u8::try_from(arg.index).unwrap_or(u8::MAX),
                operator: arg.op,
                value: value & mask,
                mask,
            }
        })
        .filter(|condition| condition.mask != 0)
        .collect();
    conditions.sort_by_key(|condition| condition.argument);
    conditions
}
