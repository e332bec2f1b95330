//! From rules to a program.
//!
//! The program loads the architecture, then the number, and searches it in a
//! balanced tree over ranges of equal verdict: the default profile takes
//! eight comparisons where a list takes hundreds. Conditions on one argument
//! are searched in the same way, as ranges of its 64 bits.
//!
//! What allows a call whatever its arguments uses only instructions that the
//! kernel (5.11 on) can evaluate ahead: it then lets such calls pass without
//! running the program at all.

use carrack_oci::runtime::{Seccomp, SeccompAction, SeccompOperator};

use crate::arch::{Abi, X32_BIT};
use crate::emit::{Action, Emitter, Target, Test, Word};
use crate::profile::check_architecture;
use crate::program::{FilterFlags, Program};
use crate::rules::{self, Condition, Rule, Rules, Verdict};
use crate::{Arch, Error, Result};

/// libseccomp's answer to an architecture that the filter does not cover:
/// `SCMP_ACT_KILL`, which ends the thread.
const BAD_ARCHITECTURE: Action = Action(0);
const ENOSYS: Action = Action(0x0005_0000 | 38);
/// A tracer skips a call by setting its number to -1 (`seccomp(2)`).
const SKIPPED: u32 = u32::MAX;

/// What a call gets whose number is above all that a profile names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewerCalls {
    /// `ENOSYS`, where the default action would not let it run: a C library
    /// newer than the profile then falls back to an older call, as on an
    /// older kernel. This is what runc does.
    NoSuchCall,
    /// The default action, as libseccomp alone does it.
    AsDefault,
}

/// The program for `native` of a resolved filter, as runc means it.
///
/// # Errors
/// [`Error`] for contradictory or impossible rules and for a program that
/// the kernel would not take.
pub fn compile(seccomp: &Seccomp, native: Arch) -> Result<Program> {
    compile_with(seccomp, native, NewerCalls::NoSuchCall)
}

/// As [`compile()`], with a choice about calls newer than the filter.
///
/// # Errors
/// As [`compile()`].
pub fn compile_with(seccomp: &Seccomp, native: Arch, newer: NewerCalls) -> Result<Program> {
    let default = rules::default_action(seccomp)?;
    let flags = flags(seccomp)?;
    let abis = abis(seccomp, native)?;
    let newer = match seccomp.default_action {
        SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace => NewerCalls::AsDefault,
        _ => newer,
    };

    let rules = rules::rules(seccomp, default, &abis)?;
    let mut emitter = Emitter::default();
    let mut program = Target::Return(BAD_ARCHITECTURE);
    // The last one compared is emitted first; the native one is compared first.
    for group in groups(&abis, native).into_iter().rev() {
        let audit = group[0].audit();
        let mut ranges = Ranges::new(default);
        for abi in &group {
            for rules in rules.iter().filter(|rules| rules.abi == *abi) {
                ranges.add(rules, newer);
            }
        }
        if group == [Abi::X86_64] {
            ranges.set(X32_BIT, SKIPPED, Leaf::Return(BAD_ARCHITECTURE));
        }
        let search = numbers(&mut emitter, &ranges.finish(), default);
        let search = emitter.load(Word::Number, search);
        program = emitter.branch(Test::Equal, audit, search, program);
    }
    let program = emitter.load(Word::Architecture, program);
    Ok(Program::new(emitter.finish(program)?, flags))
}

/// ABIs that share a value of `seccomp_data.arch`, the native ones first.
fn groups(abis: &[Abi], native: Arch) -> Vec<Vec<Abi>> {
    let mut groups = vec![vec![native.abi()]];
    for &abi in abis.iter().filter(|&&abi| abi != native.abi()) {
        match groups
            .iter_mut()
            .find(|group| group[0].audit() == abi.audit())
        {
            Some(group) => group.push(abi),
            None => groups.push(vec![abi]),
        }
    }
    groups
}

/// The native ABI, and those of the filter that the machine can meet.
fn abis(seccomp: &Seccomp, native: Arch) -> Result<Vec<Abi>> {
    for name in &seccomp.architectures {
        check_architecture(name)?;
    }
    let listed = |abi: &&Abi| {
        seccomp
            .architectures
            .iter()
            .any(|name| name == abi.scmp_name())
    };
    Ok(std::iter::once(native.abi())
        .chain(native.foreign_abis().iter().filter(listed).copied())
        .collect())
}

/// As runc: an absent list is "speculative store bypass stays as it was".
fn flags(seccomp: &Seccomp) -> Result<FilterFlags> {
    let mut flags = FilterFlags::default();
    if seccomp.flags.is_empty() {
        flags = flags.with(FilterFlags::SPEC_ALLOW);
    }
    for name in &seccomp.flags {
        flags = match name.as_str() {
            // The filter is loaded by a process with one thread.
            "SECCOMP_FILTER_FLAG_TSYNC" => flags,
            "SECCOMP_FILTER_FLAG_LOG" => flags.with(FilterFlags::LOG),
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => flags.with(FilterFlags::SPEC_ALLOW),
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => flags.with(FilterFlags::WAIT_KILLABLE_RECV),
            _ => return Err(Error::Flag { name: name.clone() }),
        };
    }
    if rules::notifies(seccomp)? {
        flags = flags.with(FilterFlags::NEW_LISTENER);
    } else if flags.contains(FilterFlags::WAIT_KILLABLE_RECV) {
        // The kernel refuses it without a listener.
        return Err(Error::Flag {
            name: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV".to_owned(),
        });
    }
    Ok(flags)
}

/// What a range of numbers comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaf<'a> {
    Return(Action),
    /// Depends on arguments; the ABI says how they are compared.
    Rules(Abi, &'a [Rule]),
}

/// All 2^32 numbers, as ranges with their verdicts.
struct Ranges<'a> {
    /// First number of each range, ascending from 0.
    pieces: Vec<(u32, Leaf<'a>)>,
    default: Action,
}

impl<'a> Ranges<'a> {
    fn new(default: Action) -> Self {
        Self {
            pieces: vec![(0, Leaf::Return(default))],
            default,
        }
    }

    /// Sets `first..end`. Ranges are set in ascending order: where one ends
    /// the next may start.
    fn set(&mut self, first: u32, end: u32, leaf: Leaf<'a>) {
        self.pieces.push((first, leaf));
        self.pieces.push((end, Leaf::Return(self.default)));
    }

    fn add(&mut self, rules: &'a Rules, newer: NewerCalls) {
        let abi = rules.abi;
        for (&number, verdict) in &rules.by_number {
            let leaf = match verdict {
                Verdict::Always(action) => Leaf::Return(*action),
                Verdict::First(rules) => Leaf::Rules(abi, rules),
            };
            self.set(number, number + 1, leaf);
        }
        if let (Some(largest), NewerCalls::NoSuchCall) = (rules.largest, newer) {
            let end = match abi {
                Abi::X86_64 => X32_BIT,
                _ => SKIPPED,
            };
            self.set(largest + 1, end, Leaf::Return(ENOSYS));
        }
    }

    /// Ascending, neighbours differing.
    fn finish(mut self) -> Vec<(u32, Leaf<'a>)> {
        // Stable: of two at one place the later one counts.
        self.pieces.sort_by_key(|&(first, _)| first);
        let mut pieces: Vec<(u32, Leaf<'a>)> = Vec::with_capacity(self.pieces.len());
        for piece in self.pieces {
            if pieces.last().is_some_and(|last| last.0 == piece.0) {
                pieces.pop();
            }
            pieces.push(piece);
        }
        pieces.dedup_by(|next, previous| next.1 == previous.1);
        pieces
    }
}

/// The search for a number; the accumulator holds it.
fn numbers(emitter: &mut Emitter, pieces: &[(u32, Leaf<'_>)], default: Action) -> Target {
    search(emitter, pieces, &mut |emitter, leaf| match *leaf {
        Leaf::Return(action) => Target::Return(action),
        Leaf::Rules(abi, rules) => match OneArgument::of(rules, default) {
            Some(ranges) => ranges.emit(emitter, abi),
            None => first_match(emitter, rules, abi, default),
        },
    })
}

/// A balanced search of the accumulator among ranges.
fn search<T>(
    emitter: &mut Emitter,
    pieces: &[(u32, T)],
    leaf: &mut impl FnMut(&mut Emitter, &T) -> Target,
) -> Target {
    if let [(_, only)] = pieces {
        return leaf(emitter, only);
    }
    let (lower, upper) = pieces.split_at(pieces.len() / 2);
    let upper_target = search(emitter, upper, leaf);
    let lower_target = search(emitter, lower, leaf);
    emitter.branch(Test::GreaterOrEqual, upper[0].0, upper_target, lower_target)
}

/// Rules one after the other.
fn first_match(emitter: &mut Emitter, rules: &[Rule], abi: Abi, default: Action) -> Target {
    let mut target = Target::Return(default);
    for rule in rules.iter().rev() {
        let otherwise = target;
        target = rule
            .conditions
            .iter()
            .rev()
            .fold(Target::Return(rule.action), |matched, condition| {
                test(emitter, condition, abi, matched, otherwise)
            });
    }
    target
}

/// One condition: goes on at `yes` or at `no`.
fn test(emitter: &mut Emitter, condition: &Condition, abi: Abi, yes: Target, no: Target) -> Target {
    let (low, high) = (low(condition.value), high(condition.value));
    let (yes, no) = match condition.operator {
        SeccompOperator::NotEqual | SeccompOperator::Less | SeccompOperator::LessOrEqual => {
            (no, yes)
        }
        _ => (yes, no),
    };
    let low_word = Word::Low(condition.argument);
    let high_word = Word::High(condition.argument);
    match condition.operator {
        SeccompOperator::Equal | SeccompOperator::NotEqual | SeccompOperator::MaskedEqual => {
            let rest = equal(emitter, low_word, low_mask(condition), low, yes, no);
            if abi.is_narrow() {
                return rest;
            }
            equal(emitter, high_word, high_mask(condition), high, rest, no)
        }
        SeccompOperator::Greater | SeccompOperator::LessOrEqual => {
            let rest = emitter.branch(Test::Greater, low, yes, no);
            above(emitter, condition.argument, abi, high, rest, (yes, no))
        }
        SeccompOperator::GreaterOrEqual | SeccompOperator::Less => {
            let rest = emitter.branch(Test::GreaterOrEqual, low, yes, no);
            above(emitter, condition.argument, abi, high, rest, (yes, no))
        }
    }
}

/// Whether a word under a mask is `value`.
fn equal(
    emitter: &mut Emitter,
    word: Word,
    mask: u32,
    value: u32,
    yes: Target,
    no: Target,
) -> Target {
    if mask == 0 {
        return yes;
    }
    if value == 0 && mask != u32::MAX {
        let branch = emitter.branch(Test::AnyBit, mask, no, yes);
        return emitter.load(word, branch);
    }
    let branch = emitter.branch(Test::Equal, value, yes, no);
    emitter.load_masked(word, mask, branch)
}

/// Decides by the high half; where it is equal, by `low`, a comparison of the
/// low half that is not loaded yet.
fn above(
    emitter: &mut Emitter,
    argument: u8,
    abi: Abi,
    high: u32,
    low: Target,
    (yes, no): (Target, Target),
) -> Target {
    let low = emitter.load(Word::Low(argument), low);
    if abi.is_narrow() {
        return low;
    }
    let equal = emitter.branch(Test::Equal, high, low, no);
    let greater = emitter.branch(Test::Greater, high, yes, equal);
    emitter.load(Word::High(argument), greater)
}

/// Rules that all look at one argument: a function of that argument, as
/// ranges.
struct OneArgument {
    argument: u8,
    /// First value of each range, ascending from 0, neighbours differing.
    pieces: Vec<(u64, Action)>,
}

impl OneArgument {
    /// `None` where a rule looks at two arguments, or through a mask.
    fn of(rules: &[Rule], default: Action) -> Option<Self> {
        let argument = rules.first()?.conditions.first()?.argument;
        let mut alone = Vec::with_capacity(rules.len());
        for rule in rules {
            let [condition] = rule.conditions.as_slice() else {
                return None;
            };
            if condition.argument != argument || condition.operator == SeccompOperator::MaskedEqual
            {
                return None;
            }
            alone.push((condition, rule.action));
        }
        let mut starts: Vec<u64> = std::iter::once(0)
            .chain(alone.iter().map(|(condition, _)| condition.value))
            .chain(
                alone
                    .iter()
                    .filter_map(|(condition, _)| condition.value.checked_add(1)),
            )
            .filter(|&start| start <= alone[0].0.mask)
            .collect();
        starts.sort_unstable();
        starts.dedup();
        let mut pieces: Vec<(u64, Action)> = starts
            .into_iter()
            .map(|start| {
                let action = alone
                    .iter()
                    .find(|(condition, _)| holds(condition, start))
                    .map_or(default, |&(_, action)| action);
                (start, action)
            })
            .collect();
        pieces.dedup_by(|next, previous| next.1 == previous.1);
        Some(Self { argument, pieces })
    }

    fn emit(&self, emitter: &mut Emitter, abi: Abi) -> Target {
        if abi.is_narrow() {
            let pieces: Vec<(u32, Action)> = self
                .pieces
                .iter()
                .map(|&(start, action)| (low(start), action))
                .collect();
            return self.search_low(emitter, &pieces);
        }
        let halves = self.by_high_half();
        let target = search(emitter, &halves, &mut |emitter, low| match low.as_slice() {
            [(_, action)] => Target::Return(*action),
            pieces => self.search_low(emitter, pieces),
        });
        emitter.load(Word::High(self.argument), target)
    }

    /// For each range of the high half, the ranges of the low half; where
    /// they are more than one, the high half is a single value.
    fn by_high_half(&self) -> Vec<(u32, Vec<(u32, Action)>)> {
        let mut highs: Vec<u32> = self
            .pieces
            .iter()
            .flat_map(|&(start, _)| {
                let after = high(start).checked_add(1).filter(|_| low(start) != 0);
                std::iter::once(high(start)).chain(after)
            })
            .collect();
        highs.sort_unstable();
        highs.dedup();
        let mut halves: Vec<(u32, Vec<(u32, Action)>)> = highs
            .into_iter()
            .map(|half| (half, self.within(half)))
            .collect();
        halves.dedup_by(|next, previous| next.1 == previous.1 && next.1.len() == 1);
        halves
    }

    /// The ranges of the low half where the high half is `half`.
    fn within(&self, half: u32) -> Vec<(u32, Action)> {
        let base = u64::from(half) << 32;
        let after = self.pieces.partition_point(|&(start, _)| start <= base);
        let inside = self.pieces[after..]
            .iter()
            .take_while(|&&(start, _)| high(start) == half)
            .map(|&(start, action)| (low(start), action));
        // The first piece starts at 0, so one starts at or before `base`.
        std::iter::once((0, self.pieces[after - 1].1))
            .chain(inside)
            .collect()
    }

    fn search_low(&self, emitter: &mut Emitter, pieces: &[(u32, Action)]) -> Target {
        let target = search(emitter, pieces, &mut |_, action| Target::Return(*action));
        emitter.load(Word::Low(self.argument), target)
    }
}

fn holds(condition: &Condition, value: u64) -> bool {
    let (value, with) = (value & condition.mask, condition.value);
    match condition.operator {
        SeccompOperator::NotEqual => value != with,
        SeccompOperator::Less => value < with,
        SeccompOperator::LessOrEqual => value <= with,
        SeccompOperator::Equal | SeccompOperator::MaskedEqual => value == with,
        SeccompOperator::GreaterOrEqual => value >= with,
        SeccompOperator::Greater => value > with,
    }
}

fn low_mask(condition: &Condition) -> u32 {
    low(condition.mask)
}

fn high_mask(condition: &Condition) -> u32 {
    high(condition.mask)
}

fn low(value: u64) -> u32 {
    (value & u64::from(u32::MAX)) as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}
