//! What happened to images, for whoever tells it on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::image::{Image, ImageId};

/// What happened, in docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Came from an archive.
    Load,
    /// Made from a root file system.
    Import,
    /// Got a name.
    Tag,
    /// Lost a name.
    Untag,
    /// Is gone.
    Delete,
    /// Written to an archive.
    Save,
    /// Unused images were removed.
    Prune,
}

impl Action {
    /// The word in Docker's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Load => "load",
            Action::Import => "import",
            Action::Tag => "tag",
            Action::Untag => "untag",
            Action::Delete => "delete",
            Action::Save => "save",
            Action::Prune => "prune",
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub action: Action,
    /// To which image; none for [`Action::Prune`].
    pub image: Option<ImageId>,
    /// The actor's attributes: `name`, the image's labels, `reclaimed`.
    pub attributes: BTreeMap<String, String>,
}

/// Takes events, in order, and must be quick.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// Calls `sink` with each event.
    pub fn new(sink: impl Fn(Event) + Send + Sync + 'static) -> EventSink {
        EventSink(Arc::new(sink))
    }

    /// Forgets them.
    pub fn none() -> EventSink {
        EventSink::new(|_| {})
    }

    /// An event of an image under `name`, with its labels.
    pub(crate) fn image(&self, action: Action, image: &Image, name: &str) {
        let mut attributes = image.config().labels.clone();
        attributes.insert("name".to_owned(), name.to_owned());
        (self.0)(Event {
            action,
            image: Some(image.id().clone()),
            attributes,
        });
    }

    pub(crate) fn deleted(&self, id: &ImageId) {
        (self.0)(Event {
            action: Action::Delete,
            image: Some(id.clone()),
            attributes: BTreeMap::from([("name".to_owned(), id.to_string())]),
        });
    }

    pub(crate) fn pruned(&self, reclaimed_bytes: u64) {
        (self.0)(Event {
            action: Action::Prune,
            image: None,
            attributes: BTreeMap::from([("reclaimed".to_owned(), reclaimed_bytes.to_string())]),
        });
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}
