//! `images`, `history`, `tag`, `rmi`.

use serde_json::{Value, json};

use super::listing::{Shapes, Width, source};
use super::{Arity, Place, Verb, items, number, text};
use crate::create::reference;
use crate::engine::{Ask, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{FILTER, Flag, LIST, Order, Parsed, STRING, SWITCH, flag, letter};
use crate::not_yet;
use crate::session::Session;
use crate::show::listing::{Format, Row};
use crate::show::time::{go_default, now, rfc3339};
use crate::show::units::{decimal_size, human_duration};

static LIST_FLAGS: &[Flag] = &[
    letter("all", 'a', SWITCH, "Show intermediate images as well"),
    flag("digests", SWITCH, "Show digests"),
    letter(
        "filter",
        'f',
        FILTER,
        "Show those that fit: reference=…, dangling=…, label=…",
    ),
    flag("format", STRING, "table, table TEMPLATE, json or TEMPLATE"),
    flag("no-trunc", SWITCH, "Show ids whole"),
    letter("quiet", 'q', SWITCH, "Show ids alone"),
    flag("tree", SWITCH, "Show platforms below each image"),
];

pub(super) static IMAGES: Verb = Verb {
    names: &["image ls", "image list", "images"],
    place: Place::Common,
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    arity: Arity::AtMost(1),
    order: Order::Mixed,
    flags: &[("Options", LIST_FLAGS)],
    run: images,
};

pub(super) static HISTORY: Verb = Verb {
    names: &["image history", "history"],
    place: Place::Plain,
    usage: "[OPTIONS] IMAGE",
    about: "Show how an image came to be, layer by layer",
    arity: Arity::Exactly(1),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            flag("format", STRING, "table, table TEMPLATE, json or TEMPLATE"),
            letter(
                "human",
                'H',
                SWITCH,
                "Show sizes and dates for people (default true)",
            ),
            flag("no-trunc", SWITCH, "Show ids and commands whole"),
            flag("platform", STRING, "Of the image for this platform"),
            letter("quiet", 'q', SWITCH, "Show ids alone"),
        ],
    )],
    run: history,
};

pub(super) static TAG: Verb = Verb {
    names: &["image tag", "tag"],
    place: Place::Plain,
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Give an image another name",
    arity: Arity::Exactly(2),
    order: Order::Mixed,
    flags: &[],
    run: tag,
};

pub(super) static RMI: Verb = Verb {
    names: &["image rm", "image remove", "rmi"],
    place: Place::Plain,
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove images, or names of theirs",
    arity: Arity::AtLeast(1),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter("force", 'f', SWITCH, "Remove it though containers use it"),
            flag("no-prune", SWITCH, "Leave untagged parents"),
            flag("platform", LIST, "Of the image for this platform"),
        ],
    )],
    run: rmi,
};

/// The columns that exist, and their titles.
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const DIGEST_TABLE: &str =
    "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

const RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
const DIGEST_RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

fn images(session: &mut Session, parsed: &Parsed) -> Outcome {
    let table = if parsed.on("digests") {
        DIGEST_TABLE
    } else {
        TABLE
    };
    if parsed.on("tree") {
        return Err(not_yet::flag("tree", "tree"));
    }
    let shapes = Shapes {
        configured: session.settings().text("imagesFormat"),
        table,
        quiet: "{{.ID}}",
        raw: if parsed.on("digests") {
            DIGEST_RAW
        } else {
            RAW
        },
        raw_quiet: "image_id: {{.ID}}",
    };
    let mut source = source(parsed, shapes).to_owned();
    if parsed.on("digests") && source.starts_with("table") && !source.contains("{{.Digest}}") {
        source.push_str("\t{{.Digest}}");
    }
    let format = Format::parse(&source, "*formatter.imageContext")?;
    let mut filters = parsed.filters("filter");
    if let Some(reference) = parsed
        .args
        .first()
        .filter(|reference| !reference.is_empty())
    {
        filters.add("reference", reference);
    }
    let ask = Ask::get("/images/json")
        .with_if("all", parsed.on("all"))
        .filtered(&filters);
    let images = session.engine.ask(ask)?;
    let digests = parsed.on("digests") || source.contains("{{.Digest}}");
    let width = Width::of(parsed);
    let mut rows = Vec::new();
    for image in items(&images, "") {
        for (repository, tag, digest) in names(image, digests) {
            rows.push(row(image, &repository, &tag, &digest, width));
        }
    }
    session.print(&format.write(HEADERS, &rows)?);
    Ok(exit::SUCCESS)
}

const NONE: &str = "<none>";

/// The names under which an image is listed: repository, tag, digest.
fn names(image: &Value, with_digests: bool) -> Vec<(String, String, String)> {
    let texts = |field: &str| -> Vec<&str> {
        items(image, field)
            .iter()
            .filter_map(Value::as_str)
            .collect()
    };
    let tags: Vec<(&str, &str)> = texts("RepoTags")
        .into_iter()
        .filter(|name| *name != "<none>:<none>")
        .filter_map(|name| name.rsplit_once(':'))
        .collect();
    let digests: Vec<(&str, &str)> = texts("RepoDigests")
        .into_iter()
        .filter(|name| !name.starts_with(NONE))
        .filter_map(|name| name.split_once('@'))
        .collect();
    let own = |repository: &str, tag: &str, digest: &str| {
        (repository.to_owned(), tag.to_owned(), digest.to_owned())
    };
    let mut out = Vec::new();
    for (repository, tag) in &tags {
        let of_it: Vec<&str> = digests
            .iter()
            .filter(|(name, _)| with_digests && name == repository)
            .map(|(_, digest)| *digest)
            .collect();
        if of_it.is_empty() {
            out.push(own(repository, tag, NONE));
        }
        out.extend(of_it.into_iter().map(|digest| own(repository, tag, digest)));
    }
    for (repository, digest) in &digests {
        if !tags.iter().any(|(name, _)| name == repository) {
            out.push(own(
                repository,
                NONE,
                if with_digests { digest } else { "" },
            ));
        }
    }
    if out.is_empty() {
        out.push(own(NONE, NONE, NONE));
    }
    out
}

/// An image under one of its names, as a row.
pub(super) fn row(image: &Value, repository: &str, tag: &str, digest: &str, width: Width) -> Row {
    let created = number(image, "Created");
    let size = number(image, "Size");
    let shared = image["SharedSize"].as_i64().unwrap_or(-1);
    let containers = image["Containers"].as_i64().unwrap_or(-1);
    let unknown = || "N/A".to_owned();
    let human = |bytes: i64| decimal_size(bytes as f64, 4);
    Row::new(
        vec![
            ("ID", json!(width.id(text(image, "Id")))),
            ("Repository", json!(repository)),
            ("Tag", json!(tag)),
            ("Digest", json!(digest)),
            (
                "CreatedSince",
                json!(format!("{} ago", human_duration(now() - created as f64))),
            ),
            ("CreatedAt", json!(go_default(created))),
            ("Size", json!(decimal_size(size as f64, 3))),
            (
                "Containers",
                json!(if containers == -1 {
                    unknown()
                } else {
                    containers.to_string()
                }),
            ),
            ("VirtualSize", json!(human(size))),
            (
                "SharedSize",
                json!(if shared == -1 {
                    unknown()
                } else {
                    human(shared)
                }),
            ),
            (
                "UniqueSize",
                json!(if shared == -1 || size == -1 {
                    unknown()
                } else {
                    human(size - shared)
                }),
            ),
        ],
        None,
    )
}

/// The first name of an image, for a listing with one row an image.
pub(super) fn first_name(image: &Value) -> (String, String) {
    names(image, false)
        .into_iter()
        .next()
        .map(|(repository, tag, _)| (repository, tag))
        .unwrap_or_default()
}

/// Before this moment a date says that there is none: the year 2000.
const EPOCH: i64 = 946_684_800;
const CREATED_BY_COLUMNS: usize = 45;

fn history(session: &mut Session, parsed: &Parsed) -> Outcome {
    let human = parsed.on_by_default("human");
    let table = if human {
        "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    } else {
        "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
    };
    let shapes = Shapes {
        table,
        quiet: "{{.ID}}",
        ..Shapes::default()
    };
    let format = Format::parse(source(parsed, shapes), "*image.historyContext")?;
    let path = format!("/images/{}/history", segment(&parsed.args[0]));
    let ask = Ask::get(&path).with_some("platform", platform(parsed)?);
    let entries = session.engine.ask(ask)?;
    let width = Width::of(parsed);
    let rows: Vec<Row> = items(&entries, "")
        .iter()
        .map(|entry| {
            let created = number(entry, "Created");
            let size = number(entry, "Size");
            let created_by = text(entry, "CreatedBy").replace('\t', " ");
            let since = match (human, created <= EPOCH) {
                (false, _) => rfc3339(created),
                (true, true) => "N/A".to_owned(),
                (true, false) => format!("{} ago", human_duration(now() - created as f64)),
            };
            Row::new(
                vec![
                    ("ID", json!(width.id(text(entry, "Id")))),
                    ("CreatedAt", json!(rfc3339(created))),
                    ("CreatedSince", json!(since)),
                    (
                        "CreatedBy",
                        json!(width.cut(&created_by, CREATED_BY_COLUMNS)),
                    ),
                    (
                        "Size",
                        json!(if human {
                            decimal_size(size as f64, 3)
                        } else {
                            size.to_string()
                        }),
                    ),
                    ("Comment", json!(text(entry, "Comment"))),
                ],
                None,
            )
        })
        .collect();
    const HISTORY_HEADERS: &[(&str, &str)] = &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ];
    session.print(&format.write(HISTORY_HEADERS, &rows)?);
    Ok(exit::SUCCESS)
}

/// A platform as the API takes it: a JSON object.
pub(super) fn platform(parsed: &Parsed) -> Result<Option<String>, Failure> {
    match parsed.text("platform") {
        "" => Ok(None),
        platform => platform_json(platform).map(Some),
    }
}

fn platform_json(platform: &str) -> Result<String, Failure> {
    let parts: Vec<&str> = platform.split('/').collect();
    match parts.as_slice() {
        [os, architecture] => Ok(json!({"os": os, "architecture": architecture}).to_string()),
        [os, architecture, variant] => {
            Ok(json!({"os": os, "architecture": architecture, "variant": variant}).to_string())
        }
        _ => Err(Failure::new(format!(
            "invalid platform: \"{platform}\": expected os/architecture[/variant]"
        ))),
    }
}

fn tag(session: &mut Session, parsed: &Parsed) -> Outcome {
    let target = &parsed.args[1];
    let bad = |reason: &str| {
        Failure::new(format!(
            "Error parsing reference: \"{target}\" is not a valid repository/tag: {reason}"
        ))
    };
    let name = reference::familiar(target)
        .map_err(|reason| bad(&reason))?
        .ok_or_else(|| {
            bad("invalid repository name, cannot specify 64-byte hexadecimal strings")
        })?;
    if name.contains('@') {
        return Err(Failure::new(
            "refusing to create a tag with a digest reference",
        ));
    }
    let (repository, tag) = name.rsplit_once(':').unwrap_or((&name, "latest"));
    let path = format!("/images/{}/tag", segment(&parsed.args[0]));
    session
        .engine
        .tell(Ask::post(&path).with("repo", repository).with("tag", tag))?;
    Ok(exit::SUCCESS)
}

fn rmi(session: &mut Session, parsed: &Parsed) -> Outcome {
    let mut failures = Vec::new();
    let mut fatal = false;
    for name in &parsed.args {
        let path = format!("/images/{}", segment(name));
        let mut ask = Ask::delete(&path)
            .with_if("force", parsed.on("force"))
            .with_if("noprune", parsed.on("no-prune"));
        for platform in parsed.all("platform") {
            ask = ask.with("platforms", platform_json(platform)?);
        }
        match session.engine.ask(ask) {
            Ok(answer) => {
                for item in items(&answer, "") {
                    match (text(item, "Deleted"), text(item, "Untagged")) {
                        ("", untagged) => session.line(&format!("Untagged: {untagged}")),
                        (deleted, _) => session.line(&format!("Deleted: {deleted}")),
                    }
                }
            }
            Err(error) => {
                fatal |= !error.is_not_found();
                failures.push(error.to_string());
            }
        }
    }
    match Failure::joined(failures) {
        // What is to be gone is gone.
        Some(failure) if parsed.on("force") && !fatal => {
            session.warn(&failure.text);
            Ok(exit::SUCCESS)
        }
        Some(failure) => Err(failure),
        None => Ok(exit::SUCCESS),
    }
}
