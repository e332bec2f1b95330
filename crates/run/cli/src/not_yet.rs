//! Commands and flags that wait for a later part.
//!
//! The sentences are those of `docs/not-yet.md`, which the engine answers as
//! well, so that a user reads the same whichever way it was asked.

use crate::failure::{Failure, exit};

/// An entry a line: names between backquotes, a colon, then the sentence.
static ENTRIES: &str = include_str!("../../../../docs/not-yet.md");

/// The sentence of the entry with that name.
fn find(name: &str) -> Option<&'static str> {
    ENTRIES.lines().find_map(|line| {
        let (names, sentence) = line.strip_prefix("- ")?.split_once("`: ")?;
        names
            .split('`')
            .any(|one| one == name)
            .then_some(sentence.trim())
    })
}

/// The failure of a command that is not there yet.
pub(crate) fn sentence(name: &str) -> Failure {
    let entry = name
        .rsplit(' ')
        .find_map(find)
        .or_else(|| name.split(' ').next().and_then(find));
    Failure::new(format!(
        "{name}: {}",
        entry.unwrap_or("this is not supported yet")
    ))
}

/// The failure of a flag that is not there yet.
pub(crate) fn flag(flag: &str, entry: &str) -> Failure {
    let sentence = find(entry).unwrap_or("this is not supported yet");
    Failure::new(format!("--{flag}: {sentence}")).status(exit::BAD_FLAG)
}

/// Commands of docker's that are known and wait.
pub(crate) static COMMANDS: &[&str] = &[
    "pull",
    "push",
    "login",
    "logout",
    "search",
    "build",
    "commit",
    "diff",
    "export",
    "builder",
    "buildx",
    "checkpoint",
    "config",
    "context",
    "manifest",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
    "compose",
];

/// The same below a management command.
pub(crate) static MANAGED: &[&str] = &[
    "container commit",
    "container diff",
    "container export",
    "image build",
    "image pull",
    "image push",
    "network connect",
    "network create",
    "network disconnect",
    "network rm",
    "network remove",
    "system dial-stdio",
    "volume update",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_waits_has_an_entry() {
        for name in COMMANDS.iter().chain(MANAGED) {
            if matches!(*name, "system dial-stdio" | "volume update") {
                continue;
            }
            let text = sentence(name).text;
            assert!(!text.ends_with("this is not supported yet"), "{text}");
        }
        for (_, entry) in crate::create::table::NOT_YET {
            assert!(find(entry).is_some(), "{entry}");
        }
    }
}
