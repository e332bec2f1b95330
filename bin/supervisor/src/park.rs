//! Making the namespaces and the init in them.
//!
//! The usual sandbox takes one fork. Where namespaces are joined, or a time
//! namespace is made, a process in between enters them and forks the init as
//! the supervisor's own child, so that the supervisor itself and what it forks
//! later stay outside.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use carrack_runtime::plan::Failure;
use carrack_supervision::{FrameReader, Prepare};
use carrack_sys::process::{CloneArgs, Cloned};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::init::{
    self, Init, NEWNS, NEWTIME, NEWUSER, Order, StandardStreams, Word, failure, io_failure,
};

/// What an init is made from.
pub(crate) struct Parking<'a> {
    pub(crate) prepare: &'a Prepare,
    /// The namespace files of `prepare.joined`.
    pub(crate) joined: &'a [OwnedFd],
    /// Files of the cgroup leaf that a process attaches itself by.
    pub(crate) attach: &'a [OwnedFd],
    /// A cgroup v2 directory that it is born in.
    pub(crate) born_in: Option<BorrowedFd<'a>>,
    /// Who stays with it.
    pub(crate) company: Company,
}

/// Whether an init keeps its maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// The supervisor stays: it has the streams, and its death is the init's.
    Supervised,
    /// Its maker ends; it has the maker's streams and the descriptors from 3 on
    /// that were meant for the program.
    Alone {
        /// How many.
        preserved: u32,
    },
}

impl Parking<'_> {
    /// Namespaces that are the container's own, `CLONE_NEW…` bits. One that is
    /// joined may turn out to be the host's: another container's that runs
    /// with `--network host`. To be asked by the supervisor itself, which is in
    /// the host's.
    pub(crate) fn own(&self) -> u64 {
        self.joins()
            .filter(|(bit, namespace)| !is_hosts(*bit, namespace))
            .fold(self.prepare.namespaces.made, |own, (bit, _)| own | bit)
    }

    /// Whether the network namespace is new.
    pub(crate) fn makes_network(&self) -> bool {
        self.prepare.namespaces.made & libc::CLONE_NEWNET as u64 != 0
    }

    /// Makes the namespaces and parks an init in them.
    pub(crate) fn park(&self) -> Result<Init, Failure> {
        self.check_mounts()?;
        let made = |error: &io::Error| io_failure("make the namespaces", error);
        let (ours, theirs) = UnixStream::pair().map_err(|e| made(&e))?;
        let (streams, pipes) = match self.company {
            Company::Supervised => {
                let (streams, pipes) = init::pipes().map_err(|e| made(&e))?;
                (Some(streams), Some(pipes))
            }
            Company::Alone { .. } => (None, None),
        };
        let streams = streams.as_ref();
        let direct = self.prepare.joined.is_empty() && self.prepare.namespaces.made & NEWTIME == 0;
        let forked = if direct {
            self.fork_init(&theirs, streams, 0, self.born_in)
                .map_err(|e| made(&e))?
        } else {
            let pid = self.fork_between(&ours, &theirs, streams)?;
            let pidfd = Pid::from_raw(pid)
                .ok_or(rustix::io::Errno::SRCH)
                .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
                .map_err(|errno| failure("open the init", errno.raw_os_error()))?;
            (pid, pidfd)
        };
        let (pid, pidfd) = forked;
        drop(theirs);
        if self.prepare.namespaces.made & NEWUSER != 0 {
            init::write_maps(pid, self.prepare).map_err(|e| io_failure("write the id maps", &e))?;
            carrack_supervision::send(&ours, &Order::Mapped, &[])
                .map_err(|error| Failure::other(format!("tell the init of its maps: {error}")))?;
        }
        Ok(Init {
            pid,
            pidfd,
            channel: ours,
            pipes,
        })
    }

    /// A root is never pivoted in the supervisor's own mount namespace, which
    /// is the host's.
    fn check_mounts(&self) -> Result<(), Failure> {
        let joins = self.joins().any(|(bit, _)| bit == NEWNS);
        if self.prepare.namespaces.made & NEWNS == 0 && !joins {
            return Err(Failure::other(
                "a container needs a mount namespace of its own",
            ));
        }
        if self
            .joins()
            .any(|(bit, namespace)| bit == NEWNS && is_hosts(bit, namespace))
        {
            return Err(Failure::other("the mount namespace to join is the host's"));
        }
        Ok(())
    }

    fn joins(&self) -> impl Iterator<Item = (u64, &OwnedFd)> {
        self.prepare.joined.iter().copied().zip(self.joined)
    }

    /// Forks the init; the child does not return.
    fn fork_init(
        &self,
        channel: &UnixStream,
        streams: Option<&StandardStreams>,
        flags: u64,
        into_cgroup: Option<BorrowedFd<'_>>,
    ) -> io::Result<(i32, OwnedFd)> {
        let args = CloneArgs {
            flags: (self.prepare.namespaces.made & !NEWTIME) | flags,
            into_cgroup,
        };
        match carrack_sys::process::clone3(&args)? {
            Cloned::Parent { pid, pidfd } => Ok((pid, pidfd)),
            Cloned::Child => {
                let failure = init::wait_parked(self, channel, streams);
                let _supervisor_gone =
                    carrack_supervision::send(channel, &Word::Failed(failure), &[]);
                carrack_sys::process::exit_now(1)
            }
        }
    }

    /// Forks the process in between; returns the init's id.
    fn fork_between(
        &self,
        ours: &UnixStream,
        theirs: &UnixStream,
        streams: Option<&StandardStreams>,
    ) -> Result<i32, Failure> {
        let action = |error: &io::Error| io_failure("fork to join namespaces", error);
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|errno| action(&errno.into()))?;
        let args = CloneArgs {
            flags: 0,
            into_cgroup: self.born_in,
        };
        match carrack_sys::process::clone3(&args).map_err(|e| action(&e))? {
            Cloned::Child => {
                let forked = self.enter().and_then(|()| {
                    self.fork_init(theirs, streams, libc::CLONE_PARENT as u64, None)
                        .map_err(|e| io_failure("make the namespaces", &e))
                });
                match forked {
                    Ok((pid, _)) => {
                        let _supervisor_gone = rustix::io::write(&write, &pid.to_ne_bytes());
                    }
                    Err(failure) => {
                        let _supervisor_gone = init::say(theirs, &Word::Failed(failure));
                    }
                }
                carrack_sys::process::exit_now(0)
            }
            Cloned::Parent { pidfd, .. } => {
                drop(write);
                let _status =
                    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
                let mut pid = [0_u8; 4];
                match rustix::io::read(&read, &mut pid) {
                    Ok(4) => Ok(i32::from_ne_bytes(pid)),
                    _ => Err(last_words(ours)),
                }
            }
        }
    }

    /// Enters what is joined. What needs the powers of a user namespace that is
    /// joined too comes after it; what belongs to the host comes before.
    fn enter(&self) -> Result<(), Failure> {
        let action = |error: &io::Error| io_failure("join a namespace", error);
        if self.prepare.namespaces.made & NEWTIME != 0 {
            carrack_sys::process::unshare(NEWTIME)
                .and_then(|()| {
                    std::fs::write("/proc/self/timens_offsets", &self.prepare.time_offsets)
                })
                .map_err(|e| io_failure("make the time namespace", &e))?;
        }
        let mut later = Vec::new();
        let (users, others): (Vec<_>, Vec<_>) = self.joins().partition(|(bit, _)| *bit == NEWUSER);
        for (bit, namespace) in others {
            match init::join(namespace, bit) {
                Err(error)
                    if !users.is_empty() && error.kind() == io::ErrorKind::PermissionDenied =>
                {
                    later.push((bit, namespace));
                }
                joined => joined.map_err(|e| action(&e))?,
            }
        }
        for (bit, namespace) in users.into_iter().chain(later) {
            init::join(namespace, bit).map_err(|e| action(&e))?;
        }
        Ok(())
    }
}

/// Whether a namespace is the one that the supervisor is in, the host's; in
/// doubt it is.
fn is_hosts(bit: u64, namespace: &OwnedFd) -> bool {
    let own = match u32::try_from(bit).map(u32::cast_signed) {
        Ok(libc::CLONE_NEWNET) => "net",
        Ok(libc::CLONE_NEWPID) => "pid",
        Ok(libc::CLONE_NEWIPC) => "ipc",
        Ok(libc::CLONE_NEWUTS) => "uts",
        Ok(libc::CLONE_NEWNS) => "mnt",
        Ok(libc::CLONE_NEWUSER) => "user",
        Ok(libc::CLONE_NEWCGROUP) => "cgroup",
        _ if bit == NEWTIME => "time",
        _ => return true,
    };
    let own = rustix::fs::stat(format!("/proc/self/ns/{own}"));
    let joined = rustix::fs::fstat(namespace);
    !matches!((own, joined), (Ok(own), Ok(joined))
        if (own.st_dev, own.st_ino) != (joined.st_dev, joined.st_ino))
}

/// Why the process in between ended without an init.
fn last_words(channel: &UnixStream) -> Failure {
    let mut reader = FrameReader::default();
    let unknown = || Failure::other("the process that joins namespaces ended early");
    if channel.set_nonblocking(true).is_err() || !matches!(reader.fill(channel), Ok(true)) {
        return unknown();
    }
    match reader.message::<Word>() {
        Ok(Some(received)) => match received.message {
            Word::Failed(failure) => failure,
            _ => unknown(),
        },
        _ => unknown(),
    }
}
