//! What a snapshot's directory says about itself: `snapshot.json`.
//!
//! The file is written without a sync; one that is torn or of another version
//! reads as none, and the snapshot is unpacked again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use carrack_oci::DiffId;
use rustix::fs::{Mode, OFlags, openat, renameat};
use serde::{Deserialize, Serialize};

use crate::store::found;

const VERSION: u32 = 1;
const NAME: &str = "snapshot.json";
const NEW_NAME: &str = "snapshot.json.new";
/// Largest record read, in bytes.
const LEN_MAX: u64 = 4096;

/// Everything about a snapshot but its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) diff_id: DiffId,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    pub(crate) opaque_root: bool,
    /// The boot in which it was written and after which it is not to be
    /// trusted; none once it was synced.
    pub(crate) unsynced_in_boot: Option<String>,
}

impl Record {
    pub(crate) fn new(
        diff_id: DiffId,
        summary: carrack_archive::unpack::Summary,
        boot: &str,
    ) -> Record {
        Record {
            version: VERSION,
            diff_id,
            bytes: summary.bytes,
            entries: summary.entries,
            opaque_root: summary.opaque_root,
            unsynced_in_boot: Some(boot.to_owned()),
        }
    }

    /// The same, of a snapshot that is on disk.
    pub(crate) fn synced(&self) -> Record {
        Record {
            unsynced_in_boot: None,
            ..self.clone()
        }
    }

    /// Reads the record of the snapshot at `dir`, if it can be trusted in
    /// this boot.
    pub(crate) fn read(dir: impl AsFd, boot: &str) -> io::Result<Option<Record>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(file) = found(openat(dir, NAME, flags, Mode::empty()))? else {
            return Ok(None);
        };
        let mut text = Vec::new();
        File::from(file).take(LEN_MAX).read_to_end(&mut text)?;
        let Ok(record) = serde_json::from_slice::<Record>(&text) else {
            return Ok(None);
        };
        let trusted = match &record.unsynced_in_boot {
            None => true,
            Some(written) => written == boot,
        };
        Ok((record.version == VERSION && trusted).then_some(record))
    }

    /// Puts the record into the snapshot at `dir`, in one step.
    pub(crate) fn write(&self, dir: impl AsFd) -> io::Result<()> {
        let dir = dir.as_fd();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file: OwnedFd = openat(dir, NEW_NAME, flags, Mode::RUSR | Mode::WUSR)?;
        File::from(file).write_all(&serde_json::to_vec(self)?)?;
        Ok(renameat(dir, NEW_NAME, dir, NAME)?)
    }
}

/// What names this boot of the machine.
pub(crate) fn boot_id() -> io::Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 wrote it.
    const FIXTURE: &str = r#"{"version":1,"diffId":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","bytes":5,"entries":2,"opaqueRoot":false,"unsyncedInBoot":"b"}"#;

    #[test]
    fn reads_its_first_version_and_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let dir = File::open(temp.path()).unwrap();
        let path = temp.path().join(NAME);
        let read = |text: &str, boot: &str| {
            std::fs::write(&path, text).unwrap();
            Record::read(&dir, boot).unwrap()
        };
        let record = read(FIXTURE, "b").unwrap();
        assert_eq!((record.bytes, record.entries), (5, 2));
        assert_eq!(serde_json::to_string(&record).unwrap(), FIXTURE);

        assert_eq!(read(FIXTURE, "another boot"), None);
        let synced = FIXTURE.replace("\"b\"", "null");
        assert!(read(&synced, "another boot").is_some());
        let torn = &FIXTURE[..60];
        let zeros = "\0".repeat(200);
        let next = FIXTURE.replace("\"version\":1", "\"version\":2");
        for text in ["", torn, &zeros, &next, "{}"] {
            assert_eq!(read(text, "b"), None, "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Record::read(&dir, "b").unwrap(), None);
        // What cannot be read says nothing about the snapshot.
        std::fs::create_dir(&path).unwrap();
        Record::read(&dir, "b").unwrap_err();
    }
}
