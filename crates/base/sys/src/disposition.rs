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
