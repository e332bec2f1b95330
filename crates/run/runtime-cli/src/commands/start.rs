//! `start`.

use std::io;
use std::os::unix::net::UnixStream;

use carrack_runtime::hooks;
use carrack_supervision::FrameReader;
use carrack_supervision::detached::{Start, Started};

use super::Call;
use crate::arguments::Global;
use crate::launch::state;
use crate::record::{Found, START, Status};
use crate::{Error, Result, log, sockets};

pub(super) fn start(call: &Call<'_>) -> Result<u8> {
    let [id] = call.parsed.exactly("start", 1)? else {
        return Err(Error::InvalidId);
    };
    let found = Found::new(&call.global.root, id)?;
    start_found(call.global, &found, "runc start")?;
    Ok(0)
}

/// Starts a container that was made; returns when its program runs.
pub(super) fn start_found(global: &Global, found: &Found, verb: &'static str) -> Result<()> {
    match found.status() {
        Status::Created => {}
        Status::Stopped => {
            return Err(Error::State(
                "cannot start a container that has stopped".to_owned(),
            ));
        }
        Status::Running | Status::Paused | Status::Creating => return Err(already()),
    }
    let socket = sockets::reach(&found.place)?.ok_or_else(already)?;
    let lost = |error: &dyn std::fmt::Display| Error::Maker(format!(": {error}"));
    carrack_supervision::send(&socket, &Start::Now, &[]).map_err(|error| lost(&error))?;
    await_program(&socket, verb)?;
    // Nobody can start it twice; that the name is gone says that it runs.
    let _gone = std::fs::remove_file(found.place.path(START));
    let pid = u32::try_from(found.record.pid).ok();
    let state = state(&found.record, hooks::Status::Running, pid);
    for error in hooks::run_all(&found.record.poststart, &state) {
        log::warning(global, &format!("error running poststart hook: {error}"));
    }
    Ok(())
}

fn already() -> Error {
    Error::State("cannot start an already running container".to_owned())
}

/// The connection ends without a word when the program is executed.
fn await_program(socket: &UnixStream, verb: &'static str) -> Result<()> {
    let mut reader = FrameReader::default();
    loop {
        match reader.message::<Started>() {
            Ok(Some(received)) => {
                let Started::Failed(failure) = received.message;
                return Err(Error::Start { verb, failure });
            }
            Ok(None) => {}
            Err(error) => return Err(Error::Maker(format!(": {error}"))),
        }
        match reader.fill(socket) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // Somebody else's start came first, and nobody listens any more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(already()),
            Err(error) => return Err(Error::Maker(format!(": {error}"))),
        }
    }
}
