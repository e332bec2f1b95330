//! The engines of a bench, each in namespaces and directories of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::images;

/// Longest time an engine may take to answer or to stop.
const ENGINE_BOUND: Duration = Duration::from_secs(30);

/// Makes the place: private mounts, a /run of its own, the loopback up.
const PLACE: &str = "mount --make-rprivate / && mount -t tmpfs run /run && mkdir -p /run/lock && ip link set lo up && exec \"$@\"";

/// One engine that is running (podman: ready to run).
pub(super) struct Engine {
    pub(super) name: &'static str,
    /// Program and leading arguments of its client.
    client: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    /// The daemon; for podman a process that holds the namespaces.
    process: Child,
    dir: PathBuf,
    version: String,
}

/// Starts the named engines and loads busybox into each.
pub(super) fn start_all(names: &[String], carrack: &Path) -> Result<Vec<Engine>> {
    let mut engines = Vec::new();
    for name in names {
        engines.push(match name.as_str() {
            "carrack" => Engine::carrack(carrack, &[])?,
            "docker" => Engine::docker()?,
            "podman" => Engine::podman()?,
            other => bail!("no engine is called {other}: there are carrack, docker, podman"),
        });
    }
    Ok(engines)
}

impl Engine {
    /// Carrack's daemon, with further environment.
    pub(super) fn carrack(program: &Path, env: &[(&'static str, &str)]) -> Result<Self> {
        if !program.exists() {
            bail!("{} is missing: cargo build --release", program.display());
        }
        let dir = place("carrack")?;
        let host = format!("unix://{}/carrack.sock", dir.display());
        let mut daemon = placed(program);
        daemon
            .arg("daemon")
            .args(["--data-root".into(), dir.join("data").into_os_string()])
            .args(["--exec-root".into(), dir.join("run").into_os_string()])
            .args(["-H", &host])
            .envs(env.iter().copied());
        let process = spawn(daemon, &dir)?;
        Self {
            name: "carrack",
            client: vec![program.into()],
            env: vec![("CARRACK_HOST", host.into())],
            process,
            dir,
            version: String::new(),
        }
        .ready(&["version"], &["--version"])
    }

    fn docker() -> Result<Self> {
        let dir = place("docker")?;
        let host = format!("unix://{}/docker.sock", dir.display());
        let mut daemon = placed(Path::new("dockerd"));
        daemon
            .args(["--data-root".into(), dir.join("data").into_os_string()])
            .args(["--exec-root".into(), dir.join("run").into_os_string()])
            .args(["-p".into(), dir.join("pid").into_os_string()])
            .args(["-H", &host]);
        let process = spawn(daemon, &dir)?;
        Self {
            name: "docker",
            client: vec!["docker".into()],
            env: vec![
                ("DOCKER_HOST", host.into()),
                ("DOCKER_CONFIG", dir.join("cfg").into()),
            ],
            process,
            dir,
            version: String::new(),
        }
        .ready(
            &["version"],
            &[
                "version",
                "--format",
                "docker {{.Server.Version}}, client {{.Client.Version}}",
            ],
        )
    }

    fn podman() -> Result<Self> {
        let dir = place("podman")?;
        // Its default of a million descriptors fails where root lacks CAP_SYS_RESOURCE.
        let conf = dir.join("cfg/containers.conf");
        fs::write(
            &conf,
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n",
        )?;
        let mut hold = placed(Path::new("sleep"));
        hold.arg("infinity");
        let process = spawn(hold, &dir)?;
        let pid = process.id();
        let mut client: Vec<OsString> = vec!["nsenter".into(), "-t".into(), pid.to_string().into()];
        client.extend(
            [
                "-n",
                "-m",
                "podman",
                "--runtime=runc",
                "--cgroup-manager=cgroupfs",
                "--log-level=error",
            ]
            .map(OsString::from),
        );
        for (flag, name) in [
            ("--root", "data"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            client.extend([flag.into(), dir.join(name).into_os_string()]);
        }
        // Its own namespaces are there once `sleep` is.
        let end = Instant::now() + ENGINE_BOUND;
        while fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() != "sleep") {
            if Instant::now() > end {
                bail!("the place for podman did not come up");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Self {
            name: "podman",
            client,
            env: vec![("CONTAINERS_CONF", conf.into())],
            process,
            dir,
            version: String::new(),
        }
        .ready(&["info"], &["--version"])
    }

    /// Waits for an answer, notes the version, loads busybox.
    fn ready(mut self, asks: &[&str], version: &[&str]) -> Result<Self> {
        let end = Instant::now() + ENGINE_BOUND;
        loop {
            let out = self
                .command(asks)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .output()?;
            if out.status.success() {
                break;
            }
            if Instant::now() > end || matches!(self.process.try_wait(), Ok(Some(_))) {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                bail!(
                    "{} does not answer: {}{log}",
                    self.name,
                    String::from_utf8_lossy(&out.stderr)
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.version = self.text(version)?;
        let tar = images::ensure("busybox")?;
        self.text(&["load", "-q", "-i", &tar.to_string_lossy()])?;
        self.text(&["run", "--rm", "busybox", "true"])?;
        Ok(self)
    }

    /// A command of its client.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.client[0]);
        command
            .args(&self.client[1..])
            .args(args)
            .envs(self.env.iter().cloned());
        command
    }

    /// Docker's own client pointed at this engine's socket.
    pub(super) fn docker_client(&self, args: &[&str]) -> Option<Command> {
        let (_, host) = self.env.iter().find(|(k, _)| k.ends_with("_HOST"))?;
        let mut command = Command::new("docker");
        command
            .args(args)
            .env("DOCKER_HOST", host)
            .env("DOCKER_CONFIG", self.dir.join("cfg"));
        Some(command)
    }

    /// Runs a client command and gives its output.
    pub(super) fn text(&self, args: &[&str]) -> Result<String> {
        let out = self.command(args).stdin(Stdio::null()).output()?;
        if !out.status.success() {
            bail!(
                "{} {args:?}: {}",
                self.name,
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    }

    /// Process id of the daemon; podman has none.
    pub(super) fn daemon_pid(&self) -> Option<u32> {
        (self.name != "podman").then(|| self.process.id())
    }

    /// A process that holds the engine's namespaces.
    pub(super) fn place_pid(&self) -> u32 {
        self.process.id()
    }

    /// Name and version, for the report.
    pub(super) fn version(&self) -> String {
        self.version.clone()
    }

    /// Where the daemon's output goes.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Removes every container.
    pub(super) fn sweep(&self) -> Result<()> {
        let ids = self.text(&["ps", "-aq"])?;
        for some in ids.split_whitespace().collect::<Vec<_>>().chunks(50) {
            let mut args = vec!["rm", "-f"];
            if self.name == "podman" {
                args.extend(["-t", "0"]);
            }
            args.extend(some);
            self.text(&args)?;
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.sweep() {
            eprintln!("{}: {error:#}", self.name);
        }
        if let Some(pid) = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
        {
            let _gone = kill_process(pid, Signal::TERM);
        }
        let end = Instant::now() + ENGINE_BOUND;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > end {
                let _gone = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("removing {}: {error}", self.dir.display());
        }
    }
}

fn place(name: &str) -> Result<PathBuf> {
    let dir = PathBuf::from(format!(
        "/var/tmp/carrack-bench-{}-{name}",
        std::process::id()
    ));
    fs::create_dir_all(dir.join("cfg")).with_context(|| format!("making {}", dir.display()))?;
    Ok(dir)
}

/// A program in network and mount namespaces of its own; its pid is the child's.
fn placed(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "sh", "-c", PLACE, "sh"])
        .arg(program);
    command
}

fn spawn(mut command: Command, dir: &Path) -> Result<Child> {
    let log = File::create(dir.join("log"))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {command:?} (benches need root)"))
}
