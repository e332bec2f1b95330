//! What the engine keeps of a container beside what `run/containers` does:
//! the request as it was taken, for inspect, and what restarts need.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::{ContainerConfig, EndpointSettings, HostConfig};
use crate::mounts::MountPoint;

/// Version of [`Record`] on disk.
pub const RECORD_VERSION: u32 = 1;

/// The owner's data of a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// [`RECORD_VERSION`] when it was written.
    pub version: u32,
    /// Name, without a slash.
    pub name: String,
    /// Digest of the image's config.
    pub image_id: String,
    /// Operating system and architecture of the image.
    pub platform: String,
    /// What is run, the image's config merged in.
    pub config: ContainerConfig,
    /// How, with the engine's defaults filled in.
    pub host_config: HostConfig,
    /// What was asked of networks, by name.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// Its mounts.
    pub mounts: Vec<MountPoint>,
    /// Somebody stopped it: `unless-stopped` leaves it so.
    pub stopped_by_hand: bool,
    /// Restarts since somebody started it.
    pub restart_count: u64,
}

impl Record {
    /// Reads what was written. Go's rule for `null` holds, since absent lists
    /// are written so.
    pub fn from_json(value: serde_json::Value) -> Result<Self, crate::config::DecodeError> {
        crate::config::from_json(value)
    }

    /// A label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Names of the volumes that it uses.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts
            .iter()
            .map(|point| point.volume.as_str())
            .filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read() {
        let mut record = Record {
            version: RECORD_VERSION,
            name: "a".into(),
            ..Record::default()
        };
        record.config.cmd = Some(vec!["sh".into()]);
        record.host_config.resources.memory = 5;
        let text = serde_json::to_value(&record).expect("JSON");
        let read = Record::from_json(text).expect("read");
        assert_eq!(
            (read.config, read.host_config),
            (record.config, record.host_config)
        );
    }

    /// A record as version 1 wrote it; later versions must read it.
    #[test]
    fn version_1() {
        let read = Record::from_json(json!({
            "version": 1, "name": "web", "image_id": "sha256:aa", "platform": "linux/amd64",
            "config": {"Image": "busybox", "Cmd": ["sh"], "Env": null},
            "host_config": {"Binds": ["/a:/b"], "Memory": 0, "NetworkMode": "bridge"},
            "endpoints": {}, "mounts": [{"kind": "bind", "source": "/a", "destination": "/b"}],
            "stopped_by_hand": true, "restart_count": 2,
        }))
        .expect("read");
        assert_eq!((read.name.as_str(), read.restart_count), ("web", 2));
        assert_eq!(read.mounts[0].destination, "/b");
    }
}
