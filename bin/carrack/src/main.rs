//! Arguments and wiring; no logic.
//!
//! The first word decides which part of Carrack this process is. A server is
//! set up by a module of its own; everything else is the engine's client,
//! which must not pay for any server: no runtime is started, and no table of
//! commands is built, before it is clear that one is wanted.
#![forbid(unsafe_code)]

mod daemon;
mod root_lock;

use std::process::ExitCode;

/// The supervisor's program: parent of a container, and its maker for runc's
/// command line.
pub(crate) static SUPERVISOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/supervisor"));

/// The name by which this program is runc, for drivers that take one path.
const RUNTIME_NAME: &str = "carrack-runtime";

/// A server that could not be set up or that failed.
const SERVER_FAILED: u8 = 1;

pub(crate) fn main() -> ExitCode {
    let mut args = std::env::args_os().peekable();
    let name = args.next();
    let is_runtime = name.is_some_and(|name| {
        let path = std::path::Path::new(&name);
        path.file_name().is_some_and(|name| name == RUNTIME_NAME)
    });
    if is_runtime || args.next_if(|word| word == "runtime").is_some() {
        let programs = carrack_runtime_cli::Programs {
            supervisor: SUPERVISOR,
        };
        return carrack_runtime_cli::run(args, programs);
    }
    if args.peek().is_some_and(|word| word == "daemon") {
        return serve(daemon::run());
    }
    // The client's statuses are docker's: 125, 126, 127 and 128+n among them.
    ExitCode::from(carrack_cli::run(args))
}

/// A server's end, told to the user.
fn serve(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The alternate form has the whole chain of causes.
            eprintln!("error: {error:#}");
            ExitCode::from(SERVER_FAILED)
        }
    }
}
