//! What every verb has: the engine, and where to print.

use std::cell::OnceCell;
use std::path::PathBuf;

use crate::engine::Engine;
use crate::flags::Parsed;
use crate::settings::Settings;
use crate::terminal;

/// The program's name in its own sentences.
pub(crate) const PROGRAM: &str = "carrack";

/// One call of the program.
pub(crate) struct Session {
    /// The engine.
    pub(crate) engine: Engine,
    /// Where it listens, as it was written.
    pub(crate) host: String,
    /// The user's settings, once they were asked for.
    pub(crate) settings: OnceCell<Settings>,
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

    /// The user's settings.
    pub(crate) fn settings(&self) -> &Settings {
        self.settings.get_or_init(|| {
            let (settings, warning) = Settings::read(Self::variable);
            if let Some(warning) = warning {
                self.warn(&warning);
            }
            settings
        })
    }

    /// The keys that detach: the flag's, else those of the settings.
    pub(crate) fn detach_keys(&self, parsed: &Parsed) -> String {
        match parsed.text("detach-keys") {
            "" => self.settings().text("detachKeys").to_owned(),
            keys => keys.to_owned(),
        }
    }

    /// The platform of an image: the flag's, else the environment's.
    pub(crate) fn platform(parsed: &Parsed) -> Option<String> {
        let given = parsed.last("platform").map(str::to_owned);
        let platform = given.or_else(|| Self::variable("DOCKER_DEFAULT_PLATFORM"));
        platform.filter(|platform| !platform.is_empty())
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
