//! runc's command line: what podman and containerd's shim call.
//!
//! Every call is a process of its own that ends; what is known of a container
//! lies in its directory below `--root`. A container is made by the
//! supervisor's program in its maker's part, so that this program's own file
//! is never executed inside of one.
//!
//! It knows no daemon and none knows it.
#![forbid(unsafe_code)]

mod arguments;
mod bundle;
mod cgroups;
mod commands;
mod console;
mod error;
mod foreground;
mod launch;
mod log;
mod maker;
mod namespaces;
mod not_yet;
mod output;
mod pidfile;
mod processes;
mod record;
mod sockets;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Global;
use error::Error;

/// Result of this crate.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What a call has besides its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    /// The supervisor's program.
    pub supervisor: &'static [u8],
}

/// Runs one command, `args` without the program's name.
pub fn run(args: impl Iterator<Item = OsString>, programs: Programs) -> ExitCode {
    let args = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (global, command) = match Global::parse(args) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match commands::run(&global, command, programs) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log::failed(&global, &error);
            ExitCode::from(error.exit_code())
        }
    }
}
