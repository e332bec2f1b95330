//! Clients that were told to go ahead and are not registered yet.
//!
//! `docker run` attaches, waits, and starts as soon as both have their heads. A
//! start that came before the sockets are where they belong would run a program
//! whose first output, or whose end, these clients never see.

use std::sync::Arc;
use std::time::Duration;

use crate::entry::Entry;
use crate::{ContainerId, Containers, Result};

/// How long a start waits for them: registering takes microseconds, unless the
/// machine has no time for it.
const EXPECTED_BOUND: Duration = Duration::from_secs(5);

/// A client to come. Made before its head is written, dropped once its socket
/// is given away.
#[derive(Debug)]
pub struct ExpectedClient(Arc<Entry>);

impl Drop for ExpectedClient {
    fn drop(&mut self) {
        self.0.expected.send_modify(|count| *count -= 1);
    }
}

impl Containers {
    /// Lets a start wait for a client until what is returned is dropped.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound).
    pub fn expect_client(&self, id: &ContainerId) -> Result<ExpectedClient> {
        let entry = self.entry(id)?;
        entry.expected.send_modify(|count| *count += 1);
        Ok(ExpectedClient(entry))
    }
}

/// Waits until all who were told to go ahead are registered.
pub(crate) async fn all_registered(entry: &Entry) {
    if *entry.expected.borrow() == 0 {
        return;
    }
    let mut expected = entry.expected.subscribe();
    let registered = expected.wait_for(|count| *count == 0);
    if tokio::time::timeout(EXPECTED_BOUND, registered)
        .await
        .is_err()
    {
        tracing::warn!(container = %entry.id, "started before a client that attaches was ready");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, container, until};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_start_waits_until_every_client_is_registered() {
        let Some(world) = World::new("a_start_waits_until") else {
            return;
        };
        let new = container();
        let containers = world.open().await;
        containers.create(new.clone()).await.expect("create");
        let entry = containers.entry(&new.id).expect("entry");
        all_registered(&entry).await;
        let first = containers.expect_client(&new.id).expect("expected");
        let second = containers.expect_client(&new.id).expect("expected");
        let waiting = tokio::spawn({
            let entry = Arc::clone(&entry);
            async move { all_registered(&entry).await }
        });
        until("it waits", || entry.expected.receiver_count() == 1).await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.expect("it goes on");
    }
}
