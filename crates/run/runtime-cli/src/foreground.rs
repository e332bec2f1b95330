//! Staying with a program: its signals, its terminal, its exit code.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

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
    let mut terminal = master.map(Terminal::new);
    let stayed = follow(child, signals, terminal.as_mut())
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

fn follow(
    child: &OwnedFd,
    signals: &Signals,
    mut terminal: Option<&mut Terminal>,
) -> io::Result<()> {
    loop {
        let (ended, signalled, moves) = wait(child, signals, terminal.as_deref())?;
        if signalled {
            pass_on(child, &signals.0, terminal.as_deref())?;
        }
        if let Some(terminal) = &mut terminal {
            terminal.move_bytes(moves)?;
        }
        if ended {
            // What it wrote last is still to be shown.
            if let Some(terminal) = &mut terminal {
                while terminal.has_more() && terminal.is_open {
                    terminal.show()?;
                }
            }
            return Ok(());
        }
    }
}

/// What can be moved without waiting.
#[derive(Clone, Copy, Debug, Default)]
struct Moves {
    output: bool,
    pending: bool,
    input: bool,
}

/// Waits until something happens: the child's end, a signal, bytes.
fn wait(
    child: &OwnedFd,
    signals: &Signals,
    terminal: Option<&Terminal>,
) -> io::Result<(bool, bool, Moves)> {
    let stdin = rustix::stdio::stdin();
    let nothing = PollFlags::empty();
    let mut polled = vec![
        PollFd::new(child, PollFlags::IN),
        PollFd::new(&signals.0, PollFlags::IN),
    ];
    let open = terminal.filter(|terminal| terminal.is_open);
    if let Some(terminal) = open {
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, !terminal.pending.is_empty());
        polled.push(PollFd::from_borrowed_fd(terminal.master.as_fd(), wanted));
        if terminal.is_fed && terminal.pending.is_empty() {
            polled.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
    }
    match rustix::event::poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let happened = |index: usize| polled.get(index).map_or(nothing, PollFd::revents);
    let moves = Moves {
        output: happened(2).intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
        pending: happened(2).contains(PollFlags::OUT),
        input: !happened(3).is_empty(),
    };
    Ok((!happened(0).is_empty(), !happened(1).is_empty(), moves))
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
    /// Input that the program has not taken yet.
    pending: Vec<u8>,
    /// Somebody holds the other side, or may have something to say.
    is_open: bool,
    /// There is more to read here.
    is_fed: bool,
    /// Nobody sees what is shown any more.
    is_unseen: bool,
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
            pending: Vec::new(),
            is_open: true,
            is_fed: true,
            is_unseen: false,
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

    fn move_bytes(&mut self, moves: Moves) -> io::Result<()> {
        if moves.output {
            self.show()?;
        }
        if moves.input {
            self.read_input();
        }
        if moves.pending || moves.input {
            self.feed()?;
        }
        Ok(())
    }

    /// Moves output; what nobody sees is taken all the same, or the program
    /// would stop.
    fn show(&mut self) -> io::Result<()> {
        let mut bytes = [0; CHUNK_BYTES];
        match self.master.read(&mut bytes) {
            Ok(0) => self.is_open = false,
            Ok(_) if self.is_unseen => {}
            Ok(count) => {
                let mut out = io::stdout().lock();
                let shown = out.write_all(&bytes[..count]).and_then(|()| out.flush());
                self.is_unseen = shown.is_err();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Nobody holds the other side any more.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => self.is_open = false,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn read_input(&mut self) {
        let mut bytes = [0; CHUNK_BYTES];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) => self.is_fed = false,
            Ok(count) => self.pending.extend_from_slice(&bytes[..count]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => self.is_fed = false,
        }
    }

    /// Moves input as far as the program takes it.
    fn feed(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.master.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    self.is_open = false;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
