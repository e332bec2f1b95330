//! A program added to a running container.
//!
//! A fork of the supervisor joins the cgroup leaf, then all namespaces at
//! once, and forks again as the supervisor's own child, which is then inside
//! the process id namespace. That way nothing that is paused, limited or
//! killed with the container does the work, and no global lock is taken.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use carrack_runtime::apply;
use carrack_runtime::plan::{Failure, ProcessPlan};
use carrack_sys::process::{CloneArgs, Cloned};
use rustix::process::{DumpableBehavior, WaitId, WaitIdOptions};
use rustix::thread::ThreadNameSpaceType;

use crate::init::{self, ChannelReport, NEWTIME, NEWUSER, PipeEnds, Word};

/// An exec under way, seen from the supervisor.
pub(crate) struct Launched {
    pub(crate) channel: UnixStream,
    pub(crate) pipes: PipeEnds,
}

/// What an exec joins.
pub(crate) struct Joining<'a> {
    /// The container's init.
    pub(crate) pidfd: &'a OwnedFd,
    /// Namespaces made for the container, `CLONE_NEW…` bits.
    pub(crate) made: u64,
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
            // It only joins and forks: about half a millisecond.
            rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
            Ok(Launched {
                channel: ours,
                pipes,
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

fn enter(
    plan: &ProcessPlan,
    joining: &Joining<'_>,
    channel: &UnixStream,
    streams: &init::StandardStreams,
) -> Result<(), Failure> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| init::failure("protect the exec", errno.raw_os_error()))?;
    init::attach_self(joining.attach)?;
    join_all(joining)?;
    let args = CloneArgs {
        flags: libc::CLONE_PARENT as u64,
        into_cgroup: None,
    };
    match carrack_sys::process::clone3(&args)
        .map_err(|error| init::io_failure("fork inside the container", &error))?
    {
        Cloned::Parent { pid, .. } => init::say(channel, &Word::Pid(pid)),
        Cloned::Child => {
            let failure = run(plan, joining, channel, streams);
            let _supervisor_gone = init::say(channel, &Word::Failed(failure));
            carrack_sys::process::exit_now(1)
        }
    }
}

fn join_all(joining: &Joining<'_>) -> Result<(), Failure> {
    let mut kinds = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    kinds.set(ThreadNameSpaceType::USER, joining.made & NEWUSER != 0);
    kinds.set(ThreadNameSpaceType::TIME, joining.made & NEWTIME != 0);
    rustix::thread::move_into_thread_name_spaces(joining.pidfd.as_fd(), kinds)
        .map_err(|errno| init::failure("join the container's namespaces", errno.raw_os_error()))
}

fn run(
    plan: &ProcessPlan,
    joining: &Joining<'_>,
    channel: &UnixStream,
    streams: &init::StandardStreams,
) -> Failure {
    debug_assert!(channel.as_raw_fd() > 2);
    if let Err(error) = init::keep_only(channel, streams) {
        return init::io_failure("close the supervisor's descriptors", &error);
    }
    if joining.made & NEWUSER != 0
        && let Err(failure) = init::become_root_inside()
    {
        return failure;
    }
    apply::run_exec(plan, &mut ChannelReport(channel))
}
