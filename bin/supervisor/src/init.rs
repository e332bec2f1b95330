//! The parked init: a fork of the supervisor in the new namespaces.
//!
//! Supervisor and init speak over a channel that closes at exec, so its end
//! without a report means that the user's program runs.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use carrack_runtime::apply::{self, Report};
use carrack_runtime::plan::{Failure, Plan};
use carrack_supervision::{FrameReader, Prepare, Received};
use carrack_sys::descriptors::{self, Closing};
use carrack_sys::process::{CloneArgs, Cloned};
use rustix::process::{DumpableBehavior, Signal};
use serde::{Deserialize, Serialize};

/// From the supervisor to its init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The user namespace has its maps.
    Mapped,
    /// Become a container. Descriptors: the plan's.
    Become(Box<Plan>),
}

/// From an init or an exec to the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The namespaces are ready; waiting.
    Parked,
    /// The terminal's master. Descriptor: it.
    Console,
    /// The exec's process id on the host.
    Pid(i32),
    /// It failed; the process ends.
    Failed(Failure),
}

/// A program's ends of its streams.
#[derive(Debug)]
pub(crate) struct StandardStreams {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// The supervisor's ends of the streams of a program.
#[derive(Debug)]
pub(crate) struct PipeEnds {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// A parked init, seen from the supervisor.
#[derive(Debug)]
pub(crate) struct Init {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: UnixStream,
    pub(crate) pipes: Option<PipeEnds>,
}

/// Three pipes: the program's ends and ours.
pub(crate) fn pipes() -> io::Result<(StandardStreams, PipeEnds)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (stdin, feed) = pipe()?;
    let (out, stdout) = pipe()?;
    let (err, stderr) = pipe()?;
    Ok((
        StandardStreams {
            stdin,
            stdout,
            stderr,
        },
        PipeEnds {
            stdin: feed,
            stdout: out,
            stderr: err,
        },
    ))
}

/// Makes the namespaces and parks an init in them.
///
/// `joined` are the namespace files of `prepare.joined`, `attach` the cgroup
/// files, `born_in` a cgroup v2 directory.
pub(crate) fn park(
    prepare: &Prepare,
    joined: &[OwnedFd],
    attach: &[OwnedFd],
    born_in: Option<BorrowedFd<'_>>,
) -> io::Result<Init> {
    let (ours, theirs) = UnixStream::pair()?;
    let (streams, pipes) = pipes()?;
    // A process id or time namespace is entered by children alone, so the
    // supervisor itself joins or makes it ahead of the fork; it stays outside.
    for (bit, namespace) in prepare.joined.iter().zip(joined) {
        if is_for_children(*bit) {
            join(namespace, *bit)?;
        }
    }
    let mut made = prepare.namespaces.made;
    if made & NEWTIME != 0 {
        carrack_sys::process::unshare(NEWTIME)?;
        std::fs::write("/proc/self/timens_offsets", &prepare.time_offsets)?;
        made &= !NEWTIME;
    }
    let args = CloneArgs {
        flags: made,
        into_cgroup: born_in,
    };
    match carrack_sys::process::clone3(&args)? {
        Cloned::Parent { pid, pidfd } => {
            drop((theirs, streams));
            if made & NEWUSER != 0 {
                write_maps(pid, prepare)?;
                carrack_supervision::send(&ours, &Order::Mapped, &[]).map_err(io::Error::other)?;
            }
            Ok(Init {
                pid,
                pidfd,
                channel: ours,
                pipes: Some(pipes),
            })
        }
        Cloned::Child => {
            drop((ours, pipes));
            let failure = wait_parked(prepare, joined, attach, &theirs, streams);
            let _supervisor_gone = carrack_supervision::send(&theirs, &Word::Failed(failure), &[]);
            carrack_sys::process::exit_now(1)
        }
    }
}

pub(crate) const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
pub(crate) const NEWPID: u64 = libc::CLONE_NEWPID as u64;
/// `CLONE_NEWTIME` of `<linux/sched.h>`; libc has it for some targets alone.
pub(crate) const NEWTIME: u64 = 0x80;

fn is_for_children(bit: u64) -> bool {
    bit == NEWPID || bit == NEWTIME
}

fn write_maps(pid: i32, prepare: &Prepare) -> io::Result<()> {
    for (name, lines) in [("uid_map", &prepare.uid_map), ("gid_map", &prepare.gid_map)] {
        std::fs::OpenOptions::new()
            .write(true)
            .open(format!("/proc/{pid}/{name}"))?
            .write_all(lines.as_bytes())?;
    }
    Ok(())
}

/// Enters one namespace.
pub(crate) fn join(namespace: &OwnedFd, bit: u64) -> io::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    let kind = match i32::try_from(bit).unwrap_or(0) {
        libc::CLONE_NEWCGROUP => LinkNameSpaceType::ControlGroup,
        libc::CLONE_NEWIPC => LinkNameSpaceType::InterProcessCommunication,
        libc::CLONE_NEWNET => LinkNameSpaceType::Network,
        libc::CLONE_NEWNS => LinkNameSpaceType::Mount,
        libc::CLONE_NEWPID => LinkNameSpaceType::ProcessID,
        libc::CLONE_NEWUSER => LinkNameSpaceType::User,
        libc::CLONE_NEWUTS => LinkNameSpaceType::HostNameAndNISDomainName,
        0x80 => LinkNameSpaceType::Time,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    Ok(move_into_link_name_space(namespace.as_fd(), Some(kind))?)
}

/// Attaches the calling process to its cgroup leaf by writing `0`, which takes
/// no global lock for a process with one thread (ADR 1).
pub(crate) fn attach_self(files: &[OwnedFd]) -> Result<(), Failure> {
    for file in files {
        rustix::io::write(file, b"0")
            .map_err(|errno| failure("join the control group", errno.raw_os_error()))?;
    }
    Ok(())
}

pub(crate) fn failure(action: &str, errno: i32) -> Failure {
    Failure {
        action: action.to_owned(),
        errno,
        exit_code: 125,
    }
}

pub(crate) fn io_failure(action: &str, error: &io::Error) -> Failure {
    failure(action, error.raw_os_error().unwrap_or(0))
}

/// Gives a forked process its streams and closes every descriptor of the
/// supervisor but the channel. The closed ones stay in memory that nobody
/// drops: the process ends by exec or `_exit`.
///
/// Descriptors 0 to 2 are taken from here on, so that none that arrives later
/// is overwritten when a terminal replaces them.
pub(crate) fn keep_only(channel: &UnixStream, streams: &StandardStreams) -> io::Result<()> {
    rustix::stdio::dup2_stdin(&streams.stdin)?;
    rustix::stdio::dup2_stdout(&streams.stdout)?;
    rustix::stdio::dup2_stderr(&streams.stderr)?;
    let kept = u32::try_from(channel.as_raw_fd()).unwrap_or(u32::MAX);
    if kept > 3 {
        descriptors::close_between(3, kept - 1)?;
    }
    descriptors::close_from(kept + 1, Closing::Now)
}

fn wait_parked(
    prepare: &Prepare,
    joined: &[OwnedFd],
    attach: &[OwnedFd],
    channel: &UnixStream,
    streams: StandardStreams,
) -> Failure {
    // User first: it gives the rights to join what belongs to it.
    let mut joins: Vec<_> = prepare.joined.iter().zip(joined).collect();
    joins.sort_by_key(|(bit, _)| **bit != NEWUSER);
    for (bit, namespace) in joins {
        if !is_for_children(*bit)
            && let Err(error) = join(namespace, *bit)
        {
            return io_failure("join a namespace", &error);
        }
    }
    if let Err(failure) = attach_self(attach) {
        return failure;
    }
    let kept = keep_only(channel, &streams);
    std::mem::forget(streams);
    if let Err(error) = kept {
        return io_failure("close the supervisor's descriptors", &error);
    }
    match become_container(prepare, channel) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn become_container(
    prepare: &Prepare,
    channel: &UnixStream,
) -> Result<std::convert::Infallible, Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| failure("set the parent's death signal", errno.raw_os_error()))?;
    // Nobody of the container may look into this process before it executes.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| failure("protect the init", errno.raw_os_error()))?;
    let mut reader = FrameReader::default();
    let in_user_namespace = prepare.namespaces.made & NEWUSER != 0;
    if in_user_namespace {
        match receive::<Order>(channel, &mut reader)?.message {
            Order::Mapped => {}
            Order::Become(_) => return Err(Failure::other("start before the maps")),
        }
    }
    if in_user_namespace || prepare.joined.contains(&NEWUSER) {
        become_root_inside()?;
    }
    if prepare.namespaces.made & libc::CLONE_NEWNS as u64 != 0 {
        apply::isolate_mounts()?;
    }
    say(channel, &Word::Parked)?;
    loop {
        let received = receive::<Order>(channel, &mut reader)?;
        if let Order::Become(plan) = received.message {
            let mut report = ChannelReport(channel);
            return Err(apply::run_container(
                &plan,
                received.descriptors,
                &mut report,
            ));
        }
    }
}

/// Takes the ids that the maps call root.
pub(crate) fn become_root_inside() -> Result<(), Failure> {
    use rustix::process::{Gid, Uid};
    let none: [Gid; 0] = [];
    rustix::thread::set_thread_groups(&none)
        .and_then(|()| rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT))
        .and_then(|()| rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT))
        .map_err(|errno| failure("become root of the user namespace", errno.raw_os_error()))
}

/// Blocks for the next message; the supervisor's end ends the process too.
pub(crate) fn receive<M: serde::de::DeserializeOwned>(
    channel: &UnixStream,
    reader: &mut FrameReader,
) -> Result<Received<M>, Failure> {
    loop {
        match reader.message() {
            Ok(Some(received)) => return Ok(received),
            Ok(None) => {}
            Err(error) => return Err(Failure::other(format!("read an order: {error}"))),
        }
        match reader.fill(channel) {
            Ok(true) => {}
            Ok(false) => carrack_sys::process::exit_now(0),
            Err(error) => return Err(io_failure("read an order", &error)),
        }
    }
}

pub(crate) fn say(channel: &UnixStream, word: &Word) -> Result<(), Failure> {
    carrack_supervision::send(channel, word, &[])
        .map_err(|error| Failure::other(format!("report to the supervisor: {error}")))
}

/// Reports over the channel.
pub(crate) struct ChannelReport<'a>(pub(crate) &'a UnixStream);

impl Report for ChannelReport<'_> {
    fn console(&mut self, master: OwnedFd) -> Result<(), Failure> {
        carrack_supervision::send(self.0, &Word::Console, &[master.as_fd()])
            .map_err(|error| Failure::other(format!("hand over the terminal: {error}")))
    }
}
