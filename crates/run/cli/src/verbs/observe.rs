//! `top`, `port`, `events`.

use std::io::BufReader;

use serde_json::{Value, json};

use super::{Arity, Place, Verb, at, items, number, text};
use crate::engine::{Ask, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{FILTER, Order, Parsed, STRING, flag, letter};
use crate::session::Session;
use crate::show::table::align;
use crate::show::time::{engine_timestamp, rfc3339_nanos};
use crate::template::{Mode, Template, types};
use crate::terminal;

pub(super) static TOP: Verb = Verb {
    names: &["container top", "top"],
    place: Place::Plain,
    usage: "CONTAINER [ps OPTIONS]",
    about: "List the processes of a container",
    arity: Arity::AtLeast(1),
    order: Order::OptionsFirst,
    flags: &[],
    run: top,
};

pub(super) static PORT: Verb = Verb {
    names: &["container port", "port"],
    place: Place::Plain,
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "Show where a container's ports are published",
    arity: Arity::Between(1, 2),
    order: Order::Mixed,
    flags: &[],
    run: port,
};

pub(super) static EVENTS: Verb = Verb {
    names: &["system events", "events"],
    place: Place::Plain,
    usage: "[OPTIONS]",
    about: "Follow what happens in the engine",
    arity: Arity::None,
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "filter",
                'f',
                FILTER,
                "Show those that fit: type=…, event=…, container=…",
            ),
            flag("format", STRING, "json or TEMPLATE"),
            flag("since", STRING, "From this moment on"),
            flag("until", STRING, "Up to this moment"),
        ],
    )],
    run: events,
};

/// The least width of a column of processes, and the space after it.
const PROCESS_COLUMN: usize = 20;
const PROCESS_PADDING: usize = 3;

fn top(session: &mut Session, parsed: &Parsed) -> Outcome {
    let (name, options) = (&parsed.args[0], parsed.args[1..].join(" "));
    let path = format!("/containers/{}/top", segment(name));
    let ask = Ask::get(&path).with_some(
        "ps_args",
        Some(options).filter(|options| !options.is_empty()),
    );
    let answer = session.engine.ask(ask)?;
    let line = |cells: &[Value]| -> String {
        cells
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("\t")
            + "\n"
    };
    let mut out = line(items(&answer, "Titles"));
    for process in items(&answer, "Processes") {
        out.push_str(&line(items(process, "")));
    }
    session.print(&align(&out, PROCESS_COLUMN, PROCESS_PADDING));
    Ok(exit::SUCCESS)
}

fn port(session: &mut Session, parsed: &Parsed) -> Outcome {
    let name = &parsed.args[0];
    let path = format!("/containers/{}/json", segment(name));
    let container = session.engine.ask(Ask::get(&path))?;
    let host = |binding: &Value| {
        let address = text(binding, "HostIp");
        let address = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        format!("{address}:{}", text(binding, "HostPort"))
    };
    let ports = at(&container, "NetworkSettings.Ports");
    let mut out = Vec::new();
    if let Some(wanted) = parsed.args.get(1) {
        let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
        if number.parse::<u16>().is_err() {
            return Err(Failure::new(format!(
                "invalid port '{number}': invalid syntax"
            )));
        }
        // A port's name has no dots to be taken for a path.
        let bindings = items(&ports[format!("{number}/{protocol}")], "");
        if bindings.is_empty() {
            return Err(Failure::new(format!(
                "Error: No public port '{wanted}' published for {name}"
            )));
        }
        out.extend(bindings.iter().map(host));
    } else if let Value::Object(ports) = ports {
        for (port, bindings) in ports {
            out.extend(
                items(bindings, "")
                    .iter()
                    .map(|binding| format!("{port} -> {}", host(binding))),
            );
        }
    }
    out.sort_by_key(|a| natural_key(a));
    if !out.is_empty() {
        session.line(&out.join("\n"));
    }
    Ok(exit::SUCCESS)
}

/// A key by which 9 comes before 10.
fn natural_key(text: &str) -> Vec<(String, u64)> {
    let mut key = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let end = rest[digits..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |end| digits + end);
        key.push((
            rest[..digits].to_owned(),
            rest[digits..end].parse().unwrap_or(0),
        ));
        rest = &rest[end..];
    }
    key
}

fn events(session: &mut Session, parsed: &Parsed) -> Outcome {
    let template = match parsed.text("format") {
        "" => None,
        "json" => Some("{{json .}}"),
        source => Some(source),
    };
    let template = template.map(event_template).transpose().map_err(|error| {
        Failure::new(format!("Error parsing format: {error}")).status(exit::BAD_TEMPLATE)
    })?;
    let moment = |name: &str| match parsed.text(name) {
        "" => Ok(None),
        text => engine_timestamp(text).map(Some).map_err(Failure::new),
    };
    let ask = Ask::get("/events")
        .with_some("since", moment("since")?)
        .with_some("until", moment("until")?)
        .filtered(&parsed.filters("filter"));
    let response = session.engine.call(ask)?;
    let body = BufReader::new(response.into_body());
    for event in serde_json::Deserializer::from_reader(body).into_iter::<Value>() {
        let event = event.map_err(|error| {
            Failure::new(if error.is_eof() {
                "unexpected EOF".to_owned()
            } else {
                error.to_string()
            })
        })?;
        let (mut line, done) = match &template {
            Some(template) => template.print(&event, Mode::Typed(types::EVENT)),
            None => (event_line(&event), Ok(())),
        };
        line.push('\n');
        if terminal::write_stdout(line.as_bytes()).is_err() {
            return Ok(exit::FAILURE);
        }
        done.map_err(Failure::new)?;
    }
    Ok(exit::SUCCESS)
}

/// A template that is known to fit an event: one that names a field which no
/// event has is refused before the first.
fn event_template(source: &str) -> Result<Template, String> {
    let template = Template::parse(source)?;
    template.execute_as(&json!({}), Mode::Typed(types::EVENT_POINTER))?;
    Ok(template)
}

/// An event for people: when, what happened to whom, and what is known of it.
fn event_line(event: &Value) -> String {
    let nanos = match number(event, "timeNano") {
        0 => i128::from(number(event, "time")) * 1_000_000_000,
        nanos => i128::from(nanos),
    };
    let mut line = if nanos == 0 {
        String::new()
    } else {
        format!("{} ", rfc3339_nanos(nanos))
    };
    line.push_str(&format!(
        "{} {} {}",
        text(event, "Type"),
        text(event, "Action"),
        text(event, "Actor.ID")
    ));
    if let Some(attributes) = at(event, "Actor.Attributes")
        .as_object()
        .filter(|attributes| !attributes.is_empty())
    {
        let mut pairs: Vec<String> = attributes
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
            .collect();
        pairs.sort_by(|a, b| a.split('=').next().cmp(&b.split('=').next()));
        line.push_str(&format!(" ({})", pairs.join(", ")));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_in_natural_order() {
        let mut ports = vec!["100/tcp -> x:1", "80/tcp -> x:10", "80/tcp -> x:9"];
        ports.sort_by_key(|port| natural_key(port));
        assert_eq!(ports, ["80/tcp -> x:9", "80/tcp -> x:10", "100/tcp -> x:1"]);
    }
}
