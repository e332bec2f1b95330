//! What every verb has: the engine, and where to print.

use std::path::PathBuf;

use crate::engine::Engine;
use crate::terminal;

/// The program's name in its own sentences.
pub(crate) const PROGRAM: &str = "carrack";

/// One call of the program.
pub(crate) struct Session {
    /// The engine.
    pub(crate) engine: Engine,
}

impl Session {
    /// Prints to standard output. What cannot be written because nobody reads
    /// it any more is dropped, as the reader wished.
    pub(crate) fn print(&self, text: &str) {
        let _ = terminal::write_stdout(text.as_bytes());
    }

    /// Prints a line.
    pub(crate) fn line(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// Prints a line to standard error.
    pub(crate) fn warn(&self, text: &str) {
        let _ = terminal::write_stderr(format!("{text}\n").as_bytes());
    }

    /// The working directory.
    pub(crate) fn folder(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
    }

    /// A variable of the environment.
    pub(crate) fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
