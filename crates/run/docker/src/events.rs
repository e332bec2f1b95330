//! What happened, for `GET /events`: a bounded memory and whoever listens.
//!
//! Docker keeps 256 events for `since`; so does this. A listener that is
//! slower than [`LISTENER_BACKLOG`] events loses the oldest, as Docker's
//! would be cut off.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::filters::Filters;

/// Events kept for `since`.
pub const KEPT: usize = 256;
/// Events that a listener may lag behind.
const LISTENER_BACKLOG: usize = 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind of thing.
    pub subject: Subject,
    /// What happened, `start`, `exec_create: ls`.
    pub action: String,
    /// Id, or name of a volume.
    pub actor: String,
    /// `name`, `image`, labels, ….
    pub attributes: BTreeMap<String, String>,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// The daemon.
    Daemon,
    /// The builder's cache.
    Builder,
}

impl Subject {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Daemon => "daemon",
            Self::Builder => "builder",
        }
    }
}

/// The memory, and where listeners come from.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Arc<Event>>>,
    sender: broadcast::Sender<Arc<Event>>,
}

/// A listener's view: what was kept, then what comes.
#[derive(Debug)]
pub struct Subscription {
    /// Kept events, oldest first.
    pub kept: Vec<Arc<Event>>,
    /// Those that follow, without a gap.
    pub following: broadcast::Receiver<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            kept: Mutex::new(VecDeque::with_capacity(KEPT)),
            sender: broadcast::Sender::new(LISTENER_BACKLOG),
        }
    }
}

impl Events {
    /// Notes an event and tells whoever listens.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&event));
        // Sent under the lock, so that a subscription has no gap. An error
        // is that nobody listens.
        let _ = self.sender.send(event);
    }

    /// Begins to listen.
    pub fn subscribe(&self) -> Subscription {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Subscription {
            following: self.sender.subscribe(),
            kept: kept.iter().cloned().collect(),
        }
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }
}

/// Whether filters let an event through: Docker's keys, each with its own
/// idea of what fits; unknown keys are ignored, as Docker does.
pub fn passes(event: &Event, filters: &Filters) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
    filters.any("event", |wanted| action_fits(&event.action, wanted))
        && filters.any("type", |wanted| wanted == event.subject.as_str())
        && filters.any("scope", |wanted| wanted == "local")
        && passes_subject(event, filters, Subject::Container, "container")
        && passes_subject(event, filters, Subject::Volume, "volume")
        && passes_subject(event, filters, Subject::Network, "network")
        && passes_subject(event, filters, Subject::Daemon, "daemon")
        && passes_image(event, filters)
        && filters.labels("label", attribute)
}

/// `exec_create` fits `exec_create: ls`; an exact name fits itself.
fn action_fits(action: &str, wanted: &str) -> bool {
    action == wanted
        || action
            .split_once(':')
            .is_some_and(|(kind, _)| kind == wanted)
}

/// The beginning of an id or a name will do, as Docker has it.
fn passes_subject(event: &Event, filters: &Filters, subject: Subject, key: &str) -> bool {
    filters.any(key, |wanted| {
        let name = event.attributes.get("name").map_or("", String::as_str);
        let wanted_name = wanted.strip_prefix('/').unwrap_or(wanted);
        event.subject == subject
            && (event.actor.starts_with(wanted) || name.starts_with(wanted_name))
    })
}

/// An image's filter also finds the containers made of it.
fn passes_image(event: &Event, filters: &Filters) -> bool {
    filters.any("image", |wanted| {
        let attribute = match event.subject {
            Subject::Image => "name",
            Subject::Container => "image",
            _ => return false,
        };
        let Some(image) = event.attributes.get(attribute) else {
            return false;
        };
        let is_actor = event.subject == Subject::Image && event.actor == wanted;
        is_actor || image == wanted || without_tag(image) == wanted
    })
}

fn without_tag(image: &str) -> &str {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(subject: Subject, action: &str, actor: &str, attributes: &[(&str, &str)]) -> Event {
        Event {
            subject,
            action: action.into(),
            actor: actor.into(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            at_ns: 0,
        }
    }

    #[test]
    fn keeps_the_newest() {
        let events = Events::default();
        for number in 0..KEPT + 5 {
            events.publish(event(Subject::Daemon, "reload", &number.to_string(), &[]));
        }
        let subscription = events.subscribe();
        assert_eq!(subscription.kept.len(), KEPT);
        assert_eq!(subscription.kept[0].actor, "5");
    }

    #[test]
    fn a_subscription_has_no_gap() {
        let events = Events::default();
        events.publish(event(Subject::Daemon, "a", "", &[]));
        let mut subscription = events.subscribe();
        events.publish(event(Subject::Daemon, "b", "", &[]));
        assert_eq!(subscription.kept.len(), 1);
        let next = subscription.following.try_recv().expect("one more");
        assert_eq!(next.action, "b");
        assert_eq!(events.listeners(), 1);
    }

    #[test]
    fn filtering() {
        let started = event(
            Subject::Container,
            "start",
            "0123456789abcdef",
            &[("name", "web"), ("image", "nginx:1"), ("com.x", "y")],
        );
        let exec = event(
            Subject::Container,
            "exec_create: ls",
            "ffff",
            &[("name", "db")],
        );
        let check = |filters: &str, expected: (bool, bool)| {
            let filters = Filters::parse(filters).expect("good");
            let got = (passes(&started, &filters), passes(&exec, &filters));
            assert_eq!(got, expected, "{filters:?}");
        };
        check("{}", (true, true));
        check(r#"{"type":["container"]}"#, (true, true));
        check(r#"{"type":["image"]}"#, (false, false));
        check(r#"{"event":["start"]}"#, (true, false));
        check(r#"{"event":["exec_create"]}"#, (false, true));
        check(r#"{"container":["web"]}"#, (true, false));
        check(r#"{"container":["0123456789ab"]}"#, (true, false));
        check(r#"{"container":["01"]}"#, (true, false));
        check(r#"{"container":["we"]}"#, (true, false));
        check(r#"{"container":["eb"]}"#, (false, false));
        check(r#"{"container":["ffff","web"]}"#, (true, true));
        check(r#"{"image":["nginx"]}"#, (true, false));
        check(r#"{"image":["nginx:1"]}"#, (true, false));
        check(r#"{"label":["com.x=y"]}"#, (true, false));
        check(r#"{"unknown":["x"]}"#, (true, true));
        check(r#"{"network":["x"]}"#, (false, false));
    }
}
