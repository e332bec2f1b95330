//! One signal at a time: its disposition, and sending it by number.

use std::io;

/// What a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// What the kernel does by itself.
    Default,
    /// Nothing.
    Ignored,
}

/// Sets what a signal does in the calling process; an ignored one stays so
/// through an exec. `EINVAL` for SIGKILL, SIGSTOP and what is no signal.
pub fn set(signal: i32, disposition: Disposition) -> io::Result<()> {
    let handler = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignored => libc::SIG_IGN,
    };
    // SAFETY: neither constant is a handler of ours; the number is checked by
    // libc.
    if unsafe { libc::signal(signal, handler) } == libc::SIG_ERR {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Gives the two signals that glibc keeps to itself their default: its
/// `posix_spawn(3)` leaves them ignored in every program that it starts, and
/// its `signal(2)` refuses to change that. For a process with one thread, as
/// they are what keeps the threads' ids and ends in step.
pub fn reset_reserved() {
    /// `struct sigaction` as the kernel has it on x86-64 and arm64.
    #[repr(C)]
    struct KernelAction {
        handler: usize,
        flags: libc::c_ulong,
        restorer: usize,
        mask: u64,
    }
    let default = KernelAction {
        handler: libc::SIG_DFL,
        flags: 0,
        restorer: 0,
        mask: 0,
    };
    for signal in [32, 33] {
        // SAFETY: `default` is live and of the layout that the size of the
        // mask, the last argument, implies; it installs no handler.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                std::ptr::from_ref(&default),
                std::ptr::null::<KernelAction>(),
                size_of::<u64>(),
            )
        };
    }
}

/// Sends a signal by its number, real-time ones too, to a child that the
/// caller has not waited for: its id is not used again before.
pub fn send_to_child(child: rustix::process::Pid, signal: i32) -> io::Result<()> {
    // SAFETY: takes plain numbers.
    if unsafe { libc::kill(child.as_raw_nonzero().get(), signal) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_signal_is_refused() {
        assert!(set(libc::SIGKILL, Disposition::Ignored).is_err());
        assert!(set(4711, Disposition::Default).is_err());
        assert!(set(libc::SIGPIPE, Disposition::Ignored).is_ok());
    }
}
