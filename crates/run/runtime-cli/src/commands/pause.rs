//! `pause` and `resume`.

use super::Call;
use crate::record::{Found, Status};
use crate::{Error, Result, cgroups};

pub(super) fn pause(call: &Call<'_>) -> Result<u8> {
    let found = found(call, "pause")?;
    found.require(
        &[Status::Running, Status::Created],
        "container not running or created",
    )?;
    cgroups::open(&found.record.cgroup)?.freeze()?;
    Ok(0)
}

pub(super) fn resume(call: &Call<'_>) -> Result<u8> {
    let found = found(call, "resume")?;
    found.require(&[Status::Paused], "container not paused")?;
    cgroups::open(&found.record.cgroup)?.thaw()?;
    Ok(0)
}

fn found(call: &Call<'_>, command: &str) -> Result<Found> {
    match call.parsed.exactly(command, 1)? {
        [id] => Found::new(&call.global.root, id),
        _ => Err(Error::InvalidId),
    }
}
