//! What waits for a later part: the sentences of `docs/not-yet.md`.
//!
//! The file is the only place where they are written; the command line reads
//! it in the same way. One entry a line: names between backquotes, then the
//! sentence.

static ENTRIES: &str = include_str!("../../../../docs/not-yet.md");

/// The sentence of the entry called `name`.
pub fn sentence(name: &str) -> &'static str {
    find(name).unwrap_or("this is not supported yet")
}

fn find(name: &str) -> Option<&'static str> {
    ENTRIES.lines().find_map(|line| {
        let (names, sentence) = line.strip_prefix("- ")?.split_once("`: ")?;
        let has = names.split('`').any(|one| one == name);
        has.then_some(sentence.trim())
    })
}

/// Entries that the engine and its façade answer with.
pub const ENGINE_ENTRIES: [&str; 25] = [
    "pull",
    "push",
    "login",
    "search",
    "build",
    "commit",
    "changes",
    "export",
    "network",
    "connect",
    "disconnect",
    "health",
    "checkpoint",
    "swarm",
    "link",
    "log-driver",
    "image-mount",
    "volume-subpath",
    "websocket",
    "cluster-volume",
    "log-attributes",
    "log-compress",
    "cgroup-parent",
    "apparmor",
    "mac-address",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_there() {
        for name in ENGINE_ENTRIES {
            assert!(find(name).is_some(), "docs/not-yet.md lacks `{name}`");
        }
        assert_eq!(find("pull"), find("push"));
        assert_eq!(find("no such thing"), None);
    }
}
