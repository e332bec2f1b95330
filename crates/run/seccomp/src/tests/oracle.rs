//! libseccomp makes the same decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use carrack_oci::runtime::{Seccomp, SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};

use super::interpreter::{Call, run};
use super::{built, default_filter, usual_capabilities};
use crate::arch::{self, Abi, X32_BIT};
use crate::table::ROWS;
use crate::{Arch, CapabilitySet, Error, NewerCalls, SockFilter, compile_with, rules};

const ABIS: [Abi; 3] = [Abi::X86_64, Abi::X86, Abi::X32];
/// `SCMP_ARCH_X32`; the others are the kernel's values.
const X32_TOKEN: u32 = 0x4000_003E;
const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;
const NAMES: [&str; 6] = ["openat", "socket", "clone", "shmget", "ioctl", "sendto"];
/// In the order of libseccomp's numbers, from 1.
const OPERATORS: [SeccompOperator; 7] = [
    SeccompOperator::NotEqual,
    SeccompOperator::Less,
    SeccompOperator::LessOrEqual,
    SeccompOperator::Equal,
    SeccompOperator::GreaterOrEqual,
    SeccompOperator::Greater,
    SeccompOperator::MaskedEqual,
];
const ONE_ACTION: &[(SeccompAction, Option<u32>)] = &[(SeccompAction::Allow, None)];
const THREE_ACTIONS: &[(SeccompAction, Option<u32>)] = &[
    (SeccompAction::Allow, None),
    (SeccompAction::Errno, Some(38)),
    (SeccompAction::Log, None),
];
/// `EEXIST`: the same condition with two actions.
const CONTRADICTION: &str = "-17";

fn token(abi: Abi) -> u32 {
    match abi {
        Abi::X32 => X32_TOKEN,
        _ => abi.audit(),
    }
}

fn number(abi: Abi, name: &str) -> Option<u32> {
    abi.number(arch::Call::find(name)?)
}

fn multiplexed(abi: Abi, name: &str) -> Option<(u32, u64)> {
    abi.multiplexed(arch::Call::find(name)?)
}

/// The oracle's answer: a program, and what it said on standard error.
fn ask(oracle: &Path, lines: &str) -> Option<(Vec<SockFilter>, String)> {
    let mut child = Command::new(oracle)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("oracle starts");
    let mut input = child.stdin.take().expect("piped");
    let text = lines.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("oracle ends");
    writer.join().expect("writer").expect("oracle reads");
    if output.status.code() == Some(77) {
        println!("SKIP: no libseccomp.so.2");
        return None;
    }
    assert!(output.status.success(), "oracle failed: {output:?}");
    let program = output
        .stdout
        .chunks_exact(8)
        .map(|bytes| SockFilter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    Some((program, String::from_utf8(output.stderr).expect("text")))
}

fn action_value(action: SeccompAction, errno: Option<u32>) -> u32 {
    rules::default_action(&Seccomp {
        default_action: action,
        default_errno_ret: errno,
        ..Seccomp::default()
    })
    .expect("an action")
    .0
}

/// The filter in the oracle's words, as runc would hand it to libseccomp.
fn words(seccomp: &Seccomp) -> String {
    let default = action_value(seccomp.default_action, seccomp.default_errno_ret);
    let mut lines = format!("default {default}\n");
    for abi in ABIS {
        let listed = seccomp
            .architectures
            .iter()
            .any(|name| name == abi.scmp_name());
        if listed && abi != Abi::X86_64 {
            writeln!(lines, "arch {}", token(abi)).expect("string");
        }
    }
    for call in &seccomp.syscalls {
        let action = action_value(call.action, call.errno_ret);
        if action == default {
            continue;
        }
        for name in &call.names {
            write!(lines, "rule {action} {name}").expect("string");
            for arg in &call.args {
                let operator = OPERATORS
                    .iter()
                    .position(|operator| *operator == arg.op)
                    .expect("listed")
                    + 1;
                write!(
                    lines,
                    " {} {operator} {} {}",
                    arg.index, arg.value, arg.value_two
                )
                .expect("string");
            }
            lines.push('\n');
        }
    }
    lines
}

/// What the installed libseccomp does not know, or knows under fewer ABIs:
/// names, and numbers of an ABI.
struct Gaps {
    names: BTreeSet<String>,
    numbers: BTreeSet<(u32, u32)>,
}

/// Compares all names of the table, and tells where the library is older.
fn gaps(oracle: &Path) -> Option<Gaps> {
    let mut lines = String::from("default 0\n");
    for (name, _) in ROWS {
        for abi in ABIS {
            writeln!(lines, "number {} {name}", token(abi)).expect("string");
        }
    }
    let (_, said) = ask(oracle, &lines)?;
    let mut answers: BTreeMap<(u32, &str), i64> = BTreeMap::new();
    for line in said.lines() {
        let mut words = line.split(' ').skip(1);
        let token = words.next().expect("token").parse().expect("number");
        let name = words.next().expect("name");
        let number = words.next().expect("answer").parse().expect("number");
        answers.insert((token, name), number);
    }
    let mut gaps = Gaps {
        names: BTreeSet::new(),
        numbers: BTreeSet::new(),
    };
    for (name, _) in ROWS {
        for abi in ABIS {
            let theirs = answers[&(token(abi), *name)];
            let ours = number(abi, name);
            if theirs == -1 {
                gaps.names.insert((*name).to_owned());
            } else if let Ok(theirs) = u32::try_from(theirs) {
                assert_eq!(ours, Some(theirs), "{name} on {abi:?}");
            } else if let (Some(ours), None) = (ours, multiplexed(abi, name)) {
                gaps.numbers.insert((abi.audit(), ours));
            }
        }
    }
    Some(gaps)
}

/// Values around those that conditions name, also beyond 32 bits.
fn boundaries(seccomp: &Seccomp) -> Vec<u64> {
    let mut values = BTreeSet::from([0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX]);
    for arg in seccomp.syscalls.iter().flat_map(|call| &call.args) {
        for value in [arg.value, arg.value_two, arg.value | arg.value_two] {
            for near in [value.wrapping_sub(1), value, value.wrapping_add(1), !value] {
                values.extend([
                    near,
                    near ^ (1 << 32),
                    near & u64::from(u32::MAX),
                    near | (u64::from(u32::MAX) << 32),
                ]);
            }
        }
    }
    values.into_iter().collect()
}

struct Comparison {
    calls: usize,
    differing: Vec<(Call, u32, u32)>,
}

/// Runs both programs on `numbers` of all ABIs: `values` in the arguments,
/// turned round, for calls of `conditional` names; a few for the others.
fn compare(
    ours: &[SockFilter],
    theirs: &[SockFilter],
    numbers: &[u32],
    conditional: &BTreeSet<&str>,
    values: &[u64],
    gaps: &Gaps,
) -> Comparison {
    let mut comparison = Comparison {
        calls: 0,
        differing: Vec::new(),
    };
    let mut both = |call: Call| {
        let (ours, theirs) = (run(ours, &call).0, run(theirs, &call).0);
        comparison.calls += 1;
        if ours != theirs && !gaps.numbers.contains(&(call.audit, call.number)) {
            comparison.differing.push((call, ours, theirs));
        }
    };
    for abi in ABIS {
        let conditional: BTreeSet<u32> = conditional
            .iter()
            .flat_map(|name| {
                let multiplexed = multiplexed(abi, name).map(|(number, _)| number);
                number(abi, name).into_iter().chain(multiplexed)
            })
            .collect();
        for &number in numbers {
            let number = match abi {
                Abi::X32 => number | X32_BIT,
                _ => number,
            };
            let values = match conditional.contains(&number) {
                true => values,
                false => &[0, 1, 1 << 32, u64::MAX],
            };
            for (at, &first) in values.iter().enumerate() {
                for turn in [0, 1, 7] {
                    let other = values[(at + turn) % values.len()];
                    both(Call::new(
                        abi,
                        number,
                        &[first, other, first, other, first, other],
                    ));
                }
            }
        }
        both(Call::new(abi, u32::MAX, &[]));
    }
    for audit in [Abi::Arm.audit(), Abi::Aarch64.audit(), 0] {
        both(Call {
            number: 0,
            audit,
            args: [0; 6],
        });
    }
    comparison
}

fn conditional(seccomp: &Seccomp) -> BTreeSet<&str> {
    seccomp
        .syscalls
        .iter()
        .filter(|call| !call.args.is_empty())
        .flat_map(|call| &call.names)
        .map(String::as_str)
        .collect()
}

fn without(mut seccomp: Seccomp, names: &BTreeSet<String>) -> Seccomp {
    for call in &mut seccomp.syscalls {
        call.names
            .retain(|name| !names.contains(name) && arch::Call::find(name).is_some());
    }
    seccomp
}

#[test]
fn the_default_profile_is_decided_alike() {
    let Some((_keep, oracle)) = built("oracle") else {
        return;
    };
    let Some(gaps) = gaps(&oracle) else { return };
    println!(
        "libseccomp here does not know {} names: {:?}",
        gaps.names.len(),
        gaps.names
    );
    let every = CapabilitySet::from_bits((1 << 41) - 1);
    let admin = CapabilitySet::from_names(["CAP_SYS_ADMIN"]);
    for bounding in [
        usual_capabilities(),
        CapabilitySet::EMPTY,
        admin,
        every,
        CapabilitySet::from_names(["CAP_SYS_PTRACE", "CAP_SYS_TIME", "CAP_BPF"]),
    ] {
        for architectures in [
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"][..],
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            &[],
        ] {
            let mut seccomp = without(default_filter(bounding), &gaps.names);
            seccomp.architectures = architectures.iter().map(ToString::to_string).collect();
            let Some((theirs, refused)) = ask(&oracle, &words(&seccomp)) else {
                return;
            };
            assert_eq!(refused, "");
            let ours = compile_with(&seccomp, Arch::X86_64, NewerCalls::AsDefault)
                .expect("the default profile compiles");
            let numbers: Vec<u32> = (0..=600).collect();
            let comparison = compare(
                ours.instructions(),
                &theirs,
                &numbers,
                &conditional(&seccomp),
                &boundaries(&seccomp),
                &gaps,
            );
            assert!(
                comparison.differing.is_empty(),
                "{:?} differ, ours then theirs",
                &comparison.differing[..comparison.differing.len().min(5)]
            );
            println!(
                "{} calls alike; instructions: ours {}, libseccomp's {}",
                comparison.calls,
                ours.instructions().len(),
                theirs.len()
            );
        }
    }
}

/// A small generator: the same filters in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn filter(&mut self, shape: &Shape) -> Seccomp {
        let rules = 1 + self.below(12);
        let syscalls = (0..rules)
            .map(|_| {
                let (action, errno_ret) = self.pick(shape.actions);
                let first = self.below(3);
                let arguments = self.below(shape.most_conditions + 1);
                SeccompSyscall {
                    names: vec![self.pick(&NAMES).to_owned()],
                    action,
                    errno_ret,
                    args: (first..first + arguments)
                        .map(|index| self.condition(index))
                        .collect(),
                }
            })
            .collect();
        Seccomp {
            default_action: SeccompAction::Errno,
            architectures: ABIS.iter().map(|abi| abi.scmp_name().to_owned()).collect(),
            syscalls,
            ..Seccomp::default()
        }
    }

    fn condition(&mut self, index: u64) -> SeccompArg {
        SeccompArg {
            index: u32::try_from(index).expect("small"),
            value: self.pick(&[0, 1, 7, 40, 1 << 32, (1 << 32) + 7, 0xFF, u64::MAX]),
            value_two: self.pick(&[0, 1, 7, 1 << 32]),
            op: self.pick(&OPERATORS),
        }
    }
}

/// What random filters are made of.
struct Shape {
    actions: &'static [(SeccompAction, Option<u32>)],
    most_conditions: u64,
}

/// How random filters compared.
#[derive(Debug, Default)]
struct Tally {
    alike: usize,
    refused_by_both: usize,
    refused_by_us: usize,
    refused_by_them: usize,
    differing: Vec<(Seccomp, Call, u32, u32)>,
}

fn random_filters(oracle: &Path, count: usize, shape: &Shape) -> Option<Tally> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut tally = Tally::default();
    let no_gaps = Gaps {
        names: BTreeSet::new(),
        numbers: BTreeSet::new(),
    };
    let numbers: Vec<u32> = NAMES
        .iter()
        .flat_map(|name| ABIS.map(|abi| number(abi, name)))
        .flatten()
        .chain([SOCKETCALL, IPC])
        .map(|number| number & !X32_BIT)
        .collect();
    for _ in 0..count {
        let seccomp = random.filter(shape);
        let (theirs, said) = ask(oracle, &words(&seccomp))?;
        let contradiction = said.lines().any(|line| line.ends_with(CONTRADICTION));
        match compile_with(&seccomp, Arch::X86_64, NewerCalls::AsDefault) {
            Err(Error::Contradiction { .. }) if contradiction => tally.refused_by_both += 1,
            Err(Error::Contradiction { .. }) => tally.refused_by_us += 1,
            Err(error) => panic!("{error}"),
            Ok(_) if contradiction => tally.refused_by_them += 1,
            Ok(ours) => {
                let comparison = compare(
                    ours.instructions(),
                    &theirs,
                    &numbers,
                    &NAMES.into_iter().collect(),
                    &boundaries(&seccomp),
                    &no_gaps,
                );
                match comparison.differing.first() {
                    None => tally.alike += 1,
                    Some(&(call, us, them)) => tally.differing.push((seccomp, call, us, them)),
                }
            }
        }
    }
    println!(
        "alike {}, refused by both {}, by us alone {}, by libseccomp alone {}, differing {}",
        tally.alike,
        tally.refused_by_both,
        tally.refused_by_us,
        tally.refused_by_them,
        tally.differing.len()
    );
    Some(tally)
}

/// The plain meaning of rules with one action: any that matches.
fn any_matches(seccomp: &Seccomp, call: &Call) -> bool {
    let abi = ABIS
        .into_iter()
        .find(|abi| abi.audit() == call.audit && (*abi == Abi::X32) == x32(call))
        .expect("one of them");
    let width = match abi {
        Abi::X86_64 => u64::MAX,
        _ => u64::from(u32::MAX),
    };
    let holds = |arg: &SeccompArg| {
        let value = call.args[arg.index as usize] & width;
        let (with, two) = (arg.value & width, arg.value_two & width);
        match arg.op {
            SeccompOperator::NotEqual => value != with,
            SeccompOperator::Less => value < with,
            SeccompOperator::LessOrEqual => value <= with,
            SeccompOperator::Equal => value == with,
            SeccompOperator::GreaterOrEqual => value >= with,
            SeccompOperator::Greater => value > with,
            SeccompOperator::MaskedEqual => value & with == two & with,
        }
    };
    seccomp.syscalls.iter().any(|rule| {
        let name = &rule.names[0];
        let direct = number(abi, name) == Some(call.number) && rule.args.iter().all(holds);
        let behind = multiplexed(abi, name).is_some_and(|(number, selector)| {
            number == call.number
                && call.args[0] & width == selector
                && rule.args.iter().filter(|arg| arg.index != 0).all(holds)
        });
        direct || behind
    })
}

fn x32(call: &Call) -> bool {
    call.audit == Abi::X86_64.audit() && call.number & X32_BIT != 0
}

/// libseccomp 2.5 loses rules when it merges comparisons of several kinds into
/// one tree; where it differs, ours is the plain meaning of the rules.
#[test]
fn random_rules_mean_what_they_say() {
    let Some((_keep, oracle)) = built("oracle") else {
        return;
    };
    for (most_conditions, most_differing) in [(1, 3), (2, 20)] {
        let shape = Shape {
            actions: ONE_ACTION,
            most_conditions,
        };
        let Some(tally) = random_filters(&oracle, 150, &shape) else {
            return;
        };
        for (seccomp, call, us, _) in &tally.differing {
            assert_eq!(*us == 0x7FFF_0000, any_matches(seccomp, call), "{call:x?}");
        }
        assert!(tally.differing.len() <= most_differing, "mostly alike");
    }
}

#[test]
fn random_rules_with_several_actions_have_the_same_precedence() {
    let Some((_keep, oracle)) = built("oracle") else {
        return;
    };
    let shape = Shape {
        actions: THREE_ACTIONS,
        most_conditions: 1,
    };
    let Some(tally) = random_filters(&oracle, 300, &shape) else {
        return;
    };
    for (seccomp, call, us, them) in tally.differing.iter().take(4) {
        println!("{}{call:x?} ours {us:x} theirs {them:x}", words(seccomp));
    }
    assert!(tally.differing.len() <= 3, "mostly alike");
}
