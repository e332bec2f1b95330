//! What the user reads when a command does not succeed, and its exit status.

use std::fmt;

use crate::engine::EngineError;

/// Exit statuses with a meaning of their own.
pub(crate) mod exit {
    /// Done.
    pub(crate) const SUCCESS: u8 = 0;
    /// The engine or the command refused.
    pub(crate) const FAILURE: u8 = 1;
    /// A template that cannot be parsed.
    pub(crate) const BAD_TEMPLATE: u8 = 64;
    /// A flag that does not exist or has a bad value; with `run`, anything
    /// that went wrong before the container's program did.
    pub(crate) const BAD_FLAG: u8 = 125;
    /// The container's program cannot be executed.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// The container's program does not exist.
    pub(crate) const NOT_FOUND: u8 = 127;
}

/// Why a command ended, as it is printed: nothing when `text` is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What is written to standard error, without the last line feed.
    pub(crate) text: String,
    /// The exit status.
    pub(crate) status: u8,
}

/// A command's exit status, or why it has none of its own.
pub(crate) type Outcome = Result<u8, Failure>;

impl Failure {
    /// A failure with the ordinary status.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            status: exit::FAILURE,
        }
    }

    /// The same with another status.
    pub(crate) fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// Several failures as one, a line each; `None` when there was none.
    pub(crate) fn joined(texts: Vec<String>) -> Option<Self> {
        (!texts.is_empty()).then(|| Self::new(texts.join("\n")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::new(error.to_string())
    }
}
