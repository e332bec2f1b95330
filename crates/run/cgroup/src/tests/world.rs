//! A parent group of the test's own on the running kernel, gone afterwards.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{GroupPath, Hierarchies, Leaf, LeafName, Parent, V2Membership};

/// Nothing that is waited for takes longer on a working machine.
const WAIT_BOUND: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(super) struct World {
    pub(super) parent: Parent,
}

impl World {
    /// `None`, with the reason printed, where groups cannot be made.
    pub(super) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            println!("SKIP: control groups need root");
            return None;
        }
        let hierarchies = match Hierarchies::detect(Path::new("/sys/fs/cgroup")) {
            Ok(hierarchies) => hierarchies,
            Err(error) => {
                println!("SKIP: {error}");
                return None;
            }
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = format!("carrack-cgroup-test-{}.{number}", std::process::id());
        match hierarchies.parent(&GroupPath::new(&path).unwrap()) {
            Ok(parent) => Some(Self { parent }),
            Err(error) => {
                println!("SKIP: {error}");
                None
            }
        }
    }

    pub(super) fn leaf(&self, name: &str) -> Leaf {
        self.parent
            .create_leaf(&LeafName::new(name).unwrap())
            .unwrap()
    }

    /// Whether every controller in question is on v1 here.
    pub(super) fn is_v1(&self) -> bool {
        let v1 = self.parent.hierarchies().layout().version() == crate::Version::V1;
        if !v1 {
            println!("SKIP: this machine has no cgroup v1");
        }
        v1
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in self.parent.leaves().unwrap_or_default() {
            if let Ok(leaf) = self.parent.open_leaf(&name) {
                let _ = leaf.kill_all();
                let _ = leaf.thaw();
            }
            if let Err(error) = self.parent.remove_leaf(&name) {
                println!("{error}");
            }
        }
        if let Err(error) = self.parent.remove() {
            println!("{error}");
        }
    }
}

/// A shell that moves itself into a leaf, as the runtime's init does, and then
/// runs `script`. Killed when dropped.
pub(super) struct Inside(pub(super) Child);

impl Inside {
    pub(super) fn run(leaf: &Leaf, script: &str) -> Self {
        let files: Vec<File> = leaf.attach_files(V2Membership::Written).unwrap();
        let paths = files
            .iter()
            .map(|file| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
        let prologue = r#"for f in "$@"; do echo 0 > "$f" || exit 90; done; echo in;"#;
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("{prologue} {script}"))
            .arg("sh")
            .args(paths)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The descriptors must stay open until it has used them.
        let mut said = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        assert_eq!(&said, b"in\n");
        Self(child)
    }

    /// Its exit code, or 128 and the signal.
    pub(super) fn status(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let mut ended = None;
        eventually("the end of the process", || {
            ended = self.0.try_wait().unwrap();
            ended.is_some()
        });
        let status = ended.unwrap();
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // The world's end kills what a pause holds; here nothing is waited for
        // without a bound.
        let _ = self.0.kill();
        let _ = self.0.try_wait();
    }
}

/// Waits for a condition, with a bound.
pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_BOUND;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within the bound");
        std::thread::sleep(LOOK_EVERY);
    }
}
