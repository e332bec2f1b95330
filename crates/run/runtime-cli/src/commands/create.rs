//! `create` and `run`.

use std::path::PathBuf;

use super::Call;
use super::start::start_found;
use crate::arguments::{Flag, switch, value};
use crate::console::Stays;
use crate::foreground::{self, Signals};
use crate::launch::{self, Options};
use crate::maker::MAX_PRESERVED;
use crate::record::Found;
use crate::{Error, Result, not_yet, processes};

const BUNDLE: Flag = value(
    &["bundle", "b"],
    "directory with config.json; the present one",
);
const CONSOLE: Flag = value(
    &["console-socket"],
    "socket that the terminal's master is sent to",
);
const PID_FILE: Flag = value(&["pid-file"], "file for the first process's id");
const PRESERVE: Flag = value(
    &["preserve-fds"],
    "descriptors from 3 on that the program gets",
);
const NO_PIVOT: Flag = switch(
    &["no-pivot"],
    "refused: the root is always changed by pivot_root",
);
const NO_KEYRING: Flag = switch(
    &["no-new-keyring"],
    "accepted for runc's callers: a container always has a session keyring of its own",
);
const NO_SUBREAPER: Flag = switch(&["no-subreaper"], "accepted for runc's callers");

pub(super) const CREATE_FLAGS: &[Flag] =
    &[BUNDLE, CONSOLE, PID_FILE, PRESERVE, NO_PIVOT, NO_KEYRING];
pub(super) const RUN_FLAGS: &[Flag] = &[
    BUNDLE,
    CONSOLE,
    PID_FILE,
    PRESERVE,
    NO_PIVOT,
    NO_KEYRING,
    NO_SUBREAPER,
    switch(&["detach", "d"], "end as soon as the program runs"),
    switch(&["keep"], "leave the container's directory when it ended"),
];

pub(super) fn create(call: &Call<'_>) -> Result<u8> {
    let options = options(call, "create", "runc create", Stays::No)?;
    launch::launch(call.global, &options, call.programs)?;
    Ok(0)
}

pub(super) fn run(call: &Call<'_>) -> Result<u8> {
    let stays = if call.parsed.is_set("detach") {
        Stays::No
    } else {
        Stays::Yes
    };
    let options = options(call, "run", "runc run", stays)?;
    if stays == Stays::No {
        launch::launch(call.global, &options, call.programs)?;
        let found = Found::new(&call.global.root, &options.id)?;
        return started(call, &found).map(|()| 0);
    }
    // What its maker leaves is this process's to wait for.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| Error::file("become the parent of", "the container", errno.into()))?;
    let signals = Signals::take()?;
    let launched = launch::launch(call.global, &options, call.programs)?;
    let found = Found::new(&call.global.root, &options.id)?;
    let child = processes::open(launched.pid, found.record.began);
    started(call, &found)?;
    let child = child.ok_or_else(|| Error::Maker(String::new()))?;
    let code = foreground::stay(&child, &signals, launched.master).inspect_err(|_| {
        let _removed = super::delete::force(call.global, &found);
    })?;
    if !call.parsed.is_set("keep") {
        super::delete::remove(call.global, &found)?;
    }
    Ok(code)
}

/// Starts it; one whose program cannot run leaves nothing.
fn started(call: &Call<'_>, found: &Found) -> Result<()> {
    start_found(call.global, found, "runc run").inspect_err(|_| {
        let _removed = super::delete::force(call.global, found);
    })
}

fn options(call: &Call<'_>, command: &str, verb: &'static str, stays: Stays) -> Result<Options> {
    let parsed = &call.parsed;
    let [id] = parsed.exactly(command, 1)? else {
        return Err(Error::InvalidId);
    };
    if call.global.systemd_cgroup {
        return Err(Error::NotYet(not_yet::SYSTEMD));
    }
    if parsed.is_set("no-pivot") {
        return Err(Error::NotYet(not_yet::NO_PIVOT));
    }
    let activated = activated();
    let asked: u32 = parsed.number("preserve-fds")?.unwrap_or(0);
    let preserved = preserved(asked.saturating_add(activated))?;
    Ok(Options {
        id: id.clone(),
        bundle: PathBuf::from(
            parsed
                .value("bundle")
                .filter(|b| !b.is_empty())
                .unwrap_or("."),
        ),
        pid_file: parsed
            .value("pid-file")
            .filter(|p| !p.is_empty())
            .map(PathBuf::from),
        preserved,
        activated,
        console_socket: parsed.value("console-socket").map(str::to_owned),
        stays,
        verb,
    })
}

/// Sockets that were handed to this very process to be passed on.
fn activated() -> u32 {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
    };
    match number("LISTEN_PID") {
        Some(pid) if pid == std::process::id() => number("LISTEN_FDS").unwrap_or(0),
        _ => 0,
    }
}

/// Makes sure that descriptors which are to be kept are there.
pub(super) fn preserved(count: u32) -> Result<u32> {
    if count > MAX_PRESERVED {
        return Err(Error::Usage(format!(
            "--preserve-fds: at most {MAX_PRESERVED}"
        )));
    }
    for number in 3..3 + count {
        if carrack_sys::descriptors::inherited(number).is_err() {
            return Err(Error::Usage(format!(
                "please check that preserved-fd {number} (of {count}) is present"
            )));
        }
    }
    Ok(count)
}
