//! `docker ps`: which containers, in which order, and how their state is put
//! in words.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use carrack_containers::{Phase, State};

use crate::filters::{FilterError, Filters, Patterns};
use crate::ports;
use crate::{Error, Result};

use super::{Container, Engine};

/// Keys of the list's filters.
const KEYS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATUSES: [&str; 7] = [
    "created",
    "running",
    "paused",
    "restarting",
    "removing",
    "exited",
    "dead",
];
const HEALTHS: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// Which containers are listed.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Those that do not run as well.
    pub all: bool,
    /// The newest so many; 0 or less is all. Sets `all`.
    pub limit: i64,
    /// Measure their own layers.
    pub sizes: bool,
    /// Filters.
    pub filters: Filters,
}

/// A line of the list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The container.
    pub container: Container,
    /// Bytes of its own layer, where sizes were asked for.
    pub size_rw: Option<u64>,
    /// Bytes of its image and its own layer.
    pub size_root: Option<u64>,
}

impl Engine {
    /// The containers that `options` mean, the newest first.
    pub async fn list(&self, options: &ListOptions) -> Result<Vec<Listed>> {
        let filters = &options.filters;
        let wanted = Wanted::parse(filters, self)?;
        let everything = options.all || options.limit > 0 || filters.has("status");
        let mut containers = self.containers();
        containers.sort_by(newest_first);
        containers.retain(|container| {
            (everything || is_running(container)) && wanted.takes(container, filters)
        });
        if let Ok(limit) = usize::try_from(options.limit)
            && limit > 0
        {
            containers.truncate(limit);
        }
        let mut listed = Vec::with_capacity(containers.len());
        for container in containers {
            let (size_rw, size_root) = if options.sizes {
                let (own, root) = self.sizes(&container).await;
                (Some(own), Some(root))
            } else {
                (None, None)
            };
            listed.push(Listed {
                container,
                size_rw,
                size_root,
            });
        }
        Ok(listed)
    }

    /// Bytes of a container's own layer, and with those of its image.
    pub async fn sizes(&self, container: &Container) -> (u64, u64) {
        // One that was removed meanwhile has none.
        let own = self
            .containers
            .writable_usage(container.id())
            .await
            .unwrap_or(0);
        let image = self.image_of(container).map_or(0, |image| image.size());
        (own, own.saturating_add(image))
    }
}

fn newest_first(a: &Container, b: &Container) -> std::cmp::Ordering {
    let newer = b.view.created_at.cmp(&a.view.created_at);
    newer.then_with(|| a.id().cmp(b.id()))
}

/// A restarting one counts as running, as Docker has it.
fn is_running(container: &Container) -> bool {
    let active = matches!(container.view.state.phase, Phase::Running | Phase::Paused);
    active || container.restart.waiting
}

/// Filters that need more than a comparison of text.
#[derive(Debug)]
struct Wanted {
    exited: Option<Vec<i32>>,
    before: Option<SystemTime>,
    since: Option<SystemTime>,
    ancestors: Option<BTreeSet<String>>,
    published: Option<Vec<ports::Port>>,
    exposed: Option<Vec<ports::Port>>,
    is_task: Option<bool>,
    /// A name is known with and without its slash.
    names: Patterns,
}

impl Wanted {
    fn parse(filters: &Filters, engine: &Engine) -> Result<Self> {
        filters.require_keys(&KEYS)?;
        one_of(filters, "status", &STATUSES)?;
        for health in filters.values("health") {
            if !HEALTHS.contains(&health.as_str()) {
                return Err(Error::rule(format!(
                    "Unrecognised filter value for health: {health}"
                )));
            }
        }
        let codes: Result<Vec<i32>> = filters
            .values("exited")
            .iter()
            .map(|code| {
                code.parse().map_err(|_| {
                    FilterError::Value {
                        key: "exited".into(),
                        value: code.clone(),
                    }
                    .into()
                })
            })
            .collect();
        let codes = codes?;
        Ok(Self {
            exited: Some(codes).filter(|codes| !codes.is_empty()),
            before: engine.created(filters.values("before"))?.into_iter().min(),
            since: engine.created(filters.values("since"))?.into_iter().max(),
            ancestors: engine.ancestors(filters),
            published: port_filter(filters, "publish")?,
            exposed: port_filter(filters, "expose")?,
            is_task: filters.boolean("is-task")?,
            names: filters.patterns("name"),
        })
    }

    fn takes(&self, container: &Container, filters: &Filters) -> bool {
        let (record, view) = (&container.record, &container.view);
        let name = record.name.as_str();
        let created = view.created_at;
        let status = status_word(&view.state, container.restart.waiting);
        filters.any("id", |start| container.id().as_str().starts_with(start))
            && (self.names.fits(name) || self.names.fits(&format!("/{name}")))
            && filters.labels("label", |label| record.label(label))
            && filters.any("status", |wanted| wanted == status)
            && filters.any("health", |wanted| wanted == "none")
            && filters.any("network", |wanted| {
                let network = record.host_config.network_mode.as_str();
                network == wanted || super::networks::network_id(network).starts_with(wanted)
            })
            && filters.any("volume", |wanted| {
                let points = record.mounts.iter();
                points.into_iter().any(|point| {
                    [&point.volume, &point.destination, &point.source]
                        .into_iter()
                        .any(|text| text == wanted)
                })
            })
            && self.is_task != Some(true)
            && self.exited.as_ref().is_none_or(|codes| {
                view.state.phase == Phase::Exited && codes.contains(&view.state.exit_code)
            })
            && self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
            && self.ancestors.as_ref().is_none_or(|ids| {
                ids.contains(&record.image_id) || ids.contains(&record.config.image)
            })
            && self.takes_ports(container)
    }

    /// `publish` means ports of the host, `expose` those of the container;
    /// one of either will do. A container that does not run has neither.
    fn takes_ports(&self, container: &Container) -> bool {
        if self.published.is_none() && self.exposed.is_none() {
            return true;
        }
        let state = &container.view.state;
        if !matches!(state.phase, Phase::Running | Phase::Paused) {
            return false;
        }
        let is_in = |list: &Option<Vec<ports::Port>>, port: ports::Port| {
            list.as_ref().is_some_and(|list| list.contains(&port))
        };
        let exposed = ports::exposed(&container.record.config).unwrap_or_default();
        state.ports.iter().any(|binding| {
            let protocol = binding.protocol.into();
            let port = |number| ports::Port { number, protocol };
            is_in(&self.published, port(binding.host_port))
                || is_in(&self.exposed, port(binding.container_port))
        }) || exposed.into_iter().any(|port| is_in(&self.exposed, port))
    }
}

impl Engine {
    fn created(&self, references: &[String]) -> Result<Vec<SystemTime>> {
        references
            .iter()
            .map(|reference| Ok(self.container(reference)?.view.created_at))
            .collect()
    }

    /// Images that descend from the named ones; a name that is none finds
    /// nothing.
    fn ancestors(&self, filters: &Filters) -> Option<BTreeSet<String>> {
        if filters.values("ancestor").is_empty() {
            return None;
        }
        let mut found = BTreeSet::new();
        for name in filters.values("ancestor") {
            found.insert(name.clone());
            let Ok(ancestor) = self.images.resolve(name) else {
                continue;
            };
            found.insert(ancestor.id().to_string());
            let layers = ancestor.layers();
            let all = self.images.list(
                &carrack_images::ListFilter::default(),
                carrack_images::Intermediate::Shown,
            );
            let descendants = all.into_iter().flatten().filter(|summary| {
                let own = summary.image.layers();
                own.len() > layers.len()
                    && own
                        .iter()
                        .zip(layers)
                        .all(|(own, layer)| own.chain == layer.chain)
            });
            found.extend(descendants.map(|summary| summary.image.id().to_string()));
        }
        Some(found)
    }
}

fn one_of(filters: &Filters, key: &str, words: &[&str]) -> Result<()> {
    match filters
        .values(key)
        .iter()
        .find(|value| !words.contains(&value.as_str()))
    {
        Some(value) => Err(FilterError::Value {
            key: key.to_owned(),
            value: value.clone(),
        }
        .into()),
        None => Ok(()),
    }
}

/// `80`, `80/tcp`, `80-82/udp`.
fn port_filter(filters: &Filters, key: &str) -> Result<Option<Vec<ports::Port>>> {
    let mut all = Vec::new();
    for text in filters.values(key) {
        if text.contains(':') {
            return Err(Error::rule(format!(
                "filter for '{key}' should not contain ':': {text}"
            )));
        }
        let config = crate::config::ContainerConfig {
            exposed_ports: Some(crate::config::PortSet {
                0: BTreeSet::from([text.clone()]),
            }),
            ..crate::config::ContainerConfig::default()
        };
        let ports = ports::exposed(&config).map_err(|error| {
            Error::rule(format!("error while looking up for {key} {text}: {error}"))
        })?;
        all.extend(ports);
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

/// The word for a state: `running`, ….
fn status_word(state: &State, waits_for_restart: bool) -> &'static str {
    if waits_for_restart {
        return "restarting";
    }
    match state.phase {
        Phase::Created => "created",
        Phase::Running => "running",
        Phase::Paused => "paused",
        Phase::Exited => "exited",
        Phase::Removing => "removing",
        Phase::Dead => "dead",
    }
}

/// The word for a container's state, and the sentence that `docker ps` shows:
/// `Up 5 minutes`, `Exited (0) 2 hours ago`.
pub fn describe_state(container: &Container, now: SystemTime) -> (&'static str, String) {
    let state = &container.view.state;
    let word = status_word(state, container.restart.waiting);
    let since = |at: Option<SystemTime>| {
        let at = at.unwrap_or(now);
        human_duration(now.duration_since(at).unwrap_or_default())
    };
    let ended = |verb: &str| {
        format!(
            "{verb} ({}) {} ago",
            state.exit_code,
            since(state.finished_at)
        )
    };
    let sentence = match word {
        "running" => format!("Up {}", since(state.started_at)),
        "paused" => format!("Up {} (Paused)", since(state.started_at)),
        "restarting" => ended("Restarting"),
        "created" => "Created".to_owned(),
        "removing" => "Removal In Progress".to_owned(),
        "dead" => "Dead".to_owned(),
        _ => ended("Exited"),
    };
    (word, sentence)
}

/// Docker's words for a duration.
fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..=59 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |seconds, text| {
            assert_eq!(human_duration(Duration::from_secs(seconds)), text);
        };
        check(0, "Less than a second");
        check(1, "1 second");
        check(59, "59 seconds");
        check(60, "About a minute");
        check(3599, "59 minutes");
        check(3600, "About an hour");
        check(3600 * 47, "47 hours");
        check(3600 * 48, "2 days");
        check(86_400 * 20, "2 weeks");
        check(86_400 * 100, "3 months");
        check(86_400 * 1000, "2 years");
    }
}
