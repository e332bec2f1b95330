//! What is kept of a container: a directory below `--root` with its record and
//! the socket that its start comes over.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use carrack_oci::runtime::{Hook, Process};
use carrack_runtime::plan::SeccompPlan;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::processes::{self, Alive};
use crate::{Error, Result, cgroups};

const FILE: &str = "state.json";
const NEW_FILE: &str = "state.json.new";
const FILTER: &str = "seccomp.bpf";
/// The socket of a container that waits for its start.
pub(crate) const START: &str = "start";

/// Longest id: it is a file's name.
const MAX_ID_BYTES: usize = 255;

/// A container as the next call finds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its id.
    pub(crate) id: String,
    /// Absolute path of its bundle.
    pub(crate) bundle: PathBuf,
    /// Absolute path of its root.
    pub(crate) rootfs: PathBuf,
    /// When it was made.
    pub(crate) created: jiff::Timestamp,
    /// User who made it.
    pub(crate) owner: u32,
    /// Its first process; 0 before there is one.
    pub(crate) pid: i32,
    /// When that began, in the kernel's ticks: ids are used again.
    pub(crate) began: u64,
    /// Whether it is made: until then its first process is still in the host's
    /// root.
    pub(crate) made: bool,
    /// Its control group below each hierarchy's root.
    pub(crate) cgroup: String,
    /// Whether ids inside are those of a user namespace.
    pub(crate) in_user_namespace: bool,
    /// The specification's annotations.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its program, whose settings an exec starts from.
    pub(crate) process: Process,
    /// The filter's flags; its program lies beside the record.
    pub(crate) filter_flags: Option<u32>,
    /// Run after the start.
    pub(crate) poststart: Vec<Hook>,
    /// Run after the removal.
    pub(crate) poststop: Vec<Hook>,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is being made.
    Creating,
    /// It waits for its start.
    Created,
    /// Its program runs.
    Running,
    /// It is frozen.
    Paused,
    /// Its first process ended.
    Stopped,
}

impl Status {
    /// As `state` and `list` say it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// A container's directory.
#[derive(Clone, Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// The directory of an id, which need not be there.
    pub(crate) fn of(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        Ok(Self(root.join(id)))
    }

    /// Makes it; the id is taken from then on.
    pub(crate) fn make(root: &Path, id: &str) -> Result<Self> {
        let place = Self::of(root, id)?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|error| Error::file("make the directory", root, error))?;
        match rustix::fs::mkdir(&place.0, Mode::from_raw_mode(0o700)) {
            Ok(()) => Ok(place),
            Err(rustix::io::Errno::EXIST) => Err(Error::Exists),
            Err(errno) => Err(Error::file("make the directory", &place.0, errno.into())),
        }
    }

    /// A file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Itself, `O_PATH`: names of sockets below it may be too long for one.
    pub(crate) fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.0, flags, Mode::empty())
            .map_err(|errno| Error::file("open", &self.0, errno.into()))
    }

    /// Removes it with all that it holds; one that is gone is fine.
    pub(crate) fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::file("remove", &self.0, error)),
        }
    }

    /// Writes the record, whole or not at all.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let (new, path) = (self.path(NEW_FILE), self.path(FILE));
        let text =
            serde_json::to_vec(record).map_err(|error| Error::file("write", &new, error.into()))?;
        write_private(&new, &text).map_err(|error| Error::file("write", &new, error))?;
        std::fs::rename(&new, &path).map_err(|error| Error::file("write", &path, error))
    }

    /// Keeps the filter for programs that are added later.
    pub(crate) fn write_filter(&self, program: &[u8]) -> Result<()> {
        let path = self.path(FILTER);
        write_private(&path, program).map_err(|error| Error::file("write", path, error))
    }

    /// The filter of a container that has one.
    pub(crate) fn filter(&self, record: &Record) -> Result<Option<SeccompPlan>> {
        let Some(flags) = record.filter_flags else {
            return Ok(None);
        };
        let path = self.path(FILTER);
        let program = std::fs::read(&path).map_err(|error| Error::file("read", path, error))?;
        Ok(Some(SeccompPlan { program, flags }))
    }

    /// Reads the record.
    pub(crate) fn read(&self, id: &str) -> Result<Record> {
        let path = self.path(FILE);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound(id.to_owned()));
            }
            other => other.map_err(|error| Error::file("read", &path, error))?,
        };
        serde_json::from_slice(&text).map_err(|error| Error::file("read", path, error.into()))
    }
}

/// A file that nobody else reads: it holds an environment.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)
}

/// A container that is there.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its directory.
    pub(crate) place: Place,
    /// Its record.
    pub(crate) record: Record,
}

impl Found {
    /// Looks for a container.
    pub(crate) fn new(root: &Path, id: &str) -> Result<Self> {
        let place = Place::of(root, id)?;
        let record = place.read(id)?;
        Ok(Self { place, record })
    }

    /// Where it stands.
    pub(crate) fn status(&self) -> Status {
        if self.record.pid == 0 {
            return Status::Creating;
        }
        if processes::alive(self.record.pid, self.record.began) == Alive::No {
            return Status::Stopped;
        }
        if !self.record.made {
            return Status::Creating;
        }
        let frozen = cgroups::open(&self.record.cgroup).and_then(|leaf| Ok(leaf.is_frozen()?));
        match frozen {
            Ok(true) => Status::Paused,
            _ if self.place.path(START).exists() => Status::Created,
            _ => Status::Running,
        }
    }

    /// Refuses a container that stands elsewhere than in one of `wanted`.
    pub(crate) fn require(&self, wanted: &[Status], otherwise: &str) -> Result<Status> {
        let status = self.status();
        if wanted.contains(&status) {
            Ok(status)
        } else {
            Err(Error::State(otherwise.to_owned()))
        }
    }
}

/// All containers below a root, by id. What cannot be read is left out.
pub(crate) fn all(root: &Path) -> Result<Vec<Found>> {
    let entries = match std::fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| Error::file("read", root, error))?,
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let found = names.iter().filter_map(|name| Found::new(root, name).ok());
    Ok(found.collect())
}

/// Letters, digits and `_+-.`, as runc has it.
fn check_id(id: &str) -> Result<()> {
    let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    let is_name = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(permitted);
    if is_name && !matches!(id, "." | "..") {
        Ok(())
    } else {
        Err(Error::InvalidId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names_and_never_paths() {
        for id in ["a", "a.b+c_d-e", "0"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        let long = "x".repeat(256);
        for id in ["", ".", "..", "a/b", "/a", "../a", "a b", "ä", "a\0", &long] {
            assert!(matches!(check_id(id), Err(Error::InvalidId)), "{id:?}");
        }
    }

    #[test]
    fn an_id_is_taken_once() {
        let root = tempfile::tempdir().expect("directory");
        let place = Place::make(root.path(), "one").expect("made");
        assert!(matches!(
            Place::make(root.path(), "one"),
            Err(Error::Exists)
        ));
        assert!(matches!(place.read("one"), Err(Error::NotFound(_))));
        place.remove().expect("removed");
        place.remove().expect("gone");
        Place::make(root.path(), "one").expect("free again");
    }
}
