//! The kernel takes the program and does what it says.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{built, default_filter, usual_capabilities};
use crate::{Arch, NewerCalls, compile, compile_with};

#[test]
fn a_process_under_the_default_profile() {
    if Arch::native() != Some(Arch::X86_64) {
        println!("SKIP: the expectations are those of x86_64");
        return;
    }
    let Some((_keep, probe)) = built("probe") else {
        return;
    };
    let program = compile(&default_filter(usual_capabilities()), Arch::X86_64).expect("program");
    let mut child = Command::new(probe)
        .arg(program.flags().bits().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("probe starts");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(&program.to_bytes()).expect("probe reads");
    drop(input);
    let output = child.wait_with_output().expect("probe ends");
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    let (said, compat) = match said.find("i386") {
        Some(at) => said.split_at(at),
        None => (said.as_str(), ""),
    };
    expect_test::expect![[r#"
        getpid 0
        af_unix 0
        af_inet 0
        af_alg 1
        af_alg_wide 1
        af_vsock 1
        io_uring_setup 1
        io_uring_enter 1
        io_uring_register 1
        keyctl 1
        add_key 1
        userfaultfd 1
        bpf 1
        mount 1
        unshare 1
        setns 1
        clone3 38
        clone_newuser 1
        personality_query 0
        personality_no_randomize 1
        newest 38
        x32_keyctl 1
    "#]]
    .assert_eq(said);
    if compat.starts_with("i386 none") {
        println!("SKIP: the kernel runs no i386 programs");
        return;
    }
    expect_test::expect![[r#"
        i386_getpid 0
        i386_keyctl 1
        i386_af_alg 1
        i386_clone3 38
    "#]]
    .assert_eq(compat);
}

#[test]
fn compiling_takes_this_long() {
    let seccomp = default_filter(usual_capabilities());
    for newer in [NewerCalls::NoSuchCall, NewerCalls::AsDefault] {
        let start = std::time::Instant::now();
        let rounds = 100;
        for _ in 0..rounds {
            compile_with(&seccomp, Arch::X86_64, newer).expect("program");
        }
        println!("compile, {newer:?}: {:?}", start.elapsed() / rounds);
    }
    let start = std::time::Instant::now();
    for _ in 0..100 {
        default_filter(usual_capabilities());
    }
    println!("resolve: {:?}", start.elapsed() / 100);
}
