//! `network ls`.

use serde_json::{Value, json};

use super::listing::{Shapes, Width, source};
use super::{Arity, Place, Verb, at, items, text};
use crate::engine::Ask;
use crate::failure::{Outcome, exit};
use crate::flags::{FILTER, Order, Parsed, STRING, SWITCH, flag, letter};
use crate::session::Session;
use crate::show::listing::{Format, Row, labels_text};

pub(super) static NETWORK_LS: Verb = Verb {
    names: &["network ls", "network list"],
    place: Place::Managed,
    usage: "[OPTIONS]",
    about: "List networks",
    arity: Arity::None,
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "filter",
                'f',
                FILTER,
                "Show those that fit: driver=…, name=…",
            ),
            flag("format", STRING, "table, table TEMPLATE, json or TEMPLATE"),
            flag("no-trunc", SWITCH, "Show ids whole"),
            letter("quiet", 'q', SWITCH, "Show ids alone"),
        ],
    )],
    run: ls,
};

fn ls(session: &mut Session, parsed: &Parsed) -> Outcome {
    let table = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
    let shapes = Shapes {
        configured: session.settings().text("networksFormat"),
        table,
        quiet: "{{.ID}}",
        raw: "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
        raw_quiet: "network_id: {{.ID}}",
    };
    let format = Format::parse(source(parsed, shapes), "*network.networkContext")?;
    let networks = session
        .engine
        .ask(Ask::get("/networks").filtered(&parsed.filters("filter")))?;
    let width = Width::of(parsed);
    let mut networks: Vec<&Value> = items(&networks, "").iter().collect();
    networks.sort_by(|a, b| text(a, "Name").cmp(text(b, "Name")));
    let rows: Vec<Row> = networks
        .into_iter()
        .map(|network| {
            let labels = at(network, "Labels");
            let holds = |field: &str, default: bool| {
                json!(at(network, field).as_bool().unwrap_or(default).to_string())
            };
            Row::new(
                vec![
                    ("ID", json!(width.id(text(network, "Id")))),
                    ("Name", json!(text(network, "Name"))),
                    ("Driver", json!(text(network, "Driver"))),
                    ("Scope", json!(text(network, "Scope"))),
                    ("IPv4", holds("EnableIPv4", false)),
                    ("IPv6", holds("EnableIPv6", false)),
                    ("Internal", holds("Internal", false)),
                    ("Labels", json!(labels_text(Some(labels)))),
                    (
                        "CreatedAt",
                        json!(
                            text(network, "Created")
                                .replace('T', " ")
                                .replace('Z', " +0000 UTC")
                        ),
                    ),
                ],
                Some(labels),
            )
        })
        .collect();
    const HEADERS: &[(&str, &str)] = &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ];
    session.print(&format.write(HEADERS, &rows)?);
    Ok(exit::SUCCESS)
}
