//! Making a container.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use carrack_containers::{ContainerId, IpcMode, in_place};
use carrack_images::{Image, ImagePin};
use carrack_oci::Platform;
use carrack_snapshots::overlay::{self, OverlaySpec};
use carrack_telemetry::PathTrace;
use carrack_volumes as volumes;

use crate::config::{CreateRequest, HostConfig, Mount, MountKind};
use crate::events::Subject;
use crate::mounts::{MountPoint, MountRequest, PointKind, plan};
use crate::naming::{NAME_BYTES_MAX, generated_name, is_valid_name};
use crate::record::{RECORD_VERSION, Record};
use crate::spec::{self, Joined, Surroundings};
use crate::validate::{Invalid, Mode, check_request, merge_image, namespace_mode};
use crate::{Error, Result};

use super::slots::Slot;
use super::{Engine, Machine};

/// Names made up before it is given up; each try has one digit more.
const NAME_ATTEMPTS: u32 = 9;

/// Directory of the data root on which kernels before 6.5 mount an image for
/// a moment.
const COPY_UP_MOUNTPOINT: &str = "copy-up";

/// Parameters beside the body.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// Wanted name, with or without a slash.
    pub name: Option<String>,
    /// Wanted platform, `linux/amd64`.
    pub platform: Option<String>,
    /// API below 1.44: read-only binds leave the mounts below them writable.
    pub read_only_is_shallow: bool,
}

/// A container that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its identity.
    pub id: ContainerId,
    /// What was left out of what was asked for.
    pub warnings: Vec<String>,
}

/// What blocking work found out.
struct Prepared {
    pin: ImagePin,
    mounts: Vec<MountPoint>,
    pins: Vec<volumes::Pin>,
    made: Vec<String>,
}

impl Engine {
    /// Makes a container; it is on disk when this returns.
    pub async fn create(
        self: &Arc<Self>,
        mut request: CreateRequest,
        options: CreateOptions,
    ) -> Result<Created> {
        let mut trace = PathTrace::begin("create");
        let asked_name = options.name.as_deref().map(checked_name).transpose()?;
        let mut warnings = check_request(&mut request, &self.host)?;
        check_bind_sources(request.host_config.mounts.iter().flatten())?;
        // Refused early: nothing was made yet.
        if let Some(name) = &asked_name
            && self.slots.has_name(name)
        {
            let holder = self.slots.find(&format!("/{name}"))?.id.to_string();
            return Err(Error::NameTaken {
                name: name.clone(),
                holder,
            });
        }
        trace.mark("check");
        let prepared = in_place(|| self.prepare(&mut request, &options, &mut warnings))?;
        trace.mark("image-mounts");

        let id = ContainerId::random();
        let record = self.record(&request, &prepared);
        let slot = self.reserve_name(&id, record, asked_name)?;
        trace.mark("name");
        let made = self.make(&slot, &request, &prepared, &mut trace).await;
        if let Err(error) = made {
            self.slots.remove(&id);
            self.drop_volumes(prepared);
            return Err(error);
        }
        drop(prepared);
        self.container_event(&id, &slot.record(), "create", &[]);
        trace.mark("event");
        trace.end(id.as_str());
        Ok(Created { id, warnings })
    }

    /// Image, mounts, volumes: everything that may block.
    fn prepare(
        &self,
        request: &mut CreateRequest,
        options: &CreateOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Prepared> {
        let pin = self.pinned_image(&request.config.image, options.platform.as_deref())?;
        warn_of_platform(pin.image(), options, warnings);
        self.resolve_joined(&mut request.host_config)?;
        merge_image(&mut request.config, pin.image().config(), warnings)?;
        spec::fill_defaults(&mut request.host_config, &self.host);
        spec::log_policy(&request.host_config)?;
        warnings.extend(spec::log_warnings(&request.host_config));
        let mount_request = MountRequest {
            config: &request.config,
            host_config: &request.host_config,
            read_only_is_shallow: options.read_only_is_shallow,
        };
        let mounts = plan(&mount_request, |name| {
            let slot = self.slots.find(name);
            slot.map(|slot| slot.record().mounts.clone())
                .map_err(as_input)
        })?;
        self.images.ensure_unpacked(pin.image())?;
        let mut prepared = Prepared {
            pin,
            mounts,
            pins: Vec::new(),
            made: Vec::new(),
        };
        match self.make_volumes(&mut prepared) {
            Ok(()) => Ok(prepared),
            Err(error) => {
                self.drop_volumes(prepared);
                Err(error)
            }
        }
    }

    /// Puts full ids where namespaces of other containers are named, which
    /// may get other names.
    fn resolve_joined(&self, host: &mut HostConfig) -> Result<()> {
        for mode in [
            &mut host.network_mode,
            &mut host.ipc_mode,
            &mut host.pid_mode,
        ] {
            if let Mode::Container(name) = namespace_mode(mode) {
                let other = self.slots.find(name).map_err(as_input)?;
                *mode = format!("container:{}", other.id);
            }
        }
        Ok(())
    }

    fn pinned_image(&self, name: &str, platform: Option<&str>) -> Result<ImagePin> {
        match platform.filter(|platform| !platform.is_empty()) {
            None => Ok(self.images.resolve_pinned(name)?),
            Some(text) => {
                let wanted: Platform = text
                    .parse()
                    .map_err(|error: carrack_oci::PlatformError| Error::rule(error.to_string()))?;
                Ok(self.images.resolve_for(name, &wanted)?)
            }
        }
    }

    /// Makes the volumes of the list and fills empty ones from the image.
    fn make_volumes(&self, prepared: &mut Prepared) -> Result<()> {
        let mut rootfs = None;
        for point in &mut prepared.mounts {
            if point.kind != PointKind::Volume {
                continue;
            }
            let asked = volumes::CreateRequest {
                name: Some(point.volume.clone()).filter(|name| !name.is_empty()),
                driver: Some(point.driver.clone()).filter(|driver| !driver.is_empty()),
                options: point.driver_options.clone(),
                labels: point.labels.clone(),
            };
            let (pin, created) = self.volumes.create(asked)?;
            let name = pin.name().to_string();
            if created == volumes::Created::New {
                self.event(Subject::Volume, "create", &name, &[("driver", "local")]);
                prepared.made.push(name.clone());
            }
            point.volume = name;
            "local".clone_into(&mut point.driver);
            point.source = pin.mountpoint().display().to_string();
            if point.copy_up && (created == volumes::Created::New || is_empty(&pin)) {
                let image = prepared.pin.image();
                if rootfs.is_none() {
                    rootfs = self.image_files(image)?;
                }
                if let Some(rootfs) = &rootfs {
                    use std::os::fd::AsFd;
                    pin.copy_up(rootfs.as_fd(), Path::new(&point.destination))?;
                }
            }
            prepared.pins.push(pin);
        }
        Ok(())
    }

    /// The image's files, mounted nowhere; nothing of an image without
    /// layers.
    fn image_files(&self, image: &Image) -> Result<Option<std::os::fd::OwnedFd>> {
        let lowers = self.images.lower_directories(image);
        if lowers.is_empty() {
            return Ok(None);
        }
        let mountpoint = self.data_root.join(COPY_UP_MOUNTPOINT);
        std::fs::create_dir_all(&mountpoint)
            .map_err(|error| Error::Internal(format!("make {}: {error}", mountpoint.display())))?;
        let spec = OverlaySpec {
            lowers,
            writable: None,
            mountpoint,
        };
        let mounted = overlay::mount(&spec)
            .map_err(|error| Error::Internal(format!("mount image {}: {error}", image.id())))?;
        Ok(Some(mounted))
    }

    /// Removes the volumes that were made for a container that is not.
    fn drop_volumes(&self, prepared: Prepared) {
        drop(prepared.pins);
        for name in prepared.made {
            let removed = self.volumes.remove(&name, volumes::Force::Yes, |volume| {
                self.volume_users(volume.as_str())
            });
            match removed {
                Ok(()) => self.event(Subject::Volume, "destroy", &name, &[("driver", "local")]),
                Err(error) => tracing::warn!(volume = name, %error, "remove a volume"),
            }
        }
    }

    fn record(&self, request: &CreateRequest, prepared: &Prepared) -> Record {
        let image = prepared.pin.image();
        let mut endpoints: BTreeMap<_, _> = request
            .networking_config
            .endpoints_config
            .clone()
            .unwrap_or_default();
        if let Some(settings) = endpoints.remove("default") {
            endpoints.entry("bridge".to_owned()).or_insert(settings);
        }
        Record {
            version: RECORD_VERSION,
            image_id: image.id().to_string(),
            platform: image.platform().to_string(),
            config: request.config.clone(),
            host_config: request.host_config.clone(),
            endpoints,
            mounts: prepared.mounts.clone(),
            ..Record::default()
        }
    }

    /// Puts the container among the others, under its name or a made-up one.
    fn reserve_name(
        &self,
        id: &ContainerId,
        mut record: Record,
        asked: Option<String>,
    ) -> Result<Arc<Slot>> {
        if let Some(name) = asked {
            record.name = name;
            let slot = Slot::new(id.clone(), record);
            self.slots.insert(Arc::clone(&slot))?;
            return Ok(slot);
        }
        let random = u64::from_str_radix(&id.as_str()[..16], 16).unwrap_or(0);
        for attempt in 0..NAME_ATTEMPTS {
            record.name = generated_name(random, attempt);
            let slot = Slot::new(id.clone(), record.clone());
            if self.slots.insert(Arc::clone(&slot)).is_ok() {
                return Ok(slot);
            }
        }
        record.name = id.short().to_owned();
        let slot = Slot::new(id.clone(), record);
        self.slots.insert(Arc::clone(&slot))?;
        Ok(slot)
    }

    async fn make(
        &self,
        slot: &Arc<Slot>,
        request: &CreateRequest,
        prepared: &Prepared,
        trace: &mut PathTrace,
    ) -> Result<()> {
        let mut new = self.translate(slot, request, prepared)?;
        let record = slot.change(|record| {
            if record.config.hostname.is_empty() {
                record.config.hostname = shown_hostname(&new, &self.host.hostname);
            }
        });
        new.owner_data = serde_json::to_value(&*record).map_err(Error::Record)?;
        trace.mark("translate");
        self.containers.create(new).await?;
        trace.mark("record");
        Ok(())
    }

    fn translate(
        &self,
        slot: &Slot,
        request: &CreateRequest,
        prepared: &Prepared,
    ) -> Result<carrack_containers::NewContainer, Invalid> {
        let find = |name: &str| self.joined(name);
        let around = Surroundings {
            host: &self.host,
            devices: &Machine,
            find: &find,
        };
        let layers = prepared.pin.image().layers();
        let record = slot.record();
        spec::translate(
            spec::Request {
                id: &slot.id,
                name: &record.name,
                config: &request.config,
                host_config: &request.host_config,
                mounts: &prepared.mounts,
                chain: layers.iter().map(|layer| layer.chain.clone()).collect(),
            },
            &around,
        )
    }

    /// The container that `container:NAME` means.
    fn joined(&self, name: &str) -> Result<Joined, Invalid> {
        let missing = |error: Error| Invalid::rule(error.to_string());
        let container = self.container(name).map_err(missing)?;
        Ok(Joined {
            id: container.id().clone(),
            hostname: container.record.config.hostname.clone(),
            shares_ipc: !matches!(
                container.view.new.namespaces.ipc,
                IpcMode::Private | IpcMode::None
            ),
        })
    }
}

/// What inspect shows where the client gave no host name.
fn shown_hostname(new: &carrack_containers::NewContainer, host: &str) -> String {
    let own = new.spec.hostname.clone();
    own.unwrap_or_else(|| host.to_owned())
}

/// A name without its slash, if it may be one.
pub(super) fn checked_name(name: &str) -> Result<String> {
    let plain = name.strip_prefix('/').unwrap_or(name);
    if is_valid_name(plain) {
        Ok(plain.to_owned())
    } else {
        let shown = name.chars().take(NAME_BYTES_MAX).collect();
        Err(Error::InvalidName(shown))
    }
}

/// A container that a request refers to and that is not there makes the
/// request wrong, not its target missing.
fn as_input(error: Error) -> Error {
    match error {
        Error::NoSuchContainer(_) => Error::rule(error.to_string()),
        other => other,
    }
}

/// `--mount type=bind` makes no directory for a missing source.
fn check_bind_sources<'a>(mounts: impl Iterator<Item = &'a Mount>) -> Result<()> {
    for mount in mounts.filter(|mount| mount.kind == MountKind::Bind) {
        let options = mount.bind_options.as_ref();
        let is_made = options.is_some_and(|options| options.create_mountpoint);
        let is_absolute = mount.source.starts_with('/');
        if is_absolute && !is_made && !Path::new(&mount.source).exists() {
            return Err(Error::rule(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                mount.source
            )));
        }
    }
    Ok(())
}

fn warn_of_platform(image: &Image, options: &CreateOptions, warnings: &mut Vec<String>) {
    let (host, own) = (Platform::current(), image.platform());
    if options.platform.is_none() && !own.architecture.is_empty() && host.rank(own).is_none() {
        warnings.push(format!(
            "The requested image's platform ({own}) does not match the detected host platform ({host}) and no specific platform was requested"
        ));
    }
}

/// Whether nothing is in a volume; unreadable counts as something.
fn is_empty(volume: &volumes::Volume) -> bool {
    std::fs::read_dir(volume.mountpoint()).is_ok_and(|mut entries| entries.next().is_none())
}
