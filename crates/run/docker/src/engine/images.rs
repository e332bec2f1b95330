//! Images as far as containers matter to them, and their events.

use std::collections::HashMap;
use std::sync::Arc;

use carrack_images::{
    Image, ImageId, ImageUse, Intermediate, Pruned, RemoveOptions, Removed, Summary,
};

use crate::Result;
use crate::events::{Event, Events, Subject};
use crate::filters::Filters;
use crate::record::Record;

use super::slots::{Slot, Slots};
use super::{Container, Engine, now_ns};

/// What a removal did.
pub type ImageChange = Removed;

impl Engine {
    /// The image that a container was made of, also when it lost its names.
    pub fn image_of(&self, container: &Container) -> Option<Image> {
        let id: ImageId = container.record.image_id.parse().ok()?;
        self.images.by_id(&id)
    }

    /// The image of a container, if layers of it are not unpacked: those that
    /// were not on disk yet when the machine went down. Looks in memory alone.
    pub(super) fn image_to_unpack(&self, record: &Record) -> Option<Image> {
        let id: ImageId = record.image_id.parse().ok()?;
        let image = self.images.by_id(&id)?;
        (!self.images.is_unpacked(&image)).then_some(image)
    }

    /// The images that `filters` let through.
    pub fn list_images(&self, filters: &Filters, everything: bool) -> Result<Vec<Summary>> {
        let now = jiff::Timestamp::now();
        let filter = carrack_images::ListFilter::parse(&image_filters(filters), now)?;
        let intermediate = if everything {
            Intermediate::Shown
        } else {
            Intermediate::Left
        };
        Ok(self.images.list(&filter, intermediate)?)
    }

    /// Removes a name or an image. Blocks.
    pub fn remove_image(&self, name: &str, options: RemoveOptions) -> Result<Vec<ImageChange>> {
        let uses = |id: &ImageId| self.image_use(id);
        Ok(self.images.remove(name, options, &uses)?)
    }

    /// Removes images that nobody uses. Blocks.
    pub fn prune_images(&self, filters: &Filters) -> Result<Pruned> {
        let filters = image_filters(filters);
        let filter = carrack_images::PruneFilter::parse(&filters, jiff::Timestamp::now())?;
        let uses = |id: &ImageId| self.image_use(id);
        Ok(self.images.prune(&filter, &uses)?)
    }

    /// How many containers use each image.
    pub fn image_use_counts(&self) -> HashMap<String, i64> {
        let mut counts = HashMap::new();
        for slot in self.slots.all() {
            *counts.entry(slot.record().image_id.clone()).or_default() += 1;
        }
        counts
    }

    /// Frees, in the background, what no image refers to: once after the start
    /// of the daemon, for a load that was cut short leaves blobs and layers
    /// without a record. Must be called inside the runtime.
    pub fn collect_images_later(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let uses = |id: &ImageId| engine.image_use(id);
            if let Err(error) = engine.images.collect(&uses) {
                tracing::warn!(%error, "collect what images left");
            }
        });
    }

    /// Frees an image that was removed while a container used it, once its
    /// last container is gone.
    pub(super) fn collect_image_of(self: &Arc<Self>, removed: &Record) {
        let Ok(id) = removed.image_id.parse() else {
            return;
        };
        if self.images.is_hidden(&id) && self.image_use(&id).is_none() {
            self.collect_images_later();
        }
    }

    /// Who uses an image now, a running container before a stopped one.
    fn image_use(&self, id: &ImageId) -> Option<ImageUse> {
        image_use(&self.slots, id, |slot| self.is_active(slot))
    }
}

/// Who uses an image at this moment. Nothing is remembered from one question
/// to the next: a container that is being made has dropped its pin by the time
/// of the second, and is found here instead.
fn image_use(slots: &Slots, id: &ImageId, is_active: impl Fn(&Slot) -> bool) -> Option<ImageUse> {
    let mut stopped = None;
    for slot in slots.all() {
        if slot.record().image_id != id.as_str() {
            continue;
        }
        if is_active(&slot) {
            return Some(ImageUse::Running(slot.id.to_string()));
        }
        stopped.get_or_insert_with(|| ImageUse::Stopped(slot.id.to_string()));
    }
    stopped
}

/// Filters in the form that `image/images` reads.
fn image_filters(filters: &Filters) -> carrack_images::Filters {
    filters
        .iter()
        .map(|(key, values)| (key.to_owned(), values.to_vec()))
        .collect()
}

/// Where the events of `image/images` go.
pub fn image_event_sink(events: Arc<Events>) -> carrack_images::EventSink {
    carrack_images::EventSink::new(move |event: carrack_images::Event| {
        events.publish(Event {
            subject: Subject::Image,
            action: event.action.as_str().to_owned(),
            actor: event.image.map(|id| id.to_string()).unwrap_or_default(),
            attributes: event.attributes,
            at_ns: now_ns(),
        });
    })
}

#[cfg(test)]
mod tests {
    use carrack_containers::ContainerId;

    use super::*;

    #[test]
    fn a_use_is_seen_as_soon_as_its_container_is_there() {
        let id: ImageId = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let slots = Slots::default();
        let asked =
            |active: Option<&ContainerId>| image_use(&slots, &id, |slot| Some(&slot.id) == active);
        assert_eq!(asked(None), None);
        let [first, second] = ["first", "second"].map(|name| {
            let container = ContainerId::random();
            let record = Record {
                name: name.to_owned(),
                image_id: id.to_string(),
                ..Record::default()
            };
            slots.insert(Slot::new(container.clone(), record)).unwrap();
            container
        });
        assert!(matches!(asked(None), Some(ImageUse::Stopped(_))));
        for running in [&first, &second] {
            let expected = ImageUse::Running(running.to_string());
            assert_eq!(asked(Some(running)), Some(expected));
        }
        slots.remove(&first);
        slots.remove(&second);
        assert_eq!(asked(None), None);
    }
}
