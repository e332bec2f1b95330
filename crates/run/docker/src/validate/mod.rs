//! Docker's rules for a request, with Docker's sentences.
//!
//! Pure: request and facts about the machine in, warnings or a refusal out.
//! What is refused here never touches anything.

mod config;
mod host_config;
mod resources;
mod security;

use carrack_oci::ErrorKind;

use crate::config::CreateRequest;
use crate::host::HostFacts;
use crate::mounts::MountError;
use crate::ports::PortError;
use crate::restart::PolicyError;

pub use host_config::{Mode, namespace_mode};
pub(crate) use host_config::{full_capability, split_extra_host};
pub use resources::check_resources;
pub use security::{Seccomp, SecurityOptions, security_options};

/// Why a request is refused; `Display` is what the client reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A rule is broken.
    #[error("{0}")]
    Rule(String),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The restart policy.
    #[error(transparent)]
    RestartPolicy(#[from] PolicyError),
    /// Something that is not done yet: an entry of `docs/not-yet.md`.
    #[error("{}", crate::not_yet::sentence(.0))]
    NotYet(&'static str),
}

impl Invalid {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotYet(_) | Self::Mount(MountError::NotYet(_)) => ErrorKind::Unsupported,
            Self::Rule(_) | Self::Mount(_) | Self::Port(_) | Self::RestartPolicy(_) => {
                ErrorKind::InvalidInput
            }
        }
    }

    /// A rule in its words.
    pub(crate) fn rule(text: impl Into<String>) -> Self {
        Self::Rule(text.into())
    }
}

/// Longest host name, `sethostname(2)`.
pub const HOSTNAME_BYTES_MAX: usize = 64;

/// Checks a whole request; drops what the machine cannot do and warns.
pub fn check_request(
    request: &mut CreateRequest,
    host: &HostFacts,
) -> Result<Vec<String>, Invalid> {
    let mut warnings = Vec::new();
    host_config::check_network_mode(request)?;
    config::check_config(&request.config)?;
    host_config::check_host_config(&request.host_config, host, &mut warnings)?;
    check_resources(
        &mut request.host_config.resources,
        host,
        resources::At::Create,
        &mut warnings,
    )?;
    host_config::check_networking(request)?;
    Ok(warnings)
}

pub use config::merge_image;
pub use resources::At;
