//! Volumes as far as containers matter to them.

use std::sync::{Arc, Weak};

use carrack_volumes::{
    CreateRequest, Created, Force, LabelFilter, ListFilter, Pin, PruneFilter, PruneScope, Volume,
};

use crate::Result;
use crate::events::Subject;
use crate::filters::Filters;
use crate::record::Record;

use super::Engine;

const LIST_KEYS: [&str; 4] = ["name", "driver", "label", "dangling"];
const PRUNE_KEYS: [&str; 3] = ["label", "label!", "all"];

/// Volumes that somebody is about to use: what their options ask for stays
/// mounted until this is dropped, and while a container runs with them.
#[derive(Debug, Default)]
pub(super) struct VolumesInUse {
    engine: Weak<Engine>,
    pins: Vec<Pin>,
}

impl Drop for VolumesInUse {
    fn drop(&mut self) {
        let pins = std::mem::take(&mut self.pins);
        let mounted = pins.iter().filter(|pin| pin.is_mounted_on_use());
        let volumes: Vec<Arc<Volume>> = mounted.map(|pin| Arc::clone(pin.volume())).collect();
        drop(pins);
        if let Some(engine) = self.engine.upgrade() {
            for volume in volumes {
                engine.release_volume(&volume);
            }
        }
    }
}

impl Engine {
    /// Mounts what the volumes of a container ask for. Blocks.
    pub(super) fn enter_volumes(self: &Arc<Self>, record: &Record) -> Result<VolumesInUse> {
        let pins = record.volumes().map(|name| self.volumes.enter(name));
        Ok(VolumesInUse {
            engine: Arc::downgrade(self),
            pins: pins.collect::<std::result::Result<_, _>>()?,
        })
    }

    /// Unmounts those volumes of a container that nobody uses any more, with
    /// what their options asked for. Blocks.
    pub(super) fn leave_volumes(&self, record: &Record) {
        for name in record.volumes() {
            if let Ok(volume) = self.volumes.get(name) {
                self.release_volume(&volume);
            }
        }
    }

    /// Unmounts what an earlier engine left mounted for nobody. Blocks.
    pub(super) fn release_volumes(&self) {
        for volume in self.volumes.all() {
            self.release_volume(&volume);
        }
    }

    fn release_volume(&self, volume: &Volume) {
        let name = volume.name();
        let is_used = || {
            let slots = self.slots.all();
            slots.iter().any(|slot| {
                let record = slot.record();
                record.volumes().any(|used| used == name.as_str()) && self.is_active(slot)
            })
        };
        if let Err(error) = volume.release(is_used) {
            tracing::warn!(volume = %name, %error, "unmount a volume that nobody uses");
        }
    }

    /// Makes a volume, or gives the one of that name. Blocks.
    pub fn create_volume(&self, request: CreateRequest) -> Result<Arc<Volume>> {
        let (pin, created) = self.volumes.create(request)?;
        if created == Created::New {
            let name = pin.name().to_string();
            self.event(Subject::Volume, "create", &name, &[("driver", "local")]);
        }
        Ok(Arc::clone(pin.volume()))
    }

    /// The volumes that `filters` let through. Blocks.
    pub fn list_volumes(&self, filters: &Filters) -> Result<Vec<Arc<Volume>>> {
        filters.require_keys(&LIST_KEYS)?;
        let filter = ListFilter {
            drivers: filters.values("driver").to_vec(),
            labels: labels(filters, "label"),
            without_labels: Vec::new(),
            dangling: filters.boolean("dangling")?,
        };
        let names = filters.patterns("name");
        let mut listed = self
            .volumes
            .list(&filter, |name| self.volume_users(name.as_str()));
        listed.retain(|volume| names.fits(volume.name().as_str()));
        Ok(listed)
    }

    /// Removes a volume that nobody uses. Blocks.
    pub fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let force = if force { Force::Yes } else { Force::No };
        // Removing by force what is not there is no error, and no event.
        let existed = self.volumes.get(name).is_ok();
        self.volumes
            .remove(name, force, |volume| self.volume_users(volume.as_str()))?;
        if existed {
            self.event(Subject::Volume, "destroy", name, &[("driver", "local")]);
        }
        Ok(())
    }

    /// Removes volumes that nobody uses: the names, and the bytes they held.
    /// Before API 1.42 named ones go too. Blocks.
    pub fn prune_volumes(&self, filters: &Filters, named_too: bool) -> Result<(Vec<String>, u64)> {
        filters.require_keys(&PRUNE_KEYS)?;
        let all = filters.boolean("all")?.unwrap_or(named_too);
        let filter = PruneFilter {
            scope: if all {
                PruneScope::All
            } else {
                PruneScope::Anonymous
            },
            labels: labels(filters, "label"),
            without_labels: labels(filters, "label!"),
        };
        let pruned = self
            .volumes
            .prune(&filter, |name| self.volume_users(name.as_str()));
        for problem in &pruned.problems {
            tracing::warn!(error = %problem, "prune a volume");
        }
        let names: Vec<String> = pruned.removed.iter().map(ToString::to_string).collect();
        for name in &names {
            self.event(Subject::Volume, "destroy", name, &[("driver", "local")]);
        }
        let reclaimed = pruned.reclaimed_bytes.to_string();
        self.event(Subject::Volume, "prune", "", &[("reclaimed", &reclaimed)]);
        Ok((names, pruned.reclaimed_bytes))
    }

    /// Ids of the containers that use a volume.
    pub fn volume_users(&self, name: &str) -> Vec<String> {
        let slots = self.slots.all();
        slots
            .iter()
            .filter(|slot| slot.record().volumes().any(|volume| volume == name))
            .map(|slot| slot.id.to_string())
            .collect()
    }
}

fn labels(filters: &Filters, key: &str) -> Vec<LabelFilter> {
    filters
        .values(key)
        .iter()
        .map(|text| LabelFilter::parse(text))
        .collect()
}
