//! Carries bytes between this process's streams and a container's, in one
//! thread, until the container's side ends or the user detaches.
//!
//! One `poll` waits for everything: the connection, standard input, signals,
//! and an early end of the wait. Nothing here starts a thread, so that a
//! short `run` costs no more than its system calls.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use carrack_outbound::{Hijacked, Response};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::keys::{DetachKeys, Input};
use super::{RawMode, write_stderr, write_stdout};
use crate::create::environment::go_reason;
use crate::engine::frames::{Frames, Stream};
use crate::engine::{Ask, Engine, segment};
use crate::failure::Failure;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// Input that waits for the container to read; more is left where it is.
const PENDING_BYTES: usize = 256 * 1024;

/// Signals that are passed on to the container: those by which people and
/// supervisors talk to a program, without those that belong to this process.
const FORWARDED: &[(i32, &str)] = &[
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (18, "CONT"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (28, "WINCH"),
];
const SIGWINCH: i32 = 28;
/// Signals that end this process, after the terminal was put back.
const ENDING: &[i32] = &[1, 2, 3, 15];

/// Whether the user's signals are the container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalProxy {
    /// They are passed on.
    On,
    /// They do here what they always do.
    Off,
}

/// What has a terminal to be resized.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// A container by its id.
    Container(String),
    /// An exec by its id.
    Exec(String),
}

/// Signals held back from now on, to be read by the relay.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: OwnedFd,
    proxy: SignalProxy,
}

impl Signals {
    /// Takes the signals over, so that none is lost between the container's
    /// start and the relay's. `None` when there is nothing to take over.
    pub(crate) fn hold(proxy: SignalProxy, tty: bool) -> io::Result<Option<Self>> {
        let numbers: Vec<i32> = match (proxy, tty) {
            (SignalProxy::On, _) => FORWARDED.iter().map(|(number, _)| *number).collect(),
            // In raw mode an ending signal must not leave the terminal so.
            (SignalProxy::Off, true) => ENDING.iter().copied().chain([SIGWINCH]).collect(),
            (SignalProxy::Off, false) => return Ok(None),
        };
        Ok(Some(Self {
            fd: carrack_sys::signal_fd::open(&numbers)?,
            proxy,
        }))
    }
}

/// A connection to a container's streams.
pub(crate) struct Relay<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) hijacked: Hijacked,
    pub(crate) subject: Subject,
    /// Whether the container has a terminal: no frames, raw mode here.
    pub(crate) tty: bool,
    /// Whether this process's input is the container's.
    pub(crate) stdin: bool,
    /// Whether any of its output comes here.
    pub(crate) output: bool,
    pub(crate) keys: DetachKeys,
    pub(crate) signals: Option<&'a Signals>,
    /// A descriptor that becomes readable when the container has ended, for a
    /// caller who gets no output that would end.
    pub(crate) ended: Option<BorrowedFd<'a>>,
}

/// Why the relay ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The container's side did.
    Closed,
    /// The user left.
    Detached,
    /// This signal ends this process.
    Signal(i32),
}

impl Relay<'_> {
    /// Carries bytes until the end.
    pub(crate) fn run(mut self) -> Result<End, Failure> {
        let raw = if self.tty && self.stdin {
            RawMode::enter().map_err(|error| Failure::new(format!("unable to setup input stream: unable to set IO streams as raw terminal: {error}")))?
        } else {
            None
        };
        if self.tty && super::stdout_is_terminal() {
            self.resize();
        }
        let end = self.carry();
        drop(raw);
        end
    }

    fn carry(&mut self) -> Result<End, Failure> {
        let failed = |error: io::Error| Failure::new(format!("error during connect: {error}"));
        let mut output = Output {
            frames: Frames::default(),
            tty: self.tty,
        };
        let read_ahead = std::mem::take(&mut self.hijacked.read_ahead);
        output.deliver(&read_ahead)?;
        let mut input = if self.stdin {
            InputState::Open
        } else {
            InputState::Closed
        };
        if !self.stdin {
            // The container's input ends at once.
            let _ = self.hijacked.stream.shutdown(Shutdown::Write);
        }
        let mut pending: Vec<u8> = Vec::new();
        // Never filled with zeros: a short output must not touch all of it.
        let mut buffer = Vec::with_capacity(READ_BYTES);
        loop {
            let socket_flags = if pending.is_empty() {
                PollFlags::IN
            } else {
                PollFlags::IN | PollFlags::OUT
            };
            let mut wanted = vec![PollFd::from_borrowed_fd(
                self.hijacked.stream.as_fd(),
                socket_flags,
            )];
            let stdin_fd = rustix::stdio::stdin();
            let takes_input = input == InputState::Open && pending.len() < PENDING_BYTES;
            let stdin_at = watch(&mut wanted, takes_input.then_some(stdin_fd));
            let signals_at = watch(&mut wanted, self.signals.map(|signals| signals.fd.as_fd()));
            // Where output comes, its end is what counts: watching for the
            // container's as well would spin between the two.
            let ended_at = watch(&mut wanted, self.ended.filter(|_| !self.output));
            match poll(&mut wanted, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno.into())),
            }
            let ready: Vec<PollFlags> = wanted.iter().map(PollFd::revents).collect();
            drop(wanted);
            let is_ready = |at: Option<usize>| at.is_some_and(|at| !ready[at].is_empty());

            if is_ready(signals_at)
                && let Some(signal) = self.signal()?
            {
                return Ok(End::Signal(signal));
            }
            if ready[0].contains(PollFlags::OUT) && !pending.is_empty() {
                send(&self.hijacked.stream, &mut pending).map_err(failed)?;
            }
            if ready[0].intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                buffer.clear();
                match rustix::io::read(&self.hijacked.stream, spare_capacity(&mut buffer)) {
                    Ok(0) | Err(Errno::CONNRESET) => return Ok(End::Closed),
                    Ok(_) => output.deliver(&buffer)?,
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(failed(errno.into())),
                }
            }
            if is_ready(stdin_at) {
                buffer.clear();
                let read = match rustix::io::read(stdin_fd, spare_capacity(&mut buffer)) {
                    Ok(read) => read,
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
                    // A terminal that is gone, or input that is a directory.
                    Err(_) => 0,
                };
                if read == 0 {
                    input = InputState::Ending;
                } else if self.tty {
                    match self.keys.take(&buffer) {
                        Input::Pass(bytes) => pending.extend_from_slice(&bytes),
                        Input::Detach(bytes) => {
                            pending.extend_from_slice(&bytes);
                            let _ = send(&self.hijacked.stream, &mut pending);
                            return Ok(End::Detached);
                        }
                    }
                } else {
                    pending.extend_from_slice(&buffer);
                }
                send(&self.hijacked.stream, &mut pending).map_err(failed)?;
            }
            if input == InputState::Ending && pending.is_empty() {
                let _ = self.hijacked.stream.shutdown(Shutdown::Write);
                input = InputState::Closed;
            }
            if is_ready(ended_at) {
                return Ok(End::Closed);
            }
        }
    }

    /// Handles the signals that came; one that ends this process is given
    /// back.
    fn signal(&mut self) -> Result<Option<i32>, Failure> {
        let Some(signals) = self.signals else {
            return Ok(None);
        };
        while let Ok(Some(signal)) = carrack_sys::signal_fd::next(&signals.fd) {
            if signal == SIGWINCH && self.tty {
                self.resize();
                continue;
            }
            if signals.proxy == SignalProxy::Off {
                return Ok(Some(signal));
            }
            let Subject::Container(id) = &self.subject else {
                continue;
            };
            if let Some((_, name)) = FORWARDED.iter().find(|(number, _)| *number == signal) {
                // A container that has ended takes no signal; its end is
                // about to be seen.
                let path = format!("/containers/{}/kill", segment(id));
                let _ = self.engine.tell(Ask::post(&path).with("signal", name));
            }
        }
        Ok(None)
    }

    /// Gives the container's terminal the size of this one.
    fn resize(&mut self) {
        let Some((rows, columns)) = super::size() else {
            return;
        };
        let path = match &self.subject {
            Subject::Container(id) => format!("/containers/{}/resize", segment(id)),
            Subject::Exec(id) => format!("/exec/{}/resize", segment(id)),
        };
        // The program may have ended already.
        let _ = self.engine.tell(
            Ask::post(&path)
                .with("h", rows.to_string())
                .with("w", columns.to_string()),
        );
    }
}

/// Adds a descriptor to those that are waited for; its place among them.
fn watch<'a>(wanted: &mut Vec<PollFd<'a>>, fd: Option<BorrowedFd<'a>>) -> Option<usize> {
    let fd = fd?;
    wanted.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
    Some(wanted.len() - 1)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputState {
    Open,
    /// It ended, and what was read is still to be sent.
    Ending,
    Closed,
}

/// Sends what the socket takes without blocking: a container that does not
/// read must not keep its output from being read.
fn send(socket: &UnixStream, pending: &mut Vec<u8>) -> io::Result<()> {
    while !pending.is_empty() {
        match rustix::net::send(socket, pending, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(sent) => drop(pending.drain(..sent)),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(()),
            // Nobody reads any more; the output's end tells.
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => pending.clear(),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Where a container's output goes.
struct Output {
    frames: Frames,
    tty: bool,
}

impl Output {
    fn deliver(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut written = Ok(());
        if self.tty {
            written = write_stdout(bytes);
        } else {
            self.frames
                .feed(bytes, |stream, payload| {
                    if written.is_ok() {
                        written = match stream {
                            Stream::Out => write_stdout(payload),
                            Stream::Err => write_stderr(payload),
                        };
                    }
                })
                .map_err(|error| Failure::new(error.to_string()))?;
        }
        written.map_err(|error| Failure::new(format!("write /dev/stdout: {}", go_reason(&error))))
    }
}

impl Signals {
    /// Passes signals on to a container until the rest of `answer` comes.
    pub(crate) fn until_readable(&self, answer: &Response, engine: &mut Engine, id: &str) {
        while !answer.has_buffered() {
            let mut wanted = [
                PollFd::from_borrowed_fd(answer.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN),
            ];
            match poll(&mut wanted, None) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if !wanted[0].revents().is_empty() => return,
                Ok(_) => {}
            }
            while let Ok(Some(signal)) = carrack_sys::signal_fd::next(&self.fd) {
                if self.proxy == SignalProxy::Off && signal != SIGWINCH {
                    // Nobody but the wait is left to be interrupted.
                    std::process::exit(128 + signal);
                }
                if let Some((_, name)) = FORWARDED.iter().find(|(number, _)| *number == signal) {
                    let path = format!("/containers/{}/kill", segment(id));
                    let _ = engine.tell(Ask::post(&path).with("signal", name));
                }
            }
        }
    }
}
