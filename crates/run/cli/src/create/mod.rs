//! From the flags of `run` and `create` to the request that creates a
//! container.
//!
//! Pure but for the files that flags name (`--env-file`, `--label-file`, a
//! seccomp profile): the environment and the working directory come from the
//! caller. Only what the user said is put into the request; the engine has the
//! defaults.

pub(crate) mod devices;
pub(crate) mod environment;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod reference;
pub(crate) mod security;
pub(crate) mod table;

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::flags::{Parsed, quantity};

/// What a command line means besides its own words.
pub(crate) struct Surroundings<'a> {
    /// The environment.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The working directory.
    pub(crate) folder: PathBuf,
    /// Adds the proxies of the user's settings to a container's variables.
    pub(crate) add_proxies: &'a dyn Fn(&mut Vec<String>),
}

/// Whether the client stays with the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// It does, by the flags or to all that there is.
    Attached,
    /// It prints the id and goes.
    Detached,
}

/// A request that creates a container.
#[derive(Debug)]
pub(crate) struct CreateRequest {
    /// The request's body.
    pub(crate) body: Map<String, Value>,
    /// The image, as it was given.
    pub(crate) image: String,
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) attach_stderr: bool,
    pub(crate) tty: bool,
    pub(crate) auto_remove: bool,
}

impl CreateRequest {
    /// Reads a command line. The first argument is the image.
    ///
    /// # Errors
    /// docker's sentence.
    pub(crate) fn read(
        parsed: &Parsed,
        surroundings: &Surroundings<'_>,
        attachment: Attachment,
    ) -> Result<Self, String> {
        let Some((image, command)) = parsed.args.split_first() else {
            return Err("no image was given".to_owned());
        };
        let mut body = Map::new();
        let streams = Streams::of(parsed, attachment);

        network::check_mac(parsed)?;
        let swappiness = parsed.number("memory-swappiness").unwrap_or(-1);
        if swappiness != -1 && !(0..=100).contains(&swappiness) {
            return Err(format!(
                "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
            ));
        }
        let mut host = Map::new();
        mounts::put(parsed, surroundings, &mut body, &mut host)?;
        ports::put(parsed, &mut body, &mut host)?;
        devices::put(parsed, &mut host)?;
        environment::put(parsed, surroundings, &mut body)?;
        namespaces(parsed, &mut host)?;
        let restart = restart_policy(parsed.text("restart"))?;
        logging(parsed, &mut host)?;
        security::put(parsed, surroundings, &mut host)?;
        storage(parsed, &mut host)?;
        health(parsed, &mut body)?;
        resources(parsed, &mut host);

        body.insert("Image".to_owned(), json!(image));
        if !command.is_empty() {
            body.insert("Cmd".to_owned(), json!(command));
        }
        match parsed.last("entrypoint") {
            None => {}
            // An empty one takes the image's away.
            Some(entrypoint) => drop(body.insert("Entrypoint".to_owned(), json!([entrypoint]))),
        }
        for (flag, field) in [
            ("hostname", "Hostname"),
            ("domainname", "Domainname"),
            ("user", "User"),
            ("workdir", "WorkingDir"),
            ("stop-signal", "StopSignal"),
        ] {
            put_text(&mut body, field, parsed.text(flag));
        }
        if let Some(seconds) = parsed.number("stop-timeout") {
            body.insert("StopTimeout".to_owned(), json!(seconds));
        }
        streams.put(parsed, &mut body);

        let auto_remove = parsed.on("rm");
        if let Some(policy) = restart {
            if auto_remove && !matches!(policy["Name"].as_str(), Some("no" | "")) {
                return Err(
                    "conflicting options: cannot specify both --restart and --rm".to_owned(),
                );
            }
            if policy["Name"] != "no" {
                host.insert("RestartPolicy".to_owned(), policy);
            }
        }
        put_switch(&mut host, "AutoRemove", auto_remove);
        for (flag, field) in [
            ("privileged", "Privileged"),
            ("publish-all", "PublishAllPorts"),
            ("read-only", "ReadonlyRootfs"),
        ] {
            put_switch(&mut host, field, parsed.on(flag));
        }
        for (flag, field) in [
            ("cidfile", "ContainerIDFile"),
            ("volume-driver", "VolumeDriver"),
            ("isolation", "Isolation"),
            ("runtime", "Runtime"),
            ("ipc", "IpcMode"),
        ] {
            put_text(&mut host, field, parsed.text(flag));
        }
        for (flag, field) in [
            ("volumes-from", "VolumesFrom"),
            ("group-add", "GroupAdd"),
            ("link", "Links"),
        ] {
            put_list(&mut host, field, parsed.all(flag));
        }
        if parsed.given("init") {
            host.insert("Init".to_owned(), json!(parsed.on("init")));
        }
        if let Some(adjustment) = parsed
            .number("oom-score-adj")
            .filter(|&adjustment| adjustment != 0)
        {
            host.insert("OomScoreAdj".to_owned(), json!(adjustment));
        }
        network::put(parsed, &mut body, &mut host)?;
        let annotations = key_values(parsed.all("annotation"));
        put_map(&mut host, "Annotations", annotations);

        let tty = parsed.on("tty");
        if !host.is_empty() {
            body.insert("HostConfig".to_owned(), Value::Object(host));
        }
        Ok(Self {
            body,
            image: image.clone(),
            attach_stdin: streams.stdin,
            attach_stdout: streams.stdout,
            attach_stderr: streams.stderr,
            tty,
            auto_remove,
        })
    }

    /// The terminal's size, so that a program finds it at its start.
    pub(crate) fn set_console(&mut self, rows: u16, columns: u16) {
        let host = self.body.entry("HostConfig").or_insert_with(|| json!({}));
        host["ConsoleSize"] = json!([rows, columns]);
    }

    /// The body's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.body).unwrap_or_default()
    }
}

/// Which streams the client takes part in.
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    open_stdin: bool,
}

impl Streams {
    fn of(parsed: &Parsed, attachment: Attachment) -> Self {
        let open_stdin = parsed.on("interactive");
        if attachment == Attachment::Detached {
            return Self {
                stdin: false,
                stdout: false,
                stderr: false,
                open_stdin,
            };
        }
        let named = |name: &str| {
            parsed
                .all("attach")
                .any(|stream| stream.eq_ignore_ascii_case(name))
        };
        let all = !parsed.given("attach");
        Self {
            stdin: named("stdin") || open_stdin,
            stdout: named("stdout") || all,
            stderr: named("stderr") || all,
            open_stdin,
        }
    }

    fn put(&self, parsed: &Parsed, body: &mut Map<String, Value>) {
        for (field, on) in [
            ("AttachStdin", self.stdin),
            ("AttachStdout", self.stdout),
            ("AttachStderr", self.stderr),
            ("OpenStdin", self.open_stdin),
            // The container's input ends with the client that gives it.
            ("StdinOnce", self.open_stdin && self.stdin),
            ("Tty", parsed.on("tty")),
        ] {
            put_switch(body, field, on);
        }
    }
}

pub(crate) fn put_text(map: &mut Map<String, Value>, field: &str, text: &str) {
    if !text.is_empty() {
        map.insert(field.to_owned(), json!(text));
    }
}

pub(crate) fn put_switch(map: &mut Map<String, Value>, field: &str, on: bool) {
    if on {
        map.insert(field.to_owned(), json!(true));
    }
}

pub(crate) fn put_list<'a>(
    map: &mut Map<String, Value>,
    field: &str,
    items: impl Iterator<Item = &'a str>,
) {
    let items: Vec<&str> = items.collect();
    if !items.is_empty() {
        map.insert(field.to_owned(), json!(items));
    }
}

pub(crate) fn put_map(map: &mut Map<String, Value>, field: &str, values: Map<String, Value>) {
    if !values.is_empty() {
        map.insert(field.to_owned(), Value::Object(values));
    }
}

/// `name=value` pairs; the last of a name counts.
pub(crate) fn key_values<'a>(pairs: impl Iterator<Item = &'a str>) -> Map<String, Value> {
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key.to_owned(), json!(value))
        })
        .collect()
}

fn namespaces(parsed: &Parsed, host: &mut Map<String, Value>) -> Result<(), String> {
    let container = |mode: &str| {
        mode.strip_prefix("container:")
            .is_some_and(|name| !name.is_empty())
    };
    let modes: [(&str, &str, &str, &[&str]); 4] = [
        ("pid", "PidMode", "PID", &["", "host"]),
        ("uts", "UTSMode", "UTS", &["", "host"]),
        ("userns", "UsernsMode", "USER", &["", "host"]),
        (
            "cgroupns",
            "CgroupnsMode",
            "CGROUP",
            &["", "host", "private"],
        ),
    ];
    for (flag, field, name, known) in modes {
        let mode = parsed.text(flag);
        if !(known.contains(&mode) || flag == "pid" && container(mode)) {
            return Err(format!("--{flag}: invalid {name} mode"));
        }
        put_text(host, field, mode);
    }
    Ok(())
}

/// A restart policy, `None` for the empty text.
pub(crate) fn restart_policy(text: &str) -> Result<Option<Value>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (name, count) = text
        .split_once(':')
        .map_or((text, ""), |(name, count)| (name, count));
    if name.is_empty() {
        return Err("invalid restart policy format: no policy provided before colon".to_owned());
    }
    let mut policy = json!({"Name": name});
    if !count.is_empty() {
        let count: i64 = count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?;
        policy["MaximumRetryCount"] = json!(count);
    }
    Ok(Some(policy))
}

fn logging(parsed: &Parsed, host: &mut Map<String, Value>) -> Result<(), String> {
    let driver = parsed.text("log-driver");
    let options = key_values(parsed.all("log-opt"));
    if driver == "none" && !options.is_empty() {
        return Err(format!("invalid logging opts for driver {driver}"));
    }
    let mut config = Map::new();
    put_text(&mut config, "Type", driver);
    put_map(&mut config, "Config", options);
    put_map(host, "LogConfig", config);
    Ok(())
}

fn storage(parsed: &Parsed, host: &mut Map<String, Value>) -> Result<(), String> {
    if parsed
        .all("storage-opt")
        .any(|option| !option.contains('='))
    {
        return Err("invalid storage option".to_owned());
    }
    put_map(host, "StorageOpt", key_values(parsed.all("storage-opt")));
    Ok(())
}

fn health(parsed: &Parsed, body: &mut Map<String, Value>) -> Result<(), String> {
    let durations = [
        ("health-interval", "Interval"),
        ("health-timeout", "Timeout"),
        ("health-start-period", "StartPeriod"),
        ("health-start-interval", "StartInterval"),
    ];
    let nanos = |flag: &str| quantity::duration_nanos(parsed.text(flag)).unwrap_or(0);
    let command = parsed.text("health-cmd");
    let retries = parsed.number("health-retries").unwrap_or(0);
    let any =
        !command.is_empty() || retries != 0 || durations.iter().any(|(flag, _)| nanos(flag) != 0);
    if parsed.on("no-healthcheck") {
        if any {
            return Err("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        body.insert("Healthcheck".to_owned(), json!({"Test": ["NONE"]}));
        return Ok(());
    }
    if !any {
        return Ok(());
    }
    let mut health = Map::new();
    if !command.is_empty() {
        health.insert("Test".to_owned(), json!(["CMD-SHELL", command]));
    }
    for (flag, field) in durations {
        let nanos = nanos(flag);
        if nanos < 0 {
            return Err(format!("--{flag} cannot be negative"));
        }
        if nanos > 0 {
            health.insert(field.to_owned(), json!(nanos));
        }
    }
    if retries < 0 {
        return Err("--health-retries cannot be negative".to_owned());
    }
    if retries > 0 {
        health.insert("Retries".to_owned(), json!(retries));
    }
    put_map(body, "Healthcheck", health);
    Ok(())
}

fn resources(parsed: &Parsed, host: &mut Map<String, Value>) {
    put_limits(parsed, host);
    if let Some(swappiness) = parsed
        .number("memory-swappiness")
        .filter(|&swappiness| swappiness != -1)
    {
        host.insert("MemorySwappiness".to_owned(), json!(swappiness));
    }
    if let Some(bytes) = parsed.bytes("shm-size").filter(|&bytes| bytes != 0) {
        host.insert("ShmSize".to_owned(), json!(bytes));
    }
    put_switch(host, "OomKillDisable", parsed.on("oom-kill-disable"));
    put_text(host, "CgroupParent", parsed.text("cgroup-parent"));
}

/// The limits that `update` changes as well.
pub(crate) fn put_limits(parsed: &Parsed, host: &mut Map<String, Value>) {
    for (flag, field) in [
        ("memory", "Memory"),
        ("memory-reservation", "MemoryReservation"),
        ("memory-swap", "MemorySwap"),
    ] {
        if let Some(bytes) = parsed.bytes(flag).filter(|&bytes| bytes != 0) {
            host.insert(field.to_owned(), json!(bytes));
        }
    }
    for (flag, field) in [
        ("cpu-shares", "CpuShares"),
        ("cpu-period", "CpuPeriod"),
        ("cpu-quota", "CpuQuota"),
        ("cpu-rt-period", "CpuRealtimePeriod"),
        ("cpu-rt-runtime", "CpuRealtimeRuntime"),
        ("pids-limit", "PidsLimit"),
        ("blkio-weight", "BlkioWeight"),
    ] {
        if let Some(number) = parsed.number(flag).filter(|&number| number != 0) {
            host.insert(field.to_owned(), json!(number));
        }
    }
    if let Some(nano) = parsed
        .last("cpus")
        .and_then(|text| quantity::nano_cpus(text).ok())
        .filter(|&nano| nano != 0)
    {
        host.insert("NanoCpus".to_owned(), json!(nano));
    }
    put_text(host, "CpusetCpus", parsed.text("cpuset-cpus"));
    put_text(host, "CpusetMems", parsed.text("cpuset-mems"));
}

#[cfg(test)]
mod tests;
