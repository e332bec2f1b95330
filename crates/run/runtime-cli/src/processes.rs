//! Whether the process that a record names is still that one.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{Pid, PidfdFlags};

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alive {
    /// It does.
    Yes,
    /// It ended, even if nobody asked for its status yet, or its number is
    /// another one's.
    No,
}

/// When a process began, in ticks since the machine's start; `None` once it
/// ended.
pub(crate) fn began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also a parenthesis.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if matches!(fields.next()?, "Z" | "X" | "x") {
        return None;
    }
    // The 22nd of all; the third was the first here.
    fields.nth(18)?.parse().ok()
}

/// Whether the process that began then still runs.
pub(crate) fn alive(pid: i32, when: u64) -> Alive {
    if began(pid) == Some(when) {
        Alive::Yes
    } else {
        Alive::No
    }
}

/// Opens the process that began then; `None` once it ended.
pub(crate) fn open(pid: i32, when: u64) -> Option<OwnedFd> {
    let pidfd = rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    // Looked at afterwards: the descriptor is of whatever has the number.
    (alive(pid, when) == Alive::Yes).then_some(pidfd)
}

/// Sends a signal by its number, real-time ones too.
pub(crate) fn signal(pidfd: &OwnedFd, number: i32) -> rustix::io::Result<()> {
    carrack_sys::process::pidfd_signal(pidfd.as_fd(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_beginning() {
        let own = i32::try_from(std::process::id()).expect("id");
        let when = began(own).expect("it runs");
        assert_eq!(alive(own, when), Alive::Yes);
        assert_eq!(alive(own, when + 1), Alive::No);
        assert!(open(own, when).is_some());
        assert!(open(own, when + 1).is_none());
    }

    #[test]
    fn one_that_nobody_waited_for_is_over() {
        let mut child = std::process::Command::new("/bin/true")
            .spawn()
            .expect("runs");
        let pid = i32::try_from(child.id()).expect("id");
        let pidfd =
            rustix::process::pidfd_open(Pid::from_raw(pid).expect("id"), PidfdFlags::empty())
                .expect("opens");
        let mut polled = [rustix::event::PollFd::new(
            &pidfd,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut polled, None).expect("it ends");
        assert_eq!(began(pid), None);
        child.wait().expect("reaped");
    }
}
