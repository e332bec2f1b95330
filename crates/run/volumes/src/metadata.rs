//! `volume.json`: written when the volume is made, never changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, VolumeName};

/// Name of the file.
pub(crate) const FILE: &str = "volume.json";
/// Carried by volumes whose name nobody chose.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
/// Bytes that the file may have.
pub(crate) const MAX_BYTES: usize = 1 << 20;

const VERSION: u32 = 1;

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    version: u32,
    pub(crate) name: VolumeName,
    created_s: u64,
    created_ns: u32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
}

impl Metadata {
    pub(crate) fn new(
        name: VolumeName,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Self {
        // A clock before 1970 is written as 1970.
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            version: VERSION,
            name,
            created_s: created.as_secs(),
            created_ns: created.subsec_nanos(),
            labels,
            options,
        }
    }

    pub(crate) fn created(&self) -> SystemTime {
        UNIX_EPOCH + Duration::new(self.created_s.min(u64::from(u32::MAX)), self.created_ns)
    }

    /// Reads `<directory>/volume.json`. `None` where there is none.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let parse = |source| Error::Metadata {
            path: path.clone(),
            source,
        };
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(parse)?;
        if version > VERSION {
            return Err(Error::Version {
                path,
                version,
                known: VERSION,
            });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(parse)
    }

    /// Writes `<directory>/volume.json`, through to the disk.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let path = directory.join(FILE);
        let bytes = serde_json::to_vec(self).map_err(|source| Error::Metadata {
            path: path.clone(),
            source,
        })?;
        if bytes.len() > MAX_BYTES {
            return Err(Error::MetadataTooLarge {
                name: self.name.clone(),
                size: bytes.len(),
                limit: MAX_BYTES,
            });
        }
        let mut file = File::create_new(&path).map_err(Error::io("create", &path))?;
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", &path))
    }
}
