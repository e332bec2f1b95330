//! What the default profile means, call by call.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::interpreter::{Call, run};
use super::{LINUX_6_12, default_filter, usual_capabilities};
use crate::arch::Abi;
use crate::{
    Arch, Cache, CapabilitySet, KernelVersion, ProfileSource, Program, compile, default_profile,
    resolve,
};

fn answer(program: &Program, call: &Call) -> &'static str {
    match run(program.instructions(), call).0 {
        0x7FFF_0000 => "allow",
        0x0005_0001 => "EPERM",
        0x0005_0026 => "ENOSYS",
        0 => "kill",
        other => panic!("{other:#x}"),
    }
}

fn program(bounding: CapabilitySet) -> Program {
    compile(&default_filter(bounding), Arch::X86_64).expect("the default profile compiles")
}

fn with(name: &str) -> CapabilitySet {
    CapabilitySet::from_bits(usual_capabilities().bits() | CapabilitySet::from_names([name]).bits())
}

#[test]
fn what_needs_a_capability() {
    let cases = [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "unshare"),
        ("CAP_SYS_ADMIN", "setns"),
        ("CAP_SYS_ADMIN", "bpf"),
        ("CAP_BPF", "bpf"),
        ("CAP_SYS_MODULE", "init_module"),
        ("CAP_SYS_PTRACE", "kcmp"),
        ("CAP_SYS_TIME", "settimeofday"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYS_NICE", "mbind"),
    ];
    let usual = program(usual_capabilities());
    for (capability, name) in cases {
        for abi in [Abi::X86_64, Abi::X86, Abi::X32] {
            let call = Call::named(abi, name, &[]);
            assert_eq!(answer(&usual, &call), "EPERM", "{name} on {abi:?}");
            let more = program(with(capability));
            assert_eq!(answer(&more, &call), "allow", "{name} with {capability}");
        }
    }
}

#[test]
fn what_no_capability_allows() {
    let every = program(CapabilitySet::from_bits(u64::MAX));
    for name in [
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "keyctl",
        "add_key",
        "request_key",
        "userfaultfd",
        "kexec_load",
        "swapon",
        "nfsservctl",
        "pivot_root",
    ] {
        let call = Call::named(Abi::X86_64, name, &[]);
        assert_eq!(answer(&every, &call), "EPERM", "{name}");
    }
}

#[test]
fn conditions_on_arguments() {
    let usual = program(usual_capabilities());
    let admin = program(with("CAP_SYS_ADMIN"));
    let wide = 1_u64 << 32;
    let mut text = String::new();
    for (name, argument) in [
        ("socket", 0),
        ("socket", 1),
        ("socket", 11),
        ("socket", 12),
        ("socket", 16),
        ("socket", 37),
        ("socket", 38),
        ("socket", 39),
        ("socket", 40),
        ("socket", 41),
        ("socket", 46),
        ("socket", wide + 38),
        ("personality", 0),
        ("personality", 8),
        ("personality", 9),
        ("personality", 0x2_0008),
        ("personality", 0x4_0000),
        ("personality", 0xFFFF_FFFF),
        ("personality", u64::MAX),
        ("clone", 0x0000_0011),
        ("clone", 0x0002_0000),
        ("clone", 0x1000_0000),
        ("clone", 0x4000_0000),
        ("clone", wide),
        ("clone3", 0),
    ] {
        let call = Call::named(Abi::X86_64, name, &[argument]);
        writeln!(
            text,
            "{name} {argument:#x}: {}, with SYS_ADMIN {}",
            answer(&usual, &call),
            answer(&admin, &call)
        )
        .expect("string");
    }
    expect_test::expect![[r#"
        socket 0x0: allow, with SYS_ADMIN allow
        socket 0x1: allow, with SYS_ADMIN allow
        socket 0xb: allow, with SYS_ADMIN allow
        socket 0xc: EPERM, with SYS_ADMIN EPERM
        socket 0x10: allow, with SYS_ADMIN allow
        socket 0x25: EPERM, with SYS_ADMIN EPERM
        socket 0x26: EPERM, with SYS_ADMIN EPERM
        socket 0x27: allow, with SYS_ADMIN allow
        socket 0x28: EPERM, with SYS_ADMIN EPERM
        socket 0x29: allow, with SYS_ADMIN allow
        socket 0x2e: EPERM, with SYS_ADMIN EPERM
        socket 0x100000026: EPERM, with SYS_ADMIN EPERM
        personality 0x0: allow, with SYS_ADMIN allow
        personality 0x8: allow, with SYS_ADMIN allow
        personality 0x9: EPERM, with SYS_ADMIN EPERM
        personality 0x20008: allow, with SYS_ADMIN allow
        personality 0x40000: EPERM, with SYS_ADMIN EPERM
        personality 0xffffffff: allow, with SYS_ADMIN allow
        personality 0xffffffffffffffff: EPERM, with SYS_ADMIN EPERM
        clone 0x11: allow, with SYS_ADMIN allow
        clone 0x20000: EPERM, with SYS_ADMIN allow
        clone 0x10000000: EPERM, with SYS_ADMIN allow
        clone 0x40000000: EPERM, with SYS_ADMIN allow
        clone 0x100000000: allow, with SYS_ADMIN allow
        clone3 0x0: ENOSYS, with SYS_ADMIN allow
    "#]]
    .assert_eq(&text);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let usual = program(usual_capabilities());
    let newest = Call::named(Abi::X86_64, "removexattrat", &[]).number;
    for (abi, number, expected) in [
        (Abi::X86_64, newest, "allow"),
        (Abi::X86_64, newest + 1, "ENOSYS"),
        (Abi::X86_64, 2000, "ENOSYS"),
        (Abi::X86, 2000, "ENOSYS"),
        (Abi::X32, (1 << 30) | 2000, "ENOSYS"),
        (Abi::X86_64, u32::MAX, "EPERM"),
        (Abi::Aarch64, 0, "kill"),
        (Abi::Arm, 0, "kill"),
    ] {
        let call = Call::new(abi, number, &[]);
        assert_eq!(answer(&usual, &call), expected, "{number} on {abi:?}");
    }
}

#[test]
fn without_x32_its_numbers_are_another_architecture() {
    let mut seccomp = default_filter(usual_capabilities());
    seccomp.architectures = vec!["SCMP_ARCH_X86_64".to_owned()];
    let program = compile(&seccomp, Arch::X86_64).expect("program");
    for (number, expected) in [(0, "allow"), (1 << 30, "kill"), (u32::MAX, "EPERM")] {
        let call = Call::new(Abi::X86_64, number, &[]);
        assert_eq!(answer(&program, &call), expected, "{number:#x}");
    }
    let call = Call::named(Abi::X86, "getpid", &[]);
    assert_eq!(answer(&program, &call), "kill");
}

#[test]
fn arm64_has_a_program_too() {
    let seccomp = resolve(
        default_profile(),
        &usual_capabilities(),
        LINUX_6_12,
        Arch::Aarch64,
    );
    let program = compile(&seccomp, Arch::Aarch64).expect("program");
    for (abi, name, expected) in [
        (Abi::Aarch64, "read", "allow"),
        (Abi::Aarch64, "mount", "EPERM"),
        (Abi::Arm, "cacheflush", "allow"),
        (Abi::Arm, "mount", "EPERM"),
        (Abi::X86_64, "read", "kill"),
    ] {
        let call = Call::named(abi, name, &[]);
        assert_eq!(answer(&program, &call), expected, "{name} on {abi:?}");
    }
}

#[test]
fn tracing_waits_for_a_kernel_that_is_safe() {
    let old = KernelVersion {
        kernel: 4,
        major: 7,
    };
    let seccomp = resolve(default_profile(), &usual_capabilities(), old, Arch::X86_64);
    let program = compile(&seccomp, Arch::X86_64).expect("program");
    let call = Call::named(Abi::X86_64, "ptrace", &[]);
    assert_eq!(answer(&program, &call), "EPERM");
    assert_eq!(
        answer(&super::meaning::program(usual_capabilities()), &call),
        "allow"
    );
}

#[test]
fn a_call_takes_few_instructions() {
    let usual = program(usual_capabilities());
    let steps = |abi: Abi| {
        let counts: Vec<usize> = (0..=470)
            .map(|number| match abi {
                Abi::X32 => number | (1 << 30),
                _ => number,
            })
            .map(|number| run(usual.instructions(), &Call::new(abi, number, &[2])).1)
            .collect();
        let sum: usize = counts.iter().sum();
        (sum / counts.len(), counts.iter().max().copied())
    };
    println!(
        "{} instructions; steps, mean and most: x86_64 {:?}, i386 {:?}, x32 {:?}",
        usual.instructions().len(),
        steps(Abi::X86_64),
        steps(Abi::X86),
        steps(Abi::X32)
    );
    assert!(steps(Abi::X86_64).0 <= 14);
}

#[test]
fn the_program_is_this_one() {
    let mut text = String::new();
    for (name, bounding) in [
        ("usual", usual_capabilities()),
        ("none", CapabilitySet::EMPTY),
        ("all", CapabilitySet::from_bits((1 << 41) - 1)),
    ] {
        let program = program(bounding);
        let hash = Sha256::digest(program.to_bytes());
        let hex = hash[..8].iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("string");
            hex
        });
        writeln!(
            text,
            "{name}: {} instructions, {hex}",
            program.instructions().len()
        )
        .expect("string");
    }
    expect_test::expect![[r#"
        usual: 379 instructions, 2c79a1b87c85b48f
        none: 383 instructions, e986709d2aad33a1
        all: 294 instructions, e4a0728cb09ba943
    "#]]
    .assert_eq(&text);
}

#[test]
fn the_cache_answers_from_memory() {
    let cache = Cache::new(LINUX_6_12, Arch::X86_64);
    let first = cache
        .program(ProfileSource::Default, usual_capabilities())
        .expect("program")
        .expect("a filter");
    let start = std::time::Instant::now();
    let again = cache
        .program(ProfileSource::Default, usual_capabilities())
        .expect("program")
        .expect("a filter");
    println!("from the cache: {:?}", start.elapsed());
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    assert_eq!(*first, program(usual_capabilities()));

    let other = cache
        .program(ProfileSource::Default, CapabilitySet::EMPTY)
        .expect("program")
        .expect("a filter");
    assert_ne!(first, other);
    let none = cache.program(ProfileSource::Json(b"{}"), CapabilitySet::EMPTY);
    assert!(none.expect("a profile").is_none());
    for bits in 0..1000 {
        cache
            .program(
                ProfileSource::Json(br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#),
                CapabilitySet::from_bits(bits),
            )
            .expect("program");
    }
    assert!(format!("{cache:?}").len() < 1 << 20, "bounded");
}
