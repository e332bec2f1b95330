//! Device rules as a program of the v2 device controller: pure.
//!
//! The program gets `struct bpf_cgroup_dev_ctx` (type and access in one word,
//! major, minor) and returns 1 to allow. It goes through the rules from the
//! last to the first and keeps the accesses that are not yet decided; a rule
//! that denies one of them ends it, and so does the last one allowed.

use carrack_oci::runtime::DeviceRule;
use carrack_sys::bpf::BpfInstruction;

use super::{ALL_ACCESS, DeviceKind, Rule, parse};
use crate::Error;

// Operations of <linux/bpf.h>, with 32-bit operands throughout.
pub(super) const LOAD_WORD: u8 = 0x61; // LDX | MEM | W
pub(super) const AND: u8 = 0x54; // ALU | AND | K
pub(super) const SHIFT_RIGHT: u8 = 0x74; // ALU | RSH | K
pub(super) const MOVE: u8 = 0xb4; // ALU | MOV | K
pub(super) const MOVE_REGISTER: u8 = 0xbc; // ALU | MOV | X
pub(super) const JUMP_ALWAYS: u8 = 0x05; // JMP | JA
pub(super) const JUMP_NOT_EQUAL: u8 = 0x56; // JMP32 | JNE | K
pub(super) const JUMP_IF_SET: u8 = 0x46; // JMP32 | JSET | K
pub(super) const EXIT: u8 = 0x95; // JMP | EXIT

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const KIND_BLOCK: i32 = 1; // BPF_DEVCG_DEV_BLOCK
const KIND_CHAR: i32 = 2; // BPF_DEVCG_DEV_CHAR

/// Assembles the program; what no rule names is denied.
pub fn program(rules: &[DeviceRule]) -> Result<Vec<BpfInstruction>, Error> {
    let mut assembler = Assembler(prologue().to_vec());
    for rule in parse(rules)?.iter().rev() {
        if rule.is_total() {
            // What comes earlier can no longer decide anything.
            assembler.finish(rule.allow);
            return Ok(assembler.0);
        }
        assembler.rule(rule);
    }
    assembler.finish(false);
    Ok(assembler.0)
}

fn prologue() -> [BpfInstruction; 6] {
    [
        load(KIND, 0),
        operation(MOVE_REGISTER, ACCESS | KIND << 4, 0),
        operation(AND, KIND, 0xffff),
        operation(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ]
}

struct Assembler(Vec<BpfInstruction>);

impl Assembler {
    fn rule(&mut self, rule: &Rule) {
        let conditions = [
            (KIND, rule.kind.map(kind_number)),
            (MAJOR, rule.major.map(u32::cast_signed)),
            (MINOR, rule.minor.map(u32::cast_signed)),
        ];
        let conditions: Vec<(u8, i32)> = conditions
            .into_iter()
            .filter_map(|(register, value)| Some((register, value?)))
            .collect();
        let body = if rule.allow {
            allow(rule.access)
        } else {
            deny(rule.access)
        };
        let mut distance = conditions.len() + body.len();
        for (register, value) in conditions {
            distance -= 1;
            self.0.push(jump(JUMP_NOT_EQUAL, register, distance, value));
        }
        self.0.extend(body);
    }

    fn finish(&mut self, allow: bool) {
        self.0.push(operation(MOVE, RESULT, i32::from(allow)));
        self.0.push(operation(EXIT, 0, 0));
    }
}

/// Strikes the accesses off; allows when none is left.
fn allow(access: u8) -> [BpfInstruction; 4] {
    [
        operation(AND, ACCESS, i32::from(!access & ALL_ACCESS)),
        jump(JUMP_NOT_EQUAL, ACCESS, 2, 0),
        operation(MOVE, RESULT, 1),
        operation(EXIT, 0, 0),
    ]
}

/// Denies when one of the accesses is still undecided.
fn deny(access: u8) -> [BpfInstruction; 4] {
    [
        jump(JUMP_IF_SET, ACCESS, 1, i32::from(access)),
        jump(JUMP_ALWAYS, 0, 2, 0),
        operation(MOVE, RESULT, 0),
        operation(EXIT, 0, 0),
    ]
}

fn kind_number(kind: DeviceKind) -> i32 {
    match kind {
        DeviceKind::Block => KIND_BLOCK,
        DeviceKind::Char => KIND_CHAR,
    }
}

fn load(register: u8, offset: i16) -> BpfInstruction {
    BpfInstruction {
        code: LOAD_WORD,
        registers: register | CONTEXT << 4,
        offset,
        immediate: 0,
    }
}

fn operation(code: u8, registers: u8, immediate: i32) -> BpfInstruction {
    BpfInstruction {
        code,
        registers,
        offset: 0,
        immediate,
    }
}

fn jump(code: u8, register: u8, distance: usize, immediate: i32) -> BpfInstruction {
    BpfInstruction {
        code,
        registers: register,
        offset: i16::try_from(distance).expect("invariant: a rule is at most 7 instructions"),
        immediate,
    }
}
