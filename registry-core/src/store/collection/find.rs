//! How a query is answered from an ordered map: along an index where one gives the order or the value, else by going through
//! all records. Never with more in memory than a page of records and, for the order, what stands before the page's end.

use std::collections::{BinaryHeap, VecDeque};
use std::ops::Range;

use super::query::{Bound, FieldOf, Place, Test};
use super::{Collection, CollectionError, Found, Record, Row, keys};

/// Entries of an index that are read at once.
const ENTRIES: usize = 1000;
/// Records that are read at once.
const ROWS: usize = 200;

/// Where the records of a query can be found.
enum Way<T: 'static> {
    /// Along this field's index, in the order that is asked for; the conditions are about no other field.
    Along(FieldOf<T>, bool),
    /// Under these values of this field's index.
    Under(FieldOf<T>, Vec<String>),
    /// Among all.
    Through,
}

impl<T: Record> Bound<T> {
    fn way(&self) -> Way<T> {
        if let [(field, descending)] = self.sort[..]
            && field.is_indexed()
            && self.conditions.iter().all(|(about, _)| about.is(field))
        {
            return Way::Along(field, descending);
        }
        let mut selective = self
            .conditions
            .iter()
            .filter_map(|(field, test)| match (field, test) {
                (FieldOf::Declared(declared), Test::Any(values)) if declared.indexed => {
                    let mut values: Vec<String> = values.iter().map(super::field::Value::encode).collect();
                    values.sort();
                    values.dedup();
                    Some(Way::Under(*field, values))
                }
                _ => None,
            });
        selective.next().unwrap_or(Way::Through)
    }

    /// Whether the records under one value of an index, which are in the order of ids, are the answer in order.
    fn is_under_alone(&self) -> Option<bool> {
        match self.sort[..] {
            [(FieldOf::Id, descending)] if self.conditions.len() == 1 => Some(descending),
            _ => None,
        }
    }
}

impl<T: Record> Collection<T> {
    pub(super) async fn find(&self, bound: &Bound<T>) -> Result<Found<T>, CollectionError> {
        match bound.way() {
            Way::Along(field, descending) => {
                let prefix = keys::index(T::TABLE, field.name());
                let (ids, total) = match bound.conditions.is_empty() {
                    true => self.ids_by_count(&prefix, bound, descending).await?,
                    false => {
                        let mut picked = Picked::new(bound, descending);
                        self.entries(&prefix, |value, id| {
                            let values = field.decode(value, id);
                            if values.is_some_and(|values| bound.admits_values(&values)) {
                                picked.add(id);
                            }
                            true
                        })
                        .await?;
                        picked.done()
                    }
                };
                self.found(ids, total).await
            }
            Way::Under(field, values) => {
                let one = (values.len() == 1).then(|| bound.is_under_alone()).flatten();
                if let Some(descending) = one {
                    let mut picked = Picked::new(bound, descending);
                    let prefix = keys::index_of(T::TABLE, field.name(), &values[0]);
                    self.entries(&prefix, |_, id| {
                        picked.add(id);
                        true
                    })
                    .await?;
                    let (ids, total) = picked.done();
                    return self.found(ids, total).await;
                }
                let mut sorted = Sorted::new(bound);
                for value in &values {
                    let prefix = keys::index_of(T::TABLE, field.name(), value);
                    let mut after = None;
                    loop {
                        let page = self.page_of_entries(&prefix, after.as_deref()).await?;
                        for (_, id) in &page.ids {
                            // One with several values is met under each of them.
                            if let Some(row) = self.get(*id).await?
                                && first_of(field, &row, &values) == Some(value)
                            {
                                sorted.add(&row);
                            }
                        }
                        match page.last {
                            Some(last) => after = Some(last),
                            None => break,
                        }
                    }
                }
                let (ids, total) = sorted.done();
                self.found(ids, total).await
            }
            Way::Through => {
                let mut sorted = Sorted::new(bound);
                let prefix = keys::rows(T::TABLE);
                let mut after: Option<String> = None;
                loop {
                    let page = self.kv.scan(&prefix, after.as_deref(), ROWS).await?;
                    let is_last = page.len() < ROWS;
                    for (key, entry) in &page {
                        sorted.add(&super::decode(key, entry)?);
                    }
                    match page.into_iter().next_back() {
                        Some((last, _)) if !is_last => after = Some(last),
                        _ => break,
                    }
                }
                let (ids, total) = sorted.done();
                self.found(ids, total).await
            }
        }
    }

    /// The records with these ids, save those that were deleted meanwhile.
    async fn found(&self, ids: Vec<u64>, total: u64) -> Result<Found<T>, CollectionError> {
        let mut rows = Vec::new();
        for id in ids {
            rows.extend(self.get(id).await?);
        }
        Ok(Found { rows, total })
    }

    /// The ids of a page of everything, in the order of an index that has every record once.
    async fn ids_by_count(
        &self,
        prefix: &str,
        bound: &Bound<T>,
        descending: bool,
    ) -> Result<(Vec<u64>, u64), CollectionError> {
        let total = self.count().await?;
        let count = usize::try_from(total).unwrap_or(usize::MAX);
        let begin = bound.offset.min(count);
        let end = begin.saturating_add(bound.limit).min(count);
        let wanted: Range<usize> = match descending {
            false => begin..end,
            true => count - end..count - begin,
        };
        let (mut ids, mut at) = (Vec::new(), 0);
        if !wanted.is_empty() {
            self.entries(prefix, |_, id| {
                if wanted.contains(&at) {
                    ids.push(id);
                }
                at += 1;
                at < wanted.end
            })
            .await?;
        }
        if descending {
            ids.reverse();
        }
        Ok((ids, total))
    }

    /// Goes through the entries of an index, until there are no more or `each` has seen enough.
    async fn entries(
        &self,
        prefix: &str,
        mut each: impl FnMut(&str, u64) -> bool + Send,
    ) -> Result<(), CollectionError> {
        let mut after = None;
        loop {
            let page = self.page_of_entries(prefix, after.as_deref()).await?;
            for (value, id) in &page.ids {
                if !each(value, *id) {
                    return Ok(());
                }
            }
            match page.last {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    async fn page_of_entries(&self, prefix: &str, after: Option<&str>) -> Result<Entries, CollectionError> {
        let page = self.kv.scan(prefix, after, ENTRIES).await?;
        let ids = page.iter().filter_map(|(key, _)| {
            let (_, _, value, id) = keys::parse_index(key)?;
            Some((value.to_owned(), id))
        });
        Ok(Entries {
            ids: ids.collect(),
            last: (page.len() == ENTRIES)
                .then(|| page.last().map(|(key, _)| key.clone()))
                .flatten(),
        })
    }
}

/// A page of an index.
struct Entries {
    /// Values as they stand in keys, and ids.
    ids: Vec<(String, u64)>,
    /// From where to go on, unless this was the end.
    last: Option<String>,
}

/// The first of these values, as they stand in keys, that a record has in a field.
fn first_of<'v, T: Record>(field: FieldOf<T>, row: &Row<T>, values: &'v [String]) -> Option<&'v String> {
    let own: Vec<String> = field
        .values(row.id, &row.value)
        .iter()
        .map(super::field::Value::encode)
        .collect();
    values.iter().find(|value| own.contains(value))
}

/// A page of ids that come in their order, or in the opposite one.
struct Picked {
    range: Range<usize>,
    descending: bool,
    kept: VecDeque<u64>,
    seen: usize,
}

impl Picked {
    fn new<T>(bound: &Bound<T>, descending: bool) -> Self {
        Picked {
            range: bound.offset..bound.offset.saturating_add(bound.limit),
            descending,
            kept: VecDeque::new(),
            seen: 0,
        }
    }

    fn add(&mut self, id: u64) {
        match self.descending {
            // Which are the last shows only at the end.
            true => {
                self.kept.push_back(id);
                if self.kept.len() > self.range.end {
                    self.kept.pop_front();
                }
            }
            false if self.range.contains(&self.seen) => self.kept.push_back(id),
            false => {}
        }
        self.seen += 1;
    }

    fn done(self) -> (Vec<u64>, u64) {
        let ids = match self.descending {
            true => self.kept.into_iter().rev().skip(self.range.start).collect(),
            false => self.kept.into(),
        };
        (ids, self.seen as u64)
    }
}

/// A page of records that come in any order: the least so many are kept, by their places.
struct Sorted<'b, T: 'static> {
    bound: &'b Bound<T>,
    least: BinaryHeap<Place>,
    seen: u64,
}

impl<'b, T: Record> Sorted<'b, T> {
    fn new(bound: &'b Bound<T>) -> Self {
        Sorted {
            bound,
            least: BinaryHeap::new(),
            seen: 0,
        }
    }

    fn add(&mut self, row: &Row<T>) {
        if !self.bound.admits(row) {
            return;
        }
        self.seen += 1;
        self.least.push(self.bound.place(row));
        if self.least.len() > self.bound.offset.saturating_add(self.bound.limit) {
            self.least.pop();
        }
    }

    fn done(self) -> (Vec<u64>, u64) {
        let places = self.least.into_sorted_vec();
        let ids = places.into_iter().skip(self.bound.offset).map(|place| place.id);
        (ids.collect(), self.seen)
    }
}
