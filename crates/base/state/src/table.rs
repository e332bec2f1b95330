//! Tables, and what a reader and a writer can do with them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

use redb::{ReadableTable, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::MAX_VALUE_BYTES;
use crate::error::Error;

type Definition = TableDefinition<'static, &'static str, &'static [u8]>;

/// A table of the file: keys that have a text form, values that have a JSON
/// form. Declared as a constant by its owner.
#[derive(Debug)]
pub struct Table<K, V> {
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V> {
    /// The table of this name, which must be used with these types alone.
    pub const fn new(name: &'static str) -> Table<K, V> {
        Table {
            name,
            types: PhantomData,
        }
    }

    fn definition(&self) -> Definition {
        TableDefinition::new(self.name)
    }
}

/// One consistent snapshot.
pub struct Reader(pub(crate) redb::ReadTransaction);

impl Reader {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Decode`].
    pub fn get<K: Display, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, Error> {
        let key = key.to_string();
        let Some(opened) = present(table.name, self.0.open_table(table.definition()))? else {
            return Ok(None);
        };
        let bytes = opened
            .get(key.as_str())
            .map_err(|e| read_error(table.name, e))?;
        bytes
            .map(|bytes| decode(table.name, &key, bytes.value()))
            .transpose()
    }

    /// All records in the order of their keys' texts.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Decode`] of the first bad record.
    pub fn entries<K: FromStr, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
    ) -> Result<Vec<(K, V)>, Error> {
        match present(table.name, self.0.open_table(table.definition()))? {
            Some(opened) => all(table.name, &opened),
            None => Ok(Vec::new()),
        }
    }
}

/// Changes of one writer: visible to itself at once, to others when they are
/// committed.
pub struct Writer<'txn> {
    txn: &'txn redb::WriteTransaction,
    changes: Changes,
}

/// `None` deletes. Kept apart from the transaction, which is shared: the
/// changes of a writer that fails are dropped, those of the others stay.
pub(crate) type Changes = BTreeMap<(&'static str, String), Option<Vec<u8>>>;

impl<'txn> Writer<'txn> {
    pub(crate) fn new(txn: &'txn redb::WriteTransaction) -> Writer<'txn> {
        Writer {
            txn,
            changes: Changes::new(),
        }
    }

    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }

    /// The value of `key`, this writer's own changes included.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Decode`].
    pub fn get<K: Display, V: DeserializeOwned>(
        &self,
        table: &Table<K, V>,
        key: &K,
    ) -> Result<Option<V>, Error> {
        let key = (table.name, key.to_string());
        if let Some(change) = self.changes.get(&key) {
            return change
                .as_ref()
                .map(|bytes| decode(table.name, &key.1, bytes))
                .transpose();
        }
        let Some(opened) = present(table.name, self.txn.open_table(table.definition()))? else {
            return Ok(None);
        };
        let bytes = opened
            .get(key.1.as_str())
            .map_err(|e| read_error(table.name, e))?;
        bytes
            .map(|bytes| decode(table.name, &key.1, bytes.value()))
            .transpose()
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// [`Error::Encode`], [`Error::TooLarge`].
    pub fn put<K: Display, V: Serialize>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        value: &V,
    ) -> Result<(), Error> {
        let key = key.to_string();
        let bytes = serde_json::to_vec(value).map_err(|source| Error::Encode {
            table: table.name,
            key: key.clone(),
            source: Arc::new(source),
        })?;
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(Error::TooLarge {
                table: table.name,
                key,
                bytes: bytes.len(),
            });
        }
        self.changes.insert((table.name, key), Some(bytes));
        Ok(())
    }

    /// Removes `key`, if it is there.
    pub fn delete<K: Display, V>(&mut self, table: &Table<K, V>, key: &K) {
        self.changes.insert((table.name, key.to_string()), None);
    }
}

/// Writes one writer's changes into the shared transaction.
pub(crate) fn apply(txn: &redb::WriteTransaction, changes: &Changes) -> Result<(), redb::Error> {
    for ((table, key), value) in changes {
        let mut opened = txn.open_table(Definition::new(table))?;
        match value {
            Some(bytes) => drop(opened.insert(key.as_str(), bytes.as_slice())?),
            None => drop(opened.remove(key.as_str())?),
        }
    }
    Ok(())
}

fn present<T>(table: &'static str, opened: Result<T, TableError>) -> Result<Option<T>, Error> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(read_error(table, error)),
    }
}

fn all<K: FromStr, V: DeserializeOwned>(
    table: &'static str,
    opened: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Vec<(K, V)>, Error> {
    let mut entries = Vec::new();
    for entry in opened.iter().map_err(|e| read_error(table, e))? {
        let (key, value) = entry.map_err(|e| read_error(table, e))?;
        let value = decode(table, key.value(), value.value())?;
        let key = key.value().parse().map_err(|_| Error::Decode {
            table,
            key: key.value().to_owned(),
            source: None,
        })?;
        entries.push((key, value));
    }
    Ok(entries)
}

fn decode<V: DeserializeOwned>(table: &'static str, key: &str, bytes: &[u8]) -> Result<V, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Decode {
        table,
        key: key.to_owned(),
        source: Some(Arc::new(source)),
    })
}

pub(crate) fn read_error(table: &'static str, error: impl Into<redb::Error>) -> Error {
    Error::Read {
        table,
        source: Arc::new(error.into()),
    }
}
