//! The parked init: a fork of the supervisor in the new namespaces.
//!
//! It is made by [`crate::park`], dumpable by nobody like the supervisor itself:
//! where a container joins the process ids of another one, that one's programs
//! see it. One with CAP_SYS_PTRACE in the host's user namespace may still look
//! into it, as into any process that it sees.
//!
//! Supervisor and init speak over a channel that closes at exec, so its end
//! without a report means that the user's program runs.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use carrack_runtime::apply::{self, Report};
use carrack_runtime::plan::{Failure, Plan};
use carrack_supervision::{FrameReader, Prepare, Received};
use carrack_sys::descriptors::{self, Closing};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::alone;
use crate::park::{Company, Parking};

/// From the supervisor to its init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The user namespace has its maps.
    Mapped,
    /// Become a container. Descriptors: the plan's; before them, for an init
    /// that its maker leaves, a listening socket to wait for the start on.
    Become(Box<Plan>),
}

/// An [`Order`] to send, with the same bytes, of a plan that stays here.
#[derive(Debug, Serialize)]
pub(crate) enum OrderToSend<'a> {
    #[expect(dead_code, reason = "keeps the variants' numbers")]
    Mapped,
    Become(&'a Plan),
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
    /// The container is made and waits for its start.
    Created,
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

pub(crate) const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
pub(crate) const NEWNS: u64 = libc::CLONE_NEWNS as u64;
/// `CLONE_NEWTIME` of `<linux/sched.h>`; libc has it for some targets alone.
pub(crate) const NEWTIME: u64 = 0x80;

/// Gives a new user namespace its maps.
pub(crate) fn write_maps(pid: i32, prepare: &Prepare) -> io::Result<()> {
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
    close_all_but(channel, 3)
}

/// Closes what is open from `first` up but the channel.
pub(crate) fn close_all_but(channel: &UnixStream, first: u32) -> io::Result<()> {
    let kept = u32::try_from(channel.as_raw_fd()).unwrap_or(u32::MAX);
    if kept > first {
        descriptors::close_between(first, kept - 1)?;
    }
    descriptors::close_from(kept + 1, Closing::Now)
}

/// The init up to its end; returns only when it failed.
pub(crate) fn wait_parked(
    parking: &Parking<'_>,
    channel: &UnixStream,
    streams: Option<&StandardStreams>,
) -> Failure {
    let parked = attach_self(parking.attach).and_then(|()| {
        match (parking.company, streams) {
            (Company::Alone { preserved }, _) => close_all_but(channel, 3 + preserved),
            (Company::Supervised, Some(streams)) => keep_only(channel, streams),
            (Company::Supervised, None) => Err(io::ErrorKind::InvalidInput.into()),
        }
        .map_err(|error| io_failure("close the supervisor's descriptors", &error))?;
        become_container(parking, channel)
    });
    match parked {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn become_container(
    parking: &Parking<'_>,
    channel: &UnixStream,
) -> Result<std::convert::Infallible, Failure> {
    let mut reader = FrameReader::default();
    let in_user_namespace = parking.prepare.namespaces.made & NEWUSER != 0;
    if in_user_namespace {
        match receive::<Order>(channel, &mut reader)?.message {
            Order::Mapped => {}
            Order::Become(_) => return Err(Failure::other("start before the maps")),
        }
    }
    if in_user_namespace || parking.prepare.joined.contains(&NEWUSER) {
        become_root_inside()?;
    }
    if matches!(parking.company, Company::Alone { .. }) && parking.makes_network() {
        // A supervised one is given its devices by the daemon.
        carrack_sys::loopback::set_up().map_err(|error| io_failure("bring up lo", &error))?;
    }
    if parking.company == Company::Supervised {
        // After the change of identity, which clears it. A supervisor that is
        // gone by now shows as the end of the channel.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|errno| failure("set the parent's death signal", errno.raw_os_error()))?;
    }
    let ahead = apply::park()?;
    say(channel, &Word::Parked)?;
    let (plan, mut descriptors) = loop {
        let received = receive::<Order>(channel, &mut reader)?;
        if let Order::Become(plan) = received.message {
            break (plan, received.descriptors);
        }
    };
    if parking.company == Company::Supervised {
        let mut report = ChannelReport(channel);
        return Err(apply::run_container(ahead, &plan, descriptors, &mut report));
    }
    if descriptors.is_empty() {
        return Err(Failure::other("no socket came to wait on"));
    }
    let mut report = alone::AloneReport::of_init(channel, descriptors.remove(0));
    let failure = apply::run_container(ahead, &plan, descriptors, &mut report);
    Err(report.failed(failure))
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

    fn is_orphaned(&self) -> bool {
        let now = rustix::event::Timespec::default();
        let mut polled = [PollFd::new(self.0, PollFlags::empty())];
        let asked = rustix::event::poll(&mut polled, Some(&now));
        asked.is_ok() && polled[0].revents().contains(PollFlags::HUP)
    }
}

/// Sets the OOM killer's preference for a process of the container, from
/// outside: in a user namespace it has no right to do it itself.
pub(crate) fn set_oom_score(pid: Option<i32>, score: i32) -> Result<(), Failure> {
    let path = match pid {
        Some(pid) => format!("/proc/{pid}/oom_score_adj"),
        None => "/proc/self/oom_score_adj".to_owned(),
    };
    std::fs::write(path, score.to_string()).map_err(|error| match error.raw_os_error() {
        Some(libc::EACCES) => Failure::other(format!(
            "set oom_score_adj to {score}: lowering it needs CAP_SYS_RESOURCE, which is missing here"
        )),
        _ => io_failure(&format!("set oom_score_adj to {score}"), &error),
    })
}

/// The OOM killer's preference for this process, which its children inherit.
pub(crate) fn own_oom_score() -> Option<i32> {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").ok()?;
    text.trim().parse().ok()
}
