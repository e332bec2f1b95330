//! Names of volumes. A name is also a directory's name, so its grammar is
//! what keeps a request inside the root.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Longest name, `NAME_MAX`.
pub const MAX_NAME_BYTES: usize = 255;

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, at most [`MAX_NAME_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeName(String);

impl VolumeName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Error::Name`], in docker's words.
    pub fn parse(name: &str) -> Result<Self> {
        let invalid = |reason| {
            Err(Error::Name {
                name: name.to_owned(),
                reason,
            })
        };
        let mut bytes = name.bytes();
        if !bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
            || !bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        {
            return invalid(NameFault::Characters);
        }
        if name.len() == 1 {
            return invalid(NameFault::TooShort);
        }
        if name.len() > MAX_NAME_BYTES {
            return invalid(NameFault::TooLong);
        }
        Ok(Self(name.to_owned()))
    }

    /// A random one: 64 hexadecimal digits.
    pub(crate) fn anonymous() -> Self {
        Self(carrack_sys::random::hex_id())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// A character that names do not have, or none at all.
    Characters,
    /// A single character.
    TooShort,
    /// More than [`MAX_NAME_BYTES`].
    TooLong,
}

impl fmt::Display for NameFault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Characters => {
                "includes invalid characters for a local volume name, only \
                 \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host \
                 directory, use absolute path"
            }
            Self::TooShort => "is too short, names should be at least two alphanumeric characters",
            Self::TooLong => "is longer than 255 characters",
        })
    }
}

impl TryFrom<String> for VolumeName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::parse(&name)
    }
}

impl From<VolumeName> for String {
    fn from(name: VolumeName) -> Self {
        name.0
    }
}

impl AsRef<Path> for VolumeName {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}
