//! Images as far as containers matter to them, and their events.

use std::collections::HashMap;

use carrack_images::{
    Image, ImageId, ImageUse, Intermediate, Pruned, RemoveOptions, Removed, Summary,
};

use crate::events::{Event, Events, Subject};
use crate::filters::Filters;
use crate::{Error, Result};

use super::{Container, Engine, now_ns};

/// What a removal did.
pub type ImageChange = Removed;

impl Engine {
    /// The image that a container was made of, also when it lost its names.
    pub fn image_of(&self, container: &Container) -> Option<Image> {
        let id: ImageId = container.record.image_id.parse().ok()?;
        self.images.by_id(&id)
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
        let users = self.image_users();
        let uses = |id: &ImageId| users.get(id.as_str()).cloned();
        Ok(self.images.remove(name, options, &uses)?)
    }

    /// Removes images that nobody uses. Blocks.
    pub fn prune_images(&self, filters: &Filters) -> Result<Pruned> {
        let filters = image_filters(filters);
        let filter = carrack_images::PruneFilter::parse(&filters, jiff::Timestamp::now())?;
        let users = self.image_users();
        let uses = |id: &ImageId| users.get(id.as_str()).cloned();
        Ok(self.images.prune(&filter, &uses)?)
    }

    /// Frees what removed containers kept. Blocks.
    pub fn collect_images(&self) -> Result<()> {
        let users = self.image_users();
        let uses = |id: &ImageId| users.get(id.as_str()).cloned();
        self.images.collect(&uses).map(drop).map_err(Error::from)
    }

    /// How many containers use each image.
    pub fn image_use_counts(&self) -> HashMap<String, i64> {
        let mut counts = HashMap::new();
        for slot in self.slots.all() {
            *counts.entry(slot.record().image_id.clone()).or_default() += 1;
        }
        counts
    }

    /// Who uses each image, a running container before a stopped one.
    fn image_users(&self) -> HashMap<String, ImageUse> {
        let mut users = HashMap::new();
        for slot in self.slots.all() {
            let image = slot.record().image_id.clone();
            let id = slot.id.to_string();
            if self.is_active(&slot) {
                users.insert(image, ImageUse::Running(id));
            } else {
                users.entry(image).or_insert(ImageUse::Stopped(id));
            }
        }
        users
    }
}

/// Filters in the form that `image/images` reads.
fn image_filters(filters: &Filters) -> carrack_images::Filters {
    filters
        .iter()
        .map(|(key, values)| (key.to_owned(), values.to_vec()))
        .collect()
}

/// Where the events of `image/images` go.
pub fn image_event_sink(events: std::sync::Arc<Events>) -> carrack_images::EventSink {
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
