//! `--init`: process 1 forwards signals to the program and reaps orphans.
//!
//! It runs with the program's own identity, capabilities and filter; all it
//! keeps open is its standard streams.

use std::os::fd::AsFd;

use carrack_sys::disposition;
use carrack_sys::process::{CloneArgs, Cloned};
use carrack_sys::signals::{self, MaskChange};
use rustix::process::{Pid, WaitOptions};

use super::powers::Next;
use super::process::Prepared;
use super::{Report, Tried};
use crate::plan::Failure;

/// Starts the program as a child and never returns, unless that failed.
pub(super) fn run(prepared: &Prepared<'_>, report: &dyn Report) -> Failure {
    signals::set_mask(MaskChange::BlockAll);
    // Where the process id namespace is another one's, orphans of the program
    // come here all the same.
    let _older_kernel = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let child = match carrack_sys::process::clone3(&CloneArgs::default())
        .tried(|| "start the program under init".to_owned())
    {
        Err(failure) => return failure,
        Ok(Cloned::Child) => {
            lead_group(prepared.plan.terminal.is_some());
            return prepared.execute(report);
        }
        Ok(Cloned::Parent { pid, .. }) => pid,
    };
    if let Err(failure) = prepared.give_up_powers(Next::Stay, report) {
        return failure;
    }
    // The supervisor learns of the exec by the end of its channel, so this
    // copy must not hold it open.
    let _closed = carrack_sys::descriptors::close_from(3, carrack_sys::descriptors::Closing::Now);
    let _unnamed = rustix::thread::set_name(c"init");
    let Some(child) = Pid::from_raw(child) else {
        return Failure::other("the program has no process id");
    };
    forward_and_reap(child)
}

/// A process group of its own, so that a signal to the program's group is not
/// forwarded to it once more; with a terminal, the one that gets its keys.
fn lead_group(in_foreground: bool) {
    let _leads_already = rustix::process::setpgid(None, None);
    if in_foreground {
        let own = rustix::process::getpid();
        // Fails only where there is no terminal any more.
        let _hung_up = rustix::termios::tcsetpgrp(rustix::stdio::stdin().as_fd(), own);
    }
}

fn forward_and_reap(child: Pid) -> ! {
    loop {
        match signals::wait_any() {
            Ok(number) if number != libc::SIGCHLD => {
                // The child may have ended; its SIGCHLD is next then.
                let _ended = disposition::send_to_child(child, number);
            }
            Ok(_) => reap(child, WaitOptions::NOHANG),
            // A filter that refuses to wait for signals: nothing is forwarded.
            Err(_) => reap(child, WaitOptions::empty()),
        }
    }
}

/// Reaps all that ended; ends with the program's own status.
fn reap(child: Pid, options: WaitOptions) {
    while let Ok(Some((pid, status))) = rustix::process::wait(options) {
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
