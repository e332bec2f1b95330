//! Staying with a program: its signals, its terminal, its exit code.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use carrack_sys::signal_fd;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{WaitId, WaitIdOptions};
use rustix::termios::{OptionalActions, Termios};

use crate::{Error, Result, processes};

/// Bytes moved at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Signals that are passed on; the others keep what they do to this process.
const PASSED_ON: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGCONT,
    libc::SIGALRM,
    libc::SIGWINCH,
];

/// Signals of this process from now on, read from a descriptor. Before the
/// program is started, so that none is lost.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// Takes them.
    pub(crate) fn take() -> Result<Self> {
        signal_fd::open(&PASSED_ON)
            .map(Self)
            .map_err(|error| Error::file("take signals with", "signalfd", error))
    }
}

/// Waits for a child's end; its exit code, 128 + n for a signal.
pub(crate) fn stay(child: &OwnedFd, signals: &Signals, master: Option<OwnedFd>) -> Result<u8> {
    let terminal = master.map(Terminal::new);
    let stayed = follow(child, signals, terminal.as_ref())
        .map_err(|error| Error::file("wait for", "the program", error));
    if let Some(terminal) = &terminal {
        terminal.give_back();
    }
    stayed?;
    let status = rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
    let code = status
        .ok()
        .flatten()
        .map_or(255, carrack_sys::process::exit_code);
    Ok(u8::try_from(code).unwrap_or(255))
}

fn follow(child: &OwnedFd, signals: &Signals, terminal: Option<&Terminal>) -> io::Result<()> {
    let stdin = rustix::stdio::stdin();
    let mut feeding = terminal.is_some();
    loop {
        let mut polled = vec![
            PollFd::new(child, PollFlags::IN),
            PollFd::new(&signals.0, PollFlags::IN),
        ];
        if let Some(terminal) = terminal {
            polled.push(PollFd::from_borrowed_fd(
                terminal.master.as_fd(),
                PollFlags::IN,
            ));
            if feeding {
                polled.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            }
        }
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
        drop(polled);
        if ready[1] {
            pass_on(child, &signals.0, terminal)?;
        }
        if let Some(terminal) = terminal {
            if ready[2] {
                terminal.show()?;
            }
            if ready.get(3) == Some(&true) {
                feeding = terminal.feed(stdin)?;
            }
        }
        if ready[0] {
            // What it wrote last is still to be shown.
            if let Some(terminal) = terminal {
                while terminal.has_more() && terminal.show()? {}
            }
            return Ok(());
        }
    }
}

fn pass_on(child: &OwnedFd, signals: &OwnedFd, terminal: Option<&Terminal>) -> io::Result<()> {
    while let Some(signal) = signal_fd::next(signals)? {
        match (signal, terminal) {
            (libc::SIGWINCH, Some(terminal)) => terminal.resize(),
            (libc::SIGWINCH, None) => {}
            // It may have ended just now.
            (signal, _) => drop(processes::signal(child, signal)),
        }
    }
    Ok(())
}

/// A program's terminal, shown on this process's own.
struct Terminal {
    master: File,
    before: Option<Termios>,
}

impl Terminal {
    fn new(master: OwnedFd) -> Self {
        let stdin = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _unchanged = rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw);
        }
        let terminal = Self {
            master: master.into(),
            before,
        };
        terminal.resize();
        terminal
    }

    fn give_back(&self) {
        if let Some(before) = &self.before {
            let stdin = rustix::stdio::stdin();
            let _gone = rustix::termios::tcsetattr(stdin, OptionalActions::Drain, before);
        }
    }

    fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
            let _gone = rustix::termios::tcsetwinsize(&self.master, size);
        }
    }

    fn has_more(&self) -> bool {
        let now = rustix::event::Timespec::default();
        let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
        rustix::event::poll(&mut polled, Some(&now)).is_ok()
            && polled[0].revents().contains(PollFlags::IN)
    }

    /// Moves output; false at its end.
    fn show(&self) -> io::Result<bool> {
        let mut bytes = [0; CHUNK_BYTES];
        match (&self.master).read(&mut bytes) {
            Ok(0) => Ok(false),
            Ok(count) => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes[..count])?;
                out.flush()?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            // Nobody holds the other side any more.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves input; false at its end.
    fn feed(&self, stdin: BorrowedFd<'_>) -> io::Result<bool> {
        let mut bytes = [0; CHUNK_BYTES];
        let count = match rustix::io::read(stdin, &mut bytes) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(true),
            Err(_) => 0,
        };
        if count > 0 {
            (&self.master).write_all(&bytes[..count])?;
        }
        Ok(count > 0)
    }
}
