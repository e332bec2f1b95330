//! Speaks the supervisors' protocol as a daemon would.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use carrack_oci::runtime::Spec;
use carrack_runtime::plan::{CgroupNamespace, Failure, FirstProcess, SeccompPlan, UserPlan};
use carrack_runtime::planner::{self, CgroupView, Context, UserNamespace};
use carrack_runtime::{capability, sources};
use carrack_seccomp::{Arch, Cache, CapabilitySet, KernelVersion, ProfileSource};
use carrack_supervision::{
    Attach, AwaitExit, CloneNamespaces, Event, Exec, FrameReader, LogFile, Prepare, Request, Start,
    Streams, Target,
};
use serde_json::{Value, json};

use crate::leaf::Leaf;
use crate::rootfs::Rootfs;
use crate::supervisor::Supervisor;

/// The most that anything may take.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) const NEWNS: u64 = libc::CLONE_NEWNS as u64;
pub(crate) const NEWPID: u64 = libc::CLONE_NEWPID as u64;
pub(crate) const NEWNET: u64 = libc::CLONE_NEWNET as u64;
pub(crate) const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
pub(crate) const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
pub(crate) const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
pub(crate) const NEWCGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
pub(crate) const NEWTIME: u64 = 0x80;
pub(crate) const USUAL: u64 = NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS;

/// Docker's capabilities.
pub(crate) const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Whether a test can run here; says why not.
pub(crate) fn can_run() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIP: needs root");
    }
    root
}

/// What is made for a container and how it is planned.
pub(crate) struct Setup {
    pub(crate) rootfs: Rootfs,
    pub(crate) made: u64,
    pub(crate) joined: Vec<(u64, OwnedFd)>,
    pub(crate) maps: (String, String),
    pub(crate) time_offsets: String,
    pub(crate) spec: Value,
    pub(crate) first: FirstProcess,
    pub(crate) cgroup: CgroupView,
    pub(crate) cgroup_namespace: CgroupNamespace,
    pub(crate) leaf: Option<Leaf>,
    pub(crate) user: Option<UserPlan>,
    pub(crate) filter: Option<SeccompPlan>,
    pub(crate) streams: Streams,
    pub(crate) log: Option<LogFile>,
    pub(crate) null_stdin: bool,
    pub(crate) hook_state: String,
}

impl Setup {
    pub(crate) fn new(script: &str) -> Self {
        Self::with_args(&["/bin/sh", "-c", script])
    }

    pub(crate) fn with_args(args: &[&str]) -> Self {
        Self {
            rootfs: Rootfs::new(),
            made: USUAL,
            joined: Vec::new(),
            maps: Default::default(),
            time_offsets: String::new(),
            spec: spec(args),
            first: FirstProcess::Program,
            cgroup: CgroupView::V2(String::new()),
            cgroup_namespace: CgroupNamespace::Keep,
            leaf: None,
            user: None,
            filter: default_filter(),
            streams: Streams::default(),
            log: None,
            null_stdin: true,
            hook_state: String::new(),
        }
    }

    pub(crate) fn context(&self) -> Context {
        Context {
            available_capabilities: capability::available(),
            seccomp: self.filter.clone(),
            user: self.user.clone(),
            cgroup: self.cgroup.clone(),
            cgroup_namespace: self.cgroup_namespace,
            first_process: self.first,
            user_namespace: if (self.made | self.joined_bits()) & NEWUSER != 0 {
                UserNamespace::Own
            } else {
                UserNamespace::Shared
            },
        }
    }

    fn joined_bits(&self) -> u64 {
        self.joined.iter().fold(0, |bits, (bit, _)| bits | bit)
    }

    pub(crate) fn mount(&mut self, mount: Value) -> &mut Self {
        self.spec["mounts"]
            .as_array_mut()
            .expect("mounts")
            .push(mount);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Ended {
        let mut container = self.park().expect("parked");
        let client = container.attach(Target::Container, false);
        container.start().expect("started");
        let (stdout, stderr) = read_frames(client);
        let code = container.await_exit();
        container.release();
        Ended {
            code,
            stdout,
            stderr,
        }
    }

    /// Starts it; expects that to fail.
    pub(crate) fn fails(self) -> Failure {
        match self.park() {
            Err(failure) => failure,
            Ok(mut container) => container.start().expect_err("the start fails"),
        }
    }

    /// A running container.
    pub(crate) fn start(self) -> Container {
        let mut container = self.park().expect("parked");
        container.start().expect("started");
        container
    }

    /// A supervisor with a parked init.
    pub(crate) fn park(self) -> Result<Container, Failure> {
        Container::park(self)
    }
}

pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Standard output of a program that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self.stdout
    }
}

pub(crate) fn default_filter() -> Option<SeccompPlan> {
    profile(ProfileSource::Default)
}

pub(crate) fn profile(source: ProfileSource<'_>) -> Option<SeccompPlan> {
    let kernel = KernelVersion::from_release("6.18.0").expect("release");
    let cache = Cache::new(kernel, Arch::X86_64);
    let program = cache
        .program(source, CapabilitySet::from_names(CAPABILITIES))
        .expect("compiles")?;
    Some(SeccompPlan {
        program: program.to_bytes(),
        flags: program.flags().bits(),
    })
}

fn spec(args: &[&str]) -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "args": args,
            "cwd": "/",
            "env": ["PATH=/bin", "HOME=/root"],
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES
            },
            "user": {"uid": 0, "gid": 0},
        },
        "root": {"path": "", "readonly": false},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
        ],
        "linux": {
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap"
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ],
        }
    })
}

/// A supervisor, its container and the daemon's connection.
pub(crate) struct Container {
    pub(crate) setup: Setup,
    pub(crate) child: Supervisor,
    pub(crate) control: Option<UnixStream>,
    reader: FrameReader,
    pub(crate) pid: u32,
    pub(crate) events: Vec<Event>,
    /// Sockets that came with events.
    pub(crate) passed: Vec<OwnedFd>,
}

impl Drop for Container {
    fn drop(&mut self) {
        self.child.kill();
        self.child.wait();
    }
}

impl Container {
    fn park(setup: Setup) -> Result<Self, Failure> {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let listener = UnixListener::bind(setup.rootfs.path("socket")).expect("listener");
        let child = Supervisor::spawn(theirs.into(), listener.into());
        ours.set_read_timeout(Some(BOUND)).expect("time-out");
        let mut container = Self {
            setup,
            child,
            control: Some(ours),
            reader: FrameReader::default(),
            pid: 0,
            events: Vec::new(),
            passed: Vec::new(),
        };
        container.wait_for(|e| matches!(e, Event::Hello(_)).then_some(()));
        container.prepare()?;
        Ok(container)
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        let setup = &self.setup;
        let attach = setup.leaf.as_ref().map(Leaf::files).unwrap_or_default();
        let prepare = Prepare {
            sandbox: "sandbox".to_owned(),
            namespaces: CloneNamespaces { made: setup.made },
            joined: setup.joined.iter().map(|(bit, _)| *bit).collect(),
            attach_files: u8::try_from(attach.len()).expect("few"),
            into_cgroup: false,
            uid_map: setup.maps.0.clone(),
            gid_map: setup.maps.1.clone(),
            time_offsets: setup.time_offsets.clone(),
        };
        let files: Vec<_> = setup.joined.iter().map(|(_, f)| f).chain(&attach).collect();
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        self.send(&Request::Prepare(prepare), &files);
        self.pid = self.wait_for(|event| match event {
            Event::Prepared { pid } => Some(Ok(*pid)),
            Event::PrepareFailed(failure) => Some(Err(failure.clone())),
            _ => None,
        })?;
        Ok(())
    }

    /// Becomes what the spec says.
    pub(crate) fn start(&mut self) -> Result<u32, Failure> {
        let setup = &self.setup;
        let spec: Spec = serde_json::from_value(setup.spec.clone()).expect("spec");
        let mut planned = planner::plan(&spec, &setup.context())
            .map_err(|error| Failure::other(error.to_string()))?;
        planned.plan.process.null_stdin = setup.null_stdin;
        planned.plan.set_hook_state(&setup.hook_state);
        let directory = std::fs::File::open(setup.rootfs.path("container")).expect("directory");
        let mut files = vec![directory.into(), setup.rootfs.mount()];
        let opened = sources::open_all(&planned.sources)
            .map_err(|error| Failure::other(error.to_string()))?;
        files.extend(opened);
        let start = Start {
            container: "container".to_owned(),
            streams: setup.streams,
            log: setup.log.clone(),
            plan: planned.plan,
        };
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        self.send(&Request::Start(Box::new(start)), &files);
        self.wait_for(|event| match event {
            Event::Started { pid, .. } => Some(Ok(*pid)),
            Event::StartFailed(failure) => Some(Err(failure.clone())),
            _ => None,
        })
    }

    pub(crate) fn send(&self, request: &Request, files: &[BorrowedFd<'_>]) {
        let control = self.control.as_ref().expect("connected");
        carrack_supervision::send(control, request, files).expect("send");
    }

    /// Waits for an event that `wanted` takes; keeps the others.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            if let Some(position) = self.events.iter().position(|e| wanted(e).is_some()) {
                let event = self.events.remove(position);
                return wanted(&event).expect("it was wanted");
            }
            match self.reader.message::<Event>().expect("frame") {
                Some(received) => {
                    self.passed.extend(received.descriptors);
                    self.events.push(received.message);
                }
                None => {
                    let control = self.control.as_ref().expect("connected");
                    match self.reader.fill(control) {
                        Ok(true) => {}
                        other => panic!("no more events: {other:?}; unread: {:?}", self.events),
                    }
                }
            }
        }
    }

    pub(crate) fn client(&self, attach: Attach) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.set_read_timeout(Some(BOUND)).expect("time-out");
        self.send(&Request::Attach(attach), &[theirs.as_fd()]);
        ours
    }

    /// Attaches to all outputs, and to input if asked.
    pub(crate) fn attach(&self, target: Target, stdin: bool) -> UnixStream {
        self.client(attach(target, stdin, !self.setup.streams.terminal))
    }

    #[track_caller]
    pub(crate) fn await_exit(&mut self) -> i32 {
        self.wait_for(|event| match event {
            Event::Exited { code, .. } => Some(*code),
            _ => None,
        })
    }

    pub(crate) fn await_request(&self, removed: bool) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.set_read_timeout(Some(BOUND)).expect("time-out");
        let reply = AwaitExit {
            removed,
            before: b"<".to_vec(),
            after: b">".to_vec(),
        };
        self.send(&Request::AwaitExit(reply), &[theirs.as_fd()]);
        ours
    }

    /// The end of the life: recorded, released, unmounted, gone.
    pub(crate) fn release(&mut self) {
        self.send(&Request::ExitRecorded, &[]);
        self.send(&Request::Release, &[]);
        self.wait_for(|e| matches!(e, Event::Released).then_some(()));
        assert_eq!(self.child.wait(), 0);
    }

    /// The plan of a program to be added.
    pub(crate) fn exec_plan(&self, args: &[&str]) -> carrack_runtime::plan::ProcessPlan {
        let mut spec: Spec = serde_json::from_value(self.setup.spec.clone()).expect("spec");
        let mut process = spec.process.take().expect("process");
        process.args = args.iter().map(|a| (*a).to_owned()).collect();
        process.terminal = false;
        planner::process_plan(&process, &self.setup.context()).expect("plan")
    }

    /// Runs a program inside: code and outputs.
    pub(crate) fn exec(&mut self, id: &str, args: &[&str]) -> Result<Ended, (Failure, String)> {
        let mut plan = self.exec_plan(args);
        plan.null_stdin = true;
        let client = self.start_exec(id, plan, false);
        let started = self.wait_for(|event| match event {
            Event::ExecStarted { exec, pid } if exec == id => Some(Ok(*pid)),
            Event::ExecFailed { exec, failure } if exec == id => Some(Err(failure.clone())),
            _ => None,
        });
        let (stdout, stderr) = read_frames(client);
        match started {
            Err(failure) => Err((failure, stdout)),
            Ok(_) => Ok(Ended {
                code: self.exec_code(id),
                stdout,
                stderr,
            }),
        }
    }

    /// Runs a script inside that must succeed; its output.
    #[track_caller]
    pub(crate) fn sh(&mut self, script: &str) -> String {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let id = COUNT
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            .to_string();
        self.exec(&id, &["/bin/sh", "-c", script])
            .expect("runs")
            .ok()
    }

    pub(crate) fn exec_code(&mut self, id: &str) -> i32 {
        self.wait_for(|event| match event {
            Event::ExecExited { exec, code } if exec == id => Some(*code),
            _ => None,
        })
    }

    pub(crate) fn start_exec(
        &self,
        id: &str,
        plan: carrack_runtime::plan::ProcessPlan,
        stdin: bool,
    ) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        ours.set_read_timeout(Some(BOUND)).expect("time-out");
        let framed = plan.terminal.is_none();
        let exec = Exec {
            exec: id.to_owned(),
            open_stdin: stdin,
            attach: Some(attach(Target::Exec(id.to_owned()), stdin, framed)),
            process: plan,
        };
        self.send(&Request::Exec(Box::new(exec)), &[theirs.as_fd()]);
        ours
    }

    /// A connection of a later daemon.
    pub(crate) fn reconnect(&mut self) -> carrack_supervision::Hello {
        let socket = UnixStream::connect(self.setup.rootfs.path("socket")).expect("connect");
        socket.set_read_timeout(Some(BOUND)).expect("time-out");
        self.control = Some(socket);
        self.reader = FrameReader::default();
        self.events.clear();
        self.wait_for(|event| match event {
            Event::Hello(hello) => Some(hello.clone()),
            _ => None,
        })
    }

    pub(crate) fn proc_file(&self, name: &str) -> String {
        crate::rootfs::read(format!("/proc/{}/{name}", self.pid))
    }
}

pub(crate) fn attach(target: Target, stdin: bool, framed: bool) -> Attach {
    Attach {
        target,
        stdin,
        stdout: true,
        stderr: true,
        read_ahead: Vec::new(),
        detach_keys: vec![16, 17],
        framed,
        held: None,
    }
}

/// Reads a multiplexed stream to its end: standard output and error.
#[track_caller]
pub(crate) fn read_frames(mut client: UnixStream) -> (String, String) {
    let mut outputs = [Vec::new(), Vec::new()];
    let mut head = [0; 8];
    while client.read(&mut head[..1]).expect("read in time") == 1 {
        client.read_exact(&mut head[1..]).expect("head");
        assert_eq!(head[1..4], [0, 0, 0], "head {head:?}");
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).expect("body");
        outputs[usize::from(head[0]) - 1].extend(bytes);
    }
    let [out, err] = outputs.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (out, err)
}

/// Reads until `text` was seen.
#[track_caller]
pub(crate) fn read_until(client: &mut UnixStream, text: &str) -> String {
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let count = client.read(&mut chunk).unwrap_or_else(|error| {
            panic!(
                "{error}: {text:?} not in {:?}",
                String::from_utf8_lossy(&seen)
            )
        });
        assert!(
            count > 0,
            "{text:?} not in {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&chunk[..count]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

pub(crate) fn say(client: &mut UnixStream, text: &str) {
    client.write_all(text.as_bytes()).expect("write");
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The default scheme of a user namespace in these tests.
pub(crate) const BASE_ID: u32 = 200_000;

pub(crate) fn maps() -> (String, String) {
    let lines = format!("0 {BASE_ID} 65536\n");
    (lines.clone(), lines)
}
