//! The engine: Docker's verbs over containers, images, volumes and networks.
//!
//! The façade calls it with decoded requests; it answers with values and
//! never with wire types. Names, records and restart state of all containers
//! are in memory ([`Slots`]), so that finding one costs two map look-ups; what
//! must survive is in the owner's data of `run/containers`.
//!
//! Start reading at `create` and `lifecycle`; `watch` is the task that turns
//! what happens to containers into events, restarts and removals.

mod archive;
mod attach;
mod create;
mod exec;
mod files;
mod images;
mod lifecycle;
mod list;
mod machine;
mod measure;
mod networks;
mod prune;
mod slots;
mod system;
mod update;
mod volumes;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use carrack_containers::{ContainerId, Containers, View};
use carrack_images::Images;
use carrack_network::Networks;
use carrack_volumes::Volumes;

use crate::events::{Event, Events, Subject};
use crate::host::HostFacts;
use crate::record::Record;
use crate::spec::{Logged, log_attributes};
use crate::{Error, Result};

pub use archive::{ArchiveReader, PathStat, PutOptions};
pub use attach::{AttachOptions, KeysOf};
pub use create::{CreateOptions, Created};
pub use exec::{ExecOptions, ExecStart, ExecView};
pub use images::{ImageChange, image_event_sink};
pub use lifecycle::RemoveOptions;
pub use list::{ListOptions, Listed, describe_state};
pub use machine::Machine;
pub use measure::Top;
pub use networks::{BRIDGE, NetworkKind, NetworkView, network_id};
pub use prune::Reclaimed;
pub use slots::RestartState;
pub use system::{Counts, DiskUsage, VolumeUsage};
pub use update::UpdateRequest;

use slots::{Slot, Slots};

/// What an engine is made with.
pub struct EngineConfig {
    /// Containers.
    pub containers: Containers,
    /// Images.
    pub images: Images,
    /// Volumes.
    pub volumes: Volumes,
    /// The bridge, if there is one.
    pub networks: Option<Arc<Networks>>,
    /// Where the events of `images` go; see [`Engine::events`].
    pub events: Arc<Events>,
    /// The machine.
    pub host: HostFacts,
    /// The data root, shown by `info`.
    pub data_root: PathBuf,
    /// Identity of this engine, shown by `info`.
    pub engine_id: String,
}

/// The engine; shared in an [`Arc`].
pub struct Engine {
    containers: Containers,
    images: Images,
    volumes: Arc<Volumes>,
    networks: Option<Arc<Networks>>,
    events: Arc<Events>,
    host: HostFacts,
    data_root: PathBuf,
    engine_id: String,
    slots: Slots,
    pruning: tokio::sync::Mutex<()>,
}

/// A container as it is at one moment.
#[derive(Clone, Debug)]
pub struct Container {
    /// Docker's side of it.
    pub record: Arc<Record>,
    /// What it is doing.
    pub view: View,
    /// Whether it waits for its restart, and how many there were.
    pub restart: RestartState,
}

impl Container {
    /// Its identity.
    pub fn id(&self) -> &ContainerId {
        &self.view.new.id
    }

    /// What its log options say of it beside each record.
    pub fn log_attributes(&self) -> BTreeMap<String, String> {
        let record = &self.record;
        let logged = Logged {
            id: self.id().as_str(),
            name: &record.name,
            image_id: &record.image_id,
            image: &record.config.image,
            env: record.config.env.as_deref().unwrap_or_default(),
            labels: record.config.labels.as_ref(),
        };
        log_attributes(&record.host_config, &logged)
    }
}

impl Engine {
    /// Takes over what is on record, and begins to follow containers. Must be
    /// called inside the runtime, after `containers` reconciled.
    pub fn open(config: EngineConfig) -> Arc<Self> {
        let engine = Arc::new(Self {
            slots: Slots::default(),
            containers: config.containers,
            images: config.images,
            volumes: Arc::new(config.volumes),
            networks: config.networks,
            events: config.events,
            host: config.host,
            data_root: config.data_root,
            engine_id: config.engine_id,
            pruning: tokio::sync::Mutex::new(()),
        });
        // Before the records are read, so that nothing falls in between.
        let happenings = engine.containers.subscribe();
        engine.adopt_records();
        watch::follow(&engine, happenings);
        engine.release_volumes();
        engine.start_by_policy();
        engine.containers.resume();
        engine
    }

    /// Events, for whoever publishes (images) and listens.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Facts about the machine.
    pub fn host(&self) -> &HostFacts {
        &self.host
    }

    /// Images.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Volumes.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// The container that `reference` means.
    pub fn container(&self, reference: &str) -> Result<Container> {
        let slot = self.slots.find(reference)?;
        self.snapshot(&slot)
            .ok_or_else(|| Error::NoSuchContainer(reference.to_owned()))
    }

    /// All containers, in no order.
    pub fn containers(&self) -> Vec<Container> {
        let slots = self.slots.all();
        slots
            .iter()
            .filter_map(|slot| self.snapshot(slot))
            .collect()
    }

    fn snapshot(&self, slot: &Slot) -> Option<Container> {
        Some(Container {
            view: self.containers.get(&slot.id)?,
            record: slot.record(),
            restart: slot.restart_state(),
        })
    }

    /// Reads the records of containers that are Docker's.
    fn adopt_records(&self) {
        for view in self.containers.list() {
            if view.new.owner != carrack_containers::Owner::Docker {
                continue;
            }
            let id = view.new.id.clone();
            let record = match Record::from_json(view.new.owner_data.clone()) {
                Ok(record) => record,
                Err(error) => {
                    tracing::error!(container = %id, %error, "the record cannot be read; the container is shown by its id");
                    Record {
                        name: id.short().to_owned(),
                        ..Record::default()
                    }
                }
            };
            if let Err(error) = self.slots.insert(Slot::new(id.clone(), record)) {
                tracing::error!(container = %id, %error, "two containers have one name");
            }
        }
    }

    /// Notes an event of a container.
    fn container_event(
        &self,
        id: &ContainerId,
        record: &Record,
        action: &str,
        more: &[(&str, &str)],
    ) {
        let mut attributes = record.config.labels.clone().unwrap_or_default();
        attributes.insert("image".to_owned(), record.config.image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        for (key, value) in more {
            attributes.insert((*key).to_owned(), (*value).to_owned());
        }
        self.events.publish(Event {
            subject: Subject::Container,
            action: action.to_owned(),
            actor: id.to_string(),
            attributes,
            at_ns: now_ns(),
        });
    }

    /// Notes an event of something else.
    fn event(&self, subject: Subject, action: &str, actor: &str, attributes: &[(&str, &str)]) {
        self.events.publish(Event {
            subject,
            action: action.to_owned(),
            actor: actor.to_owned(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            at_ns: now_ns(),
        });
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("containers", &self.slots.len())
            .finish_non_exhaustive()
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
