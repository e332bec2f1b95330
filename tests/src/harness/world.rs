//! A fresh set of namespaces, control groups and directories.
//!
//! Mount, network, pid, ipc, uts and cgroup namespaces of its own, entered with
//! `nsenter`. Process 1 is the small `world` program; it ends when the pipe that
//! the [`World`] holds closes, and everything in the pid namespace ends with it.
//! A wrapper outside waits for that and removes the directories, so nothing is
//! left when the tests themselves are killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

/// Joins the control groups, unshares, and cleans up when all is over.
const WRAPPER: &str = r#"
dir=$1; world=$2; shift 2
(for group; do echo 0 > "$group/cgroup.procs" || exit 1; done
 exec unshare --mount --net --pid --ipc --uts --cgroup --fork "$world" init "$dir")
tries=0
for group; do
    # What was killed may take a moment to leave its group.
    until find "$group" -depth -type d -exec rmdir {} + || [ ! -d "$group" ] || [ $tries -ge 100 ]; do
        tries=$((tries + 1)); sleep 0.05
    done
done 2>/dev/null
rm -rf --one-file-system "$dir"
"#;

/// The namespaces and directories in which one engine runs.
#[derive(Debug)]
pub struct World {
    wrapper: Child,
    init: u32,
    dir: PathBuf,
    groups: Vec<PathBuf>,
}

impl World {
    /// Makes one. Needs root.
    ///
    /// # Errors
    /// What failed: making directories, or the program inside.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "carrack-e2e-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        // On disk, not on tmpfs: overlay, quotas of blkio and O_DIRECT are tested here.
        let base = std::env::var_os("CARRACK_E2E_DIR").unwrap_or_else(|| "/var/tmp".into());
        let base = PathBuf::from(base);
        remove_stale(&base, "rm -rf --one-file-system \"$1\"");
        let dir = base.join(&name);
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let groups = make_groups(&name)?;
        let mut wrapper = Command::new("sh")
            .args(["-c", WRAPPER, "sh"])
            .arg(&dir)
            .arg(world_program()?)
            .args(&groups)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting sh (the tests need root)")?;
        let mut first = String::new();
        let stdout = wrapper.stdout.take().context("no standard output")?;
        BufReader::new(stdout).read_line(&mut first)?;
        let Some(init) = first
            .trim()
            .strip_prefix("ready ")
            .and_then(|p| p.parse().ok())
        else {
            bail!("the world did not come up (the tests need root): {first:?}");
        };
        leave_tops(&groups)?;
        Ok(Self {
            wrapper,
            init,
            dir,
            groups,
        })
    }

    /// Its directory: on disk, seen under the same path inside and outside.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Process 1, as the host numbers it.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// Its control groups, one in each hierarchy, as the host sees them.
    pub fn groups(&self) -> &[PathBuf] {
        &self.groups
    }

    /// How the host reaches a path of the inside.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// A command that runs `program` inside; its control groups stay the tests' own.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.enter()).arg(program);
        command
    }

    /// A command that runs `program` inside, in the world's control groups too:
    /// for a daemon, whose children inherit them.
    pub fn daemon(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "while [ \"$1\" != -- ]; do echo 0 > \"$1/cgroup.procs\"; shift; done; shift; exec nsenter \"$@\"", "sh"])
            .args(self.groups.iter().map(|group| below(group)))
            .arg("--")
            .args(self.enter())
            .arg(program);
        command
    }

    fn enter(&self) -> Vec<String> {
        let mut args = vec!["-t".to_owned(), self.init.to_string()];
        args.extend(["-m", "-n", "-p", "-i", "-u", "-C", "--wd=/", "--"].map(str::to_owned));
        args
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.wrapper.stdin.take());
        // The wrapper removes what is left; waiting for it keeps tests apart.
        let _status = self.wrapper.wait();
    }
}

/// The first child of a process, once it has one: what `nsenter` forked.
pub fn child_of(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Removes what tests left that were killed together with their wrapper: groups,
/// or directories on disk.
fn remove_stale(top: &Path, script: &str) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("carrack-e2e-") else {
            continue;
        };
        let pid = rest.split('-').next().unwrap_or_default();
        if !pid.is_empty() && !Path::new("/proc").join(pid).exists() {
            let _busy = Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(entry.path())
                .stderr(Stdio::null())
                .status();
        }
    }
}

/// One directory in each hierarchy, ready for processes.
fn make_groups(name: &str) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut groups = Vec::new();
    for line in mounts.lines().filter(|l| l.contains(" - cgroup")) {
        let at = PathBuf::from(line.split(' ').nth(4).context("a mount without a place")?);
        remove_stale(&at, "find \"$1\" -depth -type d -exec rmdir {} +");
        let group = at.join(name);
        fs::create_dir_all(&group).with_context(|| format!("making {}", group.display()))?;
        // A cpuset group takes no process before it has CPUs and memory.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if line.contains(",cpuset") && at.join(file).exists() {
                fs::write(group.join(file), fs::read(at.join(file))?)?;
            }
        }
        groups.push(group);
    }
    if groups.is_empty() {
        bail!("no cgroup file system is mounted");
    }
    Ok(groups)
}

/// Where processes of the world stay: on v2 a group that has processes of its
/// own gives no limits to those below it, so they sit beside.
fn below(group: &Path) -> PathBuf {
    let child = group.join("init");
    if child.exists() {
        child
    } else {
        group.to_owned()
    }
}

/// Moves what runs in the top groups of v2 out of the way of the daemon.
fn leave_tops(groups: &[PathBuf]) -> Result<()> {
    for group in groups
        .iter()
        .filter(|g| g.join("cgroup.controllers").exists())
    {
        let child = group.join("init");
        fs::create_dir_all(&child)?;
        for pid in fs::read_to_string(group.join("cgroup.procs"))?.split_whitespace() {
            fs::write(child.join("cgroup.procs"), pid)
                .with_context(|| format!("moving process {pid} to {}", child.display()))?;
        }
    }
    Ok(())
}

/// The `world` program, built beside the tests.
///
/// # Errors
/// When it was not built.
pub fn world_program() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let program = exe
        .ancestors()
        .nth(2)
        .context("a target directory")?
        .join("world");
    if !program.exists() {
        bail!("{} is missing: build carrack-tests", program.display());
    }
    Ok(program)
}
