//! Typed records over any [`Kv`]: accounts, projects, policies, jobs.
//!
//! A [`Record`] says of itself which fields may be asked for, which of them have an index, and which keys are unique. A
//! [`Collection`] keeps all of that in the transaction that writes the record. Ids count up from 1 and never repeat, so
//! nothing of a deleted record lives on in one made later. What may be asked is [`Query`]: plain data over the declared
//! fields and no others.

mod field;
mod find;
pub mod keys;
mod query;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Entry, Kv, KvError, Precondition, Stamp, Txn};
use keys::{Owner, Sequence, Stored};
use query::Bound;

pub use field::{Field, Get, Unique};
pub use query::{Condition, Filter, Match, Query, QueryError, Sort};

/// A type of which a collection keeps records.
///
/// ```
/// use registry_core::store::collection::{Field, Get, Record, Unique};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Label {
///     name: String,
///     project: u64,
/// }
///
/// impl Record for Label {
///     const TABLE: &'static str = "label";
///     const FIELDS: &'static [Field<Self>] = &[
///         Field::new("name", Get::Text(|label: &Self| &label.name)).indexed(),
///         Field::new("project_id", Get::Number(|label: &Self| label.project as i64)).indexed(),
///     ];
///     const UNIQUE: &'static [Unique<Self>] =
///         &[Unique::new("name", |label| Some(format!("{}/{}", label.project, label.name).into()))];
/// }
/// ```
pub trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The collection's name: lower-case letters and dashes, at most 20, and no other's.
    const TABLE: &'static str;
    /// The version that is written. Records of later versions are not read.
    const VERSION: u8 = 1;
    /// By what records may be filtered and sorted. An index must have been declared since the first record.
    const FIELDS: &'static [Field<Self>];
    /// What no two records share.
    const UNIQUE: &'static [Unique<Self>] = &[];
    /// What is [changed](Collection::mark) by every write, so that whoever keeps copies knows when they are old.
    const MARK: Option<&'static str> = None;
}

/// A record with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<T> {
    /// Its id, from 1.
    pub id: u64,
    /// Which write it is of.
    pub stamp: Stamp,
    /// The record.
    pub value: T,
}

/// A page of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// The records.
    pub rows: Vec<Row<T>>,
    /// How many there are on all pages.
    pub total: u64,
}

/// Why a collection did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// Another record has the same unique key; nothing was written.
    #[error("there is a {table} with this {unique} already")]
    Taken {
        /// The collection.
        table: String,
        /// The unique key's name.
        unique: String,
    },
    /// There is no such record.
    #[error("there is no {table} {id}")]
    Missing {
        /// The collection.
        table: &'static str,
        /// The id that was asked for.
        id: u64,
    },
    /// A value is longer than a key can be.
    #[error("the {field} is too long")]
    TooLong {
        /// The field, or the unique key.
        field: &'static str,
    },
    /// It cannot be asked that.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A record is of a later version, or not one of this collection.
    #[error("the record {key} cannot be understood: {why}")]
    Illegible {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
    /// The records could not be read or written.
    #[error(transparent)]
    Store(#[from] KvError),
}

/// A record that is about to be written by a transaction.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The transaction, with what this record adds.
    pub txn: Txn,
    /// The id that the record will have.
    pub id: u64,
}

/// The records of one type.
pub struct Collection<T> {
    kv: Arc<dyn Kv>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Collection {
            kv: Arc::clone(&self.kv),
            of: PhantomData,
        }
    }
}

impl<T: Record> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collection({})", T::TABLE)
    }
}

impl<T: Record> Collection<T> {
    /// The collection as it is in these records.
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Collection { kv, of: PhantomData }
    }

    /// The record with this id.
    ///
    /// # Errors
    /// [`CollectionError::Illegible`], [`CollectionError::Store`].
    pub async fn get(&self, id: u64) -> Result<Option<Row<T>>, CollectionError> {
        let key = keys::row(T::TABLE, id);
        let entry = self.kv.get(&key).await?;
        entry.map(|entry| decode(&key, &entry)).transpose()
    }

    /// The record whose unique key `name` is `value`.
    ///
    /// # Errors
    /// As for [`get`](Collection::get).
    pub async fn by(&self, name: &str, value: &str) -> Result<Option<Row<T>>, CollectionError> {
        let value = keys::escape(value);
        if value.len() > keys::VALUE_MAX {
            return Ok(None);
        }
        let key = keys::unique(T::TABLE, name, &value);
        // Two reads: whose it is may have changed in between.
        while let Some(entry) = self.kv.get(&key).await? {
            let owner: Owner = parse(&key, &entry.value)?;
            match self.get(owner.id).await? {
                Some(row) if Entries::of(&row.value)?.unique.get(name) == Some(&value) => {
                    return Ok(Some(row));
                }
                _ if self
                    .kv
                    .get(&key)
                    .await?
                    .is_none_or(|now| now.stamp != entry.stamp) => {}
                _ => {
                    let why = "it leads to no record that has it".to_owned();
                    return Err(CollectionError::Illegible { key, why });
                }
            }
        }
        Ok(None)
    }

    /// How many records there are.
    ///
    /// # Errors
    /// As for [`get`](Collection::get).
    pub async fn count(&self) -> Result<u64, CollectionError> {
        Ok(self.sequence().await?.0.count)
    }

    /// A page of the records that a query is about.
    ///
    /// Along an index, or under one value of it, only the entries before the page are passed, and the records of the page
    /// read. Otherwise every record is. What is written meanwhile may be in it or not.
    ///
    /// # Errors
    /// [`CollectionError::Query`]; as for [`get`](Collection::get).
    pub async fn query(&self, query: &Query) -> Result<Found<T>, CollectionError> {
        self.find(&Bound::new(query)?).await
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`CollectionError::Taken`] names the unique key that another record has; [`CollectionError::TooLong`];
    /// [`CollectionError::Store`].
    pub async fn insert(&self, value: &T) -> Result<Row<T>, CollectionError> {
        loop {
            let staged = self.stage_insert(Txn::new(), value).await?;
            if let Some(stamp) = commit(&*self.kv, staged.txn).await? {
                let (id, value) = (staged.id, value.clone());
                return Ok(Row { id, stamp, value });
            }
        }
    }

    /// What [`insert`](Collection::insert) would write, as a part of a larger transaction, at most once for each collection.
    /// It is for [`commit`]; if that says to try again, this is to be staged anew.
    ///
    /// # Errors
    /// [`CollectionError::TooLong`], [`CollectionError::Store`].
    pub async fn stage_insert(&self, txn: Txn, value: &T) -> Result<Staged, CollectionError> {
        let (sequence, read) = self.sequence().await?;
        let id = sequence.next;
        let entries = Entries::of(value)?;
        // First, so that a conflict is told of these and not of the sequence.
        let mut txn = entries.claim(txn, id, &Entries::default());
        let next = Sequence {
            next: id + 1,
            count: sequence.count + 1,
            ..sequence
        };
        txn = txn.unchanged(keys::sequence(T::TABLE), read.as_ref());
        txn = txn.put(keys::sequence(T::TABLE), encode(&next));
        txn = txn.absent(keys::row(T::TABLE, id));
        txn = mark::<T>(entries.write(txn, id, value));
        Ok(Staged { txn, id })
    }

    /// Changes a record. `change` is called again with the record as it is then if somebody else wrote it meanwhile.
    ///
    /// # Errors
    /// Whatever `change` refuses with, nothing being written; [`CollectionError::Missing`]; as for
    /// [`insert`](Collection::insert).
    pub async fn update<E: From<CollectionError>>(
        &self,
        id: u64,
        mut change: impl FnMut(&mut T) -> Result<(), E> + Send,
    ) -> Result<Row<T>, E> {
        loop {
            let table = T::TABLE;
            let row = self
                .get(id)
                .await?
                .ok_or(CollectionError::Missing { table, id })?;
            let mut value = row.value.clone();
            change(&mut value)?;
            if let Some(row) = self.replace(&row, value).await? {
                return Ok(row);
            }
        }
    }

    /// Puts `value` in the place of a record as it was read, or says that somebody wrote it since.
    ///
    /// # Errors
    /// As for [`insert`](Collection::insert).
    pub async fn replace(&self, row: &Row<T>, value: T) -> Result<Option<Row<T>>, CollectionError> {
        let (id, key) = (row.id, keys::row(T::TABLE, row.id));
        let Some(old) = self.entries_of(&key, row.stamp).await? else {
            return Ok(None);
        };
        let new = Entries::of(&value)?;
        let mut txn = Txn::new().at(key, row.stamp);
        txn = old.release(txn, id, &new);
        txn = new.claim(txn, id, &old);
        txn = mark::<T>(new.write(txn, id, &value));
        let stamp = commit(&*self.kv, txn).await?;
        Ok(stamp.map(|stamp| Row { id, stamp, value }))
    }

    /// Deletes a record, and says what it was.
    ///
    /// # Errors
    /// As for [`get`](Collection::get).
    pub async fn delete(&self, id: u64) -> Result<Option<Row<T>>, CollectionError> {
        self.delete_if(id, |_| Ok::<_, CollectionError>(())).await
    }

    /// Deletes a record unless `refuse` refuses, and says what it was.
    ///
    /// # Errors
    /// What `refuse` refuses with; as for [`get`](Collection::get).
    pub async fn delete_if<E: From<CollectionError>>(
        &self,
        id: u64,
        mut refuse: impl FnMut(&T) -> Result<(), E> + Send,
    ) -> Result<Option<Row<T>>, E> {
        let key = keys::row(T::TABLE, id);
        loop {
            let Some(row) = self.get(id).await? else {
                return Ok(None);
            };
            refuse(&row.value)?;
            let Some(entries) = self.entries_of(&key, row.stamp).await? else {
                continue;
            };
            let (sequence, read) = self.sequence().await?;
            let next = Sequence {
                count: sequence.count.saturating_sub(1),
                ..sequence
            };
            let mut txn = Txn::new().at(key.clone(), row.stamp);
            txn = txn.unchanged(keys::sequence(T::TABLE), read.as_ref());
            txn = entries.release(txn, id, &Entries::default());
            txn = mark::<T>(txn.delete(key.clone()));
            txn = txn.put(keys::sequence(T::TABLE), encode(&next));
            if commit(&*self.kv, txn).await?.is_some() {
                return Ok(Some(row));
            }
        }
    }

    /// The last write of anything that shares this collection's [mark](Record::MARK); nothing if there was none, or if it has
    /// no mark.
    ///
    /// # Errors
    /// [`CollectionError::Store`].
    pub async fn mark(&self) -> Result<Option<Stamp>, CollectionError> {
        let Some(mark) = T::MARK else {
            return Ok(None);
        };
        Ok(self.kv.get(&keys::changed(mark)).await?.map(|entry| entry.stamp))
    }

    async fn sequence(&self) -> Result<(Sequence, Option<Entry>), CollectionError> {
        let key = keys::sequence(T::TABLE);
        let entry = self.kv.get(&key).await?;
        let sequence = match &entry {
            Some(entry) => parse(&key, &entry.value)?,
            None => Sequence::default(),
        };
        Ok((sequence, entry))
    }

    /// The entries that a record has, unless it was written since.
    async fn entries_of(&self, key: &str, stamp: Stamp) -> Result<Option<Entries>, CollectionError> {
        let Some(entry) = self.kv.get(key).await?.filter(|entry| entry.stamp == stamp) else {
            return Ok(None);
        };
        let stored: Stored<serde::de::IgnoredAny> = parse(key, &entry.value)?;
        Ok(Some(Entries {
            table: T::TABLE,
            unique: stored.unique,
            index: stored.index,
        }))
    }
}

/// Commits what was staged. Nothing means that something was written meanwhile, and all of it is to be staged anew.
///
/// # Errors
/// [`CollectionError::Taken`] names the collection and the unique key that another record has; [`CollectionError::Store`].
pub async fn commit(kv: &dyn Kv, txn: Txn) -> Result<Option<Stamp>, CollectionError> {
    match kv.commit(txn).await {
        Ok(stamp) => Ok(Some(stamp)),
        Err(KvError::Conflict(Precondition::Absent(key))) => match keys::parse_unique(&key) {
            Some((table, unique, _)) => Err(CollectionError::Taken {
                table: table.to_owned(),
                unique: unique.to_owned(),
            }),
            // The sequence was as it was read, and should have known of that record.
            None if key.starts_with(keys::ROW) => Err(CollectionError::Illegible {
                key,
                why: "the sequence of its collection is behind it; a check with repair mends that".to_owned(),
            }),
            None => Ok(None),
        },
        Err(KvError::Conflict(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

/// What a record has in the tables beside its own.
#[derive(Default)]
struct Entries {
    table: &'static str,
    unique: BTreeMap<String, String>,
    index: BTreeMap<String, Vec<String>>,
}

impl Entries {
    fn of<T: Record>(value: &T) -> Result<Self, CollectionError> {
        let too_long = |field: &'static str, entry: &String| match entry.len() > keys::VALUE_MAX {
            true => Err(CollectionError::TooLong { field }),
            false => Ok(()),
        };
        let mut entries = Entries {
            table: T::TABLE,
            ..Entries::default()
        };
        for unique in T::UNIQUE {
            if let Some(key) = (unique.key)(value) {
                let key = keys::escape(&key);
                too_long(unique.name, &key)?;
                entries.unique.insert(unique.name.to_owned(), key);
            }
        }
        for field in T::FIELDS.iter().filter(|field| field.indexed) {
            let own = field.entries(value);
            own.iter().try_for_each(|entry| too_long(field.name, entry))?;
            entries.index.insert(field.name.to_owned(), own);
        }
        entries.index.insert(query::ID.to_owned(), vec![String::new()]);
        Ok(entries)
    }

    fn unique_keys(&self) -> impl Iterator<Item = String> {
        let keys = self.unique.iter();
        keys.map(|(name, value)| keys::unique(self.table, name, value))
    }

    fn index_keys(&self, id: u64) -> impl Iterator<Item = String> {
        let fields = self.index.iter();
        let values = fields.flat_map(|(field, values)| values.iter().map(move |value| (field, value)));
        values.map(move |(field, value)| keys::indexed(self.table, field, value, id))
    }

    /// Makes these entries the record's, save for those that it had before.
    fn claim(&self, mut txn: Txn, id: u64, before: &Entries) -> Txn {
        let had: Vec<String> = before.unique_keys().collect();
        for key in self.unique_keys().filter(|key| !had.contains(key)) {
            txn = txn.absent(key.clone()).put(key, encode(&Owner { v: 1, id }));
        }
        let had: Vec<String> = before.index_keys(id).collect();
        let new = self.index_keys(id).filter(|key| !had.contains(key));
        new.fold(txn, |txn, key| txn.put(key, &b"{}"[..]))
    }

    /// Takes these entries away, save for those that the record has afterwards.
    fn release(&self, txn: Txn, id: u64, after: &Entries) -> Txn {
        let stay: Vec<String> = after.unique_keys().chain(after.index_keys(id)).collect();
        let all = self.unique_keys().chain(self.index_keys(id));
        all.filter(|key| !stay.contains(key)).fold(txn, Txn::delete)
    }

    /// Writes the record itself.
    fn write<T: Record>(self, txn: Txn, id: u64, value: &T) -> Txn {
        let stored = Stored {
            v: T::VERSION,
            unique: self.unique,
            index: self.index,
            value,
        };
        txn.put(keys::row(T::TABLE, id), encode(&stored))
    }
}

fn mark<T: Record>(txn: Txn) -> Txn {
    match T::MARK {
        Some(mark) => txn.put(keys::changed(mark), &b"{}"[..]),
        None => txn,
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records are maps with text keys")
}

fn parse<V: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<V, CollectionError> {
    // Not the whole message: it may quote the record, and some hold what no log may.
    serde_json::from_slice(bytes).map_err(|why| CollectionError::Illegible {
        key: key.to_owned(),
        why: format!("{:?} error at byte {}", why.classify(), why.column()),
    })
}

fn decode<T: Record>(key: &str, entry: &Entry) -> Result<Row<T>, CollectionError> {
    let illegible = |why: String| CollectionError::Illegible {
        key: key.to_owned(),
        why,
    };
    let (_, id) = keys::parse_row(key).ok_or_else(|| illegible("its key has no id".to_owned()))?;
    // The version first: a later one may look different.
    let version: Stored<serde::de::IgnoredAny> = parse(key, &entry.value)?;
    if version.v > T::VERSION {
        let (found, known) = (version.v, T::VERSION);
        return Err(illegible(format!(
            "it has version {found}, of a later program; this one reads {known}"
        )));
    }
    let stored: Stored<T> = parse(key, &entry.value)?;
    Ok(Row {
        id,
        stamp: entry.stamp,
        value: stored.value,
    })
}
