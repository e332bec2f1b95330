//! Classes of escape that concern running programs. Each test names the class.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::harness::{Container, NEWPID, Setup, USUAL, can_run};

/// CVE-2019-5736: the runtime's program cannot be written from inside; nobody
/// even gets hold of it, and it is sealed on top.
#[test]
fn the_supervisors_program_is_out_of_reach_through_proc() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("sleep 100");
    setup.first = carrack_runtime::plan::FirstProcess::Reaper;
    let mut container = setup.start();
    let said = container.sh(
        "(exec 3</proc/1/exe) 2>&1; (echo evil > /proc/1/exe) 2>&1; readlink /proc/1/exe || echo closed",
    );
    assert_eq!(said.matches("Permission denied").count(), 2, "{said}");
    assert!(said.ends_with("closed\n"), "{said}");
    // Executing the runtime's program itself gives a supervisor without a
    // daemon, in the container, with its powers: nothing.
    let mut container = Setup::with_args(&["/proc/self/exe"])
        .park()
        .expect("parked");
    match container.start() {
        Ok(_) => assert_ne!(container.await_exit(), 0),
        // Where it is not static, the image lacks its loader.
        Err(failure) => assert_eq!(failure.exit_code, 127),
    }
}

/// CVE-2024-21626: no descriptor of the host by number, on run and exec.
#[test]
fn a_working_directory_by_descriptor_leads_nowhere() {
    if !can_run() {
        return;
    }
    for number in 0..20 {
        for path in [
            "/proc/self/fd",
            "/proc/thread-self/fd",
            "/proc/1/fd",
            "/dev/fd",
        ] {
            let mut setup = Setup::new("pwd");
            setup.spec["process"]["cwd"] = json!(format!("{path}/{number}"));
            let sentence = setup.fails().sentence();
            assert!(sentence.contains("chdir to cwd"), "{sentence}");
        }
    }
    let mut container = Setup::new("sleep 100").start();
    for number in 0..20 {
        let mut plan = container.exec_plan(&["ls"]);
        plan.directory = format!("/proc/self/fd/{number}");
        let id = format!("cwd-{number}");
        drop(container.start_exec(&id, plan, false));
        container.wait_for(|e| match e {
            carrack_supervision::Event::ExecFailed { exec, .. } => (*exec == id).then_some(()),
            carrack_supervision::Event::ExecStarted { .. } => panic!("{number} led somewhere"),
            _ => None,
        });
    }
    // By a link of the image, and with "..", as well.
    let mut setup = Setup::new("pwd");
    symlink("/proc/self/fd/7", setup.rootfs.lower().join("link")).expect("link");
    setup.spec["process"]["cwd"] = json!("/link/../..");
    assert!(setup.fails().sentence().contains("chdir to cwd"));
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2026-41579: /proc, /sys or /dev of the
/// image is a link.
#[test]
fn an_image_cannot_redirect_proc_sys_or_dev() {
    if !can_run() {
        return;
    }
    for name in ["proc", "sys", "dev"] {
        let setup = Setup::new("true");
        let place = setup.rootfs.lower().join(name);
        fs::remove_dir(&place).expect("remove");
        symlink("/tmp", &place).expect("link");
        let sentence = setup.fails().sentence();
        assert!(
            sentence.contains("ordinary directory"),
            "{name}: {sentence}"
        );
    }
    let host = tempfile::tempdir().expect("directory");
    let setup = Setup::new("true");
    let place = setup.rootfs.lower().join("dev");
    fs::remove_dir(&place).expect("remove");
    symlink(host.path(), &place).expect("link");
    setup.fails();
    assert_eq!(fs::read_dir(host.path()).expect("host").count(), 0);
}

/// What covers a part of procfs could undo the masks.
#[test]
fn procfs_cannot_be_covered_but_for_a_few_files() {
    if !can_run() {
        return;
    }
    let cover = |target: &str| {
        let mut setup = Setup::new("cat /proc/cpuinfo");
        let file = setup.rootfs.write("file", "one cpu\n");
        symlink("/proc/sys/kernel", setup.rootfs.lower().join("kernel")).expect("link");
        setup.mount(
            json!({"destination": target, "type": "bind", "source": file, "options": ["bind"]}),
        );
        setup
    };
    assert_eq!(cover("/proc/cpuinfo").run().ok(), "one cpu\n");
    for target in [
        "/proc/sys/kernel/core_pattern",
        "/proc/version",
        "/kernel/core_pattern",
        "/proc/self/attr/exec",
    ] {
        let sentence = cover(target).fails().sentence();
        assert!(sentence.contains("inside of /proc"), "{target}: {sentence}");
    }
    let sentence = cover("/proc").fails().sentence();
    assert!(sentence.contains("must be procfs"), "{sentence}");
    let mut setup = Setup::new("true");
    setup.mount(json!({"destination": "/", "type": "tmpfs", "source": "tmpfs"}));
    assert!(setup.fails().sentence().contains("root cannot be covered"));
}

/// CVE-2025-31133: /dev/null of the image is something else.
#[test]
fn what_masks_must_be_the_null_device() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("cat /proc/keys");
    let mounts = setup.spec["mounts"].as_array_mut().expect("list");
    mounts.retain(|m| !m["destination"].as_str().expect("path").starts_with("/dev"));
    setup.null_stdin = false;
    setup.rootfs.write("lower/dev/null", "not the device");
    let sentence = setup.fails().sentence();
    assert!(sentence.contains("/dev/null to mask with"), "{sentence}");
}

/// CVE-2025-52565: a terminal's multiplexer or console that is a link.
#[test]
fn a_terminal_of_the_image_is_refused() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("true");
    setup.spec["process"]["terminal"] = json!(true);
    setup.streams.terminal = true;
    let mounts = setup.spec["mounts"].as_array_mut().expect("list");
    mounts.retain(|m| m["destination"] != "/dev/pts");
    fs::create_dir_all(setup.rootfs.lower().join("pts")).expect("directory");
    let pts = setup.rootfs.lower().join("pts");
    symlink("/tmp", pts.join("ptmx")).expect("link");
    let lower = pts.clone();
    setup.mount(
        json!({"destination": "/dev/pts", "type": "bind", "source": lower, "options": ["bind"]}),
    );
    let sentence = setup.fails().sentence();
    assert!(sentence.contains("/dev/pts"), "{sentence}");
    fs::remove_file(pts.join("ptmx")).ok();
}

/// Hostile `/etc/passwd`: a pipe that blocks, a device, a huge file.
#[test]
fn passwd_of_an_image_is_data_and_bounded() {
    if !can_run() {
        return;
    }
    let named = |setup: &mut Setup| {
        setup.user = Some(carrack_runtime::plan::UserPlan::Named {
            user: "1000:1000".to_owned(),
            groups: Vec::new(),
        });
    };
    let mut setup = Setup::new("grep Uid: /proc/self/status");
    let passwd = setup.rootfs.lower().join("etc/passwd");
    fs::remove_file(&passwd).expect("remove");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &passwd,
        rustix::fs::FileType::Fifo,
        0o666.into(),
        0,
    )
    .expect("fifo");
    named(&mut setup);
    assert_eq!(setup.run().ok(), "Uid:\t1000\t1000\t1000\t1000\n");
    let mut setup = Setup::new("grep Uid: /proc/self/status");
    let passwd = setup.rootfs.lower().join("etc/passwd");
    fs::File::create(&passwd)
        .and_then(|f| f.set_len(1 << 40))
        .expect("sparse");
    named(&mut setup);
    assert_eq!(setup.run().ok(), "Uid:\t1000\t1000\t1000\t1000\n");
    let mut setup = Setup::new("grep Uid: /proc/self/status");
    let passwd = setup.rootfs.lower().join("etc/passwd");
    fs::remove_file(&passwd).expect("remove");
    symlink("/proc/self/fd/0", &passwd).expect("link");
    named(&mut setup);
    assert_eq!(setup.run().ok(), "Uid:\t1000\t1000\t1000\t1000\n");
}

/// CVE-2016-9962: what is about to become a program of a shared process id
/// namespace cannot be looked into by those who are there.
#[test]
fn a_parked_init_is_closed_to_its_neighbours() {
    if !can_run() {
        return;
    }
    let mut neighbour = Setup::new("sleep 100").start();
    let mut setup = Setup::new("true");
    setup.made = USUAL & !NEWPID;
    let pid = fs::File::open(format!("/proc/{}/ns/pid", neighbour.pid)).expect("namespace");
    setup.joined = vec![(NEWPID, pid.into())];
    let parked: Container = setup.park().expect("parked");
    let inside = parked.proc_file("status");
    let inside = inside
        .lines()
        .find_map(|l| l.strip_prefix("NSpid:"))
        .expect("NSpid");
    let inside = inside.split_whitespace().last().expect("id").to_owned();
    let said = neighbour.sh(&format!(
        "cat /proc/{inside}/comm; cat /proc/{inside}/environ 2>&1; cat /proc/{inside}/fd/0 2>&1; \
         readlink /proc/{inside}/root || echo closed; ls /proc/{inside}/cwd/ 2>&1; true"
    ));
    assert!(said.starts_with("carrack-superv\n"), "{said}");
    assert!(
        said.matches("denied").count() >= 3 && said.contains("closed"),
        "{said}"
    );
}

/// The default filter: each answers EPERM, and a shell's tools still work.
#[test]
fn the_default_filter_holds_inside() {
    if !can_run() {
        return;
    }
    let said = Setup::new(
        "mount -t tmpfs x /tmp 2>&1; umount /proc 2>&1; hostname evil 2>&1; mknod /tmp/n c 1 3 && echo node; \
         chmod 4755 /bin/busybox && echo chmod",
    )
    .run();
    let said = format!("{}{}", said.stdout, said.stderr);
    assert!(said.matches("not permitted").count() >= 2, "{said}");
    assert!(said.contains("node\nchmod"), "{said}");
}

/// Nobody of the container holds an open path to the host.
#[test]
fn the_hosts_tree_is_gone() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    let mounts = container.sh("cat /proc/self/mountinfo");
    let source = container
        .setup
        .rootfs
        .directory
        .path()
        .display()
        .to_string();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        assert!(!fields[4].contains("..") && fields[3] != "/..", "{line}");
        assert!(
            line.contains("overlay") || !line.contains(&source),
            "{line}"
        );
    }
    assert_eq!(
        mounts.lines().filter(|l| l.contains(" / / ")).count(),
        1,
        "{mounts}"
    );
    assert_eq!(
        container.sh("cd /..; cd ../../..; pwd; ls -d etc"),
        "/\netc\n"
    );
    let root = container.proc_file("mountinfo");
    assert_eq!(root, mounts);
}

/// At rest a supervisor lays down what only the making of processes needs;
/// what an exec is given may be more.
#[test]
fn a_supervisor_at_rest_keeps_two_capabilities() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    let set = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.expect("a set").trim(), 16).expect("a number")
    };
    let status = crate::rootfs::read(format!("/proc/{}/status", container.child.id()));
    let (kill, resource, admin) = (1 << 5, 1 << 24, 1 << 21);
    let permitted = set(&status, "CapPrm:");
    assert_eq!(set(&status, "CapEff:"), permitted & (kill | resource));
    assert_ne!(permitted & admin, 0, "an exec could not be given it");
    let names = ["CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID"];
    for kind in ["bounding", "effective", "permitted"] {
        container.setup.spec["process"]["capabilities"][kind] = serde_json::json!(names);
    }
    let inside = container.sh("cat /proc/self/status");
    assert_eq!(set(&inside, "CapEff:"), admin | 1 << 6 | 1 << 7);
    // Another user's process is still within reach.
    let plan = container.exec_plan(&["su", "user", "-c", "exec sleep 100"]);
    let _client = container.start_exec("other", plan, false);
    container.wait_for(|event| match event {
        carrack_supervision::Event::ExecStarted { exec, .. } if exec == "other" => Some(()),
        _ => None,
    });
    let kill = carrack_supervision::Request::Signal {
        target: carrack_supervision::Target::Exec("other".to_owned()),
        signal: 9,
    };
    container.send(&kill, &[]);
    assert_eq!(container.exec_code("other"), 137);
}
