//! `--init`: process 1 forwards signals to the program and reaps orphans.
//!
//! It runs with the program's own identity, capabilities and filter; all it
//! keeps open is its standard streams.

use std::os::fd::AsFd;

use carrack_sys::process::{CloneArgs, Cloned};
use carrack_sys::signals::{self, MaskChange};
use rustix::process::{Pid, Signal, WaitOptions};

use super::Tried;
use super::process::Prepared;
use crate::plan::Failure;

/// Starts the program as a child and never returns, unless that failed.
pub(super) fn run(prepared: Prepared) -> Failure {
    signals::set_mask(MaskChange::BlockAll);
    let child = match carrack_sys::process::clone3(&CloneArgs::default())
        .tried(|| "start the program under init".to_owned())
    {
        Err(failure) => return failure,
        Ok(Cloned::Child) => {
            if prepared.plan().terminal.is_some() {
                take_foreground();
            }
            return prepared.execute();
        }
        Ok(Cloned::Parent { pid, .. }) => pid,
    };
    if let Err(failure) = prepared.give_up_powers() {
        return failure;
    }
    // The supervisor learns of the exec by the end of its channel, so this
    // copy must not hold it open.
    let _closed = carrack_sys::descriptors::close_from(3, carrack_sys::descriptors::Closing::Now);
    let Some(child) = Pid::from_raw(child) else {
        return Failure::other("the program has no process id");
    };
    forward_and_reap(child)
}

/// The program's own process group gets the terminal's keys.
fn take_foreground() {
    let own = rustix::process::getpid();
    // Both fail only where there is no terminal any more.
    let _own_group = rustix::process::setpgid(None, None);
    let _foreground = rustix::termios::tcsetpgrp(rustix::stdio::stdin().as_fd(), own);
}

fn forward_and_reap(child: Pid) -> ! {
    loop {
        match signals::wait_any() {
            Ok(libc::SIGCHLD) => reap(child),
            Ok(number) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    // The child may have ended; its SIGCHLD is next then.
                    let _ended = rustix::process::kill_process(child, signal);
                }
            }
            Err(_) => reap(child),
        }
    }
}

/// Reaps all that ended; ends with the program's own status.
fn reap(child: Pid) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            let code = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => code,
                (None, Some(signal)) => 128 + signal,
                (None, None) => continue,
            };
            carrack_sys::process::exit_now(code)
        }
    }
}
