//! A profile: Docker's form, of which the runtime specification's is a part.
//!
//! A rule may depend on the container's capabilities, on the architecture
//! and on the kernel; [`crate::resolve`] decides those conditions. As with
//! Docker, keys that are not known are passed over (profiles carry comments);
//! values are checked strictly.

use carrack_oci::runtime::{SeccompAction, SeccompSyscall};
use serde::{Deserialize, Deserializer};

use crate::arch::{Abi, FOREIGN_SCMP};
use crate::{CapabilitySet, Error, Result};

/// Bytes that a profile's text may have; Docker's own has 12 KB.
pub const MAX_PROFILE_BYTES: usize = 256 << 10;

/// `<kernel>.<major>`, as `minKernel` compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// 6 of 6.12.
    pub kernel: u8,
    /// 12 of 6.12.
    pub major: u8,
}

impl KernelVersion {
    /// From `uname -r`: what follows the first two numbers does not count.
    pub fn from_release(release: &str) -> Option<Self> {
        let mut numbers = release.splitn(3, '.');
        let kernel = numbers.next()?.parse().ok()?;
        let rest = numbers.next()?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        Some(Self {
            kernel,
            major: rest[..digits].parse().ok()?,
        })
    }

    /// From a profile: exactly two numbers, not 0.0.
    fn from_profile(version: &str) -> Result<Self> {
        let parse = || {
            let (kernel, major) = version.split_once('.')?;
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if !digits(kernel) || !digits(major) {
                return None;
            }
            let version = Self {
                kernel: kernel.parse().ok()?,
                major: major.parse().ok()?,
            };
            ((version.kernel, version.major) != (0, 0)).then_some(version)
        };
        parse().ok_or_else(|| Error::KernelVersion {
            version: version.to_owned(),
        })
    }
}

/// A profile whose conditions are not decided yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub(crate) default_action: SeccompAction,
    pub(crate) default_errno: Option<u32>,
    pub(crate) architectures: Architectures,
    pub(crate) flags: Vec<String>,
    pub(crate) listener_path: Option<String>,
    pub(crate) listener_metadata: Option<String>,
    pub(crate) rules: Vec<Rule>,
}

/// Which ABIs besides the native one a profile covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Architectures {
    /// Names, whatever the machine.
    Listed(Vec<String>),
    /// Names by native architecture: Docker's `archMap`.
    Mapped(Vec<(String, Vec<String>)>),
}

/// A rule and when it is part of the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) call: SeccompSyscall,
    pub(crate) includes: Condition,
    pub(crate) excludes: Condition,
}

/// A condition on the container and the machine; an empty part says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) capabilities: CapabilitySet,
    /// Whether a capability is named that no container can have.
    pub(crate) unknown_capability: bool,
    pub(crate) arches: Vec<String>,
    pub(crate) min_kernel: Option<KernelVersion>,
}

impl Profile {
    /// Reads the JSON of `--security-opt seccomp=…`.
    ///
    /// `None` for a profile without default action and rules: Docker takes
    /// it for "no filter".
    ///
    /// # Errors
    /// [`Error`] for text that is not a profile, an action, operator,
    /// architecture or version that does not exist, contradictory keys, and
    /// more than [`MAX_PROFILE_BYTES`].
    pub fn parse(json: &[u8]) -> Result<Option<Self>> {
        if json.len() > MAX_PROFILE_BYTES {
            return Err(Error::ProfileTooLarge {
                size: json.len(),
                limit: MAX_PROFILE_BYTES,
            });
        }
        let text: ProfileText = serde_json::from_slice(json).map_err(Error::Decode)?;
        let Some(default_action) = text.default_action else {
            if text.syscalls.is_empty() {
                return Ok(None);
            }
            return Err(Error::Decode(serde::de::Error::missing_field(
                "defaultAction",
            )));
        };
        let architectures = architectures(text.architectures, text.arch_map)?;
        let rules = text
            .syscalls
            .into_iter()
            .map(rule)
            .collect::<Result<Vec<_>>>()?;
        Ok(Some(Self {
            default_action,
            default_errno: text.default_errno_ret,
            architectures,
            flags: text.flags,
            listener_path: text.listener_path.filter(|path| !path.is_empty()),
            listener_metadata: text.listener_metadata.filter(|data| !data.is_empty()),
            rules,
        }))
    }
}

fn architectures(listed: Vec<String>, mapped: Vec<ArchMapText>) -> Result<Architectures> {
    if !listed.is_empty() && !mapped.is_empty() {
        return Err(Error::Ambiguous {
            first: "architectures",
            second: "archMap",
        });
    }
    let names = listed
        .iter()
        .chain(mapped.iter().map(|entry| &entry.architecture))
        .chain(mapped.iter().flat_map(|entry| &entry.sub_architectures));
    for name in names {
        check_architecture(name)?;
    }
    if mapped.is_empty() {
        return Ok(Architectures::Listed(listed));
    }
    Ok(Architectures::Mapped(
        mapped
            .into_iter()
            .map(|entry| (entry.architecture, entry.sub_architectures))
            .collect(),
    ))
}

/// Refuses a name that the runtime specification does not have.
pub(crate) fn check_architecture(name: &str) -> Result<()> {
    if Abi::from_scmp(name).is_some() || FOREIGN_SCMP.contains(&name) {
        return Ok(());
    }
    Err(Error::Architecture {
        name: name.to_owned(),
    })
}

fn rule(text: RuleText) -> Result<Rule> {
    let mut call = text.call;
    // The form of Docker 1.x, one name a rule.
    if let Some(name) = text.name.filter(|name| !name.is_empty()) {
        if !call.names.is_empty() {
            return Err(Error::Ambiguous {
                first: "name",
                second: "names",
            });
        }
        call.names = vec![name];
    }
    if call.names.is_empty() || call.names.iter().any(String::is_empty) {
        return Err(Error::NoName);
    }
    call.action = text.action;
    Ok(Rule {
        call,
        includes: condition(text.includes)?,
        excludes: condition(text.excludes)?,
    })
}

fn condition(text: ConditionText) -> Result<Condition> {
    let capabilities = CapabilitySet::from_names(&text.caps);
    Ok(Condition {
        unknown_capability: text.caps.iter().any(|name| !capabilities.contains(name)),
        capabilities,
        arches: text.arches,
        min_kernel: text
            .min_kernel
            .filter(|version| !version.is_empty())
            .map(|version| KernelVersion::from_profile(&version))
            .transpose()?,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProfileText {
    #[serde(default, deserialize_with = "action_or_none")]
    default_action: Option<SeccompAction>,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "null_default")]
    architectures: Vec<String>,
    #[serde(default, deserialize_with = "null_default")]
    arch_map: Vec<ArchMapText>,
    #[serde(default, deserialize_with = "null_default")]
    flags: Vec<String>,
    #[serde(default)]
    listener_path: Option<String>,
    #[serde(default)]
    listener_metadata: Option<String>,
    #[serde(default, deserialize_with = "null_default")]
    syscalls: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMapText {
    architecture: String,
    #[serde(default, deserialize_with = "null_default")]
    sub_architectures: Vec<String>,
}

#[derive(Deserialize)]
struct RuleText {
    #[serde(default)]
    name: Option<String>,
    /// Not left to `call`, where it has a default.
    action: SeccompAction,
    #[serde(flatten)]
    call: SeccompSyscall,
    #[serde(default, deserialize_with = "null_default")]
    includes: ConditionText,
    #[serde(default, deserialize_with = "null_default")]
    excludes: ConditionText,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConditionText {
    #[serde(deserialize_with = "null_default")]
    caps: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// Go writes an empty slice as `null`.
fn null_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An empty string means absent.
fn action_or_none<'de, D>(deserializer: D) -> std::result::Result<Option<SeccompAction>, D::Error>
where
    D: Deserializer<'de>,
{
    use serde::de::IntoDeserializer;

    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some(name) => SeccompAction::deserialize(name.into_deserializer()).map(Some),
    }
}
