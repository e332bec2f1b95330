//! What a program finds of itself.

use carrack_runtime::plan::{FirstProcess, UserPlan};
use carrack_seccomp::ProfileSource;
use serde_json::json;

use crate::harness::{self, Setup, can_run};

#[test]
fn a_program_runs_and_its_exit_code_is_told() {
    if !can_run() {
        return;
    }
    let ended = Setup::new("echo out; echo err >&2; exit 7").run();
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (7, "out\n", "err\n")
    );
    assert_eq!(Setup::new("exit 255").run().code, 255);
    assert_eq!(Setup::with_args(&["true"]).run().code, 0);
    // Process 1 gets only signals that it handles, but its own fatal ones.
    assert_eq!(Setup::new("(kill -9 $$) & wait; exit 3").run().code, 3);
    let mut container = Setup::new("echo ready; sleep 100").start();
    let kill = carrack_supervision::Request::Signal {
        target: carrack_supervision::Target::Container,
        signal: 9,
    };
    container.send(&kill, &[]);
    assert_eq!(container.await_exit(), 137);
    container.release();
}

#[test]
fn what_cannot_run_says_so_with_the_codes_of_a_shell() {
    if !can_run() {
        return;
    }
    let check = |args: &[&str], code: i32, text: &str| {
        let failure = Setup::with_args(args).fails();
        assert_eq!(failure.exit_code, code, "{failure:?}");
        assert!(failure.sentence().contains(text), "{}", failure.sentence());
    };
    check(
        &["nothing"],
        127,
        "\"nothing\": executable file not found in $PATH",
    );
    check(&["/no/such"], 127, "no such file or directory");
    check(&["/etc/passwd"], 126, "permission denied");
    check(&["/bin"], 126, "is a directory");
    check(&["/bin/busybox/x"], 127, "no such file or directory");
    let mut script = Setup::with_args(&["/tmp/script"]);
    script.rootfs.script("lower/tmp/script", "exit 0");
    std::fs::write(
        script.rootfs.path("lower/tmp/script"),
        "#!/no/interpreter\n",
    )
    .expect("write");
    let failure = {
        script.spec["process"]["cwd"] = json!("/tmp");
        script.fails()
    };
    assert_eq!(failure.exit_code, 127, "{failure:?}");
    let mut lost = Setup::new("true");
    lost.spec["process"]["cwd"] = json!("/nowhere");
    assert!(lost.fails().sentence().contains("chdir to cwd"));
}

/// Fields of `/proc/self/status` as a program sees them.
fn status(setup: Setup) -> impl Fn(&str) -> String {
    let text = setup.run().ok();
    move |name| {
        text.lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("{name} in {text}"))
            .trim()
            .to_owned()
    }
}

#[test]
fn powers_are_those_of_the_spec() {
    if !can_run() {
        return;
    }
    const DOCKERS: &str = "00000000a80425fb";
    let field = status(Setup::with_args(&["cat", "/proc/self/status"]));
    assert_eq!(field("CapInh"), "0000000000000000");
    assert_eq!(field("CapPrm"), DOCKERS);
    assert_eq!(field("CapEff"), DOCKERS);
    assert_eq!(field("CapBnd"), DOCKERS);
    assert_eq!(field("CapAmb"), "0000000000000000");
    assert_eq!(field("Seccomp"), "2");
    assert_eq!(field("Seccomp_filters"), "1");
    assert_eq!(field("NoNewPrivs"), "0");
    assert_eq!(field("SigBlk"), "0000000000000000");
    assert_eq!(field("SigIgn"), "0000000000000000");
    assert_eq!(field("TracerPid"), "0");

    let mut plain = Setup::with_args(&["cat", "/proc/self/status"]);
    plain.spec["process"]["noNewPrivileges"] = json!(true);
    plain.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [29, 50]});
    let field = status(plain);
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    assert_eq!(field("Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(field("Gid"), "1000\t1000\t1000\t1000");
    assert_eq!(field("Groups"), "29 50");
    assert_eq!(field("CapPrm"), "0000000000000000");
    assert_eq!(field("CapBnd"), DOCKERS);

    let mut ambient = Setup::with_args(&["cat", "/proc/self/status"]);
    ambient.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    for set in ["ambient", "inheritable"] {
        ambient.spec["process"]["capabilities"][set] = json!(["CAP_NET_BIND_SERVICE"]);
    }
    let field = status(ambient);
    assert_eq!(field("CapAmb"), "0000000000000400");
    assert_eq!(field("CapEff"), "0000000000000400");
}

/// The filter must not apply to what the runtime itself still does.
#[test]
fn a_filter_need_allow_nothing_but_the_program() {
    if !can_run() {
        return;
    }
    let strict = br#"{"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [{"names": [
        "execve", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64",
        "readlink", "getrandom", "mprotect", "getuid", "getgid", "setuid", "setgid", "prctl", "fstat", "write",
        "writev", "exit_group", "mmap", "munmap", "newfstatat", "ioctl", "readlinkat", "madvise", "geteuid", "getegid",
        "rt_sigaction", "rt_sigprocmask", "statx"
    ], "action": "SCMP_ACT_ALLOW"}]}"#;
    for no_new_privileges in [false, true] {
        for uid in [0, 1000] {
            let mut setup = Setup::with_args(&["echo", "alive"]);
            setup.filter = harness::profile(ProfileSource::Json(strict));
            setup.spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            setup.spec["process"]["user"] = json!({"uid": uid, "gid": uid});
            assert_eq!(setup.run().ok(), "alive\n");
        }
    }
}

#[test]
fn only_three_descriptors_are_open() {
    if !can_run() {
        return;
    }
    let script = "ls /proc/$$/fd; echo -; readlink /proc/self/fd/0";
    let open = Setup::with_args(&["sh", "-c", script]).run().ok();
    assert_eq!(open, "0\n1\n2\n-\n/dev/null\n");
    let mut container = Setup::new("sleep 100").start();
    assert_eq!(container.sh(script), "0\n1\n2\n-\n/dev/null\n");
    let init = container.sh("ls /proc/1/fd; true");
    assert_eq!(init, "0\n1\n2\n");
}

#[test]
fn limits_apply_and_an_impossible_one_is_a_clear_error() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("ulimit -n; ulimit -Hn; ulimit -c; umask");
    setup.spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]);
    setup.spec["process"]["user"]["umask"] = json!(0o27);
    assert_eq!(setup.run().ok(), "100\n200\n0\n0027\n");
    // A limit that would starve the runtime itself starves the program alone.
    let mut tiny = Setup::new("echo fits");
    tiny.spec["process"]["rlimits"] = json!([{"type": "RLIMIT_FSIZE", "soft": 1, "hard": 1}]);
    assert_eq!(tiny.run().ok(), "fits\n");
    const SYS_RESOURCE: u64 = 1 << 24;
    if carrack_runtime::capability::available() & SYS_RESOURCE == 0 {
        let mut setup = Setup::new("true");
        setup.spec["process"]["rlimits"] =
            json!([{"type": "RLIMIT_NOFILE", "soft": 1_048_576, "hard": 1_048_576}]);
        let sentence = setup.fails().sentence();
        assert!(
            sentence.contains("RLIMIT_NOFILE") && sentence.contains("CAP_SYS_RESOURCE"),
            "{sentence}"
        );
        let mut setup = Setup::new("true");
        setup.spec["process"]["oomScoreAdj"] = json!(-900);
        let sentence = setup.fails().sentence();
        assert!(sentence.contains("CAP_SYS_RESOURCE"), "{sentence}");
    }
}

#[test]
fn the_kernel_is_told_what_the_spec_says_of_the_process() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "cat /proc/self/oom_score_adj; uname -m; hostname; cat /proc/sys/kernel/domainname; \
         cat /proc/$$/personality; set -- $(cat /proc/self/stat); echo ${18} ${41}; sleep 100",
    );
    setup.spec["process"]["oomScoreAdj"] = json!(321);
    setup.spec["domainname"] = json!("nis.example");
    setup.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    setup.spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    setup.spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    // The default profile knows personality(2) values but not who asks.
    let mut container = setup.park().expect("parked");
    let mut client = container.attach(carrack_supervision::Target::Container, false);
    container.start().expect("started");
    let said = harness::read_until(&mut client, "25 3");
    for wanted in ["321\n", "i686\n", "inside\n", "nis.example\n", "00000008\n"] {
        assert!(said.contains(wanted), "{wanted:?} in {said}");
    }
    // Execs share what containers' programs have in common.
    let of_exec = container.sh("cat /proc/self/oom_score_adj; uname -m");
    assert_eq!(of_exec, "321\ni686\n");
}

#[test]
fn users_are_looked_up_inside_and_nobody_stays_root_by_mistake() {
    if !can_run() {
        return;
    }
    let named = |user: &str| UserPlan::Named {
        user: user.to_owned(),
        groups: vec!["50".to_owned()],
    };
    let mut setup = Setup::new("id -u; id -g; id -G; echo $HOME");
    setup.user = Some(named("user"));
    setup.spec["process"]["env"] = json!(["PATH=/bin"]);
    assert_eq!(setup.run().ok(), "1000\n1000\n1000 29 50\n/tmp\n");
    for hostile in ["nobody", "4294967296", "4294967295", "-1", "user:nogroup"] {
        let mut setup = Setup::new("true");
        setup.user = Some(named(hostile));
        let failure = setup.fails();
        assert_eq!(failure.exit_code, 125, "{failure:?}");
    }
    let mut setup = Setup::new("true");
    setup.user = Some(UserPlan::Ids {
        uid: u32::MAX,
        gid: 0,
        groups: Vec::new(),
    });
    assert!(setup.fails().sentence().contains("nobody's id"));
    // Its streams can be opened again by their names.
    let mut setup = Setup::new("echo by name > /dev/stdout; echo err > /dev/stderr");
    setup.user = Some(named("user"));
    let ended = setup.run();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, "err\n"));
    assert_eq!(ended.stdout, "by name\n");
}

#[test]
fn init_forwards_signals_and_reaps() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "trap 'echo got it; exit 9' TERM; trap 'echo real-time' 40; (sleep 0.01 &) ; echo ready; \
         while :; do sleep 0.02; done",
    );
    setup.first = FirstProcess::Reaper;
    let mut container = setup.park().expect("parked");
    let mut client = container.attach(carrack_supervision::Target::Container, false);
    container.start().expect("started");
    harness::read_until(&mut client, "ready\n");
    assert_eq!(container.sh("cat /proc/1/comm"), "init\n");
    let status = container.sh("grep -E 'CapEff|Seccomp:|CapBnd|CapPrm' /proc/1/status");
    assert_eq!(
        status,
        "CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\n"
    );
    assert_eq!(container.sh("ls /proc/1/fd; true"), "0\n1\n2\n");
    harness::eventually("no zombies", || {
        !container.sh("ps -o stat | grep Z; true").contains('Z')
    });
    let signal = |signal| carrack_supervision::Request::Signal {
        target: carrack_supervision::Target::Container,
        signal,
    };
    container.send(&signal(40), &[]);
    harness::read_until(&mut client, "real-time\n");
    container.send(&signal(libc::SIGTERM), &[]);
    harness::read_until(&mut client, "got it\n");
    assert_eq!(container.await_exit(), 9);
    container.release();
    let mut missing = Setup::with_args(&["nothing"]);
    missing.first = FirstProcess::Reaper;
    assert_eq!(missing.fails().exit_code, 127);
    let mut killed = Setup::new("kill -9 $$");
    killed.first = FirstProcess::Reaper;
    assert_eq!(killed.run().code, 137);
}
