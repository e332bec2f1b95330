//! A configuration's namespaces: which are made, and files of those joined.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;

use carrack_oci::runtime::{IdMapping, Linux, NamespaceKind};
use carrack_supervision::{CloneNamespaces, Prepare};

use crate::{Error, Result};

/// `CLONE_NEWTIME` of `<linux/sched.h>`; libc has it for some targets alone.
const NEWTIME: u64 = 0x80;

/// Kinds with their bit and their file below `/proc/PID/ns`.
const KINDS: [(NamespaceKind, u64, &str); 8] = [
    (NamespaceKind::User, libc::CLONE_NEWUSER as u64, "user"),
    (NamespaceKind::Network, libc::CLONE_NEWNET as u64, "net"),
    (NamespaceKind::Pid, libc::CLONE_NEWPID as u64, "pid"),
    (NamespaceKind::Ipc, libc::CLONE_NEWIPC as u64, "ipc"),
    (NamespaceKind::Uts, libc::CLONE_NEWUTS as u64, "uts"),
    (NamespaceKind::Mount, libc::CLONE_NEWNS as u64, "mnt"),
    (
        NamespaceKind::Cgroup,
        libc::CLONE_NEWCGROUP as u64,
        "cgroup",
    ),
    (NamespaceKind::Time, NEWTIME, "time"),
];

/// What the maker needs to know of the namespaces.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Bits of those that are made.
    pub(crate) made: u64,
    /// Bits and files of those that are joined.
    pub(crate) joined: Vec<(u64, File)>,
    /// Whether the cgroup namespace is made, which happens once the process is
    /// in its group.
    pub(crate) new_cgroup: bool,
}

impl Wanted {
    /// From a configuration; opens the files.
    pub(crate) fn new(linux: &Linux) -> Result<Self> {
        let mut wanted = Self {
            made: 0,
            joined: Vec::new(),
            new_cgroup: false,
        };
        let mut seen = Vec::new();
        for namespace in &linux.namespaces {
            if seen.contains(&namespace.kind) {
                return Err(Error::Usage(format!(
                    "linux.namespaces: {:?} is listed twice",
                    namespace.kind
                )));
            }
            seen.push(namespace.kind);
            let (_, bit, _) = *KINDS
                .iter()
                .find(|(kind, ..)| *kind == namespace.kind)
                .ok_or_else(|| {
                    Error::Usage(format!("linux.namespaces: {:?} is unknown", namespace.kind))
                })?;
            match namespace.path.as_deref().filter(|path| !path.is_empty()) {
                Some(path) => {
                    let file = File::open(path)
                        .map_err(|error| Error::file("open the namespace", path, error))?;
                    wanted.joined.push((bit, file));
                }
                None if namespace.kind == NamespaceKind::Cgroup => wanted.new_cgroup = true,
                None => wanted.made |= bit,
            }
        }
        Ok(wanted)
    }

    /// Whether ids inside are those of another user namespace.
    pub(crate) fn has_user(&self) -> bool {
        let bit = libc::CLONE_NEWUSER as u64;
        self.made & bit != 0 || self.joined.iter().any(|(joined, _)| *joined == bit)
    }

    /// The request to the maker, for a leaf with so many files.
    pub(crate) fn prepare(
        &self,
        id: &str,
        linux: &Linux,
        attach_files: usize,
        v2: bool,
    ) -> Prepare {
        Prepare {
            sandbox: id.to_owned(),
            namespaces: CloneNamespaces { made: self.made },
            joined: self.joined.iter().map(|(bit, _)| *bit).collect(),
            attach_files: u8::try_from(attach_files).unwrap_or(u8::MAX),
            into_cgroup: v2,
            uid_map: lines(&linux.uid_mappings),
            gid_map: lines(&linux.gid_mappings),
            time_offsets: time_offsets(linux),
        }
    }
}

fn lines(mappings: &[IdMapping]) -> String {
    mappings.iter().fold(String::new(), |mut text, map| {
        // Writing to memory does not fail.
        let _infallible = writeln!(text, "{} {} {}", map.container_id, map.host_id, map.size);
        text
    })
}

fn time_offsets(linux: &Linux) -> String {
    let offsets: BTreeMap<_, _> = linux.time_offsets.iter().collect();
    offsets
        .iter()
        .fold(String::new(), |mut text, (clock, offset)| {
            let _infallible = writeln!(text, "{clock} {} {}", offset.secs, offset.nanosecs);
            text
        })
}

/// Bits of the namespaces in which a process is and this one is not.
pub(crate) fn foreign(pid: i32) -> Result<u64> {
    let mut bits = 0;
    for (_, bit, name) in KINDS {
        let path = format!("/proc/{pid}/ns/{name}");
        let theirs = match rustix::fs::stat(&path) {
            // A kernel without this kind.
            Err(rustix::io::Errno::NOENT) if rustix::fs::stat("/proc/self/ns/net").is_ok() => {
                continue;
            }
            other => other.map_err(|errno| Error::file("look at", &path, errno.into()))?,
        };
        let own = rustix::fs::stat(format!("/proc/self/ns/{name}"))
            .map_err(|errno| Error::file("look at", &path, errno.into()))?;
        if (own.st_dev, own.st_ino) != (theirs.st_dev, theirs.st_ino) {
            bits |= bit;
        }
    }
    Ok(bits)
}
