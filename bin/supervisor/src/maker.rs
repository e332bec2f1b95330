//! One container, or one added program, for runc's command line.
//!
//! The command line starts this program, with the descriptors that its caller
//! meant for the container and behind them a control socket, because it must
//! not run its own file inside of a container, where that could be opened and
//! later written to (CVE-2019-5736). Whatever goes wrong, nothing is left.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use carrack_runtime::apply;
use carrack_runtime::plan::{CgroupNamespace, Failure, Plan};
use carrack_supervision::detached::{Exec, Made, Make};
use carrack_supervision::{FrameReader, Prepare, Received};
use carrack_sys::descriptors;
use carrack_sys::process::{CloneArgs, Cloned};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::alone::AloneReport;
use crate::exec::{Joining, join_all};
use crate::init::{self, Init, OrderToSend, Word};
use crate::park::{Company, Parking};

/// Serves the one request that comes over the control socket, the first
/// descriptor behind the `preserved` ones.
pub(crate) fn run(preserved: u32) -> ExitCode {
    let Ok(control) = set_up(preserved) else {
        return ExitCode::FAILURE;
    };
    let mut reader = FrameReader::default();
    match serve(&control, &mut reader, preserved) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Whoever asked may be gone.
            let _gone = carrack_supervision::send(&control, &Made::Failed(failure), &[]);
            ExitCode::FAILURE
        }
    }
}

fn set_up(preserved: u32) -> io::Result<UnixStream> {
    let first = 3 + preserved;
    let control = UnixStream::from(descriptors::inherited(first)?);
    // The copy took a number above the original, which is now closed.
    init::close_all_but(&control, first)?;
    rustix::thread::set_name(c"carrack-maker")?;
    carrack_sys::signals::reset_all();
    carrack_sys::disposition::reset_reserved();
    carrack_sys::disposition::set(
        libc::SIGPIPE,
        carrack_sys::disposition::Disposition::Ignored,
    )?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(control)
}

fn serve(control: &UnixStream, reader: &mut FrameReader, preserved: u32) -> Result<(), Failure> {
    let Received {
        message,
        descriptors,
        ..
    } = init::receive::<Make>(control, reader)?;
    match message {
        Make::Prepare(prepare) => container(control, reader, preserved, &prepare, descriptors),
        Make::Exec(exec) => program(control, preserved, &exec, descriptors),
        Make::Create(_) => Err(Failure::other("create before prepare")),
    }
}

fn tell(control: &UnixStream, made: &Made, with: &[BorrowedFd<'_>]) -> Result<(), Failure> {
    carrack_supervision::send(control, made, with)
        .map_err(|error| Failure::other(format!("report to the command line: {error}")))
}

// --- a container -----------------------------------------------------------

fn container(
    control: &UnixStream,
    reader: &mut FrameReader,
    preserved: u32,
    prepare: &Prepare,
    mut descriptors: Vec<OwnedFd>,
) -> Result<(), Failure> {
    let joins = prepare.joined.len();
    let wanted = joins + usize::from(prepare.attach_files) + usize::from(prepare.into_cgroup);
    if descriptors.len() != wanted {
        return Err(Failure::other("descriptors are missing"));
    }
    let born_in = if prepare.into_cgroup {
        descriptors.pop()
    } else {
        None
    };
    let attach = descriptors.split_off(joins);
    let parking = Parking {
        prepare,
        joined: &descriptors,
        attach: &attach,
        born_in: born_in.as_ref().map(AsFd::as_fd),
        company: Company::Alone { preserved },
    };
    let own = parking.own();
    let init = parking.park()?;
    let made = create(control, reader, &init, own);
    if made.is_err() {
        let _ended_already = rustix::process::pidfd_send_signal(&init.pidfd, Signal::KILL);
        let _reaped =
            rustix::process::waitid(WaitId::PidFd(init.pidfd.as_fd()), WaitIdOptions::EXITED);
    }
    made
}

fn create(
    control: &UnixStream,
    reader: &mut FrameReader,
    init: &Init,
    own: u64,
) -> Result<(), Failure> {
    let mut words = FrameReader::default();
    match next_word(control, &init.channel, &mut words)? {
        Some((Word::Parked, _)) => {}
        Some((Word::Failed(failure), _)) => return Err(failure),
        _ => return Err(Failure::other("the init ended early")),
    }
    let pid = init.pid.unsigned_abs();
    tell(control, &Made::Prepared { pid }, &[])?;
    let received = init::receive::<Make>(control, reader)?;
    let Make::Create(plan) = received.message else {
        return Err(Failure::other("something else than a plan came"));
    };
    send_plan(&plan, init, own, &received.descriptors)?;
    drop(received.descriptors);
    loop {
        match next_word(control, &init.channel, &mut words)? {
            Some((Word::Console, descriptors)) => {
                let masters: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                tell(control, &Made::Console, &masters)?;
            }
            Some((Word::Created, _)) => return tell(control, &Made::Done, &[]),
            Some((Word::Failed(failure), _)) => return Err(failure),
            Some(_) => {}
            None => {
                return Err(Failure::other(
                    "the init ended before the container was made",
                ));
            }
        }
    }
}

fn send_plan(
    plan: &Plan,
    init: &Init,
    mut own: u64,
    descriptors: &[OwnedFd],
) -> Result<(), Failure> {
    if plan.cgroup_namespace == CgroupNamespace::New {
        own |= libc::CLONE_NEWCGROUP as u64;
    }
    plan.check(own)?;
    if let Some(score) = plan.process.oom_score_adj {
        init::set_oom_score(Some(init.pid), score)?;
    }
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    carrack_supervision::send(&init.channel, &OrderToSend::Become(plan), &borrowed)
        .map_err(|error| Failure::other(format!("send the plan: {error}")))
}

/// What the process says next; nothing once it executed or ended. An error
/// when the command line is gone meanwhile.
fn next_word(
    control: &UnixStream,
    channel: &UnixStream,
    words: &mut FrameReader,
) -> Result<Option<(Word, Vec<OwnedFd>)>, Failure> {
    loop {
        match words.message::<Word>() {
            Ok(Some(received)) => return Ok(Some((received.message, received.descriptors))),
            Ok(None) => {}
            Err(error) => return Err(Failure::other(format!("read a word: {error}"))),
        }
        let mut polled = [
            PollFd::new(channel, PollFlags::IN),
            PollFd::new(control, PollFlags::empty()),
        ];
        match rustix::event::poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(init::failure("wait for a word", errno.raw_os_error())),
        }
        if polled[1].revents().contains(PollFlags::HUP) {
            return Err(Failure::other("the command line is gone"));
        }
        if polled[0].revents().is_empty() {
            continue;
        }
        match words.fill(channel) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(init::io_failure("read a word", &error)),
        }
    }
}

// --- an added program ------------------------------------------------------

fn program(
    control: &UnixStream,
    preserved: u32,
    exec: &Exec,
    mut descriptors: Vec<OwnedFd>,
) -> Result<(), Failure> {
    let wanted = 1 + usize::from(exec.attach_files) + usize::from(exec.into_cgroup);
    if descriptors.len() != wanted {
        return Err(Failure::other("descriptors are missing"));
    }
    let born_in = if exec.into_cgroup {
        descriptors.pop()
    } else {
        None
    };
    let attach = descriptors.split_off(1);
    let joining = Joining {
        pidfd: &descriptors[0],
        own: exec.join,
        oom_score: None,
        attach: &[],
        born_in: None,
    };
    if let Some(score) = exec.oom_score {
        init::set_oom_score(None, score)?;
    }
    init::attach_self(&attach)?;
    join_all(&joining)?;
    let (ours, theirs) =
        UnixStream::pair().map_err(|error| init::io_failure("make a channel", &error))?;
    let args = CloneArgs {
        // The command line's child, which it waits for or leaves to its caller.
        flags: libc::CLONE_PARENT as u64,
        into_cgroup: born_in.as_ref().map(AsFd::as_fd),
    };
    let cloned = carrack_sys::process::clone3(&args)
        .map_err(|error| init::io_failure("fork inside the container", &error))?;
    match cloned {
        Cloned::Child => {
            let failure = run_program(&theirs, preserved, exec);
            let _maker_gone = init::say(&theirs, &Word::Failed(failure));
            carrack_sys::process::exit_now(1)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let followed = follow(control, &ours, pid.unsigned_abs());
            if followed.is_err() {
                let _ended_already = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            }
            followed
        }
    }
}

fn run_program(channel: &UnixStream, preserved: u32, exec: &Exec) -> Failure {
    if let Err(error) = init::close_all_but(channel, 3 + preserved) {
        return init::io_failure("close the maker's descriptors", &error);
    }
    if exec.in_user_namespace
        && let Err(failure) = init::become_root_inside()
    {
        return failure;
    }
    apply::run_exec(&exec.process, &mut AloneReport::of_program(channel))
}

fn follow(control: &UnixStream, channel: &UnixStream, pid: u32) -> Result<(), Failure> {
    tell(control, &Made::Prepared { pid }, &[])?;
    let mut words = FrameReader::default();
    loop {
        match next_word(control, channel, &mut words)? {
            Some((Word::Console, descriptors)) => {
                let masters: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                tell(control, &Made::Console, &masters)?;
            }
            Some((Word::Failed(failure), _)) => return Err(failure),
            Some(_) => {}
            None => return tell(control, &Made::Done, &[]),
        }
    }
}
