//! Assembler for classic BPF, written from the end to the start.
//!
//! All jumps go forward, so when an instruction is emitted all its targets
//! are there already and every distance is known. A conditional jump reaches
//! 255 instructions; what is further gets a `return` or an unconditional jump
//! put in between.

use std::collections::HashMap;

use crate::program::SockFilter;
use crate::{Error, MAX_INSTRUCTIONS, Result};

/// What the kernel does: a return value of a seccomp program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Action(pub(crate) u32);

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// End with this action.
    Return(Action),
    /// Go on at an instruction.
    At(Label),
}

/// An instruction, counted from the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// A comparison of the accumulator with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    /// Any of these bits is set.
    AnyBit,
}

/// A 32-bit word of `struct seccomp_data`; offsets for little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Number,
    Architecture,
    /// Low half of an argument.
    Low(u8),
    /// High half of an argument.
    High(u8),
}

impl Word {
    fn offset(self) -> u32 {
        match self {
            Self::Number => 0,
            Self::Architecture => 4,
            Self::Low(argument) => 16 + 8 * u32::from(argument),
            Self::High(argument) => 20 + 8 * u32::from(argument),
        }
    }
}

/// `BPF_LD | BPF_W | BPF_ABS`
const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`
const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JA`
const JUMP: u16 = 0x05;
/// `BPF_RET | BPF_K`
const RETURN: u16 = 0x06;
/// What `jt` and `jf` can skip.
const MAX_BRANCH: usize = u8::MAX as usize;

/// A program in the making.
#[derive(Debug, Default)]
pub(crate) struct Emitter {
    /// The last instruction first.
    reversed: Vec<SockFilter>,
    /// The nearest `return` of each action.
    returns: HashMap<Action, Label>,
}

impl Emitter {
    /// Puts the comparison in front; one that decides nothing is left out.
    pub(crate) fn branch(&mut self, test: Test, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        // Bringing `yes` near may put one instruction before `no`.
        let no = self.bring_near(no, MAX_BRANCH - 1);
        let yes = self.bring_near(yes, MAX_BRANCH);
        let code = match test {
            Test::Equal => 0x15,
            Test::Greater => 0x25,
            Test::GreaterOrEqual => 0x35,
            Test::AnyBit => 0x45,
        };
        let (jt, jf) = (self.distance(yes), self.distance(no));
        Target::At(self.push(SockFilter {
            code,
            jt: u8::try_from(jt).expect("invariant: brought near"),
            jf: u8::try_from(jf).expect("invariant: brought near"),
            k,
        }))
    }

    /// Loads a word, masks it, and goes on at `next`, which reads it.
    pub(crate) fn load_masked(&mut self, word: Word, mask: u32, next: Target) -> Target {
        let Target::At(next) = next else {
            return next;
        };
        self.fall_into(next);
        if mask != u32::MAX {
            self.push(SockFilter {
                code: AND,
                jt: 0,
                jf: 0,
                k: mask,
            });
        }
        Target::At(self.push(SockFilter {
            code: LOAD,
            jt: 0,
            jf: 0,
            k: word.offset(),
        }))
    }

    /// Loads a word and goes on at `next`, which reads it.
    pub(crate) fn load(&mut self, word: Word, next: Target) -> Target {
        self.load_masked(word, u32::MAX, next)
    }

    /// The program that starts at `entry`.
    ///
    /// # Errors
    /// [`Error::ProgramTooLong`] above [`MAX_INSTRUCTIONS`].
    pub(crate) fn finish(mut self, entry: Target) -> Result<Vec<SockFilter>> {
        match entry {
            Target::At(entry) => self.fall_into(entry),
            Target::Return(action) => {
                self.push_return(action);
            }
        }
        if self.reversed.len() > MAX_INSTRUCTIONS {
            return Err(Error::ProgramTooLong {
                length: self.reversed.len(),
                limit: MAX_INSTRUCTIONS,
            });
        }
        self.reversed.reverse();
        Ok(self.reversed)
    }

    fn bring_near(&mut self, target: Target, reach: usize) -> Label {
        match target {
            Target::Return(action) => match self.returns.get(&action) {
                Some(&label) if self.distance(label) <= reach => label,
                _ => self.push_return(action),
            },
            Target::At(label) if self.distance(label) <= reach => label,
            Target::At(label) => self.push_jump(label),
        }
    }

    /// Makes the next instruction pushed go on at `label`.
    fn fall_into(&mut self, label: Label) {
        if self.distance(label) != 0 {
            self.push_jump(label);
        }
    }

    fn push_jump(&mut self, label: Label) -> Label {
        let distance = u32::try_from(self.distance(label)).unwrap_or(u32::MAX);
        self.push(SockFilter {
            code: JUMP,
            jt: 0,
            jf: 0,
            k: distance,
        })
    }

    fn push_return(&mut self, action: Action) -> Label {
        let label = self.push(SockFilter {
            code: RETURN,
            jt: 0,
            jf: 0,
            k: action.0,
        });
        self.returns.insert(action, label);
        label
    }

    fn push(&mut self, instruction: SockFilter) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len() - 1)
    }

    /// Instructions between the next one pushed and `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - 1 - label.0
    }
}
