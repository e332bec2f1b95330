//! `inspect`, of anything and of one kind.

use serde_json::Value;

use super::images::platform;
use super::{Arity, Place, Verb};
use crate::engine::{Ask, EngineError, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Flag, Order, Parsed, STRING, SWITCH, flag, letter, quantity};
use crate::session::Session;
use crate::template::types::{self, Type};
use crate::template::{Inspector, Json, Object, Template, html_safe};

const FORMAT: Flag = letter("format", 'f', STRING, "json or TEMPLATE");
const SIZE: Flag = letter("size", 's', SWITCH, "Show sizes of containers");

const fn verb(
    names: &'static [&'static str],
    usage: &'static str,
    about: &'static str,
    flags: &'static [(&'static str, &'static [Flag])],
    run: fn(&mut Session, &Parsed) -> Outcome,
) -> Verb {
    Verb {
        names,
        place: Place::Managed,
        usage,
        about,
        arity: Arity::AtLeast(1),
        order: Order::Mixed,
        flags,
        run,
    }
}

pub(super) static INSPECT: Verb = Verb {
    names: &["inspect"],
    place: Place::Plain,
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Show all that is known of a container, image, volume or network",
    arity: Arity::AtLeast(1),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            FORMAT,
            SIZE,
            flag(
                "type",
                STRING,
                "Of this type alone: container, image, network, volume",
            ),
        ],
    )],
    run: inspect,
};

pub(super) static CONTAINER_INSPECT: Verb = verb(
    &["container inspect"],
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Show all that is known of containers",
    &[("Options", &[FORMAT, SIZE])],
    |session, parsed| {
        show(session, parsed, |session, name| {
            get(session, "containers", name, size(parsed))
        })
    },
);

pub(super) static IMAGE_INSPECT: Verb = verb(
    &["image inspect"],
    "[OPTIONS] IMAGE [IMAGE...]",
    "Show all that is known of images",
    &[(
        "Options",
        &[
            FORMAT,
            flag("platform", STRING, "Of the image for this platform"),
        ],
    )],
    |session, parsed| {
        let platform = platform(parsed)?;
        show(session, parsed, |session, name| {
            let path = format!("/images/{}/json", segment(name));
            let ask = Ask::get(&path).with_some("platform", platform.as_ref());
            let bytes = session.engine.ask_raw(ask)?;
            object(&bytes, types::IMAGE)
        })
    },
);

pub(super) static NETWORK_INSPECT: Verb = verb(
    &["network inspect"],
    "[OPTIONS] NETWORK [NETWORK...]",
    "Show all that is known of networks",
    &[(
        "Options",
        &[
            FORMAT,
            letter("verbose", 'v', SWITCH, "Verbose output for diagnostics"),
        ],
    )],
    |session, parsed| {
        show(session, parsed, |session, name| {
            get(session, "networks", name, Sizes::Without)
        })
    },
);

pub(super) static VOLUME_INSPECT: Verb = verb(
    &["volume inspect"],
    "[OPTIONS] VOLUME [VOLUME...]",
    "Show all that is known of volumes",
    &[("Options", &[FORMAT])],
    |session, parsed| {
        show(session, parsed, |session, name| {
            let found = get(session, "volumes", name, Sizes::Without)?;
            Ok(Object {
                json: Json::Dropped,
                ..found
            })
        })
    },
);

/// The types that `--type` knows, in the order in which a name is looked up.
const TYPES: &[&str] = &[
    "container",
    "image",
    "network",
    "volume",
    "config",
    "node",
    "plugin",
    "secret",
    "service",
    "task",
];

/// Whether a container's sizes are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    With,
    Without,
}

fn size(parsed: &Parsed) -> Sizes {
    if parsed.on("size") {
        Sizes::With
    } else {
        Sizes::Without
    }
}

fn get(
    session: &mut Session,
    collection: &str,
    name: &str,
    sizes: Sizes,
) -> Result<Object, Failure> {
    let (bytes, ty) = fetch(session, collection, name, sizes)?;
    object(&bytes, ty)
}

fn object(bytes: &[u8], ty: &'static Type) -> Result<Object, Failure> {
    let value = serde_json::from_slice(bytes)
        .map_err(|error| Failure::new(format!("unable to read inspect data: {error}")))?;
    Ok(Object {
        value,
        ty,
        json: Json::Kept,
    })
}

fn fetch(
    session: &mut Session,
    collection: &str,
    name: &str,
    sizes: Sizes,
) -> Result<(Vec<u8>, &'static Type), EngineError> {
    let name = segment(name);
    let path = match collection {
        "containers" | "images" | "plugins" => format!("/{collection}/{name}/json"),
        _ => format!("/{collection}/{name}"),
    };
    let bytes = session.engine.ask_raw(
        Ask::get(&path).with_if("size", sizes == Sizes::With && collection == "containers"),
    )?;
    let ty = match collection {
        "containers" => types::CONTAINER,
        "images" => types::IMAGE,
        "networks" => types::NETWORK,
        "volumes" => types::VOLUME,
        // What no engine of ours has is read as bare JSON.
        _ => types::NOTHING,
    };
    Ok((bytes, ty))
}

fn inspect(session: &mut Session, parsed: &Parsed) -> Outcome {
    let wanted = parsed.text("type").to_owned();
    if parsed.given("type") && wanted.is_empty() {
        return Err(Failure::new(format!(
            "type is empty: must be one of {}",
            types()
        )));
    }
    if !wanted.is_empty() && !TYPES.contains(&wanted.as_str()) {
        return Err(Failure::new(format!(
            "unknown type: {}: must be one of {}",
            quantity::quote(&wanted),
            types()
        )));
    }
    let sizes = size(parsed);
    show(session, parsed, |session, name| {
        find(session, name, &wanted, sizes)
    })
}

fn types() -> String {
    let mut types: Vec<String> = TYPES.iter().map(|kind| quantity::quote(kind)).collect();
    types.sort();
    types.join(", ")
}

/// What has the name: a container, else an image, and so on.
fn find(session: &mut Session, name: &str, wanted: &str, sizes: Sizes) -> Result<Object, Failure> {
    for kind in TYPES {
        let swarm = matches!(*kind, "config" | "node" | "secret" | "service" | "task");
        let fits = if wanted.is_empty() {
            !swarm
        } else {
            wanted == *kind
        };
        if !fits {
            continue;
        }
        match fetch(session, &format!("{kind}s"), name, sizes) {
            Ok((bytes, ty)) => {
                if sizes == Sizes::With && *kind != "container" {
                    session.warn(&format!("WARNING: --size ignored for {kind}"));
                }
                return object(&bytes, ty);
            }
            Err(error) if wanted.is_empty() && is_another_kind(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(format!("Error: No such object: {name}")))
}

/// Whether an error only says that the name is not one of that kind.
fn is_another_kind(error: &EngineError) -> bool {
    let text = error.to_string();
    error.is_not_found()
        || matches!(error, EngineError::Refused { status: 501, .. })
        || text.contains("not supported")
        || text.contains("invalid reference format")
}

/// Prints what `get` finds for each name.
fn show(
    session: &mut Session,
    parsed: &Parsed,
    mut get: impl FnMut(&mut Session, &str) -> Result<Object, Failure>,
) -> Outcome {
    let source = parsed.text("format");
    let mut inspector = match source {
        "" | "json" => None,
        source => Some(Inspector::new(Template::parse(source).map_err(
            |error| {
                Failure::new(format!("template parsing error: {error}")).status(exit::BAD_TEMPLATE)
            },
        )?)),
    };
    let mut failures = Vec::new();
    let mut found = Vec::new();
    let mut out = String::new();
    // Go escapes for HTML what it encodes itself.
    let mut escapes = false;
    for name in &parsed.args {
        match (get(session, name), &mut inspector) {
            (Err(failure), _) => failures.push(failure.text),
            (Ok(object), None) => {
                escapes |= object.json == Json::Dropped;
                found.push(object.shown());
            }
            (Ok(object), Some(inspector)) => match inspector.print(&object) {
                Ok(text) => {
                    out.push_str(&text);
                    out.push('\n');
                }
                Err(error) => failures.push(format!("template parsing error: {error}")),
            },
        }
    }
    match inspector {
        Some(_) if out.is_empty() => out.push('\n'),
        Some(_) => {}
        None if source == "json" => out = format!("{}\n", Value::Array(found)),
        None => out = format!("{}\n", indented(&Value::Array(found))),
    }
    if escapes {
        out = html_safe(&out);
    }
    session.print(&out);
    Failure::joined(failures).map_or(Ok(exit::SUCCESS), Err)
}

/// JSON with four spaces a level.
fn indented(value: &Value) -> String {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => value.to_string(),
    }
}
