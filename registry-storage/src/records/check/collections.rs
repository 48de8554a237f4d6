//! Typed collections: that every record has its unique keys and its entries in indexes, and nothing else has; and that what
//! counts them has counted them. A record says itself which entries it has, so its type need not be known here.

use std::collections::BTreeMap;

use registry_core::Result;
use registry_core::store::collection::keys::{self, Owner, Sequence, Stored};
use registry_core::store::{Entry, Txn};
use serde::de::IgnoredAny;

use super::super::values::encode;
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Outcome, Suspicion, as_seen, of};
use super::walk::Walk;
use super::{Checker, FindingKind};

type AnyRecord = Stored<IgnoredAny>;

const PAGE: usize = 500;
/// How often a collection is counted that others write meanwhile.
const LOOKS: usize = 100;
/// How many ids are left out where nobody knows which were given: those of deleted records must not come again.
const LEAP: u64 = 1000;

/// How many records a collection has, and the greatest of their ids.
#[derive(Clone, Copy, Default)]
struct Counted {
    count: u64,
    greatest: u64,
}

impl Checker<'_> {
    pub(super) async fn row(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((table, id)) = keys::parse_row(key) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let record = match decode::<AnyRecord>(key, entry) {
            Ok(record) => record,
            Err(told) => return Ok(vec![told]),
        };
        let mut told = Vec::new();
        for (name, value) in &record.unique {
            let own = keys::unique(table, name, value);
            let look = self.look::<Owner>(&own).await?;
            if matches!(&look, Look::Found(owner, _) if owner.id == id) {
                continue;
            }
            let message = format!("the {name} of {table} {id} does not lead to it");
            let proof = as_seen(of(key, entry), &own, &look);
            let told_of = Suspicion::new(FindingKind::IndexDisagrees, &own, message, proof);
            told.push(match look {
                // The other may be right: its own record is asked when its turn comes.
                Look::Found(owner, _) if self.claims(table, owner.id, name, value).await? => told_of.advise(
                    format!("{table} {} has the same; give one of them another", owner.id),
                ),
                _ => told_of.repair("it leads to it again", |txn| {
                    txn.put(&own, encode(&Owner { v: 1, id }))
                }),
            });
        }
        for (field, values) in &record.index {
            for value in values {
                let own = keys::indexed(table, field, value, id);
                if self.is_there(&own).await? {
                    continue;
                }
                let message = format!("{table} {id} is not in the index by {field}");
                let proof = of(key, entry).absent(&own);
                let told_of = Suspicion::new(FindingKind::IndexDisagrees, &own, message, proof);
                told.push(told_of.repair("it is there again", |txn| txn.put(&own, &b"{}"[..])));
            }
        }
        Ok(told)
    }

    /// Whether a record says that it has this unique key.
    async fn claims(&self, table: &str, id: u64, name: &str, value: &str) -> Result<bool> {
        Ok(match self.look::<AnyRecord>(&keys::row(table, id)).await? {
            Look::Found(record, _) => record.unique.get(name).is_some_and(|own| own == value),
            Look::Damaged | Look::Illegible(_) => true,
            Look::Absent => false,
        })
    }

    pub(super) async fn unique(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((table, name, value)) = keys::parse_unique(key) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let owner = match decode::<Owner>(key, entry) {
            Ok(owner) => owner,
            Err(told) => return Ok(vec![told]),
        };
        let row = keys::row(table, owner.id);
        let look = self.look::<AnyRecord>(&row).await?;
        let has = |record: &AnyRecord| record.unique.get(name).is_some_and(|own| own == value);
        Ok(entry_of(key, entry, &row, &look, has))
    }

    pub(super) async fn index(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((table, field, value, id)) = keys::parse_index(key) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let row = keys::row(table, id);
        let look = self.look::<AnyRecord>(&row).await?;
        let has = |record: &AnyRecord| {
            let own = record.index.get(field);
            own.is_some_and(|own| own.iter().any(|own| own == value))
        };
        Ok(entry_of(key, entry, &row, &look, has))
    }

    /// What counts the records of each collection.
    pub(super) async fn sequences(&mut self) -> Result<()> {
        let mut counted = self.counted_rows(keys::ROW).await?;
        let mut walk = Walk::through(keys::SEQUENCE, PAGE);
        while let Some((key, _)) = self.next(&mut walk).await? {
            counted.entry(key[keys::SEQUENCE.len()..].to_owned()).or_default();
        }
        for (table, mut rows) in counted {
            let key = keys::sequence(&table);
            let mut settled = false;
            for _ in 0..LOOKS {
                let look = self.look::<Sequence>(&key).await?;
                let Some(told) = sequence(&table, &key, &look, rows) else {
                    settled = true;
                    break;
                };
                if let Outcome::Told(_) = self.confirm(&told).await? {
                    settled = true;
                    break;
                }
                let again = self.counted_rows(&keys::rows(&table)).await?;
                rows = again.get(&table).copied().unwrap_or_default();
            }
            self.report.unsettled += u64::from(!settled);
        }
        Ok(())
    }

    /// The records of each collection.
    async fn counted_rows(&mut self, prefix: &str) -> Result<BTreeMap<String, Counted>> {
        let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
        let mut walk = Walk::again(prefix, PAGE);
        while let Some((key, _)) = self.next(&mut walk).await? {
            if let Some((table, id)) = keys::parse_row(&key) {
                let rows = counted.entry(table.to_owned()).or_default();
                rows.count += 1;
                rows.greatest = rows.greatest.max(id);
            }
        }
        Ok(counted)
    }
}

/// What is wrong with an entry of a record, which must say that it has it.
fn entry_of(
    key: &str,
    entry: &Entry,
    row: &str,
    look: &Look<AnyRecord>,
    has: impl FnOnce(&AnyRecord) -> bool,
) -> Vec<Suspicion> {
    let agrees = match look {
        Look::Found(record, _) => has(record),
        Look::Damaged | Look::Illegible(_) => true,
        Look::Absent => false,
    };
    if agrees {
        return Vec::new();
    }
    let message = format!("{key} leads to {row}, which does not have it");
    let proof = as_seen(of(key, entry), row, look);
    let told = Suspicion::new(FindingKind::IndexDisagrees, key, message, proof);
    vec![told.repair("it is taken away", |txn| txn.delete(key))]
}

fn sequence(table: &str, key: &str, look: &Look<Sequence>, rows: Counted) -> Option<Suspicion> {
    let told = |message: String| {
        let proof = as_seen(Txn::new(), key, look);
        Suspicion::new(FindingKind::CounterWrong, key, message, proof)
    };
    let put = |next: u64| {
        let sequence = Sequence {
            v: 1,
            next,
            count: rows.count,
        };
        move |txn: Txn| txn.put(key, encode(&sequence))
    };
    match look {
        Look::Found(sequence, _) if sequence.next <= rows.greatest => {
            let (next, greatest) = (sequence.next, rows.greatest);
            let message = format!("the next {table} would have id {next}, and there is a {greatest}");
            Some(told(message).repair("it gets an id that none ever had", put(greatest + LEAP)))
        }
        Look::Found(sequence, _) if sequence.count != rows.count => {
            let message = format!(
                "{table} is counted as {}, and there are {}",
                sequence.count, rows.count
            );
            Some(told(message).repair("it is counted again", put(sequence.next)))
        }
        Look::Found(..) => None,
        Look::Absent if rows.count == 0 => None,
        _ => {
            let message = format!("nothing says which id the next {table} has");
            Some(told(message).repair("it gets an id that none ever had", put(rows.greatest + LEAP)))
        }
    }
}
