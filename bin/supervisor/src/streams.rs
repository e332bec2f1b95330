//! The standard streams of one program: the container's or an exec's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use carrack_supervision::Target;
use rustix::io::Errno;

use crate::event_loop::{EventLoop, Interest, Output, Role, Token};
use crate::init::PipeEnds;
use crate::log::Log;

/// Bytes read from a program at once.
pub(crate) const CHUNK_BYTES: usize = 16 << 10;
/// Bytes kept for a program that does not read its input; beyond, its clients
/// are not read.
const MAX_INPUT_BYTES: usize = 64 << 10;
/// More than a pseudo-terminal keeps for its reader.
const TERMINAL_BACKLOG_BYTES: usize = 256 << 10;

struct OutputEnd {
    which: Output,
    fd: OwnedFd,
    token: Token,
}

/// Our ends of a program's streams.
pub(crate) struct ProgramStreams {
    target: Target,
    outputs: Vec<OutputEnd>,
    paused: bool,
    input: Option<OwnedFd>,
    input_token: Option<Token>,
    input_pending: Vec<u8>,
    close_input: bool,
    terminal: Option<OwnedFd>,
    /// Nobody holds the terminal's other side just now.
    deserted: bool,
    pub(crate) log: Option<Log>,
    /// Standard input is closed when its first client leaves.
    pub(crate) stdin_once: bool,
}

impl ProgramStreams {
    /// Streams over pipes.
    pub(crate) fn over_pipes(
        events: &mut EventLoop,
        target: Target,
        pipes: PipeEnds,
        open_stdin: bool,
    ) -> io::Result<Self> {
        let mut streams = Self::empty(target);
        streams.add_output(events, Output::Stdout, pipes.stdout)?;
        streams.add_output(events, Output::Stderr, pipes.stderr)?;
        if open_stdin {
            rustix::io::ioctl_fionbio(&pipes.stdin, true)?;
            streams.input = Some(pipes.stdin);
        }
        Ok(streams)
    }

    /// Streams over a terminal's master side.
    pub(crate) fn over_terminal(
        events: &mut EventLoop,
        target: Target,
        master: OwnedFd,
        open_stdin: bool,
    ) -> io::Result<Self> {
        let mut streams = Self::empty(target);
        streams.terminal = Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        if open_stdin {
            streams.input = Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        }
        streams.add_output(events, Output::Stdout, master)?;
        Ok(streams)
    }

    fn empty(target: Target) -> Self {
        Self {
            target,
            outputs: Vec::new(),
            paused: false,
            input: None,
            input_token: None,
            input_pending: Vec::new(),
            close_input: false,
            terminal: None,
            deserted: false,
            log: None,
            stdin_once: false,
        }
    }

    fn add_output(&mut self, events: &mut EventLoop, which: Output, fd: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let token = events.watch(
            &fd,
            Role::Output(self.target.clone(), which),
            Interest::READ,
        )?;
        self.outputs.push(OutputEnd { which, fd, token });
        Ok(())
    }

    /// The terminal's master, to change its size.
    pub(crate) fn terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref()
    }

    /// Reads a chunk of one output; `None` when there is none just now.
    /// At its end the output is closed and an empty chunk returned.
    pub(crate) fn read(
        &mut self,
        events: &mut EventLoop,
        which: Output,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let position = self.outputs.iter().position(|o| o.which == which)?;
        loop {
            match rustix::io::read(&self.outputs[position].fd, &mut *buffer) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                // A terminal answers EIO while nobody holds its other side; any
                // program of the container may open it again.
                Err(Errno::IO) if self.terminal.is_some() => {
                    if !self.deserted {
                        self.deserted = true;
                        let output = &self.outputs[position];
                        events.await_change(&output.fd, output.token);
                    }
                    return None;
                }
                Ok(0) | Err(_) => {
                    let end = self.outputs.swap_remove(position);
                    events.forget(&end.fd, end.token);
                    return Some(0);
                }
                Ok(count) => {
                    if self.deserted {
                        self.deserted = false;
                        let output = &self.outputs[position];
                        events.change(&output.fd, output.token, Interest::READ);
                    }
                    return Some(count);
                }
            }
        }
    }

    /// Outputs that are still open and how many bytes each of them holds.
    pub(crate) fn backlogs(&self) -> Vec<(Output, usize)> {
        let backlog =
            |output: &OutputEnd| match (&self.terminal, rustix::io::ioctl_fionread(&output.fd)) {
                // What is on its way through a terminal is not counted.
                (Some(_), _) | (None, Err(_)) => TERMINAL_BACKLOG_BYTES,
                (None, Ok(bytes)) => usize::try_from(bytes).unwrap_or(usize::MAX),
            };
        self.outputs.iter().map(|o| (o.which, backlog(o))).collect()
    }

    /// Stops or resumes reading, because a client is behind or caught up.
    pub(crate) fn set_paused(&mut self, events: &EventLoop, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            // Watched anew, it says again what it is.
            self.deserted = false;
            for output in &self.outputs {
                if paused {
                    events.pause(&output.fd);
                } else {
                    events.resume(&output.fd, output.token, Interest::READ);
                }
            }
        }
    }

    /// Whether more bytes for standard input would be kept.
    pub(crate) fn accepts_input(&self) -> bool {
        self.input_pending.len() < MAX_INPUT_BYTES
    }

    /// Gives bytes to standard input; they are dropped once it is closed.
    pub(crate) fn feed(&mut self, events: &mut EventLoop, bytes: &[u8]) {
        if self.input.is_some() && !self.close_input {
            self.input_pending.extend_from_slice(bytes);
            self.flush_input(events);
        }
    }

    /// Closes standard input once what was given is written. A terminal stays
    /// open: its end of file is a key.
    pub(crate) fn close_input(&mut self, events: &mut EventLoop) {
        if self.terminal.is_none() {
            self.close_input = true;
            self.flush_input(events);
        }
    }

    /// Writes pending input as far as the program takes it.
    pub(crate) fn flush_input(&mut self, events: &mut EventLoop) {
        let Some(input) = &self.input else {
            return;
        };
        while !self.input_pending.is_empty() {
            match rustix::io::write(input, &self.input_pending) {
                Ok(count) => {
                    self.input_pending.drain(..count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if self.input_token.is_none() {
                        let writable = Interest {
                            read: false,
                            write: true,
                        };
                        self.input_token = events
                            .watch(input, Role::Input(self.target.clone()), writable)
                            .ok();
                    }
                    return;
                }
                // The program closed its standard input.
                Err(_) => {
                    self.input_pending.clear();
                    self.close_input = true;
                }
            }
        }
        if let Some(token) = self.input_token.take() {
            events.forget(input, token);
        }
        if self.input_pending.capacity() > 0 {
            self.input_pending = Vec::new();
        }
        if self.close_input {
            self.input = None;
        }
    }

    /// Forgets everything.
    pub(crate) fn close(mut self, events: &mut EventLoop) {
        for output in self.outputs.drain(..) {
            events.forget(output.fd.as_fd(), output.token);
        }
        if let (Some(input), Some(token)) = (&self.input, self.input_token.take()) {
            events.forget(input, token);
        }
    }
}
