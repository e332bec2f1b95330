//! Short blocking work where it is called.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs blocking work of at most a few milliseconds (mounts, small files) on
/// the thread that asks for it: a hop to a pool of threads and back costs two
/// wakes, which is much of such work's own time. A runtime of several workers
/// hands the other tasks of this one to another thread meanwhile.
///
/// Not for what may take long because of somebody else: a slow reader, a large
/// copy.
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
