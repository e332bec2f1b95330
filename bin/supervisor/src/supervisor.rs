//! The state of one container and what each event does to it.
//!
//! ```text
//! Fresh ── Prepare ──> Parked ── Start ──> Starting ── exec ──> Running ── end ──> Exited ── Release ──> gone
//! ```
//! A daemon that goes away ends a supervisor that is not yet a container; a
//! container goes on, and the next daemon finds it through the listener. At
//! the end the daemon is told first and writes it down, then the clients that
//! wait: whoever was told finds the same in `inspect`.

mod execs;
mod streaming;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use carrack_runtime::plan::{CgroupNamespace, Failure};
use carrack_supervision::{
    Event, Exec, FrameReader, Hello, Prepare, Received, Request, RunState, Start, Target,
};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::clients::Clients;
use crate::control::Control;
use crate::event_loop::{EventLoop, Interest, Output, Role, Token, Wake};
use crate::init::{self, Init, OrderToSend, PipeEnds, Word};
use crate::log::Log;
use crate::park::Parking;
use crate::relay::Relay;
use crate::streams::ProgramStreams;
use crate::waiters::Waiters;

/// How long a daemon may take to write the end down before the clients are
/// told all the same.
const RECORD_BOUND: Duration = Duration::from_secs(5);
/// How long clients may take to read the rest after the release.
const FLUSH_BOUND: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be taken.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);
/// What Docker's daemon puts before the reason of a failed exec.
const EXEC_FAILED: &str =
    "OCI runtime exec failed: exec failed: unable to start container process: ";
/// Execs of one container at once.
const MAX_EXECS: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Fresh,
    Preparing,
    Parked,
    Starting,
    Running,
    Exited,
}

/// An exec: its process and, while it starts, its channel.
struct RunningExec {
    /// The process in between, until it is reaped.
    between: OwnedFd,
    pid: i32,
    pidfd: Option<OwnedFd>,
    end: Option<Token>,
    channel: Option<(std::os::unix::net::UnixStream, Token)>,
    reader: FrameReader,
    pipes: Option<PipeEnds>,
    request: Exec,
    failed: Option<Failure>,
}

pub(crate) struct Supervisor {
    events: EventLoop,
    control: Control,
    listener: OwnedFd,
    phase: Phase,
    sandbox: String,
    container: String,
    /// Namespaces that are the container's own, `CLONE_NEW…` bits.
    own: u64,
    attach_files: Vec<OwnedFd>,
    born_in: Option<OwnedFd>,
    init: Option<Init>,
    init_reader: FrameReader,
    init_channel: Option<Token>,
    init_end: Option<Token>,
    start: Option<Start>,
    directory: Option<OwnedFd>,
    /// The root's mount: kept so that its end, which may sync a whole file
    /// system, does not delay the news of the container's end (ADR 1).
    root: Option<OwnedFd>,
    failed: Option<Failure>,
    started_ns: u64,
    ended_ns: u64,
    code: i32,
    programs: BTreeMap<Target, ProgramStreams>,
    clients: Clients,
    waiters: Waiters,
    relay: Relay,
    execs: BTreeMap<String, RunningExec>,
    record_by: Option<Instant>,
    released_by: Option<Instant>,
    /// When listeners are looked at again that found no descriptor free.
    listen_at: Option<Instant>,
    /// The OOM killer's preference that children inherit.
    oom_score: Option<i32>,
    buffer: Vec<u8>,
}

impl Supervisor {
    pub(crate) fn start() -> io::Result<Self> {
        harden()?;
        let mut events = EventLoop::new()?;
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        // Whoever starts it may end without it.
        let _leads_already = rustix::process::setsid();
        // From here on 0 and 1 hold nothing: children overwrite them.
        rustix::stdio::dup2_stdin(rustix::stdio::stderr())?;
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        let mut control = Control::new(&mut events, &listener)?;
        let token = control.add(&mut events, socket)?;
        let mut supervisor = Self {
            events,
            control,
            listener,
            phase: Phase::Fresh,
            sandbox: String::new(),
            container: String::new(),
            own: 0,
            attach_files: Vec::new(),
            born_in: None,
            init: None,
            init_reader: FrameReader::default(),
            init_channel: None,
            init_end: None,
            start: None,
            directory: None,
            root: None,
            failed: None,
            started_ns: 0,
            ended_ns: 0,
            code: 0,
            programs: BTreeMap::new(),
            clients: Clients::default(),
            waiters: Waiters::default(),
            relay: Relay::default(),
            execs: BTreeMap::new(),
            record_by: None,
            released_by: None,
            listen_at: None,
            oom_score: init::own_oom_score(),
            buffer: Vec::new(),
        };
        supervisor.say_hello(token);
        Ok(supervisor)
    }

    pub(crate) fn run(&mut self) -> ExitCode {
        loop {
            let wakes = match self.events.wait(self.bound()) {
                Ok(wakes) => wakes,
                Err(error) => {
                    eprintln!("carrack-supervisor: wait for events: {error}");
                    return ExitCode::FAILURE;
                }
            };
            for wake in wakes {
                if self.events.knows(wake.token) {
                    self.handle(wake);
                }
            }
            self.check_deadlines();
            if self.is_done() {
                self.clients.clear(&mut self.events);
                return ExitCode::SUCCESS;
            }
        }
    }

    fn bound(&self) -> Option<Duration> {
        let deadline = [self.record_by, self.released_by, self.listen_at]
            .into_iter()
            .flatten()
            .min();
        let bound = deadline
            .map(|d| d.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        match bound {
            None if self.relay.datagrams.has_peers() => Some(Duration::from_secs(30)),
            bound => bound,
        }
    }

    fn check_deadlines(&mut self) {
        if self.record_by.is_some_and(|by| Instant::now() >= by) {
            self.tell_end();
        }
        if self.listen_at.is_some_and(|at| Instant::now() >= at) {
            self.listen_at = None;
            self.control
                .listen(&self.events, &self.listener, Interest::READ);
            self.relay.listen(&self.events, Interest::READ);
        }
        if self.relay.datagrams.has_peers() {
            self.relay.datagrams.expire(&mut self.events);
        }
    }

    fn is_done(&self) -> bool {
        match self.released_by {
            Some(by) => self.clients.is_empty() || Instant::now() >= by,
            None => {
                self.control.is_empty()
                    && matches!(self.phase, Phase::Fresh | Phase::Preparing | Phase::Parked)
            }
        }
    }

    fn handle(&mut self, wake: Wake) {
        match wake.role {
            Role::Listener => match self.control.accept(&mut self.events, &self.listener) {
                Ok(Some(token)) => self.say_hello(token),
                Ok(None) => {}
                Err(_) => self.listen_later(),
            },
            Role::Control => self.control_ready(&wake),
            Role::InitChannel => self.init_spoke(),
            Role::InitEnd => self.init_ended(),
            Role::ExecChannel(exec) => self.exec_spoke(&exec),
            Role::ExecEnd(exec) => self.exec_ended(&exec),
            Role::Output(target, which) => self.output_ready(&target, which),
            Role::Input(target) => self.input_ready(&target),
            Role::Client => self.client_ready(&wake),
            Role::Waiter => self.waiters.drop_gone(&mut self.events, wake.token),
            Role::RelayListener => {
                if self.relay.accept(&mut self.events, wake.token).is_err() {
                    self.listen_later();
                }
            }
            Role::RelaySide => {
                self.relay
                    .ready(&mut self.events, wake.token, wake.readable, wake.writable);
            }
            Role::RelayDatagram => self.relay.datagrams.ready(&mut self.events, wake.token),
        }
    }

    /// No descriptor is free: a listener that stays readable would keep this
    /// process busy.
    fn listen_later(&mut self) {
        self.listen_at = Some(Instant::now() + LISTEN_AGAIN);
        self.control
            .listen(&self.events, &self.listener, Interest::NONE);
        self.relay.listen(&self.events, Interest::NONE);
    }

    // --- daemons ---------------------------------------------------------

    fn say_hello(&mut self, token: Token) {
        let hello = Event::Hello(Hello {
            sandbox: self.sandbox.clone(),
            container: self.container.clone(),
            state: self.run_state(),
            supervisor_pid: std::process::id(),
            execs: self
                .execs
                .iter()
                .filter(|(_, e)| e.channel.is_none())
                .map(|(id, e)| (id.clone(), e.pid.unsigned_abs()))
                .collect(),
        });
        self.control.send(&mut self.events, token, &hello);
        if self.phase == Phase::Exited {
            // The end came while there was no daemon, or one that died over it.
            let ended = Event::Exited {
                code: self.code,
                at_ns: self.ended_ns,
            };
            self.control.send(&mut self.events, token, &ended);
        }
    }

    fn run_state(&self) -> RunState {
        let pid = self.init.as_ref().map_or(0, |i| i.pid.unsigned_abs());
        match self.phase {
            Phase::Fresh | Phase::Preparing => RunState::Fresh,
            Phase::Parked => RunState::Parked { pid },
            Phase::Starting | Phase::Running => RunState::Running {
                pid,
                started_ns: self.started_ns,
            },
            Phase::Exited => RunState::Exited {
                pid,
                code: self.code,
                started_ns: self.started_ns,
                ended_ns: self.ended_ns,
            },
        }
    }

    fn control_ready(&mut self, wake: &Wake) {
        if wake.writable {
            self.control.flush(&mut self.events, wake.token);
        }
        if !wake.readable {
            return;
        }
        match self.control.read(wake.token) {
            Some(requests) => {
                for request in requests {
                    self.request(request);
                }
            }
            None => {
                self.control.remove(&mut self.events, wake.token);
                if self.phase == Phase::Exited
                    && self.record_by.is_some()
                    && self.control.is_empty()
                {
                    self.tell_end();
                }
            }
        }
    }

    fn announce(&mut self, event: &Event) {
        self.control.send_all(&mut self.events, event);
    }

    fn refuse(&mut self, request: &str, reason: impl std::fmt::Display) {
        self.announce(&Event::Refused {
            request: request.to_owned(),
            reason: reason.to_string(),
        });
    }

    fn request(&mut self, received: Received<Request>) {
        let mut descriptors = received.descriptors;
        match received.message {
            Request::Prepare(prepare) => self.prepare(&prepare, descriptors),
            Request::Start(start) => self.start_container(*start, descriptors),
            Request::Attach(attach) => match descriptors.pop() {
                Some(socket) => self.attach(socket, &attach),
                None => self.refuse("attach", "no socket came"),
            },
            Request::AwaitExit(reply) => match descriptors.pop() {
                Some(socket) => {
                    let removed = reply.removed;
                    if let Err(error) = self.waiters.add(&mut self.events, socket, reply) {
                        self.refuse("wait", error);
                    } else if self.phase == Phase::Exited && self.record_by.is_none() && !removed {
                        self.waiters.tell(&mut self.events, false, self.code);
                    }
                }
                None => self.refuse("wait", "no socket came"),
            },
            Request::Exec(exec) => self.start_exec(*exec, descriptors.pop()),
            Request::Resize {
                target,
                rows,
                columns,
            } => self.resize(&target, rows, columns),
            Request::Signal { target, signal } => self.signal(&target, signal),
            Request::Relay(relays) => {
                if let Err(error) = self.relay.add(&mut self.events, &relays, descriptors) {
                    self.refuse("relay", error);
                }
            }
            Request::ExitRecorded => self.tell_end(),
            Request::Release => self.release(),
        }
    }

    // --- the init ----------------------------------------------------------

    fn prepare(&mut self, prepare: &Prepare, mut descriptors: Vec<OwnedFd>) {
        let joins = prepare.joined.len();
        let attaches = usize::from(prepare.attach_files);
        let wanted = joins + attaches + usize::from(prepare.into_cgroup);
        if self.phase != Phase::Fresh || descriptors.len() != wanted {
            self.refuse("prepare", "out of order, or descriptors are missing");
            return;
        }
        self.sandbox.clone_from(&prepare.sandbox);
        self.born_in = if prepare.into_cgroup {
            descriptors.pop()
        } else {
            None
        };
        self.attach_files = descriptors.split_off(joins);
        let parking = Parking {
            prepare,
            joined: &descriptors,
            attach: &self.attach_files,
            born_in: self.born_in.as_ref().map(AsFd::as_fd),
        };
        self.own = parking.own();
        let parked = parking.park().and_then(|init| {
            self.watch_init(init)
                .map_err(|error| init::io_failure("watch the init", &error))
        });
        match parked {
            Ok(()) => self.phase = Phase::Preparing,
            Err(failure) => self.prepare_failed(failure),
        }
    }

    fn watch_init(&mut self, init: Init) -> io::Result<()> {
        init.channel.set_nonblocking(true)?;
        self.init_channel = Some(self.events.watch(
            &init.channel,
            Role::InitChannel,
            Interest::READ,
        )?);
        self.init_end = Some(
            self.events
                .watch(&init.pidfd, Role::InitEnd, Interest::READ)?,
        );
        self.init = Some(init);
        Ok(())
    }

    fn prepare_failed(&mut self, failure: Failure) {
        self.announce(&Event::PrepareFailed(failure));
        self.released_by = Some(Instant::now());
    }

    fn init_spoke(&mut self) {
        let Some(init) = &self.init else {
            return;
        };
        let mut over = false;
        loop {
            match self.init_reader.fill(&init.channel) {
                Ok(true) => {}
                Ok(false) => {
                    over = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    over = true;
                    break;
                }
            }
        }
        while let Ok(Some(received)) = self.init_reader.message::<Word>() {
            match received.message {
                Word::Parked => {
                    self.phase = Phase::Parked;
                    let pid = self.init.as_ref().map_or(0, |i| i.pid.unsigned_abs());
                    self.announce(&Event::Prepared { pid });
                }
                Word::Console => {
                    if let Some(master) = received.descriptors.into_iter().next() {
                        self.adopt_terminal(master);
                    }
                }
                Word::Failed(failure) => self.failed = Some(failure),
                Word::Pid(_) => {}
            }
        }
        if over {
            self.init_channel_closed();
        }
    }

    /// The channel closed: by an exec, or by the end of the init.
    fn init_channel_closed(&mut self) {
        if let (Some(init), Some(token)) = (&self.init, self.init_channel.take()) {
            self.events.forget(&init.channel, token);
        }
        if self.failed.is_none() && self.phase == Phase::Starting && !self.init_is_zombie() {
            self.phase = Phase::Running;
            let pid = self.init.as_ref().map_or(0, |i| i.pid.unsigned_abs());
            let at_ns = self.started_ns;
            self.announce(&Event::Started { pid, at_ns });
        }
    }

    /// Whether the init ended without executing anything: then its channel
    /// closed without a word. One that executed and ended at once looks the
    /// same but for its status, which tells it apart below.
    fn init_is_zombie(&self) -> bool {
        let Some(init) = &self.init else {
            return true;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(
            rustix::process::waitid(WaitId::PidFd(init.pidfd.as_fd()), options),
            Ok(Some(status)) if status.terminating_signal() == Some(libc::SIGSYS)
        )
    }

    fn start_container(&mut self, start: Start, mut descriptors: Vec<OwnedFd>) {
        if self.phase != Phase::Parked || descriptors.is_empty() {
            self.refuse("start", "out of order, or descriptors are missing");
            return;
        }
        self.directory = Some(descriptors.remove(0));
        self.container.clone_from(&start.container);
        self.started_ns = now_ns();
        self.phase = Phase::Starting;
        if let Err(failure) = self.send_plan(&start, &descriptors) {
            self.failed = Some(failure);
            self.kill_init();
        }
        if !descriptors.is_empty() {
            self.root = Some(descriptors.swap_remove(0));
        }
        self.start = Some(Start {
            plan: start.plan.without_bulk(),
            ..start
        });
        if let Some(init) = &mut self.init
            && let Some(pipes) = init.pipes.take()
            && !self.start.as_ref().is_some_and(|s| s.streams.terminal)
        {
            self.adopt_pipes(pipes);
        }
    }

    fn send_plan(&mut self, start: &Start, descriptors: &[OwnedFd]) -> Result<(), Failure> {
        start.plan.check(self.own)?;
        let init = self
            .init
            .as_ref()
            .ok_or_else(|| Failure::other("there is no init"))?;
        if let Some(score) = self.other_oom_score(start.plan.process.oom_score_adj) {
            init::set_oom_score(Some(init.pid), score)?;
        }
        if start.plan.cgroup_namespace == CgroupNamespace::New {
            self.own |= libc::CLONE_NEWCGROUP as u64;
        }
        let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        carrack_supervision::send(&init.channel, &OrderToSend::Become(&start.plan), &borrowed)
            .map_err(|error| Failure::other(format!("send the plan: {error}")))
    }

    /// A preference of the OOM killer that is not inherited anyway.
    fn other_oom_score(&self, wanted: Option<i32>) -> Option<i32> {
        wanted.filter(|score| self.oom_score != Some(*score))
    }

    fn adopt_pipes(&mut self, pipes: PipeEnds) {
        let open_stdin = self.start.as_ref().is_some_and(|s| s.streams.open_stdin);
        match ProgramStreams::over_pipes(&mut self.events, Target::Container, pipes, open_stdin) {
            Ok(streams) => self.adopt(streams),
            Err(error) => self.refuse("streams", error),
        }
    }

    fn adopt_terminal(&mut self, master: OwnedFd) {
        let open_stdin = self.start.as_ref().is_some_and(|s| s.streams.open_stdin);
        match ProgramStreams::over_terminal(&mut self.events, Target::Container, master, open_stdin)
        {
            Ok(streams) => self.adopt(streams),
            Err(error) => self.refuse("streams", error),
        }
    }

    fn adopt(&mut self, mut streams: ProgramStreams) {
        if let Some(start) = &self.start {
            streams.stdin_once = start.streams.stdin_once;
            if let (Some(settings), Some(directory)) = (&start.log, self.directory.take()) {
                match Log::open(directory, settings.clone()) {
                    Ok(log) => streams.log = Some(log),
                    Err(error) => eprintln!("carrack-supervisor: open the log: {error}"),
                }
            }
        }
        self.programs.insert(Target::Container, streams);
        // Bytes of clients that were attached before the start.
        for token in self.clients.feeders(&Target::Container) {
            self.read_client(token);
        }
    }

    fn init_ended(&mut self) {
        let Some(init) = &self.init else {
            return;
        };
        let status =
            rustix::process::waitid(WaitId::PidFd(init.pidfd.as_fd()), WaitIdOptions::EXITED);
        let code = status
            .ok()
            .flatten()
            .map_or(255, carrack_sys::process::exit_code);
        if let Some(token) = self.init_end.take() {
            self.events.forget(&init.pidfd, token);
        }
        self.ended_ns = now_ns();
        // Its last words may still be in the channel.
        self.init_spoke();
        if self.init_channel.is_some() {
            self.init_channel_closed();
        }
        self.code = code;
        match self.phase {
            Phase::Fresh | Phase::Preparing => {
                let failure = self
                    .failed
                    .take()
                    .unwrap_or_else(|| Failure::other("the init ended early"));
                self.prepare_failed(failure);
            }
            Phase::Parked => self.released_by = Some(Instant::now()),
            Phase::Starting => {
                let failure = self.failed.take().unwrap_or_else(|| {
                    Failure::other(format!("the init ended with {code} before the program ran"))
                });
                self.programs.clear();
                let code = failure.exit_code;
                self.announce(&Event::StartFailed(failure));
                self.waiters.tell(&mut self.events, false, code);
                self.waiters.tell(&mut self.events, true, code);
                self.clients.end(&mut self.events, &Target::Container);
                self.relay.clear(&mut self.events);
                self.released_by = Some(Instant::now() + FLUSH_BOUND);
            }
            Phase::Running | Phase::Exited => self.container_ended(),
        }
    }

    fn container_ended(&mut self) {
        self.phase = Phase::Exited;
        self.drain(&Target::Container);
        self.clients.end(&mut self.events, &Target::Container);
        self.relay.clear(&mut self.events);
        let event = Event::Exited {
            code: self.code,
            at_ns: self.ended_ns,
        };
        if self.control.is_empty() {
            self.tell_end();
        } else {
            self.record_by = Some(Instant::now() + RECORD_BOUND);
            self.announce(&event);
        }
    }

    /// Takes what is left of a program's output and forgets its streams.
    fn drain(&mut self, target: &Target) {
        let backlogs = self.programs.get(target).map(ProgramStreams::backlogs);
        for (which, backlog_bytes) in backlogs.unwrap_or_default() {
            // Somebody else may hold the other end and write for ever, so no
            // more is taken than is there now.
            let mut left = backlog_bytes;
            while left > 0
                && let Some(moved) = self.pump(target, which)
            {
                left = left.saturating_sub(moved);
            }
        }
        if let Some(mut streams) = self.programs.remove(target) {
            if let Some(log) = &mut streams.log {
                log.end(Output::Stdout, self.ended_ns);
                log.end(Output::Stderr, self.ended_ns);
            }
            streams.close(&mut self.events);
        }
    }

    fn tell_end(&mut self) {
        if self.phase == Phase::Exited {
            self.record_by = None;
            self.waiters.tell(&mut self.events, false, self.code);
        }
    }

    fn release(&mut self) {
        if self.phase != Phase::Exited {
            self.kill_init();
        }
        self.waiters.tell(&mut self.events, false, self.code);
        self.waiters.tell(&mut self.events, true, self.code);
        if self.phase == Phase::Exited {
            self.root = None;
            self.announce(&Event::Released);
        }
        self.released_by = Some(Instant::now() + FLUSH_BOUND);
    }

    fn kill_init(&self) {
        if let Some(init) = &self.init {
            let _ended = rustix::process::pidfd_send_signal(&init.pidfd, Signal::KILL);
        }
    }
}

/// What a parent of hostile programs does before anything else: no
/// descriptor but the three is open, every signal is at its default whatever
/// the daemon ignored, a pipe that nobody reads is an error, and nobody but
/// root's debugger looks into this process or into what it forks.
fn harden() -> io::Result<()> {
    carrack_sys::descriptors::close_from(3, carrack_sys::descriptors::Closing::Now)?;
    // Executed by descriptor, it would be called by that one's number.
    rustix::thread::set_name(c"carrack-superv")?;
    carrack_sys::signals::reset_all();
    carrack_sys::disposition::reset_reserved();
    carrack_sys::disposition::set(
        libc::SIGPIPE,
        carrack_sys::disposition::Disposition::Ignored,
    )?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
