//! Bytes between a program, its log and its clients.

use std::os::fd::{AsFd, OwnedFd};

use carrack_supervision::{Attach, Event, Target};
use rustix::process::Signal;

use super::{Phase, Supervisor, now_ns};
use crate::clients::{FromClient, Left, Progress};
use crate::event_loop::{Output, Token, Wake};
use crate::streams::{CHUNK_BYTES, ProgramStreams};

impl Supervisor {
    pub(super) fn output_ready(&mut self, target: &Target, which: Output) {
        let _moved = self.pump(target, which);
        let behind = self.clients.any_behind(target);
        if let Some(streams) = self.programs.get_mut(target) {
            streams.set_paused(&self.events, behind);
        }
    }

    /// Moves a chunk of output; returns its length, and nothing when there is
    /// none just now or no more.
    pub(super) fn pump(&mut self, target: &Target, which: Output) -> Option<usize> {
        let streams = self.programs.get_mut(target)?;
        self.buffer.resize(CHUNK_BYTES, 0);
        match streams.read(&mut self.events, which, &mut self.buffer) {
            None => None,
            Some(0) => {
                if let Some(log) = &mut streams.log {
                    log.end(which, now_ns());
                }
                None
            }
            Some(count) => {
                let bytes = &self.buffer[..count];
                if let Some(log) = &mut streams.log {
                    log.write(which, bytes, now_ns());
                }
                self.clients
                    .send_output(&mut self.events, target, which, bytes);
                Some(count)
            }
        }
    }

    pub(super) fn input_ready(&mut self, target: &Target) {
        if let Some(streams) = self.programs.get_mut(target) {
            streams.flush_input(&mut self.events);
            if streams.accepts_input() {
                for token in self.clients.feeders(target) {
                    if self.clients.has_left(token) {
                        self.read_client(token);
                    } else {
                        self.clients.set_interest(&self.events, token, true);
                    }
                }
            }
        }
    }

    pub(super) fn attach(&mut self, socket: OwnedFd, attach: &Attach) {
        let token = match self.clients.add(&mut self.events, socket, attach) {
            Ok(token) => token,
            Err(error) => return self.refuse("attach", error),
        };
        if let Some(number) = attach.held {
            self.hold(token, number, &attach.target);
        }
        if self.phase == Phase::Exited && attach.target == Target::Container {
            self.clients.end(&mut self.events, &Target::Container);
        } else {
            self.read_client(token);
        }
    }

    /// Says what of the output a client that is held back will get: what comes
    /// now, and the lines that are not whole and so not in the log.
    fn hold(&mut self, token: Token, number: u64, target: &Target) {
        let log = self.programs.get(target).and_then(|p| p.log.as_ref());
        for which in [Output::Stdout, Output::Stderr] {
            if let Some(begun) = log.map(|log| log.begun(which)).filter(|b| !b.is_empty()) {
                self.clients.keep(token, which, begun);
            }
        }
        self.announce(&Event::Held {
            number,
            at_ns: now_ns(),
        });
    }

    /// What was held back goes out.
    pub(super) fn let_go(&mut self, number: u64) {
        if let Some(token) = self.clients.let_go(number) {
            self.extend_flush();
            let target = self.clients.target(token).map(|(target, _)| target);
            let _progress = self.clients.flush(&mut self.events, token);
            if let Some(target) = target {
                self.catch_up(&target);
            }
        }
    }

    pub(super) fn client_ready(&mut self, wake: &Wake) {
        let Some((target, reads)) = self.clients.target(wake.token) else {
            return;
        };
        if wake.writable {
            if self.clients.flush(&mut self.events, wake.token) == Progress::Some {
                self.extend_flush();
            }
            // Whether it took the rest or is gone by now.
            self.catch_up(&target);
        }
        if wake.hung_up {
            if self.clients.leave(&mut self.events, wake.token) == Left::Unread {
                self.read_client(wake.token);
            } else if reads {
                self.input_over(&target);
            }
            self.catch_up(&target);
        } else if wake.readable {
            self.read_client(wake.token);
        }
    }

    /// Reads a client once; one that left is read as far as the program takes
    /// it, as nothing else would wake us for the rest.
    pub(super) fn read_client(&mut self, token: Token) {
        while let Some((target, reads)) = self.clients.target(token) {
            let ready = self
                .programs
                .get(&target)
                .is_some_and(ProgramStreams::accepts_input);
            if reads && !ready {
                // Not started yet, or the program is behind: ask again later.
                self.clients.set_interest(&self.events, token, false);
                return;
            }
            match self.clients.read(token) {
                Some(sent) => self.client_sent(token, sent),
                None if self.clients.has_left(token) => self.client_sent(token, FromClient::Gone),
                // It may have been asked not to send, before the start.
                None => self.clients.set_interest(&self.events, token, true),
            }
            if !self.clients.has_left(token) {
                return;
            }
        }
    }

    pub(super) fn client_sent(&mut self, token: Token, sent: FromClient) {
        let Some((target, reads)) = self.clients.target(token) else {
            return;
        };
        let streams = self.programs.get_mut(&target);
        match sent {
            FromClient::Bytes(bytes) => {
                if let Some(streams) = streams.filter(|_| reads) {
                    streams.feed(&mut self.events, &bytes);
                    let more = streams.accepts_input();
                    self.clients.set_interest(&self.events, token, more);
                }
            }
            FromClient::HalfClosed if !self.clients.has_left(token) => {
                self.clients.half_close(&self.events, token);
                if reads {
                    self.input_over(&target);
                }
            }
            FromClient::HalfClosed | FromClient::Gone => {
                self.clients.remove(&mut self.events, token);
                if reads {
                    self.input_over(&target);
                }
                self.catch_up(&target);
            }
            FromClient::Detached(bytes) => {
                if let Some(streams) = streams.filter(|_| reads) {
                    streams.feed(&mut self.events, &bytes);
                }
                self.clients.remove(&mut self.events, token);
                self.announce(&Event::Detached(target.clone()));
                self.catch_up(&target);
            }
        }
    }

    /// A client that was behind is gone: the program may be read again.
    pub(super) fn catch_up(&mut self, target: &Target) {
        if !self.clients.any_behind(target)
            && let Some(streams) = self.programs.get_mut(target)
        {
            streams.set_paused(&self.events, false);
        }
    }

    /// The client that fed a program sends no more.
    pub(super) fn input_over(&mut self, target: &Target) {
        if let Some(streams) = self.programs.get_mut(target)
            && (streams.stdin_once || *target != Target::Container)
        {
            streams.close_input(&mut self.events);
        }
    }

    pub(super) fn resize(&mut self, target: &Target, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let terminal = self.programs.get(target).and_then(ProgramStreams::terminal);
        let resized = terminal.map(|terminal| rustix::termios::tcsetwinsize(terminal, size));
        match resized {
            Some(Ok(())) => {}
            Some(Err(errno)) => self.refuse("resize", errno),
            None => self.refuse("resize", "there is no terminal"),
        }
    }

    pub(super) fn signal(&mut self, target: &Target, number: i32) {
        let pidfd = match target {
            Target::Container => self.init.as_ref().map(|i| &i.pidfd),
            Target::Exec(exec) => self.execs.get(exec).and_then(|e| e.pidfd.as_ref()),
        };
        let sent = match (pidfd, Signal::from_named_raw(number)) {
            (Some(pidfd), Some(signal)) => rustix::process::pidfd_send_signal(pidfd, signal),
            // A real-time signal has no name in this library.
            (Some(pidfd), None) => carrack_sys::process::pidfd_signal(pidfd.as_fd(), number),
            (None, _) => Err(rustix::io::Errno::SRCH),
        };
        if let Err(errno) = sent
            && errno != rustix::io::Errno::SRCH
        {
            self.refuse("signal", errno);
        }
    }
}
