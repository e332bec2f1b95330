//! What `/proc` shows of a container's first process, whose id may be
//! another's by now.
//!
//! A supervisor reaps a process that ended before this crate hears of it. So
//! what was opened counts only if the id belonged to a child of the
//! supervisor, and to the same process all the while.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Opens `/proc/PID/NAME` of a process that `supervisor` has started.
pub(crate) fn open(pid: u32, supervisor: i32, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let gone = || io::Error::from(Errno::SRCH);
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = pidfd_open(number.ok_or_else(gone)?, PidfdFlags::empty())?;
    if parent(pid) != Some(supervisor) {
        return Err(gone());
    }
    let opened = rustix::fs::open(path(pid, name), flags | OFlags::CLOEXEC, Mode::empty())?;
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    if poll(&mut ended, Some(&Timespec::default()))? == 0 {
        Ok(opened)
    } else {
        Err(gone())
    }
}

/// For messages, too.
pub(crate) fn path(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// `ppid` of `/proc/PID/stat`, proc_pid_stat(5). The name before it may hold
/// anything, parentheses too.
fn parent(pid: u32) -> Option<i32> {
    let stat = std::fs::read(path(pid, "stat")).ok()?;
    let behind_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let text = std::str::from_utf8(&stat[behind_name..]).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn only_a_living_child_of_the_supervisor_is_opened() {
        let me = i32::try_from(std::process::id()).expect("an id");
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a process");
        let open = |pid, supervisor| open(pid, supervisor, "root", OFlags::PATH);
        open(child.id(), me).expect("its root");
        // The id belongs to somebody else.
        assert!(open(child.id(), me + 1).is_err());
        assert!(open(std::process::id(), me).is_err());
        assert!(open(0, me).is_err());
        drop(child.stdin.take());
        child.wait().expect("its end");
        assert!(open(child.id(), me).is_err());
    }
}
