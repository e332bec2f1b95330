//! The user's terminal: its size, raw mode, the keys that detach, and the
//! loop that carries bytes between it and a container.

pub(crate) mod keys;
pub(crate) mod paint;
pub(crate) mod relay;

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{self, OptionalActions, Termios};

use crate::failure::Failure;

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    termios::isatty(io::stdin())
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    termios::isatty(io::stdout())
}

/// Rows and columns of the terminal at standard output.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 || size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Columns to wrap help at.
pub(crate) fn columns() -> usize {
    size()
        .map_or(80, |(_, columns)| usize::from(columns))
        .clamp(40, 120)
}

/// A container's terminal needs one here to be of use.
pub(crate) fn check_tty(attach_stdin: bool, tty: bool) -> Result<(), Failure> {
    if attach_stdin && tty && !stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

/// Raw mode, until it is dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Puts the terminal at standard input into raw mode; `None` where there
    /// is no terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !termios::isatty(&stdin) {
            return Ok(None);
        }
        let before = termios::tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self {
            terminal: stdin.as_fd().try_clone_to_owned()?,
            before,
        }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Writes to standard output without a buffer of ours: what a container
/// printed is to be seen at once.
pub(crate) fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    write_all(rustix::stdio::stdout(), bytes)
}

/// Writes to standard error.
pub(crate) fn write_stderr(bytes: &[u8]) -> io::Result<()> {
    write_all(rustix::stdio::stderr(), bytes)
}

fn write_all(fd: std::os::fd::BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                // Another program made the shared descriptor non-blocking.
                let mut wanted = [rustix::event::PollFd::from_borrowed_fd(
                    fd,
                    rustix::event::PollFlags::OUT,
                )];
                rustix::event::poll(&mut wanted, None)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Standard output as a writer of that kind.
pub(crate) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_stdout(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
