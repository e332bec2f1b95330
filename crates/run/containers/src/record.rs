//! What is on disk of a container.
//!
//! `shelf` says where its record is kept. `containers/<id>/run.json` is written
//! at each start, before the program may run, and removed after its end is on
//! record. Neither is synced, since only a daemon that died needs it, and a
//! machine that died has nothing running: so after a power cut it may be empty,
//! missing, or there although it was removed.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use carrack_network::{Endpoint, PortBinding};
use carrack_state::Table;
use serde::{Deserialize, Serialize};

use crate::{ContainerId, Error, NewContainer, Result, State};

/// All containers by id.
pub(crate) const CONTAINERS: Table<String, Record> = Table::new("containers");

/// Version of [`Record`] and [`RunRecord`].
pub(crate) const RECORD_VERSION: u32 = 1;

/// A container on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) new: NewContainer,
    pub(crate) state: State,
    pub(crate) created_at: SystemTime,
}

/// A run that was begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) version: u32,
    pub(crate) sandbox: String,
    pub(crate) supervisor_pid: i32,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) ports: Vec<PortBinding>,
}

const RUN_FILE: &str = "run.json";

impl RunRecord {
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(RUN_FILE);
        let bytes = serde_json::to_vec(self).map_err(|e| Error::Internal(e.to_string()))?;
        // Where only half of it was written, the daemon died before it told the
        // supervisor to start.
        std::fs::File::create(&path)
            .and_then(|mut file| file.write_all(&bytes))
            .map_err(|source| Error::file("write", &path, source))
    }

    /// The last run that was begun.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let bytes = std::fs::read(directory.join(RUN_FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// When the last run was begun, if its end may not be on record; also of
    /// a file that a power cut left empty.
    pub(crate) fn written_at(directory: &Path) -> Option<SystemTime> {
        std::fs::metadata(directory.join(RUN_FILE))
            .and_then(|metadata| metadata.modified())
            .ok()
    }

    pub(crate) fn remove(directory: &Path) {
        // Left behind, it names a supervisor that is gone, which is harmless.
        let _already_gone = std::fs::remove_file(directory.join(RUN_FILE));
    }
}

/// Key of a container's record.
pub(crate) fn key(id: &ContainerId) -> String {
    id.as_str().to_owned()
}
