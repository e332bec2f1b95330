//! Going on with a supervisor whose connection broke while it lives.
//!
//! A broken connection alone says nothing about the container: only when
//! nobody listens on the supervisor's socket any more is it lost.

use std::sync::Arc;
use std::time::Duration;

use carrack_sandbox::{Adopted, Link};

use crate::Containers;
use crate::entry::Entry;

/// Pause before another attempt when this process has no descriptor free.
const PAUSE: Duration = Duration::from_millis(100);

/// A new connection to the supervisor of a running container; `None` once
/// that is gone.
pub(crate) async fn rejoin(containers: &Containers, entry: &Arc<Entry>) -> Option<Link> {
    let sandbox = entry.lock().run.as_ref()?.sandbox.clone();
    loop {
        let Adopted { link, hello, .. } = containers.0.config.sandboxes.reconnect(&sandbox).await?;
        let sender = match link.sender() {
            Ok(sender) => Arc::new(sender),
            Err(error) => {
                tracing::warn!(container = %entry.id, %error, "copy a supervisor's descriptor");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // An end that happened meanwhile is told again, behind the hello.
        if let Some(run) = &mut entry.lock().run {
            run.sender = sender;
        }
        containers.settle_execs(entry, &hello.execs);
        tracing::warn!(container = %entry.id, "the connection to a supervisor broke and was made again");
        return Some(link);
    }
}
