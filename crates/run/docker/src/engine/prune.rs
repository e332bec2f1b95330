//! Removing containers that do not run.

use std::sync::Arc;

use carrack_containers::Phase;

use crate::events::Subject;
use crate::filters::Filters;
use crate::{Error, Result};

use super::{Engine, RemoveOptions};

const KEYS: [&str; 3] = ["until", "label", "label!"];

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Names or ids.
    pub removed: Vec<String>,
    /// Bytes.
    pub bytes: u64,
}

impl Engine {
    /// Removes every container that does not run and that `filters` let
    /// through. One prune at a time.
    pub async fn prune_containers(self: &Arc<Self>, filters: &Filters) -> Result<Reclaimed> {
        filters.require_keys(&KEYS)?;
        let until = parse_until(filters)?;
        let _one = self.pruning.try_lock().map_err(|_| Error::PruneRunning)?;
        let mut reclaimed = Reclaimed::default();
        for container in self.containers() {
            let record = &container.record;
            let label = |name: &str| record.label(name);
            let idle = matches!(
                container.view.state.phase,
                Phase::Created | Phase::Exited | Phase::Dead
            ) && !container.restart.waiting;
            let old = until.is_none_or(|until| {
                jiff::Timestamp::try_from(container.view.created_at).is_ok_and(|at| at < until)
            });
            if !idle || !old || !filters.labels("label", label) || !filters.excluded_labels(label) {
                continue;
            }
            let (bytes, _) = self.sizes(&container).await;
            match self
                .remove(container.id().as_str(), RemoveOptions::default())
                .await
            {
                Ok(()) => {
                    reclaimed.removed.push(container.id().to_string());
                    reclaimed.bytes = reclaimed.bytes.saturating_add(bytes);
                }
                // Started or removed by somebody else meanwhile.
                Err(error) => tracing::debug!(container = %container.id(), %error, "not pruned"),
            }
        }
        let bytes = reclaimed.bytes.to_string();
        self.event(Subject::Container, "prune", "", &[("reclaimed", &bytes)]);
        Ok(reclaimed)
    }
}

/// At most one `until`: a time, or how long ago.
pub(super) fn parse_until(filters: &Filters) -> Result<Option<jiff::Timestamp>> {
    let values = filters.values("until");
    let [value] = values else {
        return match values {
            [] => Ok(None),
            _ => Err(Error::rule("more than one until filter specified")),
        };
    };
    carrack_images::parse_instant(value, jiff::Timestamp::now())
        .map(Some)
        .ok_or_else(|| Error::rule(format!("invalid value for 'until' filter: {value:?}")))
}
