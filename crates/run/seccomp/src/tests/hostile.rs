//! Profiles from outside that are wrong, or want harm.

use super::interpreter::{Call, run};
use super::{LINUX_6_12, usual_capabilities};
use crate::arch::Abi;
use crate::{
    Arch, KernelVersion, MAX_INSTRUCTIONS, MAX_PROFILE_BYTES, Profile, Program, compile, resolve,
};

fn compiled(json: &str) -> crate::Result<Option<Program>> {
    let Some(profile) = Profile::parse(json.as_bytes())? else {
        return Ok(None);
    };
    let seccomp = resolve(&profile, &usual_capabilities(), LINUX_6_12, Arch::X86_64);
    compile(&seccomp, Arch::X86_64).map(Some)
}

fn check(json: &str, expected: &str) {
    let said = match compiled(json) {
        Ok(Some(program)) => format!("{} instructions", program.instructions().len()),
        Ok(None) => "no filter".to_owned(),
        Err(error) => {
            let source = std::error::Error::source(&error);
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        }
    };
    assert!(
        said.starts_with(expected),
        "{}\n said {said}\n not {expected}",
        json.chars().take(400).collect::<String>()
    );
}

#[test]
fn wrong_profiles_are_refused_in_words() {
    let rule = |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
    check("", "decoding seccomp profile failed: EOF");
    check("[]", "no filter");
    check("[1]", "decoding seccomp profile failed: ");
    check("{}", "no filter");
    check(r#"{"defaultAction":"","syscalls":null}"#, "no filter");
    check(
        r#"{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
        "decoding seccomp profile failed: missing field `defaultAction`",
    );
    check(
        r#"{"defaultAction":"SCMP_ACT_PANIC"}"#,
        "decoding seccomp profile failed: unknown variant `SCMP_ACT_PANIC`",
    );
    check(
        &rule(r#"{"names":["read"]}"#),
        "decoding seccomp profile failed: missing field `action`",
    );
    check(
        &rule(r#"{"action":"SCMP_ACT_KILL"}"#),
        "a rule of the seccomp profile names no system call",
    );
    check(
        &rule(r#"{"name":"a","names":["b"],"action":"SCMP_ACT_KILL"}"#),
        "both 'name' and 'names' are specified in the seccomp profile",
    );
    check(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
            "archMap":[{"architecture":"SCMP_ARCH_X86"}]}"#,
        "both 'architectures' and 'archMap' are specified",
    );
    check(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_VAX"]}"#,
        "unknown seccomp architecture \"SCMP_ARCH_VAX\"",
    );
    check(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_FAST"]}"#,
        "unknown seccomp flag",
    );
    check(
        r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
        "SCMP_ACT_NOTIFY cannot be used as default action",
    );
    check(
        &rule(r#"{"names":["write"],"action":"SCMP_ACT_NOTIFY"}"#),
        "SCMP_ACT_NOTIFY cannot be used for the write syscall",
    );
    check(
        &rule(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":4096}"#),
        "seccomp errnoRet 4096 is larger than 4095",
    );
    check(
        &rule(
            r#"{"names":["read"],"action":"SCMP_ACT_KILL",
                "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#,
        ),
        "seccomp rule of read has a condition on argument 6",
    );
    for version in ["4", "4.8.1", "x.y", "0.0", "+4.8", "300.1", "-1.2"] {
        check(
            &rule(&format!(
                r#"{{"names":["read"],"action":"SCMP_ACT_KILL","includes":{{"minKernel":"{version}"}}}}"#
            )),
            "invalid kernel version",
        );
    }
    let twice = format!(
        "{},{}",
        r#"{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}"#,
        r#"{"names":["read"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}"#
    );
    check(&rule(&twice), "seccomp rules of read contradict each other");
}

#[test]
fn size_is_bounded() {
    let long = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","comment":"{}"}}"#,
        "x".repeat(MAX_PROFILE_BYTES)
    );
    check(&long, "seccomp profile of ");

    let conditions = |count: usize| {
        let rules: Vec<String> = (0..count)
            .map(|value| {
                format!(
                    r#"{{"names":["read"],"action":"SCMP_ACT_KILL","args":[{{"index":0,"value":{},"op":"SCMP_CMP_EQ"}}]}}"#,
                    value * 2
                )
            })
            .collect();
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#,
            rules.join(",")
        )
    };
    check(&conditions(1000), "2");
    check(
        &conditions(1025),
        "seccomp profile has more than 1024 rules for read",
    );

    let two: Vec<String> = (0..1000)
        .map(|value| {
            format!(
                r#"{{"names":["read","write"],"action":"SCMP_ACT_KILL","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}},{{"index":1,"value":{value},"op":"SCMP_CMP_EQ"}}]}}"#
            )
        })
        .collect();
    check(
        &format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}}"#,
            two.join(",")
        ),
        "seccomp filter needs ",
    );
    let deep = "[".repeat(100_000);
    check(&deep, "decoding seccomp profile failed: ");
}

#[test]
fn a_long_program_still_jumps_right() {
    let rules: Vec<String> = (0..250)
        .map(|value| {
            format!(
                r#"{{"names":["close"],"action":"SCMP_ACT_ERRNO","errnoRet":{},"args":[{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}},{{"index":1,"value":{value},"op":"SCMP_CMP_NE"}}]}}"#,
                value + 1
            )
        })
        .collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[{}]}}"#,
        rules.join(",")
    );
    let program = compiled(&json).expect("program").expect("a filter");
    assert!(program.instructions().len() > 2000);
    assert!(program.instructions().len() <= MAX_INSTRUCTIONS);
    for abi in [Abi::X86_64, Abi::X86] {
        for value in [0, 1, 99, 248, 249] {
            let number = 0x0005_0000 | (value + 1);
            let value = u64::from(value);
            for (other, expected) in [(value + 1, number), (value, 0x7FFF_0000)] {
                let call = Call::named(abi, "close", &[value, other]);
                assert_eq!(run(program.instructions(), &call).0, expected);
            }
        }
        let call = Call::named(abi, "close", &[250, 0]);
        assert_eq!(run(program.instructions(), &call).0, 0x7FFF_0000);
        let call = Call::named(abi, "open", &[1, 0]);
        assert_eq!(run(program.instructions(), &call).0, 0x7FFF_0000);
    }
}

#[test]
fn names_and_keys_that_nobody_knows_are_passed_over() {
    check(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","x":1,"syscalls":[
            {"names":["no_such_call","../../etc"],"action":"SCMP_ACT_KILL","comment":"c"},
            {"name":"read","action":"SCMP_ACT_KILL","args":null,"includes":{},"excludes":{"caps":["CAP_X"]}},
            {"name":"open","action":"SCMP_ACT_KILL","includes":{"caps":["CAP_X"]}}]}"#,
        "8 instructions",
    );
}

#[test]
fn a_listener_is_asked_for() {
    let program = compiled(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/x",
            "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#,
    )
    .expect("program")
    .expect("a filter");
    assert!(program.needs_listener());
}

#[test]
fn releases_of_kernels() {
    let version = |kernel, major| Some(KernelVersion { kernel, major });
    for (release, expected) in [
        ("6.18.44-fc", version(6, 18)),
        ("3.12-1-amd64", version(3, 12)),
        ("6.12-rc1", version(6, 12)),
        ("7.0+", version(7, 0)),
        ("7", None),
        ("", None),
        ("a.b", None),
        ("999.1", None),
    ] {
        assert_eq!(KernelVersion::from_release(release), expected, "{release}");
    }
}
