//! Short blocking work where it is called.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs blocking work that takes a millisecond as a rule (mounts, small files)
/// on the thread that asks for it: a hop to a pool of threads and back costs
/// two wakes, which is much of such work's own time. A runtime of several
/// workers hands the other tasks of this one to a thread of the pool meanwhile,
/// so the exception that takes long (a layer unpacked again, a volume filled)
/// costs what it would have cost there.
///
/// Not for what waits for a client: that would hold a thread as long as the
/// client likes.
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
