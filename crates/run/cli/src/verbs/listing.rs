//! `ps`.

use serde_json::{Value, json};

use super::{Arity, Place, Verb, at, items, number, text};
use crate::engine::Ask;
use crate::failure::{Failure, Outcome, exit};
use crate::flags::quantity::quote;
use crate::flags::{FILTER, Flag, INT, Order, Parsed, STRING, SWITCH, flag, letter};
use crate::session::Session;
use crate::show::listing::{Format, Row, labels_text};
use crate::show::time::{go_default, now};
use crate::show::units::{decimal_size, ellipsis, human_duration, short_id};
use crate::template::{Mode, Template};

static FLAGS: &[Flag] = &[
    letter(
        "all",
        'a',
        SWITCH,
        "Show all containers, not only running ones",
    ),
    letter(
        "filter",
        'f',
        FILTER,
        "Show those that fit: name=…, status=…, label=…",
    ),
    flag("format", STRING, "table, table TEMPLATE, json or TEMPLATE"),
    letter("last", 'n', INT, "Show the n last created, of all states"),
    letter(
        "latest",
        'l',
        SWITCH,
        "Show the last created, of all states",
    ),
    flag("no-trunc", SWITCH, "Show ids and commands whole"),
    letter("quiet", 'q', SWITCH, "Show ids alone"),
    letter("size", 's', SWITCH, "Show sizes"),
];

pub(super) static PS: Verb = Verb {
    names: &["container ls", "container list", "container ps", "ps"],
    place: Place::Common,
    usage: "[OPTIONS]",
    about: "List containers",
    arity: Arity::None,
    order: Order::Mixed,
    flags: &[("Options", FLAGS)],
    run: ps,
};

/// How long a command and a mount may be in a table.
const COMMAND_COLUMNS: usize = 20;
const MOUNT_COLUMNS: usize = 15;

/// The columns that exist, and their titles.
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

/// Whether ids and the like are shown whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Short,
    Whole,
}

impl Width {
    pub(super) fn of(parsed: &Parsed) -> Self {
        if parsed.on("no-trunc") {
            Self::Whole
        } else {
            Self::Short
        }
    }

    pub(super) fn id(self, id: &str) -> &str {
        match self {
            Self::Short => short_id(id),
            Self::Whole => id,
        }
    }

    pub(super) fn cut(self, text: &str, columns: usize) -> String {
        match self {
            Self::Short => ellipsis(text, columns),
            Self::Whole => text.to_owned(),
        }
    }
}

/// What a verb can show its listing by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shapes<'a> {
    /// The user's settings', instead of the table.
    pub(super) configured: &'a str,
    /// The table.
    pub(super) table: &'a str,
    /// For `--quiet`.
    pub(super) quiet: &'a str,
    /// For `--format raw`; empty where docker has none.
    pub(super) raw: &'a str,
    /// For both.
    pub(super) raw_quiet: &'a str,
}

/// The source of a listing's format: the verb's table for nothing or `table`.
pub(super) fn source<'a>(parsed: &'a Parsed, shapes: Shapes<'a>) -> &'a str {
    let format = match parsed.text("format") {
        "" => shapes.configured,
        format => format,
    };
    match (format, parsed.on("quiet")) {
        ("raw", true) if !shapes.raw.is_empty() => shapes.raw_quiet,
        (_, true) => shapes.quiet,
        ("raw", false) if !shapes.raw.is_empty() => shapes.raw,
        ("" | "table", false) => shapes.table,
        (format, false) => format,
    }
}

fn ps(session: &mut Session, parsed: &Parsed) -> Outcome {
    if parsed.on("quiet") && !parsed.text("format").is_empty() {
        session.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    let with_size = format!("{TABLE}\t{{{{.Size}}}}");
    let table = if parsed.on("size") {
        with_size.as_str()
    } else {
        TABLE
    };
    let shapes = Shapes {
        configured: session.settings().text("psFormat"),
        table,
        quiet: "{{.ID}}",
        raw: &raw_format(parsed.on("size")),
        raw_quiet: "container_id: {{.ID}}",
    };
    let given = match parsed.text("format") {
        "" => shapes.configured,
        given => given,
    };
    let template = tried(given)?;
    let format = Format::parse(source(parsed, shapes), ROW_TYPE)?;
    // Sizes cost the engine a walk: they are asked for where they are shown.
    let size = parsed.on("size")
        || (!parsed.given("size") && !parsed.on("quiet") && template.reads("Size"));
    let last = parsed.number("last").unwrap_or(-1);
    let limit = if parsed.on("latest") && last == -1 {
        1
    } else {
        last
    };
    let ask = Ask::get("/containers/json")
        .with_if("all", parsed.on("all"))
        .with_some("limit", (limit > 0).then(|| limit.to_string()))
        .with_if("size", size)
        .filtered(&parsed.filters("filter"));
    let containers = session.engine.ask(ask)?;
    let width = Width::of(parsed);
    let rows: Vec<Row> = items(&containers, "")
        .iter()
        .map(|container| row(container, width))
        .collect();
    session.print(&format.write(HEADERS, &rows)?);
    Ok(exit::SUCCESS)
}

/// The `raw` format's template.
fn raw_format(size: bool) -> String {
    let mut source = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
                      state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\n\
                      labels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n"
        .to_owned();
    if size {
        source.push_str("size: {{.Size}}\n");
    }
    source
}

/// What docker's client calls a row.
const ROW_TYPE: &str = "*formatter.ContainerContext";

/// Tries a format as it was given on no container: docker does so for this
/// verb alone, whether or not there are rows.
fn tried(format: &str) -> Result<Template, Failure> {
    let template = Template::parse(format)
        .map_err(|error| Failure::new(format!("failed to parse template: {error}")))?;
    let nothing = row(&json!({}), Width::Whole);
    template
        .execute_as(&nothing.0, Mode::Row(ROW_TYPE))
        .map_err(|error| Failure::new(format!("failed to execute template: {error}")))?;
    Ok(template)
}

/// A container as a row.
pub(super) fn row(container: &Value, width: Width) -> Row {
    let created = number(container, "Created");
    let mounts = items(container, "Mounts");
    let mount_names: Vec<String> = mounts
        .iter()
        .map(|mount| {
            let name = text(mount, "Name");
            width.cut(
                if name.is_empty() {
                    text(mount, "Source")
                } else {
                    name
                },
                MOUNT_COLUMNS,
            )
        })
        .collect();
    let local = mounts
        .iter()
        .filter(|mount| text(mount, "Driver") == "local")
        .count();
    let networks = at(container, "NetworkSettings.Networks");
    let networks: Vec<&str> = networks
        .as_object()
        .map(|networks| networks.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let command = width.cut(text(container, "Command"), COMMAND_COLUMNS);
    let labels = at(container, "Labels");
    Row::new(
        vec![
            ("ID", json!(width.id(text(container, "Id")))),
            ("Names", json!(names(container, width))),
            ("Image", json!(image(container, width))),
            ("Command", json!(quote(&command))),
            ("CreatedAt", json!(go_default(created))),
            (
                "RunningFor",
                json!(format!("{} ago", human_duration(now() - created as f64))),
            ),
            ("Ports", json!(ports(items(container, "Ports")))),
            ("State", json!(text(container, "State"))),
            ("Status", json!(text(container, "Status"))),
            ("Size", json!(size(container))),
            ("Labels", json!(labels_text(Some(labels)))),
            ("Mounts", json!(mount_names.join(","))),
            ("LocalVolumes", json!(local.to_string())),
            ("Networks", json!(networks.join(","))),
            (
                "Platform",
                at(container, "ImageManifestDescriptor.platform").clone(),
            ),
        ],
        Some(labels),
    )
}

/// The name; with links' names where there is room.
fn names(container: &Value, width: Width) -> String {
    let names: Vec<&str> = items(container, "Names")
        .iter()
        .filter_map(Value::as_str)
        .map(|name| name.strip_prefix('/').unwrap_or(name))
        .collect();
    match width {
        Width::Short => names
            .into_iter()
            .find(|name| !name.contains('/'))
            .unwrap_or_default()
            .to_owned(),
        Width::Whole => names.join(","),
    }
}

fn image(container: &Value, width: Width) -> String {
    let image = text(container, "Image");
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if width == Width::Whole {
        return image.to_owned();
    }
    if short_id(image) == short_id(text(container, "ImageID")) {
        return short_id(image).to_owned();
    }
    // A digest beside a name says nothing to people.
    image
        .split_once('@')
        .map_or(image, |(name, _)| name)
        .to_owned()
}

fn size(container: &Value) -> String {
    let own = decimal_size(number(container, "SizeRw") as f64, 3);
    match number(container, "SizeRootFs") {
        whole if whole > 0 => format!("{own} (virtual {})", decimal_size(whole as f64, 3)),
        _ => own,
    }
}

/// One published or exposed port of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    private: u16,
    address: String,
    public: u16,
    protocol: String,
}

/// Ports in the short form, neighbours as ranges.
pub(super) fn ports(ports: &[Value]) -> String {
    let mut ports: Vec<Port> = ports
        .iter()
        .map(|port| Port {
            private: u16::try_from(number(port, "PrivatePort")).unwrap_or(0),
            address: text(port, "IP").to_owned(),
            public: u16::try_from(number(port, "PublicPort")).unwrap_or(0),
            protocol: text(port, "Type").to_owned(),
        })
        .collect();
    ports.sort();
    let host = |address: &str| {
        if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        }
    };
    let mut groups: Vec<(String, u16, u16)> = Vec::new();
    let mut out = Vec::new();
    let mut mapped = Vec::new();
    let shown = |key: &str, first: u16, last: u16| {
        let range = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        match key.rsplit_once('/') {
            Some((address, protocol)) => format!("{}:{range}->{range}/{protocol}", host(address)),
            None => format!("{range}/{key}"),
        }
    };
    for port in &ports {
        if !port.address.is_empty() && port.public != port.private {
            mapped.push(format!(
                "{}:{}->{}/{}",
                host(&port.address),
                port.public,
                port.private,
                port.protocol
            ));
            continue;
        }
        let key = if port.address.is_empty() {
            port.protocol.clone()
        } else {
            format!("{}/{}", port.address, port.protocol)
        };
        match groups.iter_mut().find(|(known, _, _)| *known == key) {
            Some((_, _, last)) if port.private == *last => {}
            Some((_, _, last)) if port.private == last.saturating_add(1) => *last = port.private,
            Some((_, first, last)) => {
                out.push(shown(&key, *first, *last));
                (*first, *last) = (port.private, port.private);
            }
            None => groups.push((key, port.private, port.private)),
        }
    }
    for (key, first, last) in groups {
        out.push(shown(&key, first, last));
    }
    out.extend(mapped);
    out.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_the_short_form() {
        let port = |private: u16, public: u16, address: &str, protocol: &str| json!({"IP": address, "PrivatePort": private, "PublicPort": public, "Type": protocol});
        for (given, expected) in [
            (vec![port(80, 0, "", "tcp")], "80/tcp"),
            (
                vec![port(80, 8080, "0.0.0.0", "tcp")],
                "0.0.0.0:8080->80/tcp",
            ),
            (vec![port(80, 80, "::", "tcp")], "[::]:80->80/tcp"),
            (
                vec![
                    port(81, 0, "", "tcp"),
                    port(80, 0, "", "tcp"),
                    port(90, 0, "", "udp"),
                ],
                "80-81/tcp, 90/udp",
            ),
            (
                vec![
                    port(80, 80, "0.0.0.0", "tcp"),
                    port(81, 81, "0.0.0.0", "tcp"),
                ],
                "0.0.0.0:80-81->80-81/tcp",
            ),
            (
                vec![port(80, 0, "", "tcp"), port(99, 0, "", "tcp")],
                "80/tcp, 99/tcp",
            ),
        ] {
            assert_eq!(ports(&given), expected);
        }
    }
}
