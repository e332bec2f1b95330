//! `delete`.

use carrack_runtime::hooks;

use super::Call;
use crate::arguments::{Flag, Global, switch};
use crate::launch::state;
use crate::record::{Found, Place, Status};
use crate::{Error, Result, cgroups, log, processes};

pub(super) const FLAGS: &[Flag] = &[switch(
    &["force", "f"],
    "kill a container that runs; one that does not exist is fine",
)];

pub(super) fn delete(call: &Call<'_>) -> Result<u8> {
    let [id] = call.parsed.exactly("delete", 1)? else {
        return Err(Error::InvalidId);
    };
    let is_forced = call.parsed.is_set("force");
    let found = match Found::new(&call.global.root, id) {
        // A call that ended early may have left its directory.
        Err(Error::NotFound(_)) if is_forced => {
            Place::of(&call.global.root, id)?.remove()?;
            return Ok(0);
        }
        other => other?,
    };
    if is_forced {
        return force(call.global, &found).map(|()| 0);
    }
    match found.status() {
        Status::Stopped => remove(call.global, &found)?,
        // It would never run: its start is not asked for any more.
        Status::Created => force(call.global, &found)?,
        status => {
            return Err(Error::State(format!(
                "cannot delete container {id} that is not stopped: {}",
                status.as_str()
            )));
        }
    }
    Ok(0)
}

/// Ends a container and removes it.
pub(super) fn force(global: &Global, found: &Found) -> Result<()> {
    let record = &found.record;
    if let Some(pidfd) = processes::open(record.pid, record.began) {
        // It may have ended just now.
        let _ended = processes::signal(&pidfd, libc::SIGKILL);
    }
    remove(global, found)
}

/// Removes what is left of a container, and tells its hooks.
pub(super) fn remove(global: &Global, found: &Found) -> Result<()> {
    let record = &found.record;
    if let Ok(leaf) = cgroups::open(&record.cgroup) {
        // Programs that were added and share no process namespace live on.
        leaf.kill_all()?;
    }
    cgroups::remove(&record.cgroup)?;
    found.place.remove()?;
    let state = state(record, hooks::Status::Stopped, None);
    for error in hooks::run_all(&record.poststop, &state) {
        log::warning(global, &format!("error running poststop hook: {error}"));
    }
    Ok(())
}
