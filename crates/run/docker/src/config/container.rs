//! The part of a request that does not depend on the host.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::is_false;

/// What a container runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// Host name; empty takes the first 12 digits of the id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// Whether the client that made it attached standard input.
    pub attach_stdin: bool,
    /// Likewise standard output.
    pub attach_stdout: bool,
    /// Likewise standard error.
    pub attach_stderr: bool,
    /// `port/protocol`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<PortSet>,
    /// A pseudo-terminal is its standard streams.
    pub tty: bool,
    /// Standard input stays open without a client.
    pub open_stdin: bool,
    /// Standard input is closed when its first client leaves.
    pub stdin_once: bool,
    /// `NAME=value`; `NAME` alone takes it out.
    pub env: Option<Vec<String>>,
    /// Arguments, or the whole command.
    #[serde(deserialize_with = "word_or_words")]
    pub cmd: Option<Vec<String>>,
    /// How to see whether it works; kept, not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Of Windows.
    #[serde(skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    /// The image as the client named it.
    pub image: String,
    /// Paths that get an anonymous volume.
    pub volumes: Option<VolumeSet>,
    /// Where it starts.
    pub working_dir: String,
    /// What is executed before `Cmd`.
    #[serde(deserialize_with = "word_or_words")]
    pub entrypoint: Option<Vec<String>>,
    /// No network at all.
    #[serde(skip_serializing_if = "is_false")]
    pub network_disabled: bool,
    /// Hardware address; deprecated.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
    /// Instructions for builds.
    pub on_build: Option<Vec<String>>,
    /// Free key–value data.
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal that asks it to end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds between that signal and SIGKILL; −1 waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Shell of the shell forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// How to see whether a container works; durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// Empty: inherit; `["NONE"]`; `["CMD", …]`; `["CMD-SHELL", command]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Time between checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time that one check may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between checks while starting.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that count as unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// Ports as keys of an object whose values mean nothing.
pub type PortSet = Keys;
/// Paths as keys of an object whose values mean nothing.
pub type VolumeSet = Keys;

/// Go's `map[string]struct{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(pub BTreeSet<String>);

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|key| (key, serde_json::Map::new())))
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, serde::de::IgnoredAny>::deserialize(deserializer)?;
        Ok(Self(map.into_keys().collect()))
    }
}

/// Docker's `strslice`: one word may stand for a list of one.
pub(super) fn word_or_words<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    struct Words;
    impl<'de> serde::de::Visitor<'de> for Words {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![word.to_owned()]))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            words: A,
        ) -> Result<Self::Value, A::Error> {
            let words = serde::de::value::SeqAccessDeserializer::new(words);
            Vec::deserialize(words).map(Some)
        }
    }
    deserializer.deserialize_any(Words)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
