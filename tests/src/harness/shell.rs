//! Commands inside a world: run to their end, or with a terminal of their own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::wait::until;

/// How long a stream may be silent after its command has ended.
const STREAM_BOUND: Duration = Duration::from_secs(2);

/// What a command left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; 124 is `timeout`'s.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output without its last newline, of a command that ended well.
    ///
    /// # Panics
    /// When the exit code is not 0.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(
            self.code, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self.stdout.trim_end_matches('\n')
    }
}

/// Runs a command to its end, with `stdin` as its input.
///
/// # Errors
/// When it cannot be started or read.
pub fn finish(mut command: Command, stdin: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {command:?}"))?;
    let mut input = child.stdin.take().context("no standard input")?;
    let text = stdin.to_owned();
    let writer = std::thread::spawn(move || {
        // A command that reads nothing closes its end: not an error here.
        let _closed = input.write_all(text.as_bytes());
    });
    let stdout = read_aside(child.stdout.take().context("no standard output")?);
    let stderr = read_aside(child.stderr.take().context("no standard error")?);
    let status = child.wait()?;
    drop(writer.join());
    // What it left in the background may hold its streams for ever.
    let text = |from: Receiver<Vec<u8>>| {
        let mut bytes = Vec::new();
        while let Ok(more) = from.recv_timeout(STREAM_BOUND) {
            bytes.extend(more);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Output {
        code: status.code().unwrap_or(-1),
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

/// Reads a stream on a thread of its own, to its end.
fn read_aside(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buf = vec![0; 1 << 16];
        while let Ok(n @ 1..) = stream.read(&mut buf) {
            if sender.send(buf[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A command with a terminal as its three standard streams.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    seen: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts `command` (which must not set its streams) on a new terminal.
    ///
    /// # Errors
    /// When a terminal cannot be had or the command not started.
    pub fn start(mut command: Command) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave: OwnedFd = rustix::fs::open(
            name.as_c_str(),
            OFlags::RDWR | OFlags::NOCTTY,
            Mode::empty(),
        )?;
        let child = command
            .stdin(slave.try_clone()?)
            .stdout(slave.try_clone()?)
            .stderr(slave)
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        drop(command);
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut reader, into) = (master.try_clone()?, Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            // EIO is how a terminal says that its other side is gone.
            while let Ok(n @ 1..) = reader.read(&mut buf) {
                let text = String::from_utf8_lossy(&buf[..n]);
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
            }
        });
        Ok(Self {
            master,
            child,
            seen,
        })
    }

    /// All that was shown so far.
    pub fn seen(&self) -> String {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Types `text`.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Changes the size of the window.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&self.master, size)?)
    }

    /// Waits until `text` was shown.
    ///
    /// # Panics
    /// When that takes longer than `bound`.
    pub fn expect(&self, text: &str, bound: Duration) {
        until(&format!("the terminal shows {text:?}"), bound, || {
            let seen = self.seen();
            if seen.contains(text) {
                Ok(())
            } else {
                Err(seen)
            }
        });
    }

    /// Waits for the command's end.
    ///
    /// # Panics
    /// When that takes longer than `bound`.
    pub fn end(&mut self, bound: Duration) -> ExitStatus {
        until("the command on the terminal ends", bound, || {
            match self.child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err(self
                    .seen
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()),
                Err(e) => Err(e.to_string()),
            }
        })
    }

    /// Whether the command is still there.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
