//! Platforms: what a machine an image is for.
//!
//! Source: image-spec `image-index.md` ("platform" and its variants) and
//! containerd's platforms package for the spellings that people use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nullable::null_default;

/// Operating system and processor, in GOOS and GOARCH names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    #[serde(deserialize_with = "null_default")]
    pub architecture: String,
    /// `linux`, `windows`, …
    #[serde(deserialize_with = "null_default")]
    pub os: String,
    /// Version of the operating system, where it matters.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system, where they matter.
    #[serde(
        rename = "os.features",
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the processor: `v7` of `arm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is an invalid component of a platform: os[/arch[/variant]] of letters, digits, '_', '.' and '-'"
)]
pub struct PlatformError {
    text: String,
}

/// Longest component of a platform in a text, in bytes.
const MAX_COMPONENT_BYTES: usize = 64;

impl Platform {
    /// The machine that this program was built for.
    pub fn current() -> Platform {
        Platform {
            architecture: std::env::consts::ARCH.to_owned(),
            os: std::env::consts::OS.to_owned(),
            ..Platform::default()
        }
        .normalized()
    }

    /// With the names of the specification in place of their synonyms, and
    /// default variants left out.
    #[must_use]
    pub fn normalized(&self) -> Platform {
        let os = self.os.to_ascii_lowercase();
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self
            .variant
            .as_deref()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "" | "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
            ("aarch64" | "arm64", "" | "8" | "v8") => ("arm64", ""),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "" | "7") => ("arm", "v7"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "6") => ("arm", "v6"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64le", variant) => ("ppc64le", variant),
            (other, variant) => (other, variant),
        };
        Platform {
            architecture: architecture.to_owned(),
            os: if os == "macos" {
                "darwin".to_owned()
            } else {
                os
            },
            variant: (!variant.is_empty()).then(|| variant.to_owned()),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }

    /// How well an image for `offered` serves who asks for `self`: `Some(0)`
    /// best, `None` not at all. An older variant of the same processor, and
    /// the 32-bit predecessor of a 64-bit one, serve too.
    pub fn rank(&self, offered: &Platform) -> Option<u32> {
        let (wanted, offered) = (self.normalized(), offered.normalized());
        if wanted.os != offered.os || offered.os.is_empty() {
            return None;
        }
        let level = |platform: &Platform, default: u32| match &platform.variant {
            None => Some(default),
            Some(variant) => variant.strip_prefix('v')?.parse::<u32>().ok(),
        };
        match (wanted.architecture.as_str(), offered.architecture.as_str()) {
            ("amd64", "amd64") => level(&wanted, 1)?.checked_sub(level(&offered, 1)?),
            ("amd64", "386") => Some(100),
            ("arm64", "arm64") => level(&wanted, 8)?.checked_sub(level(&offered, 8)?),
            ("arm64", "arm") => Some(100 + 8_u32.checked_sub(level(&offered, 7)?)?),
            ("arm", "arm") => level(&wanted, 7)?.checked_sub(level(&offered, 7)?),
            (a, b) if a == b && !a.is_empty() && wanted.variant == offered.variant => Some(0),
            _ => None,
        }
    }

    /// Whether both mean the same machine.
    pub fn is_same(&self, other: &Platform) -> bool {
        let (a, b) = (self.normalized(), other.normalized());
        (a.os, a.architecture, a.variant) == (b.os, b.architecture, b.variant)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// `os`, `arch`, `os/arch` or `os/arch/variant`; what is missing is the
    /// current machine's.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        for part in &parts {
            let sound = part.bytes().any(|b| b.is_ascii_alphanumeric())
                && part.len() <= MAX_COMPONENT_BYTES
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
            if !sound || parts.len() > 3 {
                let text = text.chars().take(MAX_COMPONENT_BYTES).collect();
                return Err(PlatformError { text });
            }
        }
        let current = Platform::current();
        let (os, architecture, variant) = match parts[..] {
            [one] if is_known_os(one) => (one, current.architecture.as_str(), None),
            [one] => (current.os.as_str(), one, None),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => {
                return Err(PlatformError {
                    text: String::new(),
                });
            }
        };
        let platform = Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant,
            ..Platform::default()
        };
        Ok(platform.normalized())
    }
}

fn is_known_os(text: &str) -> bool {
    matches!(
        text.to_ascii_lowercase().as_str(),
        "linux"
            | "windows"
            | "darwin"
            | "macos"
            | "freebsd"
            | "netbsd"
            | "openbsd"
            | "dragonfly"
            | "solaris"
            | "illumos"
            | "aix"
            | "android"
            | "ios"
            | "plan9"
            | "js"
            | "wasip1"
    )
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AArch64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("windows/amd64/v3", "windows/amd64/v3"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(
                text.parse::<Platform>().unwrap().to_string(),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            "linux".parse::<Platform>().unwrap().architecture,
            Platform::current().architecture
        );
        assert_eq!("s390x".parse::<Platform>().unwrap().os, "linux");
        for text in [
            "",
            "/",
            "linux/",
            "/amd64",
            "a/b/c/d",
            "linux/../x",
            "linux/é",
            "a b",
            &"x".repeat(65),
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranks_what_a_machine_can_run() {
        let rank = |wanted: &str, offered: &str| {
            let [wanted, offered] = [wanted, offered].map(|text| text.parse::<Platform>().unwrap());
            wanted.rank(&offered)
        };
        assert_eq!(rank("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(rank("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(rank("linux/amd64", "linux/386"), Some(100));
        assert_eq!(rank("linux/amd64", "windows/amd64"), None);
        assert_eq!(rank("linux/amd64", "unknown/unknown"), None);
        assert_eq!(rank("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(rank("linux/arm64", "linux/arm/v6"), Some(102));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(rank("linux/s390x", "linux/s390x"), Some(0));
        assert_eq!(Platform::default().rank(&Platform::default()), None);
    }

    #[test]
    fn reads_what_is_in_indexes() {
        let platform: Platform = serde_json::from_str(
            r#"{"architecture":"arm","os":"linux","variant":"v7","os.features":null,"x":1}"#,
        )
        .unwrap();
        assert_eq!(platform.to_string(), "linux/arm/v7");
    }
}
