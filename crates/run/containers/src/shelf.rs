//! Where records of containers are kept.
//!
//! A container that stays is in `state.redb`. One that goes away with its end
//! (`--rm`) is a file in its own directory, renamed into place and not synced:
//! it survives the daemon, and a machine that died has nothing running that it
//! could speak of. So a throw-away container costs the disk no flush, neither
//! at its birth nor at its end.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use tokio::sync::oneshot;

use crate::record::{self, CONTAINERS, Record};
use crate::{ContainerId, Containers, Error, Result};

/// The record of a container that goes away with its end.
const RECORD_FILE: &str = "container.json";

/// How long a record must live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Over reboots.
    Durable,
    /// As long as the machine runs.
    WithTheMachine,
}

impl Keeping {
    pub(crate) fn of(auto_remove: bool) -> Self {
        if auto_remove {
            Self::WithTheMachine
        } else {
            Self::Durable
        }
    }
}

impl Containers {
    /// All records of a data root.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let config = &self.0.config;
        let durable = config.state.read(|reader| reader.entries(&CONTAINERS))?;
        let mut records: Vec<Record> = durable
            .into_iter()
            .map(|(_, record): (String, Record)| record)
            .collect();
        let entries = std::fs::read_dir(&config.directory)
            .map_err(|source| Error::file("list", &config.directory, source))?;
        for entry in entries.flatten() {
            // A directory without one holds a durable container or nothing; a
            // file that a power cut left empty spoke of one that is gone.
            if let Some(record) = read_file(&entry.path())
                && entry.file_name().to_str() == Some(record.new.id.as_str())
            {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Puts a record where it belongs; it is there when this returns.
    pub(crate) async fn put_record(&self, record: Record) -> Result<()> {
        if Keeping::of(record.new.auto_remove) == Keeping::WithTheMachine {
            let directory = self.0.config.directory.join(record.new.id.as_str());
            return write_file(&directory, &record);
        }
        let key = record::key(&record.new.id);
        let (done, answer) = oneshot::channel();
        self.0.config.state.submit_durable(
            move |writer| writer.put(&CONTAINERS, &key, &record),
            move |outcome| {
                // The waiting side may have gone away; the write stands.
                let _gone = done.send(outcome);
            },
        );
        settle(answer.await)
    }

    /// Takes a record away; it does not come back after this returns.
    pub(crate) async fn delete_record(&self, id: &ContainerId, keeping: Keeping) -> Result<()> {
        if keeping == Keeping::WithTheMachine {
            return self.delete_record_file(id);
        }
        let key = record::key(id);
        let (done, answer) = oneshot::channel();
        self.0.config.state.submit_durable(
            move |writer| {
                writer.delete(&CONTAINERS, &key);
                Ok::<(), carrack_state::Error>(())
            },
            move |outcome| {
                let _gone = done.send(outcome);
            },
        );
        settle(answer.await)
    }

    /// Takes the record of a throw-away container away; one call of the
    /// kernel.
    pub(crate) fn delete_record_file(&self, id: &ContainerId) -> Result<()> {
        let path = self.0.config.directory.join(id.as_str()).join(RECORD_FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("delete", &path, error))
            }
            _ => Ok(()),
        }
    }
}

/// The first writing has nothing to spoil: until it is whole, nobody was told
/// of the container, and half of it reads as nothing.
fn write_file(directory: &Path, record: &Record) -> Result<()> {
    let path = directory.join(RECORD_FILE);
    let bytes = serde_json::to_vec(record).map_err(|e| Error::Internal(e.to_string()))?;
    let written = match File::create_new(&path) {
        Ok(mut first) => first.write_all(&bytes),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let fresh = directory.join("container.json.new");
            File::create(&fresh)
                .and_then(|mut file| file.write_all(&bytes))
                .and_then(|()| std::fs::rename(&fresh, &path))
        }
        Err(error) => Err(error),
    };
    written.map_err(|source| Error::file("write", &path, source))
}

fn read_file(directory: &Path) -> Option<Record> {
    let bytes = std::fs::read(directory.join(RECORD_FILE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

type Outcome = std::thread::Result<std::result::Result<(), carrack_state::Error>>;

fn settle(answer: std::result::Result<Outcome, oneshot::error::RecvError>) -> Result<()> {
    match answer {
        Ok(Ok(written)) => Ok(written?),
        Ok(Err(_)) => Err(Error::Internal("writing a record panicked".to_owned())),
        Err(_) => Err(Error::Internal("the record's writer is gone".to_owned())),
    }
}
