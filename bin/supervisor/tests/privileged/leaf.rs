//! A control group for one test.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::harness::BOUND;

/// Leaves of two v1 hierarchies, or one of v2, removed on drop.
pub(crate) struct Leaf {
    pub(crate) directories: Vec<std::path::PathBuf>,
    file: &'static str,
}

impl Leaf {
    pub(crate) fn new() -> Option<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("carrack-supervisor-test-{}-{count}", std::process::id());
        let root = std::path::Path::new("/sys/fs/cgroup");
        let (parents, file) = if root.join("pids/tasks").exists() {
            (vec![root.join("pids"), root.join("freezer")], "tasks")
        } else if root.join("cgroup.procs").exists() {
            (vec![root.to_owned()], "cgroup.procs")
        } else {
            println!("SKIP: no control groups");
            return None;
        };
        let directories: Vec<_> = parents.iter().map(|p| p.join(&name)).collect();
        for directory in &directories {
            std::fs::create_dir(directory).expect("cgroup");
        }
        Some(Self { directories, file })
    }

    pub(crate) fn files(&self) -> Vec<OwnedFd> {
        let open = |d: &std::path::PathBuf| {
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(d.join(self.file));
            file.expect("cgroup file").into()
        };
        self.directories.iter().map(open).collect()
    }

    pub(crate) fn processes(&self) -> Vec<String> {
        let list = crate::rootfs::read(self.directories[0].join("cgroup.procs"));
        list.lines().map(str::to_owned).collect()
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let gone = Instant::now() + BOUND;
        for directory in &self.directories {
            while std::fs::remove_dir(directory).is_err() && Instant::now() < gone {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}
