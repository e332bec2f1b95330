//! What `info` and `system df` say of the engine.

use std::path::Path;
use std::sync::Arc;

use carrack_containers::Phase;
use carrack_images::Usage;
use carrack_volumes::{ListFilter, Volume};

use crate::Result;

use super::list::Listed;
use super::{Engine, ListOptions};

/// Containers by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub containers: usize,
    /// Of these.
    pub running: usize,
    /// Of these.
    pub paused: usize,
    /// Of these.
    pub stopped: usize,
    /// Images with a name or without children.
    pub images: usize,
}

/// What is on disk.
#[derive(Debug)]
pub struct DiskUsage {
    /// Images and layers.
    pub images: Usage,
    /// Containers with sizes.
    pub containers: Vec<Listed>,
    /// Volumes.
    pub volumes: Vec<VolumeUsage>,
}

/// One volume's share.
#[derive(Debug)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Arc<Volume>,
    /// Bytes; −1 where they cannot be counted.
    pub bytes: i64,
    /// Containers that use it.
    pub users: usize,
}

impl Engine {
    /// Counts containers and images.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for container in self.containers() {
            counts.containers += 1;
            match container.view.state.phase {
                Phase::Running => counts.running += 1,
                Phase::Paused => counts.paused += 1,
                _ => counts.stopped += 1,
            }
        }
        let listed = self.images.list(
            &carrack_images::ListFilter::default(),
            carrack_images::Intermediate::Left,
        );
        counts.images = listed.map_or(0, |list| list.len());
        counts
    }

    /// Identity of this engine.
    pub fn engine_id(&self) -> &str {
        &self.engine_id
    }

    /// The data root.
    pub fn data_root(&self) -> &Path {
        &self.data_root
    }

    /// What administrators should know.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = match &self.networks {
            Some(networks) => networks.warnings(),
            None => Vec::new(),
        };
        if !self.host.swap_limit {
            warnings.push("WARNING: No swap limit support".to_owned());
        }
        if self.host.apparmor {
            warnings.push(format!("WARNING: {}", crate::not_yet::sentence("apparmor")));
        }
        if !self.host.ipv4_forwarding {
            warnings.push("WARNING: IPv4 forwarding is disabled".to_owned());
        }
        warnings
    }

    /// Measures everything. Seconds, with much on disk.
    pub async fn disk_usage(self: &Arc<Self>) -> Result<DiskUsage> {
        let options = ListOptions {
            all: true,
            sizes: true,
            ..ListOptions::default()
        };
        let containers = self.list(&options).await?;
        let engine = Arc::clone(self);
        let measured = tokio::task::spawn_blocking(move || {
            let volumes = engine.volumes.list(&ListFilter::default(), |_| Vec::new());
            let volumes = volumes.into_iter().map(|volume| VolumeUsage {
                bytes: volume
                    .usage()
                    .map_or(-1, |usage| i64::try_from(usage.bytes).unwrap_or(i64::MAX)),
                users: engine.volume_users(volume.name().as_str()).len(),
                volume,
            });
            Ok::<_, crate::Error>((engine.images.usage()?, volumes.collect()))
        });
        let (images, volumes) = measured.await??;
        Ok(DiskUsage {
            images,
            containers,
            volumes,
        })
    }
}
