//! The init: from namespaces to a container that runs, or the reason why not.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use carrack_runtime::plan::{CgroupNamespace, Failure};
use carrack_supervision::{Event, Prepare, Start, Target};
use rustix::process::{WaitId, WaitIdOptions};

use super::{FLUSH_IDLE_BOUND, Phase, Supervisor, now_ns};
use crate::event_loop::{Interest, Role};
use crate::init::{self, Init, OrderToSend, PipeEnds, Word};
use crate::log::Log;
use crate::park::{Company, Parking};
use crate::powers;
use crate::streams::ProgramStreams;

impl Supervisor {
    pub(super) fn prepare(&mut self, prepare: &Prepare, mut descriptors: Vec<OwnedFd>) {
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
            company: Company::Supervised,
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

    pub(super) fn watch_init(&mut self, init: Init) -> io::Result<()> {
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

    pub(super) fn prepare_failed(&mut self, failure: Failure) {
        self.announce(&Event::PrepareFailed(failure));
        self.released_by = Some(Instant::now());
    }

    pub(super) fn init_spoke(&mut self) {
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
                Word::Pid(_) | Word::Created => {}
            }
        }
        if over {
            self.init_channel_closed();
        }
    }

    /// The channel closed: by an exec, or by the end of the init.
    pub(super) fn init_channel_closed(&mut self) {
        if let (Some(init), Some(token)) = (&self.init, self.init_channel.take()) {
            self.events.forget(&init.channel, token);
        }
        if self.failed.is_none() && self.phase == Phase::Starting && !self.init_is_zombie() {
            self.phase = Phase::Running;
            if let Err(error) = powers::lay_down() {
                eprintln!("carrack-supervisor: lay down capabilities: {error}");
            }
            let pid = self.init.as_ref().map_or(0, |i| i.pid.unsigned_abs());
            let at_ns = self.started_ns;
            self.announce(&Event::Started { pid, at_ns });
        }
    }

    /// Whether the init ended without executing anything: then its channel
    /// closed without a word. One that executed and ended at once looks the
    /// same but for its status, which tells it apart below.
    pub(super) fn init_is_zombie(&self) -> bool {
        let Some(init) = &self.init else {
            return true;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(
            rustix::process::waitid(WaitId::PidFd(init.pidfd.as_fd()), options),
            Ok(Some(status)) if status.terminating_signal() == Some(libc::SIGSYS)
        )
    }

    pub(super) fn start_container(&mut self, start: Start, mut descriptors: Vec<OwnedFd>) {
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

    pub(super) fn send_plan(
        &mut self,
        start: &Start,
        descriptors: &[OwnedFd],
    ) -> Result<(), Failure> {
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
    pub(super) fn other_oom_score(&self, wanted: Option<i32>) -> Option<i32> {
        wanted.filter(|score| self.oom_score != Some(*score))
    }

    pub(super) fn adopt_pipes(&mut self, pipes: PipeEnds) {
        let open_stdin = self.start.as_ref().is_some_and(|s| s.streams.open_stdin);
        match ProgramStreams::over_pipes(&mut self.events, Target::Container, pipes, open_stdin) {
            Ok(streams) => self.adopt(streams),
            Err(error) => self.refuse("streams", error),
        }
    }

    pub(super) fn adopt_terminal(&mut self, master: OwnedFd) {
        let open_stdin = self.start.as_ref().is_some_and(|s| s.streams.open_stdin);
        match ProgramStreams::over_terminal(&mut self.events, Target::Container, master, open_stdin)
        {
            Ok(streams) => self.adopt(streams),
            Err(error) => self.refuse("streams", error),
        }
    }

    pub(super) fn adopt(&mut self, mut streams: ProgramStreams) {
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

    pub(super) fn init_ended(&mut self) {
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
                self.released_by = Some(Instant::now() + FLUSH_IDLE_BOUND);
            }
            Phase::Running | Phase::Exited => self.container_ended(),
        }
    }
}
