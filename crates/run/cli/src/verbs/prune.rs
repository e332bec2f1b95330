//! Removing what nothing uses, after a question.

use std::io::BufRead;

use serde_json::Value;

use super::{Arity, Place, Verb, items, number, text};
use crate::engine::{Ask, EngineError};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{FILTER, Filters, Flag, Order, Parsed, SWITCH, flag, letter};
use crate::session::Session;
use crate::show::units::decimal_size;

const FORCE: Flag = letter("force", 'f', SWITCH, "Do not ask");
const FILTERED: Flag = flag("filter", FILTER, "Remove those that fit: until=…, label=…");

const fn verb(
    names: &'static [&'static str],
    about: &'static str,
    flags: &'static [(&'static str, &'static [Flag])],
    run: fn(&mut Session, &Parsed) -> Outcome,
) -> Verb {
    Verb {
        names,
        place: Place::Managed,
        usage: "[OPTIONS]",
        about,
        arity: Arity::None,
        order: Order::Mixed,
        flags,
        run,
    }
}

pub(super) static CONTAINER_PRUNE: Verb = verb(
    &["container prune"],
    "Remove containers that are stopped",
    &[("Options", &[FILTERED, FORCE])],
    |session, parsed| one(session, parsed, Kind::Containers),
);
pub(super) static IMAGE_PRUNE: Verb = verb(
    &["image prune"],
    "Remove images that no container uses",
    &[(
        "Options",
        &[
            letter(
                "all",
                'a',
                SWITCH,
                "Remove all unused images, not only untagged ones",
            ),
            FILTERED,
            FORCE,
        ],
    )],
    |session, parsed| one(session, parsed, Kind::Images),
);
pub(super) static NETWORK_PRUNE: Verb = verb(
    &["network prune"],
    "Remove networks that no container uses",
    &[("Options", &[FILTERED, FORCE])],
    |session, parsed| one(session, parsed, Kind::Networks),
);
pub(super) static VOLUME_PRUNE: Verb = verb(
    &["volume prune"],
    "Remove volumes that no container uses",
    &[(
        "Options",
        &[
            letter(
                "all",
                'a',
                SWITCH,
                "Remove all unused volumes, not only anonymous ones",
            ),
            FILTERED,
            FORCE,
        ],
    )],
    |session, parsed| one(session, parsed, Kind::Volumes),
);
pub(super) static SYSTEM_PRUNE: Verb = verb(
    &["system prune"],
    "Remove what nothing uses",
    &[(
        "Options",
        &[
            letter(
                "all",
                'a',
                SWITCH,
                "Remove all unused images, not only untagged ones",
            ),
            FILTERED,
            FORCE,
            flag("volumes", SWITCH, "Remove unused anonymous volumes as well"),
        ],
    )],
    system,
);

/// What is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Containers,
    Networks,
    Volumes,
    Images,
    BuildCache,
}

/// Whether everything unused goes, or the untagged and unnamed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Anonymous,
}

impl Scope {
    fn of(parsed: &Parsed) -> Self {
        if parsed.on("all") {
            Self::All
        } else {
            Self::Anonymous
        }
    }
}

impl Kind {
    fn warning(self, scope: Scope) -> &'static str {
        match (self, scope) {
            (Self::Containers, _) => "This will remove all stopped containers.",
            (Self::Networks, _) => {
                "This will remove all custom networks not used by at least one container."
            }
            (Self::Volumes, Scope::All) => {
                "This will remove all local volumes not used by at least one container."
            }
            (Self::Volumes, Scope::Anonymous) => {
                "This will remove anonymous local volumes not used by at least one container."
            }
            (Self::Images, Scope::All) => {
                "This will remove all images without at least one container associated to them."
            }
            (Self::Images, Scope::Anonymous) => "This will remove all dangling images.",
            (Self::BuildCache, _) => "This will remove all dangling build cache.",
        }
    }

    /// Removes it. What was removed, as text, and how many bytes that frees.
    fn prune(
        self,
        session: &mut Session,
        filters: &Filters,
        scope: Scope,
    ) -> Result<(String, i64), EngineError> {
        let mut filters = filters.clone();
        let path = match self {
            Self::Containers => "/containers/prune",
            Self::Networks => "/networks/prune",
            Self::Volumes => "/volumes/prune",
            Self::Images => "/images/prune",
            Self::BuildCache => "/build/prune",
        };
        match (self, scope) {
            (Self::Images, Scope::All) => filters.add("dangling", "false"),
            (Self::Images, Scope::Anonymous) => filters.add("dangling", "true"),
            // Before 1.42 every unused volume went; the filter is not known.
            (Self::Volumes, Scope::All) if session.engine.speaks(42) => filters.add("all", "true"),
            _ => {}
        }
        let answer = session.engine.ask(Ask::post(path).filtered(&filters))?;
        let freed = number(&answer, "SpaceReclaimed");
        Ok((self.removed(&answer), freed))
    }

    fn removed(self, answer: &Value) -> String {
        let (field, title) = match self {
            Self::Containers => ("ContainersDeleted", "Deleted Containers:"),
            Self::Networks => ("NetworksDeleted", "Deleted Networks:"),
            Self::Volumes => ("VolumesDeleted", "Deleted Volumes:"),
            Self::Images => ("ImagesDeleted", "Deleted Images:"),
            Self::BuildCache => ("CachesDeleted", "Deleted build cache objects:"),
        };
        let lines: Vec<String> = items(answer, field)
            .iter()
            .map(|item| match item {
                Value::String(name) => name.clone(),
                image if !text(image, "Untagged").is_empty() => {
                    format!("untagged: {}", text(image, "Untagged"))
                }
                image => format!("deleted: {}", text(image, "Deleted")),
            })
            .collect();
        if lines.is_empty() {
            String::new()
        } else {
            format!("{title}\n{}\n", lines.join("\n"))
        }
    }
}

/// Asks a question; anything but y or yes is a no.
fn confirm(session: &Session, question: &str) -> bool {
    session.print(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    matches!(read, Ok(1..)) && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

fn one(session: &mut Session, parsed: &Parsed, kind: Kind) -> Outcome {
    let scope = Scope::of(parsed);
    let filters = parsed.filters("filter");
    if kind == Kind::Volumes && scope == Scope::All && filters.has("all") {
        return Err(Failure::new(
            "conflicting options: cannot specify both --all and --filter all=1",
        ));
    }
    if !parsed.on("force") {
        let question = format!(
            "WARNING! {}\nAre you sure you want to continue?",
            kind.warning(scope)
        );
        if !confirm(session, &question) {
            return Ok(exit::SUCCESS);
        }
    }
    let (removed, freed) = kind.prune(session, &filters, scope)?;
    if !removed.is_empty() {
        session.line(&removed);
    }
    if kind != Kind::Networks {
        session.line(&format!(
            "Total reclaimed space: {}",
            decimal_size(freed as f64, 4)
        ));
    }
    Ok(exit::SUCCESS)
}

fn system(session: &mut Session, parsed: &Parsed) -> Outcome {
    let filters = parsed.filters("filter");
    let scope = Scope::of(parsed);
    let volumes = parsed.on("volumes");
    if volumes && filters.has("until") {
        return Err(Failure::new(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ));
    }
    if !parsed.on("force") && !confirm(session, &question(&filters, scope, volumes)) {
        return Ok(exit::SUCCESS);
    }
    let mut freed = 0;
    for kind in [
        Kind::Containers,
        Kind::Networks,
        Kind::Volumes,
        Kind::Images,
        Kind::BuildCache,
    ] {
        if kind == Kind::Volumes && !volumes {
            continue;
        }
        // --all speaks of images.
        let scope = if kind == Kind::Images {
            scope
        } else {
            Scope::Anonymous
        };
        match kind.prune(session, &filters, scope) {
            Ok((removed, bytes)) => {
                freed += bytes;
                if !removed.is_empty() {
                    session.line(&removed);
                }
            }
            Err(EngineError::Refused { status: 501, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    session.line(&format!(
        "Total reclaimed space: {}",
        decimal_size(freed as f64, 4)
    ));
    Ok(exit::SUCCESS)
}

/// What will be removed, as the question lists it.
fn question(filters: &Filters, scope: Scope, volumes: bool) -> String {
    let mut lines = vec![
        "all stopped containers".to_owned(),
        "all networks not used by at least one container".to_owned(),
    ];
    if volumes {
        lines.push("all anonymous volumes not used by at least one container".to_owned());
    }
    match scope {
        Scope::All => {
            lines.push("all images without at least one container associated to them".to_owned());
            lines.push("all build cache".to_owned());
        }
        Scope::Anonymous => {
            lines.push("all dangling images".to_owned());
            lines.push("unused build cache".to_owned());
        }
    }
    let mut text = format!(
        "WARNING! This will remove:\n  - {}\n\n",
        lines.join("\n  - ")
    );
    let shown: Vec<String> = ["label", "label!", "until"]
        .iter()
        .flat_map(|name| {
            filters
                .values(name)
                .map(move |value| format!("{name}={value}"))
        })
        .collect();
    if !shown.is_empty() {
        text.push_str(&format!(
            "  Items to be pruned will be filtered with:\n  - {}\n\n",
            shown.join("\n  - ")
        ));
    }
    text.push_str("Are you sure you want to continue?");
    text
}
