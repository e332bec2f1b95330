//! What the text of the sources must not have.

use std::collections::BTreeSet;

use super::workspace::{Crate, Room, Source};

/// Where `unsafe` may be: the system calls, and what runs between clone and exec.
const UNSAFE: [&str; 2] = ["crates/base/sys", "bin/supervisor"];
/// Where connections are made.
const DIALS: [&str; 2] = ["crates/net/outbound", "crates/base/sys"];
/// Words that make a connection.
const DIALLING: [&str; 4] = [
    "TcpStream::connect",
    "UnixStream::connect",
    "net::connect(",
    "UnixDatagram::connect",
];
/// Files that connect for another reason than to dial out; each with the reason.
const CONNECTS: [(&str, &str); 5] = [
    (
        "crates/net/serve/src/listener.rs",
        "asks whether a socket's file is alive before it replaces it",
    ),
    (
        "crates/run/sandbox/src/adoption.rs",
        "the daemon to its own supervisors, over AF_UNIX",
    ),
    (
        "crates/run/runtime-cli/src/sockets.rs",
        "a container that waits for its start, and the console socket of whoever called",
    ),
    (
        "bin/supervisor/src/relay.rs",
        "a published port of the host's loopback into the container",
    ),
    (
        "bin/supervisor/src/relay_udp.rs",
        "a published port of the host's loopback into the container",
    ),
];
/// Pure crates, and the parts of std that they may not name.
const PURE: [&str; 2] = ["crates/base/oci", "crates/run/seccomp"];
const IMPURE: [&str; 6] = [
    "std::fs",
    "std::net",
    "std::time",
    "std::process",
    "std::thread",
    "std::env",
];
/// From this length on a file says why it is long: `//! Long because …`.
const LINES_MAX: usize = 800;

/// Findings in the sources.
pub(super) fn check(crates: &[Crate], sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for member in crates {
        found.extend(root_forbids_unsafe(member, sources));
    }
    let mut excused = BTreeSet::new();
    for source in sources {
        found.extend(dials(source, &mut excused));
        found.extend(impure(source));
        found.extend(length(source));
    }
    for (path, reason) in CONNECTS {
        if sources.iter().any(|s| s.path == path) && !excused.contains(path) {
            found.push(format!("{path}: no longer connects ({reason}): take it off the list in xtask/src/tidy/source.rs"));
        }
    }
    found
}

fn root_forbids_unsafe(member: &Crate, sources: &[Source]) -> Option<String> {
    if member.room() == Room::Outside || UNSAFE.contains(&member.folder.as_str()) {
        return None;
    }
    let roots = [
        format!("{}/src/lib.rs", member.folder),
        format!("{}/src/main.rs", member.folder),
    ];
    let root = sources.iter().find(|s| roots.contains(&s.path))?;
    (!root.text.contains("#![forbid(unsafe_code)]")).then(|| {
        format!("{}: lacks #![forbid(unsafe_code)]; unsafe belongs into base/sys, one small function a system call", root.path)
    })
}

fn dials<'a>(source: &'a Source, excused: &mut BTreeSet<&'a str>) -> Vec<String> {
    if DIALS.contains(&source.folder.as_str()) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in code_lines(source.product()) {
        let Some(word) = DIALLING.iter().find(|w| line.contains(**w)) else {
            continue;
        };
        if CONNECTS.iter().any(|(path, _)| *path == source.path) {
            excused.insert(source.path.as_str());
            continue;
        }
        let word = word.trim_end_matches('(');
        found.push(format!(
            "{}:{number}: {word}: only net/outbound dials; call it",
            source.path
        ));
    }
    found
}

fn impure(source: &Source) -> Vec<String> {
    if !PURE.contains(&source.folder.as_str()) {
        return Vec::new();
    }
    code_lines(source.product())
        .filter_map(|(number, line)| {
            let word = IMPURE.iter().find(|w| {
                // What the compiler knows of its target is no environment.
                line.replace("std::env::consts", "").contains(**w)
            })?;
            Some(format!(
                "{}:{number}: {word}: {} is pure; let its caller do that",
                source.path, source.folder
            ))
        })
        .collect()
}

fn length(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    let head: String = source.text.lines().take(40).collect::<Vec<_>>().join("\n");
    (lines > LINES_MAX && !source.product().is_empty() && !head.to_lowercase().contains("long because")).then(|| {
        format!("{}: {lines} lines; split it where the dependencies differ, or say `//! Long because …`", source.path)
    })
}

/// Lines that are not comments, numbered from 1.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, folder: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            folder: folder.into(),
            text: text.into(),
        }
    }

    #[track_caller]
    fn finds(one: Source, part: &str) {
        let found = check(&[], &[one]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(part), "{found:?}");
    }

    #[test]
    fn each_absence_is_seen() {
        let dialling = "fn f() {\n    UnixStream::connect(path)\n}\n";
        finds(
            source("crates/run/docker/src/x.rs", "crates/run/docker", dialling),
            "x.rs:2: UnixStream::connect",
        );
        finds(
            source(
                "crates/base/oci/src/x.rs",
                "crates/base/oci",
                "use std::fs;\n",
            ),
            "is pure",
        );
        finds(
            source("crates/run/a/src/x.rs", "crates/run/a", &"\n".repeat(801)),
            "801 lines",
        );
        let member = Crate {
            name: "a".into(),
            folder: "crates/run/a".into(),
            dependencies: Vec::new(),
        };
        let root = source("crates/run/a/src/lib.rs", "crates/run/a", "//! x\n");
        assert!(check(&[member], &[root])[0].contains("forbid(unsafe_code)"));
    }

    #[test]
    fn tests_comments_and_reasons_pass() {
        let tests =
            "// UnixStream::connect\n#[cfg(test)]\nmod tests {\n    UnixStream::connect(p);\n}\n";
        let long = format!("//! Long because it is a table.\n{}", "\n".repeat(900));
        for one in [
            source("crates/run/a/src/x.rs", "crates/run/a", tests),
            source(
                "crates/run/a/src/tests/x.rs",
                "crates/run/a",
                "UnixStream::connect(p);\n",
            ),
            source("crates/run/a/src/y.rs", "crates/run/a", &long),
        ] {
            assert_eq!(check(&[], &[one]), Vec::<String>::new());
        }
    }

    #[test]
    fn an_excuse_that_is_not_needed_is_found() {
        finds(
            source(CONNECTS[0].0, "crates/net/serve", "fn f() {}\n"),
            "no longer connects",
        );
    }
}
