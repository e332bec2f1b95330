//! Programs added to the container.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use carrack_runtime::plan::Failure;
use carrack_supervision::{Event, Exec, FrameReader, Target};
use rustix::process::{WaitId, WaitIdOptions};

use super::{EXEC_FAILED, MAX_EXECS, Phase, RunningExec, Supervisor};
use crate::event_loop::{Interest, Output, Role};
use crate::exec::{self, Joining};
use crate::init::{self, Word};
use crate::streams::ProgramStreams;

/// Execs that ended and are told again to the next daemon.
const ENDED_EXECS_MAX: usize = 64;

impl Supervisor {
    pub(super) fn start_exec(&mut self, exec: Exec, socket: Option<OwnedFd>) {
        let mut exec = exec;
        if let Some(start) = &self.start {
            // What a container's programs have in common.
            let (own, common) = (&mut exec.process, &start.plan.process);
            own.personality = own.personality.or(common.personality);
            own.oom_score_adj = own.oom_score_adj.or(common.oom_score_adj);
        }
        let launched = match (&self.init, self.phase) {
            (Some(init), Phase::Running) if self.execs.len() < MAX_EXECS => exec::launch(
                &exec.process,
                &Joining {
                    pidfd: &init.pidfd,
                    own: self.own,
                    oom_score: self.other_oom_score(exec.process.oom_score_adj),
                    attach: &self.attach_files,
                    born_in: self.born_in.as_ref().map(AsFd::as_fd),
                },
            ),
            (_, Phase::Running) => Err(io::Error::other(format!("more than {MAX_EXECS} execs"))),
            _ => Err(io::Error::other("the container is not running")),
        };
        let launched = launched.and_then(|launched| {
            launched.channel.set_nonblocking(true)?;
            let role = Role::ExecChannel(exec.exec.clone());
            let token = self.events.watch(&launched.channel, role, Interest::READ)?;
            Ok((launched, token))
        });
        let id = exec.exec.clone();
        match launched {
            Err(error) => {
                let failure = init::io_failure(&format!("start exec: {error}"), &error);
                self.announce(&Event::ExecFailed { exec: id, failure });
            }
            Ok((launched, token)) => {
                let attach = exec.attach.clone();
                self.execs.insert(
                    id.clone(),
                    RunningExec {
                        between: launched.between,
                        pid: 0,
                        pidfd: None,
                        end: None,
                        channel: Some((launched.channel, token)),
                        reader: FrameReader::default(),
                        pipes: Some(launched.pipes),
                        request: exec,
                        failed: None,
                    },
                );
                if let (Some(socket), Some(attach)) = (socket, attach) {
                    self.attach(socket, &attach);
                }
                self.exec_spoke(&id);
            }
        }
    }

    pub(super) fn exec_spoke(&mut self, id: &str) {
        let Some(exec) = self.execs.get_mut(id) else {
            return;
        };
        let mut over = false;
        if let Some((channel, _)) = &exec.channel {
            loop {
                match exec.reader.fill(channel) {
                    Ok(true) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Ok(false) | Err(_) => {
                        over = true;
                        break;
                    }
                }
            }
        }
        let mut master = None;
        while let Ok(Some(received)) = exec.reader.message::<Word>() {
            match received.message {
                Word::Pid(pid) => {
                    exec.pid = pid;
                    exec.pidfd = rustix::process::Pid::from_raw(pid).and_then(|pid| {
                        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
                    });
                }
                Word::Console => master = received.descriptors.into_iter().next(),
                Word::Failed(failure) => exec.failed = Some(failure),
                Word::Parked | Word::Created => {}
            }
        }
        let target = Target::Exec(id.to_owned());
        if let Some(master) = master {
            exec.pipes = None;
            let open_stdin = exec.request.open_stdin;
            if let Ok(streams) =
                ProgramStreams::over_terminal(&mut self.events, target, master, open_stdin)
            {
                self.adopt_exec(id, streams);
            }
        }
        if over {
            self.exec_channel_closed(id);
        }
    }

    pub(super) fn adopt_exec(&mut self, id: &str, streams: ProgramStreams) {
        let target = Target::Exec(id.to_owned());
        self.programs.insert(target.clone(), streams);
        for token in self.clients.feeders(&target) {
            self.read_client(token);
        }
    }

    pub(super) fn exec_channel_closed(&mut self, id: &str) {
        let Some(exec) = self.execs.get_mut(id) else {
            return;
        };
        if let Some((channel, token)) = exec.channel.take() {
            self.events.forget(&channel, token);
        }
        let _reaped =
            rustix::process::waitid(WaitId::PidFd(exec.between.as_fd()), WaitIdOptions::EXITED);
        let failure = match (&exec.failed, &exec.pidfd) {
            (Some(failure), _) => Some(failure.clone()),
            (None, None) => Some(Failure::other("the exec ended before its program ran")),
            (None, Some(_)) => None,
        };
        if let Some(failure) = failure {
            if let Some(pidfd) = &exec.pidfd {
                let _reaped =
                    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            }
            self.announce(&Event::ExecFailed {
                exec: id.to_owned(),
                failure: failure.clone(),
            });
            // An attached client has its head already, so the reason goes down
            // its stream, where Docker's clients print it.
            let reason = format!("{EXEC_FAILED}{}\r\n", failure.sentence());
            let target = Target::Exec(id.to_owned());
            self.clients
                .send_output(&mut self.events, &target, Output::Stdout, reason.as_bytes());
            self.finish_exec(id);
            return;
        }
        let pid = exec.pid.unsigned_abs();
        let pipes = exec.pipes.take();
        let open_stdin = exec.request.open_stdin;
        if let Some(pidfd) = &exec.pidfd {
            exec.end = self
                .events
                .watch(pidfd, Role::ExecEnd(id.to_owned()), Interest::READ)
                .ok();
        }
        if let Some(pipes) = pipes {
            let target = Target::Exec(id.to_owned());
            if let Ok(streams) =
                ProgramStreams::over_pipes(&mut self.events, target, pipes, open_stdin)
            {
                self.adopt_exec(id, streams);
            }
        }
        self.announce(&Event::ExecStarted {
            exec: id.to_owned(),
            pid,
        });
    }

    pub(super) fn exec_ended(&mut self, id: &str) {
        let Some(exec) = self.execs.get(id) else {
            return;
        };
        let code = exec
            .pidfd
            .as_ref()
            .and_then(|pidfd| {
                rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
                    .ok()
                    .flatten()
            })
            .map_or(255, carrack_sys::process::exit_code);
        self.drain(&Target::Exec(id.to_owned()));
        if self.ended_execs.len() == ENDED_EXECS_MAX {
            self.ended_execs.pop_front();
        }
        self.ended_execs.push_back((id.to_owned(), code));
        // The daemon knows the code before the client sees the end: the next
        // request of that client asks for it.
        self.announce(&Event::ExecExited {
            exec: id.to_owned(),
            code,
        });
        self.finish_exec(id);
    }

    pub(super) fn finish_exec(&mut self, id: &str) {
        let target = Target::Exec(id.to_owned());
        if let Some(streams) = self.programs.remove(&target) {
            streams.close(&mut self.events);
        }
        if let Some(exec) = self.execs.remove(id)
            && let (Some(pidfd), Some(token)) = (&exec.pidfd, exec.end)
        {
            self.events.forget(pidfd, token);
        }
        self.clients.end(&mut self.events, &target);
    }
}
