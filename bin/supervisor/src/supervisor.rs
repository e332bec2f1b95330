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
mod start;
mod streaming;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use carrack_runtime::plan::Failure;
use carrack_supervision::{
    Event, Exec, FrameReader, Hello, Received, Request, RunState, Start, Target,
};
use rustix::process::Signal;

use crate::clients::Clients;
use crate::control::Control;
use crate::event_loop::{EventLoop, Interest, Output, Role, Token, Wake};
use crate::init::{self, Init, PipeEnds};
use crate::relay::Relay;
use crate::streams::ProgramStreams;
use crate::waiters::Waiters;

/// How long a daemon may take to write the end down before the clients are
/// told all the same.
const RECORD_BOUND: Duration = Duration::from_secs(5);
/// How long clients may go without taking a byte of the rest after the release:
/// a person who reads page by page takes minutes for one.
const FLUSH_IDLE_BOUND: Duration = Duration::from_secs(600);
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
    /// Execs that ended last, and their codes: a daemon that died over the
    /// news of one is not the daemon that is asked for it.
    ended_execs: VecDeque<(String, i32)>,
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
        // Whoever starts it may end without it: a signal to their terminal or
        // session is not meant for it.
        let _leads_already = rustix::process::setsid();
        harden()?;
        let mut events = EventLoop::new()?;
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
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
            ended_execs: VecDeque::new(),
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
        for (exec, code) in &self.ended_execs {
            let ended = Event::ExecExited {
                exec: exec.clone(),
                code: *code,
            };
            self.control.send(&mut self.events, token, &ended);
        }
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
        let arrived = self.control.read(wake.token);
        for request in arrived.requests {
            self.request(request);
        }
        if arrived.over {
            self.control.remove(&mut self.events, wake.token);
            if self.control.is_empty() {
                self.clients.cut_held(&mut self.events);
            }
            if self.phase == Phase::Exited && self.record_by.is_some() && self.control.is_empty() {
                self.tell_end();
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
                    } else if self.released_by.is_some()
                        || self.phase == Phase::Exited && self.record_by.is_none() && !removed
                    {
                        self.waiters.tell(&mut self.events, removed, self.code);
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
            Request::Sync(number) => self.announce(&Event::Synced(number)),
            Request::Release => self.release(),
            Request::HandBack => {
                let control = &mut self.control;
                self.waiters
                    .hand_back(&mut self.events, |events, event, socket| {
                        control.pass(events, event, socket)
                    });
            }
            Request::LetGo(number) => self.let_go(number),
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
        self.released_by = Some(Instant::now() + FLUSH_IDLE_BOUND);
    }

    /// A client took some of the rest: it may have as long for what is left.
    fn extend_flush(&mut self) {
        if self.released_by.is_some() {
            self.released_by = Some(Instant::now() + FLUSH_IDLE_BOUND);
        }
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
