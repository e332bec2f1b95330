//! The supervisor: parent of one container.
//!
//! A daemon starts it from a sealed memfd with descriptor 0 a connected
//! control socket, 1 a listening one for later daemons, 2 a place for last
//! words. It has one thread, allocates little, and outlives the daemon. It
//! makes the namespaces, parks an init in them, turns that into the container
//! on request, and from then on owns what must not depend on the daemon:
//! standard streams, the log, attached and waiting clients, loopback relays
//! and the exit code. It reads nothing of the container's files.
//!
//! Started with the arguments `make N`, it makes one container, or adds one
//! program to one, for runc's command line, and ends: see [`maker`].
#![forbid(unsafe_code)]

mod alone;
mod clients;
mod console;
mod control;
mod event_loop;
mod exec;
mod init;
mod log;
mod log_line;
mod maker;
mod park;
mod powers;
mod relay;
mod relay_udp;
mod streams;
mod supervisor;
mod waiters;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("make") {
        let preserved = arguments.next().and_then(|number| number.parse().ok());
        return maker::run(preserved.unwrap_or(0));
    }
    match supervisor::Supervisor::start() {
        Ok(mut supervisor) => supervisor.run(),
        Err(error) => {
            eprintln!("carrack-supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}
