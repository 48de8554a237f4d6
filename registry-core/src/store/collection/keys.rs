//! Where collections keep what, and how texts stand in keys.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `row` | collection, id | the record, and its keys in the tables below ([`Stored`]) |
//! | `unique` | collection, unique key, value | id |
//! | `index` | collection, field, value `!` id | nothing more |
//! | `sequence` | collection | the next id, and how many records there are |
//! | `changed` | mark | nothing more; its stamp is that of the last change |
//!
//! A value in a key is the text itself, save for `"`, `!` and what sorts before them: these are written as `"` and two
//! digits. So values sort in keys as they do by themselves, a shorter one before those that begin with it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// The table of records.
pub const ROW: &str = "row/";
/// The table of unique keys.
pub const UNIQUE: &str = "unique/";
/// The table of indexes.
pub const INDEX: &str = "index/";
/// The table of the next ids.
pub const SEQUENCE: &str = "sequence/";
/// The table of marks.
pub const CHANGED: &str = "changed/";

/// Stands between a value and an id, and in no value.
const END: char = '!';
/// Begins the escape of a byte.
const ESCAPE: char = '"';

/// Longest value in a key, in bytes, once written there.
pub(super) const VALUE_MAX: usize = 400;

/// A record as it lies in its table.
///
/// It names its own entries in the other tables. So whoever changes or deletes it takes exactly those, whatever indexes a
/// version declares; and a check can tell whether they agree without knowing the type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored<V> {
    /// The version of the record's type.
    pub v: u8,
    /// Its unique keys: their names, and the values as they stand in keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unique: BTreeMap<String, String>,
    /// Its entries in indexes: the fields, and the values as they stand in keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub index: BTreeMap<String, Vec<String>>,
    /// The record.
    pub value: V,
}

/// What is under a unique key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The version of this form.
    pub v: u8,
    /// Whose key it is.
    pub id: u64,
}

/// What is under a collection's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// The version of this form.
    pub v: u8,
    /// The id of the next record. No record had it.
    pub next: u64,
    /// How many records there are.
    pub count: u64,
}

impl Default for Sequence {
    fn default() -> Self {
        Sequence {
            v: 1,
            next: 1,
            count: 0,
        }
    }
}

/// Every record of a collection.
pub fn rows(table: &str) -> String {
    format!("{ROW}{table}/")
}

/// A record.
pub fn row(table: &str, id: u64) -> String {
    format!("{ROW}{table}/{id:020}")
}

/// A unique key; `value` as it stands in keys.
pub fn unique(table: &str, name: &str, value: &str) -> String {
    format!("{UNIQUE}{table}/{name}/{value}")
}

/// Every entry of an index.
pub fn index(table: &str, field: &str) -> String {
    format!("{INDEX}{table}/{field}/")
}

/// Every entry of an index with one value; `value` as it stands in keys.
pub fn index_of(table: &str, field: &str, value: &str) -> String {
    format!("{INDEX}{table}/{field}/{value}{END}")
}

/// An entry of an index; `value` as it stands in keys.
pub fn indexed(table: &str, field: &str, value: &str, id: u64) -> String {
    format!("{INDEX}{table}/{field}/{value}{END}{id:020}")
}

/// What is next in a collection.
pub fn sequence(table: &str) -> String {
    format!("{SEQUENCE}{table}")
}

/// What tells that something changed.
pub fn changed(mark: &str) -> String {
    format!("{CHANGED}{mark}")
}

/// The collection and the id of a record's key.
pub fn parse_row(key: &str) -> Option<(&str, u64)> {
    let (table, id) = key.strip_prefix(ROW)?.split_once('/')?;
    Some((table, parse_id(id)?))
}

/// The collection, the name and the value of a unique key.
pub fn parse_unique(key: &str) -> Option<(&str, &str, &str)> {
    let (table, rest) = key.strip_prefix(UNIQUE)?.split_once('/')?;
    let (name, value) = rest.split_once('/')?;
    Some((table, name, value))
}

/// The collection, the field, the value and the id of an entry of an index.
pub fn parse_index(key: &str) -> Option<(&str, &str, &str, u64)> {
    let (table, rest) = key.strip_prefix(INDEX)?.split_once('/')?;
    let (field, entry) = rest.split_once('/')?;
    let (value, id) = entry.rsplit_once(END)?;
    Some((table, field, value, parse_id(id)?))
}

fn parse_id(digits: &str) -> Option<u64> {
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// A text as it stands in keys.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c <= ESCAPE {
            // Writing to a text does not fail.
            let _written = write!(escaped, "{ESCAPE}{:02x}", c as u32);
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// The text that stands in a key, if it was [escaped](escape).
pub fn unescape(escaped: &str) -> Option<String> {
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find(ESCAPE) {
        text.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3)?;
        text.push(char::from(u8::from_str_radix(digits, 16).ok()?));
        rest = &rest[at + 3..];
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_in_keys_sort_as_texts_and_come_back(a in "[a!\"/ \u{0}\u{e9}]{0,4}", b in "[a!\"/ \u{0}\u{e9}]{0,4}") {
            let (x, y) = (indexed("t", "f", &escape(&a), 1), indexed("t", "f", &escape(&b), 1));
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            prop_assert_eq!(unescape(&escape(&a)), Some(a.clone()));
            let escaped = escape(&a);
            prop_assert_eq!(parse_index(&x), Some(("t", "f", escaped.as_str(), 1)));
        }

        #[test]
        fn no_key_makes_a_parser_fail(key in ".{0,60}", rest in "[a-z/!\"0-9\u{e9}]{0,60}") {
            for key in [key, format!("{INDEX}{rest}"), format!("{UNIQUE}{rest}"), format!("{ROW}{rest}")] {
                let _read = (parse_index(&key), parse_unique(&key), parse_row(&key), unescape(&key));
            }
        }
    }
}
