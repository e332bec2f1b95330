//! The log: to standard error, as text or as JSON.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// What is logged when nobody says otherwise.
const DEFAULT_FILTER: &str = "info";

/// How a record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// An object a line, for programs.
    Json,
}

impl FromStr for Format {
    type Err = InitError;

    fn from_str(text: &str) -> Result<Self, InitError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(InitError::Format {
                given: other.to_owned(),
            }),
        }
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The format has no such name.
    #[error("no log format {given:?}: there are text and json")]
    Format {
        /// What was given.
        given: String,
    },
    /// The filter cannot be parsed.
    #[error("log filter {filter:?} cannot be read")]
    Filter {
        /// What was given.
        filter: String,
        /// Where it is wrong.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody set up a log before.
    #[error("a log is set up already")]
    Again(#[source] TryInitError),
}

/// Sets up the log of this process, once.
///
/// `filter` is in `tracing`'s notation (`info`, `carrack_network=debug,warn`);
/// none means [`DEFAULT_FILTER`].
///
/// # Errors
/// A filter that cannot be read, or a second call.
pub fn init(format: Format, filter: Option<&str>) -> Result<(), InitError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = filter.unwrap_or(DEFAULT_FILTER);
    let parsed = EnvFilter::try_new(filter).map_err(|source| InitError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match format {
        Format::Text => builder.finish().try_init(),
        Format::Json => builder.json().finish().try_init(),
    }
    .map_err(InitError::Again)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_formats() {
        assert_eq!("json".parse::<Format>().unwrap(), Format::Json);
        assert_eq!(
            "xml".parse::<Format>().unwrap_err().to_string(),
            "no log format \"xml\": there are text and json"
        );
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = init(Format::Text, Some("a=[")).unwrap_err();
        assert_eq!(error.to_string(), "log filter \"a=[\" cannot be read");
    }
}
