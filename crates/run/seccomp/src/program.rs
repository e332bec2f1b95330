//! A finished program: plain data, so that it can travel in the plan to the
//! process that loads it.

use serde::{Deserialize, Serialize};

/// `BPF_MAXINSNS` of `linux/bpf_common.h`.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// One instruction, laid out as `struct sock_filter` of `linux/filter.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SockFilter {
    /// What to do.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Flags of `seccomp(SECCOMP_SET_MODE_FILTER)`, `linux/seccomp.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FilterFlags(u32);

impl FilterFlags {
    /// All actions but "allow" are logged.
    pub const LOG: Self = Self(1 << 1);
    /// Speculative store bypass stays as it was.
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// The call returns a descriptor on which notifications arrive.
    pub const NEW_LISTENER: Self = Self(1 << 3);
    /// A notified call can be interrupted by fatal signals only.
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);

    /// As `seccomp(2)` takes them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A program for `seccomp(2)`, and how to load it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Program {
    instructions: Vec<SockFilter>,
    flags: FilterFlags,
}

impl Program {
    pub(crate) fn new(instructions: Vec<SockFilter>, flags: FilterFlags) -> Self {
        debug_assert!(!instructions.is_empty() && instructions.len() <= MAX_INSTRUCTIONS);
        Self {
            instructions,
            flags,
        }
    }

    /// 1 to [`MAX_INSTRUCTIONS`] instructions.
    pub fn instructions(&self) -> &[SockFilter] {
        &self.instructions
    }

    /// Flags to load it with.
    pub fn flags(&self) -> FilterFlags {
        self.flags
    }

    /// Whether loading it yields a descriptor that somebody must listen on
    /// (`SCMP_ACT_NOTIFY`): a loader that cannot pass it on refuses.
    pub fn needs_listener(&self) -> bool {
        self.flags.contains(FilterFlags::NEW_LISTENER)
    }

    /// The instructions as the kernel reads them: 8 bytes each, in the byte
    /// order of this machine.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.instructions.len() * 8);
        for instruction in &self.instructions {
            bytes.extend_from_slice(&instruction.code.to_ne_bytes());
            bytes.push(instruction.jt);
            bytes.push(instruction.jf);
            bytes.extend_from_slice(&instruction.k.to_ne_bytes());
        }
        bytes
    }
}
