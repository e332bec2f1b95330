//! Where the engine listens.

use std::path::PathBuf;

use crate::failure::Failure;

/// The socket that a daemon opens when it is told nothing else.
const DEFAULT_HOST: &str = "unix:///run/carrack/carrack.sock";

/// A place where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// As it was written.
    pub(crate) text: String,
    /// The socket.
    pub(crate) path: PathBuf,
}

impl Host {
    /// The flag's value if it was given, else the environment's, else the
    /// usual place.
    pub(crate) fn choose(
        flag: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let text = flag
            .map(str::to_owned)
            .or_else(|| variable("CARRACK_HOST"))
            .or_else(|| variable("DOCKER_HOST"))
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| DEFAULT_HOST.to_owned());
        Self::parse(text)
    }

    fn parse(text: String) -> Result<Self, Failure> {
        match text.split_once("://") {
            Some(("unix", path)) if !path.is_empty() => Ok(Self {
                path: PathBuf::from(path),
                text,
            }),
            Some((scheme @ ("tcp" | "http" | "https" | "ssh" | "npipe" | "fd"), _)) => {
                Err(Failure::new(format!(
                    "cannot use the host {text}: {scheme}:// is not supported yet, use unix:///path/to/socket"
                )))
            }
            // An absolute path can only be a socket.
            None if text.starts_with('/') => Ok(Self {
                path: PathBuf::from(&text),
                text: format!("unix://{text}"),
            }),
            _ => Err(Failure::new(format!(
                "unable to parse docker host `{text}`"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(flag: Option<&str>, set: &[(&str, &str)]) -> Result<String, String> {
        Host::choose(flag, |name| {
            set.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
        .map(|host| host.path.display().to_string())
        .map_err(|failure| failure.text)
    }

    #[test]
    fn flag_over_environment_over_default() {
        let both = [("CARRACK_HOST", "unix:///c"), ("DOCKER_HOST", "unix:///d")];
        assert_eq!(choose(Some("unix:///f"), &both), Ok("/f".to_owned()));
        assert_eq!(choose(None, &both), Ok("/c".to_owned()));
        assert_eq!(choose(None, &both[1..]), Ok("/d".to_owned()));
        assert_eq!(
            choose(None, &[]),
            Ok("/run/carrack/carrack.sock".to_owned())
        );
    }

    #[test]
    fn other_transports_are_refused_by_name() {
        assert!(
            choose(Some("tcp://1.2.3.4:2375"), &[])
                .unwrap_err()
                .contains("tcp:// is not supported yet")
        );
        assert_eq!(
            choose(Some("what"), &[]),
            Err("unable to parse docker host `what`".to_owned())
        );
        assert!(choose(Some("unix://"), &[]).is_err());
    }
}
