//! The process that makes a container or adds a program: the supervisor's
//! program, executed from sealed memory.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use carrack_runtime::plan::Failure;
use carrack_supervision::FrameReader;
use carrack_supervision::detached::{Made, Make};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Pid, WaitOptions};

use crate::{Error, Programs, Result};

/// Descriptors that `--preserve-fds` may keep.
pub(crate) const MAX_PRESERVED: u32 = 1000;

/// A maker under way.
#[derive(Debug)]
pub(crate) struct Maker {
    control: UnixStream,
    reader: FrameReader,
    pid: i32,
    verb: &'static str,
}

impl Maker {
    /// Starts one with this process's standard streams and the `preserved`
    /// descriptors behind them. `verb` is for its failures.
    pub(crate) fn start(programs: Programs, preserved: u32, verb: &'static str) -> Result<Self> {
        let started = || -> io::Result<(UnixStream, i32)> {
            let (ours, theirs) = UnixStream::pair()?;
            let program = seal(programs.supervisor)?;
            let mut inherited = Vec::new();
            for number in 0..3 + preserved {
                // A stream that is closed is nothing to read and to write.
                let copy = match carrack_sys::descriptors::inherited(number) {
                    Err(error) if number < 3 && error.raw_os_error() == Some(libc::EBADF) => {
                        null()?
                    }
                    other => other?,
                };
                inherited.push(copy);
            }
            let mut descriptors: Vec<BorrowedFd<'_>> = inherited.iter().map(AsFd::as_fd).collect();
            descriptors.push(theirs.as_fd());
            let count = std::ffi::CString::new(preserved.to_string())?;
            let arguments = [c"carrack-runtime", c"make", count.as_c_str()];
            let pid = carrack_sys::process::spawn(program.as_fd(), &arguments, &descriptors)?;
            Ok((ours, pid))
        };
        let (control, pid) = started()
            .map_err(|error| Error::file("start", "the process that makes containers", error))?;
        Ok(Self {
            control,
            reader: FrameReader::default(),
            pid,
            verb,
        })
    }

    /// Asks for something.
    pub(crate) fn ask(&self, make: &Make, with: &[BorrowedFd<'_>]) -> Result<()> {
        carrack_supervision::send(&self.control, make, with)
            .map_err(|error| Error::Maker(format!(": {error}")))
    }

    /// What it says next, and what came with it. A failure is an error.
    pub(crate) fn next(&mut self) -> Result<(Made, Vec<OwnedFd>)> {
        loop {
            match self.reader.message::<Made>() {
                Ok(Some(received)) => match received.message {
                    Made::Failed(failure) => return Err(self.failed(failure)),
                    made => return Ok((made, received.descriptors)),
                },
                Ok(None) => {}
                Err(error) => return Err(Error::Maker(format!(": {error}"))),
            }
            match self.reader.fill(&self.control) {
                Ok(true) => {}
                Ok(false) => return Err(Error::Maker(String::new())),
                Err(error) => return Err(Error::Maker(format!(": {error}"))),
            }
        }
    }

    fn failed(&self, failure: Failure) -> Error {
        Error::Start {
            verb: self.verb,
            failure,
        }
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        // It ends with the connection, if it has not ended before.
        let _ended = self.control.shutdown(std::net::Shutdown::Both);
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _reaped = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

fn null() -> io::Result<OwnedFd> {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    Ok(file.into())
}

fn seal(program: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd =
        rustix::fs::memfd_create("carrack-runtime", flags | MemfdFlags::EXEC).or_else(|errno| {
            match errno {
                // Before Linux 6.3 every memory file is executable.
                rustix::io::Errno::INVAL => rustix::fs::memfd_create("carrack-runtime", flags),
                other => Err(other),
            }
        })?;
    let mut file = std::fs::File::from(memfd);
    file.write_all(program)?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(file.into())
}
