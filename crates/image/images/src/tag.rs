//! Giving names.

use carrack_oci::Reference;
use jiff::Timestamp;

use crate::error::Error;
use crate::event::Action;
use crate::index::lookup_form;
use crate::record::{IMAGES, REFERENCES, ReferenceRecord};
use crate::{Image, Images};

impl Images {
    /// Gives the image that `source` means the name `target`, with the tag
    /// `latest` where it has none. Whoever had that name loses it.
    ///
    /// # Errors
    /// Those of [`Images::resolve`], [`Error::Reference`],
    /// [`Error::TagWithDigest`], [`Error::State`].
    pub fn tag(&self, source: &str, target: &str) -> Result<Image, Error> {
        let target: Reference = target.parse()?;
        if target.digest().is_some() {
            return Err(Error::TagWithDigest);
        }
        let target = lookup_form(target);
        let image = {
            let _changing = self.change();
            let (image, mut record) = {
                let index = self.index();
                let entry = index.resolve(source)?;
                (entry.image.clone(), entry.record.clone())
            };
            record.last_tagged = Some(Timestamp::now());
            let id = image.id().clone();
            {
                let (id, record, target) = (id.clone(), record.clone(), target.clone());
                self.0.state.write_durable(move |w| {
                    w.put(&IMAGES, &id, &record)?;
                    w.put(&REFERENCES, &target, &ReferenceRecord { image: id })
                })?;
            }
            let mut index = self.index_mut();
            index.set_record(&id, record);
            index.tag(target.clone(), &id);
            image
        };
        self.0.events.image(Action::Tag, &image, &target.familiar());
        Ok(image)
    }
}
