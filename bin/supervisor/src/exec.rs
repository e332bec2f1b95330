//! A program added to a running container.
//!
//! A fork of the supervisor joins the cgroup leaf, then all namespaces at
//! once, and forks again as the supervisor's own child, which is then inside
//! the process id namespace. That way nothing that is paused, limited or
//! killed with the container does the work, and no global lock is taken.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use carrack_runtime::apply;
use carrack_runtime::plan::{Failure, ProcessPlan};
use carrack_sys::process::{CloneArgs, Cloned};
use rustix::thread::ThreadNameSpaceType;

use crate::init::{self, ChannelReport, NEWUSER, PipeEnds, Word};
use crate::powers;

/// An exec under way, seen from the supervisor.
pub(crate) struct Launched {
    pub(crate) channel: UnixStream,
    pub(crate) pipes: PipeEnds,
    /// The process in between. It ends by itself at once, unless the container
    /// is paused meanwhile, so nobody waits for it before it is over.
    pub(crate) between: OwnedFd,
}

/// What an exec joins.
pub(crate) struct Joining<'a> {
    /// The container's init.
    pub(crate) pidfd: &'a OwnedFd,
    /// Namespaces that are the container's own, `CLONE_NEW…` bits.
    pub(crate) own: u64,
    /// The OOM killer's preference, if it is not the supervisor's.
    pub(crate) oom_score: Option<i32>,
    /// Its cgroup leaf's files.
    pub(crate) attach: &'a [OwnedFd],
    /// Its cgroup v2 directory.
    pub(crate) born_in: Option<BorrowedFd<'a>>,
}

/// Starts a program; how it went comes over the channel.
pub(crate) fn launch(plan: &ProcessPlan, joining: &Joining<'_>) -> io::Result<Launched> {
    let (ours, theirs) = UnixStream::pair()?;
    let (streams, pipes) = init::pipes()?;
    let args = CloneArgs {
        flags: 0,
        into_cgroup: joining.born_in,
    };
    match carrack_sys::process::clone3(&args)? {
        Cloned::Parent { pidfd, .. } => {
            drop((theirs, streams));
            Ok(Launched {
                channel: ours,
                pipes,
                between: pidfd,
            })
        }
        Cloned::Child => {
            drop((ours, pipes));
            if let Err(failure) = enter(plan, joining, &theirs, &streams) {
                let _supervisor_gone = init::say(&theirs, &Word::Failed(failure));
            }
            carrack_sys::process::exit_now(0)
        }
    }
}

/// Joins all, then forks. Nothing of the supervisor's but the channel may be
/// open in the child: from its first moment the container's programs see it.
fn enter(
    plan: &ProcessPlan,
    joining: &Joining<'_>,
    channel: &UnixStream,
    streams: &init::StandardStreams,
) -> Result<(), Failure> {
    powers::take_up().map_err(|error| init::io_failure("take up the capabilities", &error))?;
    if let Some(score) = joining.oom_score {
        init::set_oom_score(None, score)?;
    }
    init::attach_self(joining.attach)?;
    join_all(joining)?;
    init::keep_only(channel, streams)
        .map_err(|error| init::io_failure("close the supervisor's descriptors", &error))?;
    let args = CloneArgs {
        flags: libc::CLONE_PARENT as u64,
        into_cgroup: None,
    };
    match carrack_sys::process::clone3(&args)
        .map_err(|error| init::io_failure("fork inside the container", &error))?
    {
        Cloned::Parent { pid, .. } => init::say(channel, &Word::Pid(pid)),
        Cloned::Child => {
            let failure = run(plan, joining, channel);
            let _supervisor_gone = init::say(channel, &Word::Failed(failure));
            carrack_sys::process::exit_now(1)
        }
    }
}

pub(crate) fn join_all(joining: &Joining<'_>) -> Result<(), Failure> {
    // The bits are those of clone(2).
    let bits = u32::try_from(joining.own).unwrap_or(0);
    let kinds = ThreadNameSpaceType::from_bits_truncate(bits);
    rustix::thread::move_into_thread_name_spaces(joining.pidfd.as_fd(), kinds)
        .map_err(|errno| init::failure("join the container's namespaces", errno.raw_os_error()))
}

fn run(plan: &ProcessPlan, joining: &Joining<'_>, channel: &UnixStream) -> Failure {
    if joining.own & NEWUSER != 0
        && let Err(failure) = init::become_root_inside()
    {
        return failure;
    }
    apply::run_exec(plan, &mut ChannelReport(channel))
}
