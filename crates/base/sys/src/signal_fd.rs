//! Signals as readable events: blocked, then read from a descriptor.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// Blocks `signals` in the calling thread and gives a descriptor from which
/// they are read (signalfd(2)). Threads that are made afterwards inherit the
/// mask, so this is called before the first.
pub fn open(signals: &[i32]) -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set, which is then complete;
    // sigaddset refuses a number that is no signal.
    let set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        let mut set = set.assume_init();
        for &signal in signals {
            if libc::sigaddset(&raw mut set, signal) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        set
    };
    // SAFETY: `set` is initialised; the old mask is not asked for.
    let error =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: `set` is initialised and live for the call; -1 asks for a new
    // descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal that came, if one did.
pub fn next(fd: impl AsFd) -> io::Result<Option<i32>> {
    // struct signalfd_siginfo is 128 bytes and opens with the number.
    let mut info = [0u8; 128];
    match rustix::io::read(fd, &mut info) {
        Ok(128) => {
            let number = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
            Ok(i32::try_from(number).ok())
        }
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_signal_is_read_and_does_not_kill() {
        let fd = open(&[libc::SIGUSR2]).unwrap();
        assert_eq!(next(&fd).unwrap(), None);
        // To this thread: the others of the test have it unblocked.
        // SAFETY: pthread_self names the calling thread, which is alive.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
        assert_eq!(next(&fd).unwrap(), Some(libc::SIGUSR2));
        assert_eq!(next(&fd).unwrap(), None);
    }

    #[test]
    fn a_number_that_is_no_signal_is_refused() {
        assert!(open(&[4711]).is_err());
    }
}
