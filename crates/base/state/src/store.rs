//! The file itself: opening, its format record, opening again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition, TableError,
};

use crate::error::Error;
use crate::table::{Reader, read_error};

/// Version of the layout that this layer gives to the file: texts to JSON.
const FORMAT: u32 = 1;
const FORMAT_TABLE: TableDefinition<'static, &'static str, u32> =
    TableDefinition::new("carrack.format");
const FORMAT_KEY: &str = "version";

pub(crate) struct Store {
    path: PathBuf,
    cache_bytes: usize,
    /// `None` only while it is opened again, and after that failed.
    database: RwLock<Option<Database>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<Store, Error> {
        if !path
            .try_exists()
            .map_err(|source| open_error(path, source))?
        {
            create(path, cache_bytes)?;
        }
        let database = open_existing(path, cache_bytes)?;
        check_format(path, &database)?;
        Ok(Store {
            path: path.to_owned(),
            cache_bytes,
            database: RwLock::new(Some(database)),
        })
    }

    pub(crate) fn read<T, E: From<Error>>(
        &self,
        body: impl FnOnce(&Reader) -> Result<T, E>,
    ) -> Result<T, E> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(Error::Closed)?;
        let snapshot = database.begin_read().map_err(|e| read_error("*", e))?;
        body(&Reader(snapshot))
    }

    pub(crate) fn begin_write(&self) -> Result<redb::WriteTransaction, redb::Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match database.as_ref() {
            Some(database) => Ok(database.begin_write()?),
            None => Err(redb::Error::DatabaseClosed),
        }
    }

    /// After an I/O error redb refuses everything, rightly: what it has in
    /// memory may differ from the disk. A fresh look at the file is sound.
    pub(crate) fn reopen(&self) {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Closed first: the file is locked while it is open.
        *database = None;
        *database = open_existing(&self.path, self.cache_bytes).ok();
    }
}

/// Makes the file under another name first, so that a crash in between
/// leaves no half of one.
fn create(path: &Path, cache_bytes: usize) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(open_error(&new, error));
        }
        _ => {}
    }
    let database = Builder::new()
        .set_cache_size(cache_bytes)
        .create(&new)
        .map_err(|error| classify(&new, error))?;
    write_format(&database).map_err(|error| open_error(&new, error))?;
    drop(database);
    std::fs::rename(&new, path)
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(|source| open_error(path, source))
}

fn write_format(database: &Database) -> Result<(), redb::Error> {
    let txn = database.begin_write()?;
    txn.open_table(FORMAT_TABLE)?.insert(FORMAT_KEY, FORMAT)?;
    txn.commit()?;
    Ok(())
}

fn open_existing(path: &Path, cache_bytes: usize) -> Result<Database, Error> {
    Builder::new()
        .set_cache_size(cache_bytes)
        .set_check_integrity_on_open(true)
        .open(path)
        .map_err(|error| classify(path, error))
}

fn check_format(path: &Path, database: &Database) -> Result<(), Error> {
    let foreign = || Error::Foreign {
        path: path.to_owned(),
    };
    let snapshot = database
        .begin_read()
        .map_err(|error| open_error(path, error))?;
    let table = match snapshot.open_table(FORMAT_TABLE) {
        Ok(table) => table,
        Err(TableError::Storage(error)) => return Err(open_error(path, error)),
        Err(_) => return Err(foreign()),
    };
    let found = table
        .get(FORMAT_KEY)
        .map_err(|error| open_error(path, error))?
        .ok_or_else(foreign)?
        .value();
    if found > FORMAT {
        return Err(Error::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    Ok(())
}

fn classify(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            Error::InUse { path }
        }
        DatabaseError::Storage(StorageError::Io(io)) if io.kind() == io::ErrorKind::InvalidData => {
            Error::Foreign { path }
        }
        DatabaseError::UpgradeRequired(_) => Error::Foreign { path },
        DatabaseError::Storage(StorageError::Io(io)) => open_error(&path, io),
        error @ (DatabaseError::Storage(StorageError::Corrupted(_))
        | DatabaseError::RepairAborted) => Error::Corrupt {
            path,
            source: Arc::new(error),
        },
        error => open_error(&path, error),
    }
}

fn open_error(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Open {
        path: path.to_owned(),
        source: Arc::new(source),
    }
}
