//! `volume create`, `volume ls`, `volume rm`.

use serde_json::{Map, Value, json};

use super::listing::{Shapes, source};
use super::{Arity, Place, Verb, at, items, number, text};
use crate::create::{environment, key_values, put_map, put_text};
use crate::engine::{Ask, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{FILTER, Kind, LIST, Order, Parsed, STRING, SWITCH, flag, letter};
use crate::not_yet;
use crate::session::Session;
use crate::show::listing::{Format, Row, labels_text};
use crate::show::units::decimal_size;

const LABEL: Kind = Kind::new("list", environment::check_label);

pub(super) static VOLUME_CREATE: Verb = Verb {
    names: &["volume create"],
    place: Place::Managed,
    usage: "[OPTIONS] [VOLUME]",
    about: "Make a volume",
    arity: Arity::AtMost(1),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "driver",
                'd',
                STRING,
                "Driver of the volume (default local)",
            ),
            flag("label", LABEL, "Set metadata, name=value"),
            flag("name", STRING, ""),
            letter("opt", 'o', LIST, "Option of the driver, name=value"),
        ],
    )],
    run: create,
};

pub(super) static VOLUME_LS: Verb = Verb {
    names: &["volume ls", "volume list"],
    place: Place::Managed,
    usage: "[OPTIONS]",
    about: "List volumes",
    arity: Arity::None,
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "filter",
                'f',
                FILTER,
                "Show those that fit: dangling=…, label=…, name=…",
            ),
            flag("cluster", SWITCH, "Show cluster volumes alone"),
            flag("format", STRING, "table, table TEMPLATE, json or TEMPLATE"),
            letter("quiet", 'q', SWITCH, "Show names alone"),
        ],
    )],
    run: ls,
};

pub(super) static VOLUME_RM: Verb = Verb {
    names: &["volume rm", "volume remove"],
    place: Place::Managed,
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove volumes",
    arity: Arity::AtLeast(1),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[letter("force", 'f', SWITCH, "It may be gone already")],
    )],
    run: rm,
};

/// The columns that exist, and their titles.
pub(super) const HEADERS: &[(&str, &str)] = &[
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Group", "GROUP"),
    ("Availability", "AVAILABILITY"),
    ("Status", "STATUS"),
];

fn create(session: &mut Session, parsed: &Parsed) -> Outcome {
    let argument = parsed.args.first().map(String::as_str);
    if argument.is_some() && parsed.given("name") {
        return Err(Failure::new(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        ));
    }
    let mut body = Map::new();
    put_text(&mut body, "Name", argument.unwrap_or(parsed.text("name")));
    put_text(
        &mut body,
        "Driver",
        parsed.last("driver").unwrap_or("local"),
    );
    put_map(&mut body, "DriverOpts", key_values(parsed.all("opt")));
    put_map(&mut body, "Labels", key_values(parsed.all("label")));
    let volume = session
        .engine
        .ask(Ask::post("/volumes/create").json(&Value::Object(body)))?;
    session.line(text(&volume, "Name"));
    Ok(exit::SUCCESS)
}

fn ls(session: &mut Session, parsed: &Parsed) -> Outcome {
    if parsed.on("cluster") {
        return Err(not_yet::flag("cluster", "cluster"));
    }
    let shapes = Shapes {
        configured: session.settings().text("volumesFormat"),
        table: "table {{.Driver}}\t{{.Name}}",
        quiet: "{{.Name}}",
        raw: "name: {{.Name}}\ndriver: {{.Driver}}\n",
        raw_quiet: "name: {{.Name}}",
    };
    let format = Format::parse(source(parsed, shapes), "*formatter.volumeContext")?;
    let answer = session
        .engine
        .ask(Ask::get("/volumes").filtered(&parsed.filters("filter")))?;
    let mut volumes: Vec<&Value> = items(&answer, "Volumes").iter().collect();
    volumes.sort_by(|a, b| text(a, "Name").cmp(text(b, "Name")));
    let rows: Vec<Row> = volumes.into_iter().map(row).collect();
    session.print(&format.write(HEADERS, &rows)?);
    Ok(exit::SUCCESS)
}

/// A volume as a row.
pub(super) fn row(volume: &Value) -> Row {
    let usage = at(volume, "UsageData");
    let unknown = || json!("N/A");
    let labels = at(volume, "Labels");
    Row::new(
        vec![
            ("Name", json!(text(volume, "Name"))),
            ("Driver", json!(text(volume, "Driver"))),
            ("Scope", json!(text(volume, "Scope"))),
            ("Mountpoint", json!(text(volume, "Mountpoint"))),
            ("Labels", json!(labels_text(Some(labels)))),
            (
                "Links",
                if usage.is_null() {
                    unknown()
                } else {
                    json!(number(usage, "RefCount").to_string())
                },
            ),
            (
                "Size",
                if usage.is_null() {
                    unknown()
                } else {
                    json!(decimal_size(number(usage, "Size") as f64, 4))
                },
            ),
            ("Group", unknown()),
            ("Availability", unknown()),
            ("Status", unknown()),
        ],
        Some(labels),
    )
}

fn rm(session: &mut Session, parsed: &Parsed) -> Outcome {
    let mut failures = Vec::new();
    for name in &parsed.args {
        let path = format!("/volumes/{}", segment(name));
        match session
            .engine
            .tell(Ask::delete(&path).with_if("force", parsed.on("force")))
        {
            Ok(()) => session.line(name),
            Err(error) => failures.push(error.to_string()),
        }
    }
    Failure::joined(failures).map_or(Ok(exit::SUCCESS), Err)
}
