//! runc's command line beside runc and crun: a process a call, no daemon.
//!
//! crun refuses a machine whose v2 mount carries a controller beside v1, so all
//! of them run in a mount namespace without that mount. The bundle asks for what
//! an engine asks for: the default filter, capabilities, a cgroup, namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::measure::spread;
use super::report::{Row, Table};

/// Set in the process that runs in the place that was made for it.
const PLACED: &str = "CARRACK_BENCH_PLACED";
/// Makes the place: mounts of its own, v1 alone where both are there.
const PLACE: &str = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";

/// A runtime, and where it keeps its containers.
struct Runtime {
    name: &'static str,
    program: PathBuf,
    root: PathBuf,
}

impl Runtime {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        if self.name == "carrack" {
            command.arg("runtime");
        }
        command.arg("--root").arg(&self.root).args(args);
        command
    }

    fn version(&self) -> String {
        let output = self.command(&["--version"]).output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        text.unwrap_or_default()
            .lines()
            .next()
            .unwrap_or(self.name)
            .to_owned()
    }
}

/// Measures; `None` when another process did it in the place made for it.
pub(super) fn run(carrack: &Path, rounds: usize) -> Result<Option<(Table, Vec<String>)>> {
    if std::env::var_os(PLACED).is_none() {
        let status = Command::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                PLACE,
                "sh",
            ])
            .args(std::env::args_os())
            .env(PLACED, "1")
            .status()
            .context("unshare")?;
        return if status.success() {
            Ok(None)
        } else {
            bail!("the bench failed: {status}")
        };
    }
    let directory = PathBuf::from(format!("/var/tmp/carrack-bench-{}", std::process::id()));
    let measured = measure(carrack, rounds, &directory);
    fs::remove_dir_all(&directory)?;
    measured.map(Some)
}

fn measure(carrack: &Path, rounds: usize, directory: &Path) -> Result<(Table, Vec<String>)> {
    let bundle = directory.join("bundle");
    make_bundle(carrack, &bundle)?;
    let runtimes: Vec<Runtime> = [
        ("carrack", carrack.to_owned()),
        ("crun", "crun".into()),
        ("runc", "runc".into()),
    ]
    .into_iter()
    .map(|(name, program)| Runtime {
        name,
        program,
        root: directory.join(name),
    })
    .collect();
    let at = bundle.to_string_lossy();
    let mut times = vec![[const { Vec::new() }; 3]; runtimes.len()];
    for runtime in &runtimes {
        let added = directory.join("sleeper");
        program(&bundle, &added, &["/bin/sleep", "100000"])?;
        let at = added.to_string_lossy();
        time(&mut runtime.command(&["run", "--detach", "--bundle", &at, &added_id(runtime)]))
            .with_context(|| {
                format!(
                    "{}: is it installed? apt-get install crun runc",
                    runtime.name
                )
            })?;
    }
    for round in 0..rounds {
        for (runtime, [run, made, exec]) in runtimes.iter().zip(&mut times) {
            let id = format!("bench-{}-{round}", runtime.name);
            run.push(time(&mut runtime.command(&["run", "--bundle", &at, &id]))?);
            let steps: [&[&str]; 3] = [
                &["create", "--bundle", &at, &id],
                &["start", &id],
                &["delete", "--force", &id],
            ];
            let steps = steps.map(|step| time(&mut runtime.command(step)));
            made.push(steps.into_iter().sum::<Result<Duration>>()?);
            exec.push(time(&mut runtime.command(&[
                "exec",
                &added_id(runtime),
                "/bin/true",
            ]))?);
        }
    }
    for runtime in &runtimes {
        time(&mut runtime.command(&["delete", "--force", &added_id(runtime)]))?;
    }
    let kinds = ["run /bin/true", "create + start + delete", "exec /bin/true"];
    let mut rows = Vec::new();
    for (index, kind) in kinds.iter().enumerate() {
        for (runtime, times) in runtimes.iter().zip(&times) {
            rows.push(Row::time(
                format!("{} {kind}", runtime.name),
                spread(&times[index]),
            ));
        }
    }
    let table = Table {
        name: "runtime",
        title: "runc's command line, without a daemon",
        note: format!(
            "{rounds} rounds, alternating; Docker's default filter, a cgroup and six namespaces; \
             the v2 mount hidden from all of them."
        ),
        peer: "crun",
        rows,
    };
    Ok((table, runtimes.iter().map(Runtime::version).collect()))
}

/// Wall time of a call. Its streams are the container's, which may outlive it,
/// so nobody waits for their end.
fn time(command: &mut Command) -> Result<Duration> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let start = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("starting {command:?}"))?;
    let took = start.elapsed();
    if status.success() {
        Ok(took)
    } else {
        bail!("{command:?}: {status}")
    }
}

fn added_id(runtime: &Runtime) -> String {
    format!("bench-{}-sleeper", runtime.name)
}

/// A bundle with a static busybox as its root.
fn make_bundle(carrack: &Path, bundle: &Path) -> Result<()> {
    let bin = bundle.join("rootfs/bin");
    fs::create_dir_all(&bin)?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .context("busybox is missing: apt-get install busybox-static")?;
    for name in ["true", "sleep"] {
        fs::copy(busybox, bin.join(name))?;
    }
    let made = Command::new(carrack)
        .args(["runtime", "spec", "--seccomp", "--bundle"])
        .arg(bundle)
        .status()?;
    if !made.success() {
        bail!("carrack runtime spec: {made}");
    }
    change(bundle, |spec| {
        // crun of Debian 12 knows no later version.
        spec["ociVersion"] = json!("1.0.2");
        spec["process"]["terminal"] = json!(false);
        spec["process"]["noNewPrivileges"] = json!(false);
        spec["process"]["args"] = json!(["/bin/true"]);
        spec["root"]["readonly"] = json!(false);
    })
}

/// A second bundle of the same root with another program.
fn program(of: &Path, at: &Path, args: &[&str]) -> Result<()> {
    fs::create_dir_all(at)?;
    fs::copy(of.join("config.json"), at.join("config.json"))?;
    change(at, |spec| {
        spec["root"]["path"] = json!(of.join("rootfs"));
        spec["process"]["args"] = json!(args);
    })
}

fn change(bundle: &Path, change: impl FnOnce(&mut Value)) -> Result<()> {
    let path = bundle.join("config.json");
    let mut spec = serde_json::from_slice(&fs::read(&path)?)?;
    change(&mut spec);
    Ok(fs::write(&path, serde_json::to_vec(&spec)?)?)
}
