//! `exec`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use carrack_cgroup::{Leaf, V2Membership};
use carrack_oci::runtime::{Capabilities, Process};
use carrack_runtime::capability;
use carrack_runtime::plan::{CgroupNamespace, FirstProcess};
use carrack_runtime::planner::{self, Context, UserNamespace};
use carrack_supervision::detached::{Exec, Made, Make};

use super::Call;
use super::create::preserved;
use crate::arguments::{Flag, Parsed, switch, value};
use crate::console::{Console, Stays};
use crate::foreground::{self, Signals};
use crate::maker::Maker;
use crate::record::{Found, Record, Status};
use crate::{
    Error, Result, bundle, cgroups, launch, namespaces, not_yet, pidfile, processes, sockets,
};

pub(super) const FLAGS: &[Flag] = &[
    value(
        &["console-socket"],
        "socket that the terminal's master is sent to",
    ),
    value(&["cwd"], "working directory inside"),
    value(&["env", "e"], "set an environment variable, NAME=value"),
    switch(&["tty", "t"], "with a terminal"),
    value(&["user", "u"], "uid[:gid] that it runs as"),
    value(&["additional-gids", "g"], "a further group"),
    value(&["process", "p"], "file with the whole process as JSON"),
    switch(&["detach", "d"], "end as soon as it runs"),
    value(&["pid-file"], "file for its process id"),
    value(&["process-label"], "refused: SELinux is not supported"),
    value(&["apparmor"], "refused: AppArmor is not supported"),
    switch(&["no-new-privs"], "it may gain no privileges"),
    value(&["cap", "c"], "give it a capability"),
    value(&["preserve-fds"], "descriptors from 3 on that it gets"),
    value(
        &["cgroup"],
        "refused: it always runs in the container's group",
    ),
    switch(
        &["ignore-paused"],
        "also in a paused container, where it waits",
    ),
];

/// What runc answers when a program cannot be added.
const EXEC: &str = "exec";

pub(super) fn exec(call: &Call<'_>) -> Result<u8> {
    let parsed = &call.parsed;
    let Some((id, arguments)) = parsed.rest.split_first() else {
        return Err(Error::Usage(
            "\"exec\" requires a container id and a command".to_owned(),
        ));
    };
    for name in ["process-label", "apparmor", "cgroup"] {
        if parsed.value(name).is_some_and(|value| !value.is_empty()) {
            return Err(Error::NotYet(not_yet::LABELS));
        }
    }
    let found = Found::new(&call.global.root, id)?;
    match found.status() {
        Status::Creating => {
            return Err(Error::State(
                "cannot exec in a container that is still being made".to_owned(),
            ));
        }
        Status::Stopped => {
            return Err(Error::State(
                "cannot exec in a stopped container".to_owned(),
            ));
        }
        Status::Paused if !parsed.is_set("ignore-paused") => {
            return Err(Error::State(
                "cannot exec in a paused container (use --ignore-paused to override)".to_owned(),
            ));
        }
        Status::Created | Status::Running | Status::Paused => {}
    }
    let process = match parsed.value("process").filter(|path| !path.is_empty()) {
        Some(path) => {
            let mut process = bundle::read_process(Path::new(path))?;
            let own = &found.record.process.capabilities;
            process.capabilities = process.capabilities.or_else(|| own.clone());
            process
        }
        None => process(&found.record, parsed, arguments)?,
    };
    add(call, &found, &process)
}

/// Adds a program, and stays with it unless it is to be left alone.
fn add(call: &Call<'_>, found: &Found, process: &Process) -> Result<u8> {
    let parsed = &call.parsed;
    let stays = if parsed.is_set("detach") {
        Stays::No
    } else {
        Stays::Yes
    };
    let socket = parsed.value("console-socket");
    let console = Console::new(process.terminal, socket, stays)?;
    let preserved = preserved(parsed.number("preserve-fds")?.unwrap_or(0))?;
    let leaf = cgroups::open(&found.record.cgroup)?;
    let mut plan = planner::process_plan(process, &context(found, &leaf)?)?;
    plan.preserved_descriptors = preserved;
    let signals = match stays {
        Stays::Yes => Some(Signals::take()?),
        Stays::No => None,
    };
    let mut maker = Maker::start(call.programs, preserved, EXEC)?;
    ask(&maker, found, &leaf, plan)?;
    let followed = follow(&mut maker, parsed, &console);
    drop(maker);
    let (pid, master) = followed?;
    let Some(signals) = signals else {
        return Ok(0);
    };
    // This process's own child, so that its number stays its own.
    let child = rustix::process::Pid::from_raw(pid)
        .and_then(|pid| {
            let flags = rustix::process::PidfdFlags::empty();
            rustix::process::pidfd_open(pid, flags).ok()
        })
        .ok_or_else(|| Error::Maker(String::new()))?;
    foreground::stay(&child, &signals, master)
}

/// Up to the program's execution; what its caller is told by a file or gets by a
/// socket comes before that. A failure leaves no program.
fn follow(maker: &mut Maker, parsed: &Parsed, console: &Console) -> Result<(i32, Option<OwnedFd>)> {
    let (mut pid, mut master) = (0, None);
    let mut told = Ok(());
    loop {
        match maker.next()? {
            (Made::Prepared { pid: made }, _) => {
                pid = i32::try_from(made).unwrap_or(0);
                let path = parsed.value("pid-file").filter(|path| !path.is_empty());
                if let Some(path) = path {
                    told = pidfile::write(Path::new(path), pid);
                }
            }
            (Made::Console, descriptors) => master = descriptors.into_iter().next(),
            (Made::Done, _) => break,
            (Made::Failed(_), _) => {}
        }
        if let (Console::Socket(path), Some(sent)) = (console, &master)
            && told.is_ok()
        {
            told = sockets::send_terminal(path, sent);
            master = None;
        }
    }
    if let Err(error) = told {
        let own = rustix::process::Pid::from_raw(pid);
        if let Some(own) = own {
            // This process's own child, so that its number is still its own.
            let _ended = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        }
        return Err(error);
    }
    Ok((pid, master))
}

fn ask(
    maker: &Maker,
    found: &Found,
    leaf: &Leaf,
    process: carrack_runtime::plan::ProcessPlan,
) -> Result<()> {
    let record = &found.record;
    let init = processes::open(record.pid, record.began);
    let init = init.ok_or_else(|| Error::State("cannot exec in a stopped container".to_owned()))?;
    let attach = leaf.attach_files(V2Membership::Inherited)?;
    let born_in = leaf.v2_dir_fd();
    let mut files: Vec<BorrowedFd<'_>> = vec![init.as_fd()];
    files.extend(attach.iter().map(AsFd::as_fd));
    files.extend(born_in);
    let exec = Exec {
        join: namespaces::foreign(record.pid)?,
        attach_files: u8::try_from(attach.len()).unwrap_or(u8::MAX),
        into_cgroup: born_in.is_some(),
        in_user_namespace: record.in_user_namespace,
        oom_score: process.oom_score_adj,
        process,
    };
    maker.ask(&Make::Exec(Box::new(exec)), &files)
}

fn context(found: &Found, leaf: &Leaf) -> Result<Context> {
    let record = &found.record;
    Ok(Context {
        available_capabilities: capability::available(),
        seccomp: found.place.filter(record)?,
        user: None,
        cgroup: launch::view(leaf),
        cgroup_namespace: CgroupNamespace::Keep,
        first_process: FirstProcess::Program,
        user_namespace: if record.in_user_namespace {
            UserNamespace::Own
        } else {
            UserNamespace::Shared
        },
    })
}

/// The container's own process with what the flags say.
fn process(record: &Record, parsed: &Parsed, arguments: &[String]) -> Result<Process> {
    if arguments.is_empty() {
        return Err(Error::Usage("process args cannot be empty".to_owned()));
    }
    let mut process = record.process.clone();
    process.args = arguments.to_vec();
    process.terminal = parsed.is_set("tty");
    process.console_size = None;
    if let Some(cwd) = parsed.value("cwd") {
        cwd.clone_into(&mut process.cwd);
    }
    for variable in parsed.values("env") {
        let name = variable.split('=').next().unwrap_or_default();
        process
            .env
            .retain(|own| own.split('=').next() != Some(name));
        process.env.push(variable.to_owned());
    }
    if parsed.is_set("no-new-privs") {
        process.no_new_privileges = true;
    }
    if let Some(user) = parsed.value("user") {
        let invalid = || {
            Error::Usage(format!(
                "--user {user:?}: it must be uid or uid:gid, in numbers"
            ))
        };
        let (uid, gid) = match user.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (user, None),
        };
        process.user.uid = uid.parse().map_err(|_| invalid())?;
        if let Some(gid) = gid {
            process.user.gid = gid.parse().map_err(|_| invalid())?;
        }
    }
    for group in parsed.values("additional-gids") {
        let group = group.parse();
        let group = group.map_err(|_| Error::Usage("--additional-gids: numbers".to_owned()))?;
        process.user.additional_gids.push(group);
    }
    let given = parsed.values("cap");
    if !given.is_empty() {
        let capabilities = process
            .capabilities
            .get_or_insert_with(Capabilities::default);
        for name in given {
            for set in [
                &mut capabilities.bounding,
                &mut capabilities.effective,
                &mut capabilities.permitted,
            ] {
                if !set.iter().any(|own| own == name) {
                    set.push(name.to_owned());
                }
            }
        }
    }
    Ok(process)
}
