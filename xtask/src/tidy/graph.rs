//! Which crate may depend on which.

use super::workspace::{Crate, Room};

/// Crates that decide and know no runtime, clock or I/O.
const PURE: [&str; 2] = ["carrack-oci", "carrack-seccomp"];
/// What a pure crate may not depend on.
const IMPURE: [&str; 8] = [
    "tokio",
    "rustix",
    "libc",
    "jiff",
    "tempfile",
    "carrack-sys",
    "redb",
    "httparse",
];
/// Rooms that are services of their own: none may know another.
const SERVICES: [&str; 3] = ["registry", "cluster", "batch"];
/// Models above the mechanisms of their room.
const MODELS: [&str; 3] = ["carrack-docker", "carrack-pods", "carrack-builder"];

/// Findings in the graph of dependencies.
pub(super) fn check(crates: &[Crate]) -> Vec<String> {
    let mut found = Vec::new();
    for from in crates {
        for name in &from.dependencies {
            if let Some(to) = crates.iter().find(|c| c.name == *name) {
                found.extend(
                    edge(from, to)
                        .map(|why| format!("{}: depends on {}: {why}", from.folder, to.name)),
                );
            }
            if PURE.contains(&from.name.as_str()) && IMPURE.contains(&name.as_str()) {
                found.push(format!(
                    "{}: depends on {name}: a pure crate imports no runtime, clock or I/O; move that part to its caller",
                    from.folder
                ));
            }
        }
    }
    found
}

/// Why `from` may not depend on `to`, when it may not.
fn edge(from: &Crate, to: &Crate) -> Option<String> {
    // The tests and chores drive the program from outside; a parser's crate may serve them.
    if from.room() == Room::Outside {
        return (to.room() != Room::Crates("base"))
            .then(|| "tests and chores drive the built program from outside".to_owned());
    }
    if to.is_facade() && from.room() != Room::Bin {
        return Some("a façade is imported by bin alone".to_owned());
    }
    if to.name == "carrack-serve" && !from.is_facade() && from.room() != Room::Bin {
        return Some(
            "only façades serve HTTP; hand the façade a value and let it answer".to_owned(),
        );
    }
    if let (Room::Crates(a), Room::Crates(b)) = (from.room(), to.room())
        && a != b
        && SERVICES.contains(&b)
        && (SERVICES.contains(&a) || matches!(a, "run" | "image" | "build"))
    {
        return Some(format!(
            "{a} and {b} are services of their own; share through base, net or image"
        ));
    }
    if level(to) > level(from) {
        return Some(format!(
            "it points upwards: bin → façades → models → mechanisms → net → base ({} is above {})",
            to.short(),
            from.short()
        ));
    }
    None
}

/// Height of a crate: a dependency never goes up.
fn level(of: &Crate) -> u8 {
    match of.room() {
        Room::Outside => 6,
        // The supervisor is a small program of mechanisms alone.
        Room::Bin if of.name == "carrack-supervisor" => 2,
        Room::Bin => 5,
        Room::Crates(_) if of.is_facade() => 4,
        Room::Crates(_) if MODELS.contains(&of.name.as_str()) => 3,
        Room::Crates("base") => 0,
        Room::Crates("net" | "identity") => 1,
        Room::Crates(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, folder: &str, dependencies: &[&str]) -> Crate {
        Crate {
            name: name.into(),
            folder: folder.into(),
            dependencies: dependencies.iter().map(|d| (*d).to_owned()).collect(),
        }
    }

    #[track_caller]
    fn finds(crates: &[Crate], part: &str) {
        let found = check(crates);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(part), "{found:?}");
    }

    #[test]
    fn each_absence_is_seen() {
        let serve = || member("carrack-serve", "crates/net/serve", &[]);
        let api = || {
            member(
                "carrack-docker-api",
                "crates/run/docker-api",
                &["carrack-serve"],
            )
        };
        finds(
            &[
                serve(),
                member("carrack-docker", "crates/run/docker", &["carrack-serve"]),
            ],
            "only façades",
        );
        finds(
            &[
                serve(),
                api(),
                member(
                    "carrack-docker",
                    "crates/run/docker",
                    &["carrack-docker-api"],
                ),
            ],
            "bin alone",
        );
        finds(
            &[member("carrack-oci", "crates/base/oci", &["tokio"])],
            "pure",
        );
        finds(
            &[
                serve(),
                member("carrack-sys", "crates/base/sys", &["carrack-serve"]),
            ],
            "only façades",
        );
        finds(
            &[
                member("carrack-docker", "crates/run/docker", &[]),
                member(
                    "carrack-containers",
                    "crates/run/containers",
                    &["carrack-docker"],
                ),
            ],
            "upwards",
        );
        finds(
            &[
                member("carrack-jobs", "crates/batch/jobs", &[]),
                member("carrack-store", "crates/cluster/store", &["carrack-jobs"]),
            ],
            "services",
        );
        finds(
            &[
                member("carrack-images", "crates/image/images", &[]),
                member("carrack-tests", "tests", &["carrack-images"]),
            ],
            "from outside",
        );
    }

    #[test]
    fn what_is_allowed_is_not_found() {
        let crates = [
            member("carrack-serve", "crates/net/serve", &[]),
            member("carrack-docker", "crates/run/docker", &[]),
            member(
                "carrack-docker-api",
                "crates/run/docker-api",
                &["carrack-serve", "carrack-docker"],
            ),
            member(
                "carrack",
                "bin/carrack",
                &["carrack-docker-api", "carrack-serve"],
            ),
        ];
        assert_eq!(check(&crates), Vec::<String>::new());
    }
}
