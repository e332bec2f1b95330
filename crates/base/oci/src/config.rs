//! Image configs: OCI's fields and Docker's beside them, from hostile bytes.
//!
//! Source: image-spec `config.md`; Docker's own fields (`Healthcheck`,
//! `Shell`, `OnBuild`, `ArgsEscaped`, …) from moby `image/spec/v1.2.md` and
//! later. Unknown fields are kept, so that what is derived from an image
//! loses nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::DiffId;
use crate::manifest::MAX_LAYERS;
use crate::nullable::null_default;
use crate::platform::Platform;

/// Largest image config that is read, in bytes.
pub const MAX_CONFIG_BYTES: usize = 8 << 20;

/// An image's config; its digest is the image's ID.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// Architecture, operating system and variant.
    #[serde(flatten)]
    pub platform: Platform,
    /// When it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Docker: message of the commit or import.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// How to run it.
    #[serde(deserialize_with = "null_default")]
    pub config: ContainerConfig,
    /// The layers.
    #[serde(deserialize_with = "null_default")]
    pub rootfs: RootFs,
    /// How each layer, or a step without one, came to be.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// Whatever else is there.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How to run a container of the image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// `user[:group]`, names or numbers.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `port[/protocol]`.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Set::is_empty"
    )]
    pub exposed_ports: Set,
    /// `NAME=value`.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// What is executed before `Cmd`; absent and empty differ.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "word_or_words"
    )]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments, or the whole command; absent and empty differ.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "word_or_words"
    )]
    pub cmd: Option<Vec<String>>,
    /// Paths that get a volume.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Set::is_empty"
    )]
    pub volumes: Set,
    /// Where it starts.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Free key–value data.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks it to end: `SIGTERM`, `15`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker: seconds between that signal and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Docker: how to see whether it works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Docker: shell of the shell forms.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub shell: Vec<String>,
    /// Docker: instructions for builds from this image.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// Docker on Windows: the command line is escaped already.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// Whatever else is there (`Hostname`, `Tty`, `Image`, … of old images).
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Go's `map[string]struct{}`: keys alone matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(pub std::collections::BTreeSet<String>);

/// How to see whether a container works; durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// Empty: inherit; `["NONE"]`; `["CMD", …]`; `["CMD-SHELL", command]`.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time that one check may take.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks while starting.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that count as unhealthy.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", deserialize_with = "null_default")]
    pub kind: String,
    /// Lowest first.
    #[serde(deserialize_with = "null_default")]
    pub diff_ids: Vec<DiffId>,
}

/// How one layer, or a step without one, came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step has no layer.
    #[serde(deserialize_with = "null_default", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
}

/// Why bytes are no image config.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// More than [`MAX_CONFIG_BYTES`].
    #[error("image config of {bytes} bytes is larger than {MAX_CONFIG_BYTES}")]
    TooLarge {
        /// What was given.
        bytes: usize,
    },
    /// No JSON of the expected form.
    #[error("image config cannot be parsed")]
    Parse(#[source] serde_json::Error),
    /// `rootfs` is missing or of another type than `layers`.
    #[error("image config has no rootfs of type layers")]
    RootFs,
    /// More than [`MAX_LAYERS`].
    #[error("image has {count} layers, more than {MAX_LAYERS}")]
    TooManyLayers {
        /// What was given.
        count: usize,
    },
}

impl ImageConfig {
    /// Reads an image config.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, ConfigError> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge { bytes: bytes.len() });
        }
        let config: ImageConfig = serde_json::from_slice(bytes).map_err(ConfigError::Parse)?;
        if config.rootfs.kind != "layers" {
            return Err(ConfigError::RootFs);
        }
        let count = config.rootfs.diff_ids.len();
        if count > MAX_LAYERS {
            return Err(ConfigError::TooManyLayers { count });
        }
        Ok(config)
    }
}

impl RootFs {
    /// A rootfs of these layers, lowest first.
    pub fn of(diff_ids: Vec<DiffId>) -> RootFs {
        RootFs {
            kind: "layers".to_owned(),
            diff_ids,
        }
    }
}

impl Set {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its members in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Serialize for Set {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|key| (key, Map::new())))
    }
}

impl<'de> Deserialize<'de> for Set {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, serde::de::IgnoredAny>::deserialize(deserializer)?;
        Ok(Set(map.into_keys().collect()))
    }
}

/// Docker's `strslice`: one word may stand for a list of one.
fn word_or_words<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(
        Option::<Words>::deserialize(deserializer)?.map(|words| match words {
            Words::Many(words) => words,
            Words::One(word) => vec![word],
        }),
    )
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKER: &str = r#"{
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05.678Z", "docker_version": "20.10.24",
        "container": "abc", "container_config": {"Cmd": ["x"]},
        "config": {"Hostname": "h", "User": "1000:1000", "Env": ["A=b"], "Cmd": ["sh"], "Entrypoint": null,
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "WorkingDir": "/w", "Labels": {"k": "v"},
            "StopSignal": "SIGINT", "StopTimeout": 3, "Shell": ["/bin/bash", "-c"], "OnBuild": null, "ArgsEscaped": true,
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30000000000, "Retries": 3}},
        "history": [{"created": "2026-01-02T03:04:05Z", "created_by": "ADD", "empty_layer": true}],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}
    }"#;

    #[test]
    fn reads_dockers_fields_and_keeps_the_rest() {
        let config = ImageConfig::parse(DOCKER.as_bytes()).unwrap();
        assert_eq!(config.platform.to_string(), "linux/amd64");
        let run = &config.config;
        assert_eq!(run.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(run.entrypoint, None);
        assert_eq!(run.volumes.iter().collect::<Vec<_>>(), ["/data"]);
        assert_eq!(run.other["Hostname"], "h");
        assert!(run.args_escaped);
        assert_eq!(config.other["docker_version"], "20.10.24");
        assert!(!config.other.contains_key("os"));
        // What is written reads as the same.
        let again = ImageConfig::parse(&serde_json::to_vec(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        assert_eq!(
            serde_json::to_value(&config).unwrap()["config"]["Volumes"],
            serde_json::json!({"/data": {}})
        );
    }

    #[test]
    fn tolerates_what_go_writes() {
        let config = ImageConfig::parse(
            br#"{"architecture":null,"config":{"Env":null,"Cmd":"one","Entrypoint":[],"Labels":null,"Volumes":null},
                "history":null,"rootfs":{"type":"layers","diff_ids":null}}"#,
        )
        .unwrap();
        assert_eq!(config.config.cmd, Some(vec!["one".to_owned()]));
        assert_eq!(config.config.entrypoint, Some(vec![]));
        assert!(ImageConfig::parse(br#"{"config":null,"rootfs":{"type":"layers"}}"#).is_ok());
    }

    #[test]
    fn refuses_hostile_documents() {
        for json in [
            "",
            "null",
            "{}",
            r#"{"rootfs":null}"#,
            r#"{"rootfs":{"type":"ubuntu-core"}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Env":{}}}"#,
            r#"{"rootfs":{"type":"layers"},"config":{"Labels":{"a":1}}}"#,
        ] {
            assert!(ImageConfig::parse(json.as_bytes()).is_err(), "{json}");
        }
        assert!(ImageConfig::parse(&vec![b' '; MAX_CONFIG_BYTES + 1]).is_err());
    }
}
