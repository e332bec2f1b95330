use carrack_oci::runtime::DeviceRule;
use carrack_sys::bpf::{self, BpfInstruction};
use expect_test::expect;

use super::*;

fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> DeviceRule {
    DeviceRule {
        allow,
        kind: Some(kind.to_owned()),
        major: Some(major),
        minor: Some(minor),
        access: Some(access.to_owned()),
    }
}

/// The part of the machine that the programs use: 32-bit registers. Refuses
/// what the verifier would: jumps out of the program, a fall off its end.
fn run(program: &[BpfInstruction], kind: u32, access: u32, major: u32, minor: u32) -> u32 {
    let context = [access << 16 | kind, major, minor];
    let mut registers = [0_u32; 11];
    let mut next = 0_usize;
    for _ in 0..program.len() {
        let instruction = program[next];
        next += 1;
        let target = usize::from(instruction.registers & 15);
        let source = usize::from(instruction.registers >> 4);
        let operand = instruction.immediate.cast_unsigned();
        let jump = match instruction.code {
            program::LOAD_WORD => {
                assert_eq!(source, 1, "only the context is read");
                let offset = usize::try_from(instruction.offset).unwrap();
                registers[target] = context[offset / 4];
                false
            }
            program::AND => {
                registers[target] &= operand;
                false
            }
            program::SHIFT_RIGHT => {
                registers[target] >>= operand;
                false
            }
            program::MOVE => {
                registers[target] = operand;
                false
            }
            program::MOVE_REGISTER => {
                registers[target] = registers[source];
                false
            }
            program::JUMP_ALWAYS => true,
            program::JUMP_NOT_EQUAL => registers[target] != operand,
            program::JUMP_IF_SET => registers[target] & operand != 0,
            program::EXIT => return registers[0],
            other => panic!("unknown operation {other:#x}"),
        };
        if jump {
            next += usize::try_from(instruction.offset).unwrap();
        }
    }
    panic!("the program did not end");
}

/// What the module promises, said in the plainest way.
fn meaning(rules: &[Rule], kind: DeviceKind, access: u8, major: u32, minor: u32) -> bool {
    let mut bits = [MKNOD, READ, WRITE]
        .into_iter()
        .filter(|bit| access & bit != 0);
    bits.all(|bit| {
        let mut allowed = false;
        for rule in rules {
            let kind_fits = rule.kind.is_none() || rule.kind == Some(kind);
            let major_fits = rule.major.is_none() || rule.major == Some(major);
            let minor_fits = rule.minor.is_none() || rule.minor == Some(minor);
            if kind_fits && major_fits && minor_fits && rule.access & bit != 0 {
                allowed = rule.allow;
            }
        }
        allowed
    })
}

const KINDS: [(DeviceKind, u32); 2] = [(DeviceKind::Block, 1), (DeviceKind::Char, 2)];

fn agrees(rules: &[DeviceRule]) {
    let program = program(rules).unwrap();
    let parsed = parse(rules).unwrap();
    for (kind, number) in KINDS {
        for access in 1..=ALL_ACCESS {
            for major in 0..4 {
                for minor in 0..4 {
                    let result = run(&program, number, u32::from(access), major, minor);
                    assert_eq!(
                        result == 1,
                        meaning(&parsed, kind, access, major, minor),
                        "{rules:?}: {kind:?} {major}:{minor} access {access}"
                    );
                }
            }
        }
    }
}

/// Small deterministic generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn rule(&mut self) -> DeviceRule {
        let kind = ["a", "b", "c"][self.below(3) as usize];
        let number = |value: u64| i64::try_from(value).unwrap() - 1;
        let (major, minor) = (number(self.below(4)), number(self.below(4)));
        let access = ["r", "w", "m", "rw", "rm", "wm", "rwm", ""][self.below(8) as usize];
        rule(self.below(2) == 0, kind, major, minor, access)
    }

    fn rules(&mut self) -> Vec<DeviceRule> {
        (0..self.below(7)).map(|_| self.rule()).collect()
    }
}

#[test]
fn program_means_what_the_rules_say() {
    agrees(&[]);
    agrees(&default_rules());
    agrees(&[DeviceRule {
        allow: true,
        ..DeviceRule::default()
    }]);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        agrees(&random.rules());
    }
}

#[test]
fn v1_is_told_the_same_or_refuses() {
    let mut random = Random(42);
    let (mut expressed, mut refused) = (0, 0);
    for _ in 0..3000 {
        let rules = random.rules();
        if check(&rules, Version::V1).is_err() {
            refused += 1;
            continue;
        }
        expressed += 1;
        let parsed = parse(&rules).unwrap();
        let writes = v1_writes(&rules).unwrap();
        for (kind, _) in KINDS {
            for bit in [MKNOD, READ, WRITE] {
                for (major, minor) in (0..16).map(|number| (number / 4, number % 4)) {
                    assert_eq!(
                        kernel_v1(&writes, kind, bit, major, minor),
                        meaning(&parsed, kind, bit, major, minor),
                        "{rules:?}: {kind:?} {major}:{minor} {bit}"
                    );
                }
            }
        }
    }
    assert!(expressed > 500 && refused > 100, "{expressed} {refused}");
}

/// The kernel's rules again, from the text that is written: independent of the
/// model in the code.
fn kernel_v1(writes: &[V1Write], kind: DeviceKind, bit: u8, major: u32, minor: u32) -> bool {
    let mut allow_by_default = true;
    let mut exceptions: Vec<(String, String)> = Vec::new();
    for V1Write { file, value } in writes {
        let allow = *file == V1File::Allow;
        if value == "a" {
            (allow_by_default, exceptions) = (allow, Vec::new());
            continue;
        }
        let (device, access) = value.rsplit_once(' ').unwrap();
        if allow != allow_by_default {
            exceptions.push((device.to_owned(), access.to_owned()));
        } else {
            for (own, letters) in &mut exceptions {
                if own == device {
                    letters.retain(|letter| !access.contains(letter));
                }
            }
        }
    }
    let letter = match bit {
        MKNOD => 'm',
        READ => 'r',
        _ => 'w',
    };
    let first = if kind == DeviceKind::Block { 'b' } else { 'c' };
    let names = [
        format!("{first} {major}:{minor}"),
        format!("{first} *:{minor}"),
        format!("{first} {major}:*"),
        format!("{first} *:*"),
    ];
    let excepted = exceptions
        .iter()
        .any(|(device, access)| names.contains(device) && access.contains(letter));
    excepted != allow_by_default
}

#[test]
fn defaults_as_v1_gets_them() {
    let lines: Vec<String> = default_v1_writes()
        .iter()
        .map(|write| format!("{} < {}", write.file.name(), write.value))
        .collect();
    expect![[r#"
        devices.deny < a
        devices.allow < c *:* m
        devices.allow < b *:* m
        devices.allow < c 1:3 rwm
        devices.allow < c 1:5 rwm
        devices.allow < c 1:7 rwm
        devices.allow < c 1:8 rwm
        devices.allow < c 1:9 rwm
        devices.allow < c 5:0 rwm
        devices.allow < c 5:1 rwm
        devices.allow < c 5:2 rwm
        devices.allow < c 136:* rwm"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn a_denial_within_a_wider_permission_is_not_lost_on_v1() {
    let rules = [
        rule(false, "a", -1, -1, "rwm"),
        rule(true, "c", 1, -1, "rwm"),
        rule(false, "c", 1, 3, "rwm"),
    ];
    assert!(matches!(
        check(&rules, Version::V1),
        Err(Error::Unsupported { .. })
    ));
    assert!(check(&rules, Version::V2).is_ok());
    // The same numbers can be taken back.
    let exact = [
        rules[0].clone(),
        rule(true, "c", 1, 3, "rwm"),
        rules[2].clone(),
    ];
    assert!(check(&exact, Version::V1).is_ok());
}

#[test]
fn hostile_rules() {
    let refused =
        |rule: DeviceRule| assert!(parse(std::slice::from_ref(&rule)).is_err(), "{rule:?}");
    refused(rule(true, "x", 1, 3, "rwm"));
    refused(rule(true, "c", 1, 3, "rwx"));
    refused(rule(true, "c", -2, 3, "r"));
    refused(rule(true, "c", 1, 1 << 32, "r"));
    refused(rule(true, "c", i64::from(u32::MAX), 1, "r"));
    assert!(parse(&vec![rule(true, "c", 1, 3, "r"); RULES_MAX + 1]).is_err());
    assert!(program(&vec![rule(true, "c", 1, 3, "r"); RULES_MAX]).is_ok());
}

/// The kernel's verifier has the last word.
#[test]
fn the_kernel_takes_the_programs() {
    let mut random = Random(7);
    let mut lists: Vec<Vec<DeviceRule>> = (0..50).map(|_| random.rules()).collect();
    lists.push(default_rules());
    lists.push(vec![rule(true, "c", 1, 3, "rw"); RULES_MAX]);
    for rules in lists {
        match bpf::load_device_program(&program(&rules).unwrap()) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                // EACCES is the verifier's; without the capability it is EPERM.
                assert_eq!(error.raw_os_error(), Some(1), "{rules:?}");
                println!("SKIP: loading a device program is not permitted here");
                return;
            }
            Err(error) => panic!("{rules:?}: {error}"),
        }
    }
}
