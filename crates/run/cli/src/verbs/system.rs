//! `version`, `info`.

use serde_json::{Map, Value, json};

use super::{Arity, Place, Verb, at, items, number, text};
use crate::engine::{Ask, NEWEST_VERSION};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::{Flag, Order, Parsed, STRING, letter};
use crate::session::Session;
use crate::show::table::align;
use crate::show::time::ansi_c;
use crate::show::units::binary_size;
use crate::template::{Mode, Template, types};

const FORMAT: Flag = letter("format", 'f', STRING, "json or TEMPLATE");

pub(super) static VERSION: Verb = Verb {
    names: &["version"],
    place: Place::Common,
    usage: "[OPTIONS]",
    about: "Show the version of the client and of the engine",
    arity: Arity::None,
    order: Order::Mixed,
    flags: &[("Options", &[FORMAT])],
    run: version,
};

pub(super) static INFO: Verb = Verb {
    names: &["system info", "info"],
    place: Place::Common,
    usage: "[OPTIONS]",
    about: "Show facts about the engine and its machine",
    arity: Arity::None,
    order: Order::Mixed,
    flags: &[("Options", &[FORMAT])],
    run: info,
};

/// The user's template, if there is one.
fn template(name: &'static str, parsed: &Parsed) -> Result<Option<Template>, Failure> {
    let source = match parsed.text("format") {
        "" => return Ok(None),
        "json" => "{{json .}}",
        source => source,
    };
    Template::parse_named(name, source)
        .map(Some)
        .map_err(|error| {
            Failure::new(format!("template parsing error: {error}")).status(exit::BAD_TEMPLATE)
        })
}

fn client(session: &Session) -> Map<String, Value> {
    let mut client = Map::new();
    for (name, value) in [
        ("Version", env!("CARGO_PKG_VERSION")),
        ("ApiVersion", session.engine.version()),
        ("DefaultAPIVersion", NEWEST_VERSION),
        ("Os", "linux"),
        ("Arch", architecture()),
        ("Context", "default"),
        // What this program does not know of itself, templates may still name.
        ("GitCommit", ""),
        ("GoVersion", ""),
        ("BuildTime", ""),
    ] {
        client.insert(name.to_owned(), json!(value));
    }
    client
}

/// The architecture by the name that Docker's world has for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn version(session: &mut Session, parsed: &Parsed) -> Outcome {
    let template = template("version", parsed)?;
    let server = session.engine.ask(Ask::get("/version"));
    let client = client(session);
    let shown = match &server {
        Ok(server) => normal_server(server),
        Err(_) => Value::Null,
    };
    match template {
        Some(template) => {
            let data = json!({"Client": client, "Server": shown});
            let (printed, done) = template.print(&data, Mode::Typed(types::VERSION));
            session.line(&printed);
            if server.is_ok() {
                done.map_err(Failure::new)?;
            }
        }
        None => session.line(align(&version_text(&client, &shown), 20, 1).trim_end_matches('\n')),
    }
    server.map(|_| exit::SUCCESS).map_err(Failure::from)
}

/// The engine's own component's details beside the server's fields, whichever
/// version of the API said them.
fn normal_server(server: &Value) -> Value {
    let mut server = server.clone();
    let fields = [
        "ApiVersion",
        "Arch",
        "BuildTime",
        "Experimental",
        "GitCommit",
        "GoVersion",
        "KernelVersion",
        "MinAPIVersion",
        "Os",
    ];
    if items(&server, "Components").is_empty() {
        let details: Map<String, Value> = fields
            .iter()
            .map(|field| ((*field).to_owned(), at(&server, field).clone()))
            .collect();
        server["Components"] =
            json!([{"Name": "Engine", "Version": text(&server, "Version"), "Details": details}]);
    }
    if let Some(components) = server["Components"].as_array_mut() {
        for component in components
            .iter_mut()
            .filter(|component| text(component, "Name") == "Engine")
        {
            if let Some(Value::String(built)) = component["Details"].get_mut("BuildTime") {
                *built = ansi_c(built);
            }
        }
    }
    server
}

fn version_text(client: &Map<String, Value>, server: &Value) -> String {
    let field = |name: &str| client.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut api = field("ApiVersion").to_owned();
    if api != NEWEST_VERSION {
        api.push_str(&format!(" (downgraded from {NEWEST_VERSION})"));
    }
    let mut out = format!(
        "Client:\n Version:\t{}\n API version:\t{api}\n OS/Arch:\t{}/{}\n Context:\t{}\n",
        field("Version"),
        field("Os"),
        field("Arch"),
        field("Context")
    );
    if server.is_null() {
        return out;
    }
    let platform = text(server, "Platform.Name");
    out.push_str(&format!(
        "\nServer:{}\n",
        if platform.is_empty() {
            String::new()
        } else {
            format!(" {platform}")
        }
    ));
    for component in items(server, "Components") {
        let name = text(component, "Name");
        out.push_str(&format!(
            " {name}:\n  Version:\t{}\n",
            text(component, "Version")
        ));
        let details = at(component, "Details");
        if name == "Engine" {
            let detail = |name: &str| text(details, name);
            out.push_str(&format!(
                "  API version:\t{} (minimum version {})\n",
                detail("ApiVersion"),
                detail("MinAPIVersion")
            ));
            for (title, name) in [
                ("Go version", "GoVersion"),
                ("Git commit", "GitCommit"),
                ("Built", "BuildTime"),
            ] {
                if !detail(name).is_empty() {
                    out.push_str(&format!("  {title}:\t{}\n", detail(name)));
                }
            }
            out.push_str(&format!(
                "  OS/Arch:\t{}/{}\n",
                detail("Os"),
                detail("Arch")
            ));
            out.push_str(&format!("  Experimental:\t{}\n", detail("Experimental")));
        } else if let Value::Object(details) = details {
            let mut names: Vec<&String> = details.keys().collect();
            names.sort();
            for name in names {
                out.push_str(&format!(
                    "  {name}:\t{}\n",
                    details[name].as_str().unwrap_or_default()
                ));
            }
        }
    }
    out
}

fn info(session: &mut Session, parsed: &Parsed) -> Outcome {
    let template = template("", parsed)?;
    let server = session.engine.ask(Ask::get("/info"));
    if let Some(template) = template {
        let mut data = match &server {
            Ok(Value::Object(fields)) => fields.clone(),
            _ => Map::new(),
        };
        let mut client = client(session);
        client.insert("Debug".to_owned(), json!(false));
        client.insert("Plugins".to_owned(), json!([]));
        client.insert("Warnings".to_owned(), Value::Null);
        data.insert("ClientInfo".to_owned(), Value::Object(client));
        let (printed, done) = template.print(&Value::Object(data), Mode::Typed(types::INFO));
        server?;
        session.line(&printed);
        done.map_err(Failure::new)?;
        return Ok(exit::SUCCESS);
    }
    session.print(&format!(
        "Client:\n Version:    {}\n Context:    default\n Debug Mode: false\n\nServer:\n",
        env!("CARGO_PKG_VERSION")
    ));
    let server = server?;
    session.print(&info_text(&server));
    session.line("");
    for warning in items(&server, "Warnings") {
        session.warn(warning.as_str().unwrap_or_default());
    }
    Ok(exit::SUCCESS)
}

/// Lines of `name: value`, indented as they belong together.
struct Lines(String);

impl Lines {
    fn always(&mut self, name: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!(" {name}: {value}\n"));
    }

    fn if_any(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.always(name, value);
        }
    }
}

fn info_text(info: &Value) -> String {
    let mut lines = Lines(String::new());
    let bool = |path: &str| at(info, path).as_bool().unwrap_or(false);
    let joined = |path: &str| {
        items(info, path)
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    };
    lines.always("Containers", number(info, "Containers"));
    lines.always(" Running", number(info, "ContainersRunning"));
    lines.always(" Paused", number(info, "ContainersPaused"));
    lines.always(" Stopped", number(info, "ContainersStopped"));
    lines.always("Images", number(info, "Images"));
    lines.if_any("Server Version", text(info, "ServerVersion"));
    lines.if_any("Storage Driver", text(info, "Driver"));
    for pair in items(info, "DriverStatus") {
        if let [Value::String(name), Value::String(value)] = items(pair, "") {
            lines.always(&format!(" {name}"), value);
        }
    }
    lines.if_any("Logging Driver", text(info, "LoggingDriver"));
    lines.if_any("Cgroup Driver", text(info, "CgroupDriver"));
    lines.if_any("Cgroup Version", text(info, "CgroupVersion"));
    lines.0.push_str(" Plugins:\n");
    lines.always(" Volume", joined("Plugins.Volume"));
    lines.always(" Network", joined("Plugins.Network"));
    lines.if_any(" Authorization", &joined("Plugins.Authorization"));
    lines.always(" Log", joined("Plugins.Log"));
    if !items(info, "CDISpecDirs").is_empty() {
        lines.0.push_str(" CDI spec directories:\n");
        for folder in items(info, "CDISpecDirs") {
            lines
                .0
                .push_str(&format!("  {}\n", folder.as_str().unwrap_or_default()));
        }
    }
    lines.always("Swarm", text(info, "Swarm.LocalNodeState"));
    if let Some(runtimes) = at(info, "Runtimes")
        .as_object()
        .filter(|runtimes| !runtimes.is_empty())
    {
        let mut names: Vec<&str> = runtimes.keys().map(String::as_str).collect();
        names.sort_unstable();
        lines.always("Runtimes", names.join(" "));
        lines.always("Default Runtime", text(info, "DefaultRuntime"));
    }
    if text(info, "OSType") == "linux" {
        lines.always("Init Binary", text(info, "InitBinary"));
        for (name, field) in [
            ("containerd version", "ContainerdCommit.ID"),
            ("runc version", "RuncCommit.ID"),
            ("init version", "InitCommit.ID"),
        ] {
            lines.always(name, text(info, field));
        }
        security_text(info, &mut lines);
    }
    for (name, field) in [
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    ] {
        lines.if_any(name, text(info, field));
    }
    lines.always("CPUs", number(info, "NCPU"));
    lines.always("Total Memory", binary_size(number(info, "MemTotal") as f64));
    lines.if_any("Name", text(info, "Name"));
    lines.if_any("ID", text(info, "ID"));
    lines.always("Docker Root Dir", text(info, "DockerRootDir"));
    lines.always("Debug Mode", bool("Debug"));
    if bool("Debug") {
        lines.always(" File Descriptors", number(info, "NFd"));
        lines.always(" Goroutines", number(info, "NGoroutines"));
        lines.always(" System Time", text(info, "SystemTime"));
        lines.always(" EventsListeners", number(info, "NEventsListener"));
    }
    for (name, field) in [
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
    ] {
        lines.if_any(name, text(info, field));
    }
    let labels = items(info, "Labels");
    if !labels.is_empty() {
        lines.0.push_str(" Labels:\n");
        for label in labels {
            lines
                .0
                .push_str(&format!("  {}\n", label.as_str().unwrap_or_default()));
        }
    }
    lines.always("Experimental", bool("ExperimentalBuild"));
    registries_text(info, &mut lines);
    lines.always("Live Restore Enabled", bool("LiveRestoreEnabled"));
    lines.if_any("Product License", text(info, "ProductLicense"));
    let pools = items(info, "DefaultAddressPools");
    if !pools.is_empty() {
        lines.0.push_str(" Default Address Pools:\n");
        for pool in pools {
            lines.0.push_str(&format!(
                "   Base: {}, Size: {}\n",
                text(pool, "Base"),
                number(pool, "Size")
            ));
        }
    }
    lines.0
}

fn security_text(info: &Value, lines: &mut Lines) {
    let options = items(info, "SecurityOptions");
    if options.is_empty() {
        return;
    }
    lines.0.push_str(" Security Options:\n");
    for option in options.iter().filter_map(Value::as_str) {
        for pair in option.split(',') {
            match pair.split_once('=') {
                Some(("name", name)) => lines.0.push_str(&format!("  {name}\n")),
                Some(("profile", profile)) => lines.0.push_str(&format!("   Profile: {profile}\n")),
                _ => {}
            }
        }
    }
}

fn registries_text(info: &Value, lines: &mut Lines) {
    let config = at(info, "RegistryConfig");
    let insecure = items(config, "InsecureRegistryCIDRs");
    let indexes: Vec<&Value> = config["IndexConfigs"]
        .as_object()
        .map(|indexes| indexes.values().collect())
        .unwrap_or_default();
    if !insecure.is_empty() || !indexes.is_empty() {
        lines.0.push_str(" Insecure Registries:\n");
        for index in indexes
            .into_iter()
            .filter(|index| !at(index, "Secure").as_bool().unwrap_or(true))
        {
            lines.0.push_str(&format!("  {}\n", text(index, "Name")));
        }
        for range in insecure {
            lines
                .0
                .push_str(&format!("  {}\n", range.as_str().unwrap_or_default()));
        }
    }
    let mirrors = items(config, "Mirrors");
    if !mirrors.is_empty() {
        lines.0.push_str(" Registry Mirrors:\n");
        for mirror in mirrors {
            lines
                .0
                .push_str(&format!("  {}\n", mirror.as_str().unwrap_or_default()));
        }
    }
}
