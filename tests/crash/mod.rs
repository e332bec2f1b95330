//! Nothing depends on the daemon staying alive.
//!
//! Faults injected here: SIGKILL and SIGTERM of the daemon at varied instants of a
//! start and of an exit, SIGKILL of a supervisor. Not injected: power cuts and
//! failing disks (tests of `base/state`, `image/content` and `image/images` do).
//! dockerd is no peer for these: its attached terminals end with it.

mod daemon;
mod policy;
mod supervisor;
mod versions;

use carrack_tests::Kind;

/// Whether this engine makes the promise at all; says so when not.
fn promised(test: &str) -> bool {
    let promised = Kind::from_env() == Kind::Carrack;
    if !promised {
        println!("SKIP: {test}: dockerd makes no such promise");
    }
    promised && !carrack_tests::skipped(test)
}
