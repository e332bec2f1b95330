//! Commands and flags that wait for a later part.
//!
//! The sentences are those of `docs/not-yet.md`, which the engine answers as
//! well, so that a user reads the same whichever way it was asked.

use crate::failure::Failure;

/// An entry a line: a name between backquotes, then the sentence.
static ENTRIES: &str = include_str!("../../../../docs/not-yet.md");

/// The sentence of an entry, if there is one.
fn find(name: &str) -> Option<&'static str> {
    ENTRIES.lines().map(str::trim).find_map(|line| {
        let rest = line.trim_start_matches(['-', '*', '|', ' ']).strip_prefix('`')?;
        let (names, sentence) = rest.split_once('`')?;
        let is_it = names.split([',', ' ']).any(|one| one.trim() == name);
        is_it.then(|| sentence.trim_matches([' ', '|', ':', '—', '-', '\t']))
    })
}

/// The failure of a command that is not there yet.
pub(crate) fn sentence(name: &str) -> Failure {
    match find(name) {
        Some(sentence) if !sentence.is_empty() => Failure::new(format!("{name}: {sentence}")),
        _ => Failure::new(format!("{name} is not implemented yet")),
    }
}

/// The failure of a flag that is not there yet.
pub(crate) fn flag(flag: &str, entry: &str) -> Failure {
    let sentence = sentence(entry).text;
    let sentence = sentence.strip_prefix(&format!("{entry}: ")).map_or(sentence.clone(), str::to_owned);
    Failure::new(format!("--{flag}: {sentence}")).status(crate::failure::exit::BAD_FLAG)
}

/// Commands of docker's that are known and wait.
pub(crate) static COMMANDS: &[&str] = &[
    "pull", "push", "login", "logout", "search", "build", "commit", "diff", "export", "builder", "buildx", "checkpoint",
    "config", "context", "manifest", "node", "plugin", "secret", "service", "stack", "swarm", "trust", "compose",
];

/// The same below a management command.
pub(crate) static MANAGED: &[&str] = &[
    "container commit", "container diff", "container export", "image build", "image pull", "image push",
    "network connect", "network create", "network disconnect", "network rm", "network remove", "system dial-stdio",
    "volume update",
];
