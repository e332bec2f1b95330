//! Hooks of the host: `prestart`, `createRuntime`, `poststart`, `poststop`.
//!
//! Whoever makes containers from a spec with hooks runs them, in its own
//! namespaces: `prestart` and `createRuntime` when the sandbox is there and
//! before the plan is sent, `poststart` once the program runs, `poststop` when
//! all is cleaned up. `createContainer` and `startContainer` are part of the
//! plan. It blocks; the supervisor never calls it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use carrack_oci::ErrorKind;
use carrack_oci::runtime::{Hook, SPEC_VERSION};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};
use thiserror::Error;

/// Bytes of a hook's words that its error keeps.
const MAX_WORDS_BYTES: usize = 1024;

/// `status` of a state document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Before the program runs.
    Created,
    /// The program runs.
    Running,
    /// It ended.
    Stopped,
}

/// What a state document says, `runtime.md` "State".
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// The container.
    pub id: &'a str,
    /// Where it stands.
    pub status: Status,
    /// Its first process as the host counts; absent in a plan, whose init
    /// knows its own.
    pub pid: Option<u32>,
    /// Absolute path of its bundle.
    pub bundle: &'a str,
    /// The spec's annotations.
    pub annotations: &'a BTreeMap<String, String>,
}

/// A state document as JSON.
pub fn state(state: &State<'_>) -> String {
    let status = match state.status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Stopped => "stopped",
    };
    let mut text = String::from("{\"ociVersion\":");
    append_string(&mut text, SPEC_VERSION);
    text.push_str(",\"id\":");
    append_string(&mut text, state.id);
    text.push_str(",\"status\":");
    append_string(&mut text, status);
    text.push_str(",\"bundle\":");
    append_string(&mut text, state.bundle);
    text.push_str(",\"annotations\":{");
    for (position, (key, value)) in state.annotations.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        append_string(&mut text, key);
        text.push(':');
        append_string(&mut text, value);
    }
    text.push_str("}}");
    match state.pid {
        Some(pid) => with_pid(&text, pid),
        None => text,
    }
}

/// The state document with a process id.
pub(crate) fn with_pid(state: &str, pid: u32) -> String {
    match state.strip_prefix('{') {
        Some(rest) => format!("{{\"pid\":{pid},{rest}"),
        None => String::new(),
    }
}

/// A string as JSON; this crate has no serializer of its own so that the
/// supervisor stays small.
fn append_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..'\u{20}' => {
                // Writing to memory does not fail.
                let _infallible = write!(out, "\\u{:04x}", u32::from(character));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Why a hook failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HookError {
    /// It could not be executed.
    #[error("run hook {path}")]
    Run {
        /// Its program.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It ended with a status other than zero.
    #[error("hook {path} ended with {status}: {words}")]
    Status {
        /// Its program.
        path: String,
        /// Exit status or signal.
        status: String,
        /// The beginning of what it said on standard error.
        words: String,
    },
    /// It did not end in time and was killed.
    #[error("hook {path} did not end within {timeout_s} s")]
    Timeout {
        /// Its program.
        path: String,
        /// Its bound.
        timeout_s: i64,
    },
}

impl HookError {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Run { .. } => ErrorKind::InvalidInput,
            Self::Status { .. } | Self::Timeout { .. } => ErrorKind::Internal,
        }
    }
}

/// Runs hooks one after the other; the first that fails ends it, as before a
/// start.
pub fn run(hooks: &[Hook], state: &str) -> Result<(), HookError> {
    hooks.iter().try_for_each(|hook| run_one(hook, state))
}

/// Runs all hooks, whatever the earlier ones did, as after a start or an end.
pub fn run_all(hooks: &[Hook], state: &str) -> Vec<HookError> {
    hooks
        .iter()
        .filter_map(|hook| run_one(hook, state).err())
        .collect()
}

fn run_one(hook: &Hook, state: &str) -> Result<(), HookError> {
    let failed = |source| HookError::Run {
        path: hook.path.clone(),
        source,
    };
    let (mut child, mut words) = start(hook, state).map_err(failed)?;
    if !ends_in_time(&child, hook.timeout).map_err(failed)? {
        let _ended_meanwhile = child.kill();
        let _killed = child.wait();
        return Err(HookError::Timeout {
            path: hook.path.clone(),
            timeout_s: hook.timeout.unwrap_or_default(),
        });
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let mut said = [0; MAX_WORDS_BYTES];
    // A hook that said nothing leaves an empty pipe, which would block.
    let count = words.read(&mut said).unwrap_or(0);
    Err(HookError::Status {
        path: hook.path.clone(),
        status: status.to_string(),
        words: String::from_utf8_lossy(&said[..count]).trim().to_owned(),
    })
}

fn start(hook: &Hook, state: &str) -> io::Result<(std::process::Child, std::fs::File)> {
    let (input, feed) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let (words, said) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    rustix::io::ioctl_fionbio(&input, false)?;
    // It may never read its state, so no more is given than the pipe takes,
    // and it may end before, which gives EPIPE.
    let _small = rustix::pipe::fcntl_setpipe_size(&feed, state.len());
    let _unread = rustix::io::write(&feed, state.as_bytes());
    drop::<OwnedFd>(feed);
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    let variables = hook.env.iter().filter_map(|entry| entry.split_once('='));
    let child = command
        .env_clear()
        .envs(variables)
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::from(said))
        .spawn()?;
    Ok((child, words.into()))
}

/// Waits for the end, at most for `timeout` seconds.
fn ends_in_time(child: &std::process::Child, timeout: Option<i64>) -> io::Result<bool> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let timeout = timeout
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs)
        .and_then(|bound| Timespec::try_from(bound).ok());
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(ended) => return Ok(ended > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests;
