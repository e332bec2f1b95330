//! The engine under test: Carrack, or dockerd to prove a case.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::shell::{Output, Terminal, finish};
use super::wait::until;
use super::world::{World, child_of, world_program};
use super::{carrack_bin, images, tests_dir};

/// Longest time a daemon may take to answer, and to stop.
const DAEMON_BOUND: Duration = Duration::from_secs(30);
/// Longest time a single command of a test may take.
const COMMAND_BOUND_S: u32 = 45;
/// Lines of the daemon's log shown when something fails.
const LOG_LINES_SHOWN: usize = 40;

/// Which engine answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The built program.
    Carrack,
    /// Debian's dockerd, the peer that shows a case to be right.
    Dockerd,
}

impl Kind {
    /// `CARRACK_E2E_ENGINE`: `carrack` (or not set) or `dockerd`.
    pub fn from_env() -> Self {
        match std::env::var("CARRACK_E2E_ENGINE").as_deref() {
            Ok("dockerd") => Self::Dockerd,
            _ => Self::Carrack,
        }
    }
}

/// How an engine is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further arguments of the daemon.
    pub args: Vec<String>,
    /// Another program than the built one, such as a newer build.
    pub program: Option<PathBuf>,
}

/// A running engine in a world of its own.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    options: Options,
    daemon: Option<(Child, u32)>,
    loaded: BTreeSet<String>,
    // Last: everything above lives in it.
    world: World,
}

impl Engine {
    /// Starts one in a fresh world, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up; with the end of its log.
    pub fn start(options: Options) -> Result<Self> {
        let world = World::new()?;
        for dir in ["data", "w", "docker-config"] {
            fs::create_dir_all(world.dir().join(dir))?;
        }
        let kind = Kind::from_env();
        let mut engine = Self {
            kind,
            options,
            daemon: None,
            loaded: BTreeSet::new(),
            world,
        };
        engine.boot()?;
        Ok(engine)
    }

    /// Starts the daemon (again), and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up; with the end of its log.
    pub fn boot(&mut self) -> Result<()> {
        let data = self.world.dir().join("data");
        let (program, mut args) = match self.kind {
            Kind::Carrack => {
                let program = self.options.program.clone().unwrap_or_else(carrack_bin);
                (
                    program,
                    vec!["daemon".to_owned(), "--exec-root=/run/carrack".to_owned()],
                )
            }
            Kind::Dockerd => (
                PathBuf::from("dockerd"),
                vec![
                    "--exec-root=/run/docker".to_owned(),
                    "--pidfile=/run/docker.pid".to_owned(),
                ],
            ),
        };
        args.push(format!("--data-root={}", data.display()));
        args.push(format!("-H={}", self.host()));
        args.extend(self.options.args.iter().cloned());
        let log_path = self.log_path();
        let log = File::options().create(true).append(true).open(&log_path)?;
        let mut child = self
            .world
            .daemon(&program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let socket = self.socket();
        let nsenter = child.id();
        let pid = until("the daemon answers", DAEMON_BOUND, || {
            if let Ok(Some(status)) = child.try_wait() {
                return Ok(Err(format!("the daemon ended with {status}")));
            }
            let pid = child_of(nsenter).ok_or("no process yet")?;
            match ping(&socket) {
                Ok(()) => Ok(Ok(pid)),
                Err(e) => Err(format!("{e}; its log ends:\n{}", tail(&log_path))),
            }
        });
        match pid {
            Ok(pid) => self.daemon = Some((child, pid)),
            Err(why) => bail!("{why}\n{}", self.log_tail()),
        }
        Ok(())
    }

    /// From the next start of the daemon on, it is this program.
    pub fn set_program(&mut self, program: PathBuf) {
        self.options.program = Some(program);
    }

    /// Which engine this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The daemon's process id as the host numbers it; none while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(|(_, pid)| *pid)
    }

    /// Where the API listens, as a URL of the inside.
    pub fn host(&self) -> &'static str {
        match self.kind {
            Kind::Carrack => "unix:///run/carrack/carrack.sock",
            Kind::Dockerd => "unix:///run/docker.sock",
        }
    }

    /// The API's socket as the host reaches it.
    pub fn socket(&self) -> PathBuf {
        self.world.path(self.host().trim_start_matches("unix://"))
    }

    /// Directory of data at rest.
    pub fn data_root(&self) -> PathBuf {
        self.world.dir().join("data")
    }

    /// Directory of sockets and process state, as the host reaches it.
    pub fn exec_root(&self) -> PathBuf {
        self.world.path(match self.kind {
            Kind::Carrack => "/run/carrack",
            Kind::Dockerd => "/run/docker",
        })
    }

    /// An empty directory for the test, the same path inside and outside.
    pub fn scratch(&self) -> PathBuf {
        self.world.dir().join("w")
    }

    /// Empties [`Engine::scratch`].
    ///
    /// # Errors
    /// When a file in it cannot be removed.
    pub fn clear_scratch(&self) -> Result<()> {
        for entry in fs::read_dir(self.scratch())? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(&path)?;
            } else {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Ends the daemon with a signal and waits for its end. Containers go on.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn signal(&mut self, signal: Signal) {
        let Some((mut child, pid)) = self.daemon.take() else {
            return;
        };
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _gone = kill_process(pid, signal);
        }
        until("the daemon ends", DAEMON_BOUND, || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Runs a shell command inside, with `docker` pointed at this engine.
    ///
    /// # Panics
    /// When it cannot be started at all.
    #[track_caller]
    pub fn sh(&self, command: &str) -> Output {
        self.sh_with(command, "")
    }

    /// The same, for a command that may take up to `bound_s` seconds.
    ///
    /// # Panics
    /// When it cannot be started at all.
    #[track_caller]
    pub fn sh_bounded(&self, command: &str, bound_s: u32) -> Output {
        finish(self.shell_within(command, bound_s), "")
            .unwrap_or_else(|e| panic!("{command}: {e:#}"))
    }

    /// The same, with standard input.
    ///
    /// # Panics
    /// When it cannot be started at all.
    #[track_caller]
    pub fn sh_with(&self, command: &str, stdin: &str) -> Output {
        finish(self.shell(command), stdin).unwrap_or_else(|e| panic!("{command}: {e:#}"))
    }

    /// A bounded `sh -c` inside; the caller sets its streams.
    pub fn shell(&self, command: &str) -> Command {
        self.shell_within(command, COMMAND_BOUND_S)
    }

    fn shell_within(&self, command: &str, bound_s: u32) -> Command {
        let mut shell = self.world.command("timeout");
        shell.args(["-k", "2", &bound_s.to_string(), "sh", "-c", command]);
        self.environment(&mut shell);
        shell
    }

    /// A shell command on a terminal of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn terminal(&self, command: &str) -> Terminal {
        let mut shell = self.world.command("setsid");
        shell.args(["--ctty", "--wait", "sh", "-c", command]);
        self.environment(&mut shell);
        Terminal::start(shell).unwrap_or_else(|e| panic!("{command}: {e:#}"))
    }

    fn environment(&self, command: &mut Command) {
        let images = images::path("busybox");
        // `carrack` and `world` by name, in cases and in the book's commands.
        let built = world_program().unwrap_or_default();
        let path = format!(
            "{}:{}:{}",
            tests_dir().join("commands").display(),
            built.parent().unwrap_or(Path::new("/")).display(),
            std::env::var("PATH").unwrap_or_default()
        );
        command
            .env("PATH", path)
            .env("TESTS", tests_dir())
            .env("DOCKER_HOST", self.host())
            .env("CARRACK_HOST", self.host())
            .env("DOCKER_CONFIG", self.world.dir().join("docker-config"))
            .env("IMAGES", images.parent().unwrap_or(Path::new("/")))
            .env("W", self.scratch())
            .env("TERM", "xterm")
            .env_remove("DOCKER_CONTEXT");
    }

    /// Loads the test image `name` unless it was already.
    ///
    /// # Panics
    /// When loading fails.
    pub fn image(&mut self, name: &str) {
        if !self.loaded.contains(name) {
            let tar = images::path(name);
            self.sh(&format!("docker load -q -i {}", tar.display()))
                .ok();
            if self.loaded.is_empty() {
                // What an engine makes at its first container and volume stays, and
                // is nobody's leak.
                let what = if name == "static" {
                    "static true"
                } else {
                    "-v /home busybox true"
                };
                let what = what.replace("busybox", images::reference(name));
                self.sh(&format!("docker run --rm {what}")).ok();
            }
            self.loaded.insert(name.to_owned());
        }
    }

    /// Version of the docker client, major and minor number: `28.2`.
    pub fn client_version(&self) -> String {
        let out = self.sh("docker --version").stdout;
        let number = out.split_whitespace().find(|word| {
            let digits = word.chars().take_while(char::is_ascii_digit).count();
            digits > 0 && word[digits..].starts_with('.')
        });
        let parts: Vec<&str> = number.unwrap_or_default().split('.').take(2).collect();
        parts.join(".")
    }

    /// The test images that are there now.
    pub fn loaded(&self) -> Vec<String> {
        self.loaded.iter().cloned().collect()
    }

    /// Removes what a test may leave on purpose: containers, volumes, further images.
    ///
    /// # Panics
    /// When the engine refuses.
    pub fn sweep(&mut self) {
        let keep: Vec<&str> = self.loaded.iter().map(|n| images::reference(n)).collect();
        let out = self.sh(&format!(
            "c=$(docker ps -aq) && [ -n \"$c\" ] && docker rm -fv $c >/dev/null
             v=$(docker volume ls -q) && [ -n \"$v\" ] && docker volume rm -f $v >/dev/null
             docker images --format '{{{{.Repository}}}}:{{{{.Tag}}}} {{{{.ID}}}}' | while read -r name id; do
                 case ' {} ' in *\" $name \"*) ;; *) case $name in *'<none>'*) docker rmi -f $id ;; *) docker rmi -f $name ;; esac >/dev/null ;; esac
             done; :",
            keep.join(" ")
        ));
        assert!(out.stderr.is_empty(), "sweeping: {}", out.stderr);
        // A case may have removed an image that later ones need.
        let left = self
            .sh("docker images --format '{{.Repository}}:{{.Tag}}'")
            .stdout;
        self.loaded
            .retain(|name| left.lines().any(|l| l == images::reference(name)));
    }

    /// Puts the images back as they were loaded, after a test that changed some:
    /// one that was saved and loaded again is stored in another form.
    ///
    /// # Panics
    /// When the engine refuses.
    pub fn reset_images(&mut self, names: &[String]) {
        let out =
            self.sh("i=$(docker images -aq) && [ -n \"$i\" ] && docker rmi -f $i >/dev/null; :");
        assert!(out.stderr.is_empty(), "removing images: {}", out.stderr);
        self.loaded.clear();
        for name in names {
            self.sh(&format!(
                "docker load -q -i {}",
                images::path(name).display()
            ))
            .ok();
            self.loaded.insert(name.clone());
        }
    }

    /// The last lines of the daemon's log.
    pub fn log_tail(&self) -> String {
        tail(&self.log_path())
    }

    /// Where the daemon's output goes.
    pub fn log_path(&self) -> PathBuf {
        self.world.dir().join("daemon.log")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Everything else of it ends with the world; this one is ours to wait for.
        if let Some((mut child, pid)) = self.daemon.take() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _gone = kill_process(pid, Signal::KILL);
            }
            let _status = child.wait();
        }
    }
}

/// Asks whether the API answers: a socket may listen before anyone serves it.
fn ping(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if answer.ends_with(b" 200") {
        return Ok(());
    }
    Err(std::io::Error::other(
        String::from_utf8_lossy(&answer).into_owned(),
    ))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

static SHARED: Mutex<Option<Engine>> = Mutex::new(None);

/// The engine that most tests share, started at its first use. Holding it keeps
/// other tests waiting: they run one after the other, whatever libtest does.
pub struct Shared(MutexGuard<'static, Option<Engine>>);

impl std::ops::Deref for Shared {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        self.0.as_ref().expect("invariant: set by shared()")
    }
}

impl std::ops::DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Engine {
        self.0.as_mut().expect("invariant: set by shared()")
    }
}

/// Takes the shared engine; a new one when the last is dead or failed a test.
///
/// # Panics
/// When it cannot be started.
pub fn shared() -> Shared {
    // Asked when it is our turn: a test that failed left its engine as it was.
    let (mut slot, poisoned) = match SHARED.lock() {
        Ok(slot) => (slot, false),
        Err(failed) => (failed.into_inner(), true),
    };
    SHARED.clear_poison();
    let alive = slot.as_mut().is_some_and(|engine| {
        engine
            .daemon
            .as_mut()
            .is_some_and(|(child, _)| matches!(child.try_wait(), Ok(None)))
    });
    if poisoned || !alive {
        *slot = None;
        *slot = Some(start_or_panic(Options::default()));
    }
    Shared(slot)
}

/// An engine of the test's own; no other test runs as long as it is held.
pub struct Own {
    engine: Engine,
    _turn: MutexGuard<'static, Option<Engine>>,
}

impl std::ops::Deref for Own {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl std::ops::DerefMut for Own {
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

/// Starts an engine of the test's own.
///
/// # Panics
/// When it cannot be started.
pub fn own(options: Options) -> Own {
    let turn = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    Own {
        engine: start_or_panic(options),
        _turn: turn,
    }
}

fn start_or_panic(options: Options) -> Engine {
    Engine::start(options)
        .context("starting the engine")
        .unwrap_or_else(|e| panic!("{e:#}"))
}
