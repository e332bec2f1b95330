//! Signal dispositions and masks of the calling process.

use std::io;

/// Highest signal number of Linux on x86-64 and arm64.
pub const LAST_SIGNAL: i32 = 64;

/// Gives every signal its default disposition and unblocks all: what a program
/// expects at its start, whatever its parent ignored or blocked.
pub fn reset_all() {
    for signal in 1..=LAST_SIGNAL {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: SIG_DFL installs no handler of ours; a number that libc
            // keeps for itself is refused with EINVAL, which is harmless.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    set_mask(MaskChange::UnblockAll);
}

/// A change of the calling thread's signal mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskChange {
    /// No signal is blocked.
    UnblockAll,
    /// Every signal that can be is blocked.
    BlockAll,
}

/// Applies a change of the signal mask.
pub fn set_mask(change: MaskChange) {
    let set = signal_set(change);
    // SAFETY: `set` is initialised; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

/// Waits for one of the signals that [`MaskChange::BlockAll`] blocks and
/// returns its number. `EINTR` is tried again.
pub fn wait_any() -> io::Result<i32> {
    let set = signal_set(MaskChange::BlockAll);
    loop {
        let mut signal = 0;
        // SAFETY: `set` is initialised and `signal` is live for the call.
        let error = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
        match error {
            0 => return Ok(signal),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn signal_set(change: MaskChange) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: both calls initialise the set that they are given.
    unsafe {
        match change {
            MaskChange::UnblockAll => libc::sigemptyset(set.as_mut_ptr()),
            MaskChange::BlockAll => libc::sigfillset(set.as_mut_ptr()),
        };
        set.assume_init()
    }
}
