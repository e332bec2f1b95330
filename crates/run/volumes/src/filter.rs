//! Which volumes a request means.

use std::collections::BTreeMap;

use crate::{ANONYMOUS_LABEL, DRIVER, Volume};

/// Filters of a listing; an empty one says nothing. Values of one key are
/// alternatives, but all labels must match, as docker has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// The driver.
    pub drivers: Vec<String>,
    /// Labels that the volume has.
    pub labels: Vec<LabelFilter>,
    /// Labels that it does not have (`label!=…`).
    pub without_labels: Vec<LabelFilter>,
    /// `Some(true)`: used by nobody; `Some(false)`: used.
    pub dangling: Option<bool>,
}

/// `key` or `key=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFilter {
    /// The label.
    pub key: String,
    /// Its value; absent means any.
    pub value: Option<String>,
}

/// Which volumes a prune takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PruneScope {
    /// Those whose name nobody chose.
    #[default]
    Anonymous,
    /// Named ones too (`all=true`, and before API 1.42).
    All,
}

/// Filters of a prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneFilter {
    /// Which kind.
    pub scope: PruneScope,
    /// Labels that the volume has.
    pub labels: Vec<LabelFilter>,
    /// Labels that it does not have.
    pub without_labels: Vec<LabelFilter>,
}

impl LabelFilter {
    /// From `key` or `key=value`.
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((key, value)) => Self {
                key: key.to_owned(),
                value: Some(value.to_owned()),
            },
            None => Self {
                key: text.to_owned(),
                value: None,
            },
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        labels
            .get(&self.key)
            .is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value))
    }
}

impl ListFilter {
    /// Whether the volume is meant, apart from `dangling`.
    pub(crate) fn matches(&self, volume: &Volume) -> bool {
        (self.drivers.is_empty() || self.drivers.iter().any(|driver| driver == DRIVER))
            && labelled(volume, &self.labels, &self.without_labels)
    }
}

impl PruneFilter {
    /// Whether the volume is meant, apart from being used. One with driver
    /// options is not: its data are not here.
    pub(crate) fn matches(&self, volume: &Volume) -> bool {
        let scope = match self.scope {
            PruneScope::All => true,
            PruneScope::Anonymous => volume.labels().contains_key(ANONYMOUS_LABEL),
        };
        scope && volume.options().is_empty() && labelled(volume, &self.labels, &self.without_labels)
    }
}

fn labelled(volume: &Volume, with: &[LabelFilter], without: &[LabelFilter]) -> bool {
    let labels = volume.labels();
    with.iter().all(|label| label.matches(labels))
        && (without.is_empty() || !without.iter().all(|label| label.matches(labels)))
}
