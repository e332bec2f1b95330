//! Pausing and resuming a leaf.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::{Controller, Error, Leaf, Version, file};

/// Longest wait for a group to pause: a task in an uninterruptible wait (a dead
/// NFS server, say) does not.
pub const FREEZE_BOUND: Duration = Duration::from_secs(5);

/// v1 tells nobody when it is done; this is the longest pause between looks.
const LOOK_EVERY_MAX: Duration = Duration::from_millis(20);
const LOOK_EVERY_MIN: Duration = Duration::from_micros(50);

const V1_STATE: &str = "freezer.state";
const V2_SWITCH: &str = "cgroup.freeze";
const V2_EVENTS: &str = "cgroup.events";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Frozen,
    Thawed,
}

impl Leaf {
    /// Pauses every process of the leaf and waits until all have stopped, at
    /// most [`FREEZE_BOUND`]; after [`Error::FreezeTimeout`] they run again.
    pub fn freeze(&self) -> Result<(), Error> {
        self.freeze_within(FREEZE_BOUND)
    }

    /// The same with a bound of the caller's.
    pub fn freeze_within(&self, bound: Duration) -> Result<(), Error> {
        match self.bring_to(Wanted::Frozen, bound) {
            Err(error @ Error::FreezeTimeout { .. }) => {
                // Half a pause is worse than none; the time-out is the news.
                let _ = self.switch(Wanted::Thawed);
                Err(error)
            }
            result => result,
        }
    }

    /// Lets the processes run again.
    pub fn thaw(&self) -> Result<(), Error> {
        self.bring_to(Wanted::Thawed, FREEZE_BOUND)
    }

    /// Whether every process is paused.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        let text = match self.freezer_version()? {
            Version::V1 => self.read(Controller::Freezer, V1_STATE)?,
            Version::V2 => self.read(Controller::Freezer, V2_EVENTS)?,
        };
        Ok(is(Wanted::Frozen, &text))
    }

    fn bring_to(&self, wanted: Wanted, bound: Duration) -> Result<(), Error> {
        self.switch(wanted)?;
        let deadline = Instant::now() + bound;
        let directory = self.directory(Controller::Freezer)?;
        let reached = match self.freezer_version()? {
            Version::V1 => wait_v1(directory, wanted, deadline),
            Version::V2 => wait_v2(directory, wanted, deadline),
        };
        match reached {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::FreezeTimeout {
                path: self.location_of(Controller::Freezer),
                bound,
            }),
            Err(source) => Err(self.freeze_error(source)),
        }
    }

    fn switch(&self, wanted: Wanted) -> Result<(), Error> {
        let (name, value) = match (self.freezer_version()?, wanted) {
            (Version::V1, Wanted::Frozen) => (V1_STATE, "FROZEN"),
            (Version::V1, Wanted::Thawed) => (V1_STATE, "THAWED"),
            (Version::V2, Wanted::Frozen) => (V2_SWITCH, "1"),
            (Version::V2, Wanted::Thawed) => (V2_SWITCH, "0"),
        };
        file::write(self.directory(Controller::Freezer)?, name, value)
            .map_err(|source| self.freeze_error(source))
    }

    fn freezer_version(&self) -> Result<Version, Error> {
        self.version_of(Controller::Freezer)
            .ok_or(Error::NoController(Controller::Freezer))
    }

    fn freeze_error(&self, source: io::Error) -> Error {
        Error::Freeze {
            path: self.location_of(Controller::Freezer),
            source,
        }
    }
}

/// Reads `freezer.state` or `cgroup.events`.
fn is(wanted: Wanted, text: &str) -> bool {
    match (text.trim(), wanted) {
        ("FROZEN", Wanted::Frozen) | ("THAWED", Wanted::Thawed) => true,
        (events, _) => {
            let value = match wanted {
                Wanted::Frozen => "frozen 1",
                Wanted::Thawed => "frozen 0",
            };
            events.lines().any(|line| line == value)
        }
    }
}

/// A task that forks while its group freezes can leave v1 at `FREEZING`;
/// reading the state makes the kernel look again.
fn wait_v1(group: BorrowedFd<'_>, wanted: Wanted, deadline: Instant) -> io::Result<bool> {
    let mut pause = LOOK_EVERY_MIN;
    loop {
        if is(wanted, &file::read(group, V1_STATE)?) {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LOOK_EVERY_MAX);
    }
}

/// The kernel reports a change of `cgroup.events` to a poll.
fn wait_v2(group: BorrowedFd<'_>, wanted: Wanted, deadline: Instant) -> io::Result<bool> {
    let events = file::open(group, V2_EVENTS, OFlags::RDONLY)?;
    loop {
        // The read comes first: it arms the next notification.
        if is(wanted, &file::read_again(events.as_fd())?) {
            return Ok(true);
        }
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            return Ok(false);
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        rustix::io::retry_on_intr(|| {
            poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout))
        })?;
    }
}
