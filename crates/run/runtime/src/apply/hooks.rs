//! Hooks that run in the container's namespaces.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use carrack_sys::process::{CloneArgs, Cloned, StringVector};
use carrack_sys::{descriptors, signals};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::Tried;
use crate::hooks;
use crate::plan::{Failure, HookPlan};

/// Runs hooks one after the other; the first that fails ends it.
pub(super) fn run(hooks: &[HookPlan]) -> Result<(), Failure> {
    hooks.iter().try_for_each(run_one)
}

fn run_one(hook: &HookPlan) -> Result<(), Failure> {
    let name = CString::new(hook.path.as_str())
        .map_err(|_| Failure::other("a hook's path holds a NUL byte"))?;
    let copied = || "copy a hook's arguments".to_owned();
    let arguments = StringVector::new(&hook.arguments).tried(copied)?;
    let environment = StringVector::new(&hook.environment).tried(copied)?;
    let (input, feed) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .tried(|| "make a hook's pipe".to_owned())?;
    let cloned = carrack_sys::process::clone3(&CloneArgs::default())
        .tried(|| format!("run hook {}", hook.path))?;
    let pidfd = match cloned {
        Cloned::Child => {
            rustix::process::umask(Mode::from_raw_mode(0o022));
            let _input = rustix::stdio::dup2_stdin(&input);
            let _close = descriptors::close_from(3, descriptors::Closing::OnExec);
            signals::reset_all();
            let _error = carrack_sys::process::execve(&name, &arguments, &environment);
            carrack_sys::process::exit_now(127)
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    drop(input);
    feed_state(&feed, &hooks::with_pid(&hook.state, std::process::id()));
    drop(feed);
    let code = wait_bounded(&pidfd, hook)?;
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::other(format!(
            "hook {} exited with {code}",
            hook.path
        )))
    }
}

/// Gives a hook its state, as much as a pipe can hold: it may never read it.
/// It may also end before it does, which SIGPIPE, ignored here, would punish.
fn feed_state(feed: &OwnedFd, state: &str) {
    let _blocks = rustix::io::ioctl_fionbio(feed, true);
    let _small = rustix::pipe::fcntl_setpipe_size(feed, state.len());
    let _unread = rustix::io::write(feed, state.as_bytes());
}

fn wait_bounded(pidfd: &OwnedFd, hook: &HookPlan) -> Result<i32, Failure> {
    let timeout = Timespec {
        tv_sec: i64::from(hook.timeout_s),
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let timeout = (hook.timeout_s > 0).then_some(&timeout);
    let ended = rustix::event::poll(&mut polled, timeout)
        .tried(|| format!("wait for hook {}", hook.path))?;
    if ended == 0 {
        let _ended_meanwhile = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    }
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .tried(|| format!("wait for hook {}", hook.path))?;
    if ended == 0 {
        return Err(Failure::other(format!(
            "hook {} did not end within {} s",
            hook.path, hook.timeout_s
        )));
    }
    Ok(status.map_or(255, carrack_sys::process::exit_code))
}
