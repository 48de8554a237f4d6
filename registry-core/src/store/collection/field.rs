//! What a type of record declares about itself: its fields, its unique keys, and how their values are compared and
//! written into keys.

use std::borrow::Cow;
use std::fmt;

use super::keys;

/// How a field's value is read from a record.
pub enum Get<T> {
    /// A text.
    Text(for<'a> fn(&'a T) -> &'a str),
    /// A text that is made from the record.
    Made(fn(&T) -> String),
    /// A number.
    Number(fn(&T) -> i64),
    /// A yes or no.
    Flag(fn(&T) -> bool),
    /// Several numbers, ids of groups perhaps. Records cannot be sorted by it.
    Numbers(for<'a> fn(&'a T) -> Cow<'a, [i64]>),
}

/// A field by which records may be filtered and sorted. What a type does not declare cannot be asked for.
pub struct Field<T> {
    /// Its name in filters and sort orders, compared without case and underscores, so that `project_id` is `ProjectID` too.
    pub name: &'static str,
    pub(super) get: Get<T>,
    pub(super) indexed: bool,
}

/// A key that no two records of a collection share.
pub struct Unique<T> {
    /// Its name, which a conflict tells.
    pub name: &'static str,
    pub(super) key: fn(&T) -> Option<Cow<'_, str>>,
}

impl<T> Field<T> {
    /// A field that filters look at in every record.
    pub const fn new(name: &'static str, get: Get<T>) -> Self {
        let indexed = false;
        Field { name, get, indexed }
    }

    /// The same with an index: a page in its order, or of the records with one value, costs the page.
    #[must_use]
    pub const fn indexed(self) -> Self {
        Field {
            name: self.name,
            get: self.get,
            indexed: true,
        }
    }

    /// Whether a record has several values here.
    pub(super) fn is_many(&self) -> bool {
        matches!(self.get, Get::Numbers(_))
    }

    /// The values of a record: none if it has nothing here.
    pub(super) fn values<'a>(&self, record: &'a T) -> Vec<Value<'a>> {
        match self.get {
            Get::Text(get) => vec![Value::Text(Cow::Borrowed(get(record)))],
            Get::Made(get) => vec![Value::Text(Cow::Owned(get(record)))],
            Get::Number(get) => vec![Value::Number(get(record))],
            Get::Flag(get) => vec![Value::Flag(get(record))],
            Get::Numbers(get) => get(record).iter().map(|number| Value::Number(*number)).collect(),
        }
    }

    /// What the index has of a record. One that has nothing here is there too, before all others.
    pub(super) fn entries(&self, record: &T) -> Vec<String> {
        let mut entries: Vec<String> = self.values(record).iter().map(Value::encode).collect();
        if entries.is_empty() {
            entries.push(String::new());
        }
        entries.sort();
        entries.dedup();
        entries
    }

    /// A value as a filter writes it.
    pub(super) fn parse(&self, text: &str) -> Option<Value<'static>> {
        Some(match self.get {
            Get::Text(_) | Get::Made(_) => Value::Text(Cow::Owned(text.to_owned())),
            Get::Number(_) | Get::Numbers(_) => Value::Number(text.parse().ok()?),
            Get::Flag(_) => Value::Flag(match text.to_ascii_lowercase().as_str() {
                "true" | "1" => true,
                "false" | "0" => false,
                _ => return None,
            }),
        })
    }

    /// The value that an index entry stands for, if it is one.
    pub(super) fn decode(&self, entry: &str) -> Option<Vec<Value<'static>>> {
        Some(match (entry, &self.get) {
            (entry, Get::Text(_) | Get::Made(_)) => vec![Value::Text(Cow::Owned(keys::unescape(entry)?))],
            ("", _) => Vec::new(),
            (entry, Get::Flag(_)) => vec![Value::Flag(entry == "true")],
            (entry, Get::Number(_) | Get::Numbers(_)) => vec![Value::Number(decode_number(entry)?)],
        })
    }

    /// What a value of this field must be, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self.get {
            Get::Text(_) | Get::Made(_) => "a text",
            Get::Number(_) | Get::Numbers(_) => "a number",
            Get::Flag(_) => "true or false",
        }
    }
}

impl<T> Unique<T> {
    /// A key that `key` makes of a record. Records for which it makes none share nothing.
    pub const fn new(name: &'static str, key: fn(&T) -> Option<Cow<'_, str>>) -> Self {
        Unique { name, key }
    }
}

impl<T> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:?})", self.name)
    }
}

impl<T> fmt::Debug for Unique<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unique({:?})", self.name)
    }
}

/// A field's value, ordered as its field is. Values of different fields are never compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value<'a> {
    Flag(bool),
    Number(i64),
    Text(Cow<'a, str>),
}

impl Value<'_> {
    /// As a part of a key that sorts as the value does.
    pub(super) fn encode(&self) -> String {
        match self {
            Value::Flag(flag) => flag.to_string(),
            // 'n' sorts before 'p'; a negative number by what it is above the least one.
            Value::Number(number @ ..0) => format!("n{:019}", number - i64::MIN),
            Value::Number(number) => format!("p{number:019}"),
            Value::Text(text) => keys::escape(text),
        }
    }

    /// Whether the value as people write it has `part` in it, which is in lower case.
    pub(super) fn is_like(&self, part: &str) -> bool {
        match self {
            Value::Flag(flag) => flag.to_string().contains(part),
            Value::Number(number) => number.to_string().contains(part),
            Value::Text(text) => text.to_lowercase().contains(part),
        }
    }

    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Value::Flag(flag) => Value::Flag(flag),
            Value::Number(number) => Value::Number(number),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        }
    }
}

fn decode_number(entry: &str) -> Option<i64> {
    match entry.split_at_checked(1)? {
        ("n", digits) => digits.parse::<i64>().ok()?.checked_add(i64::MIN),
        ("p", digits) => digits.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_in_keys_sort_as_numbers_and_come_back(a: i64, b: i64) {
            let (x, y) = (Value::Number(a).encode(), Value::Number(b).encode());
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
            prop_assert_eq!(decode_number(&x), Some(a));
        }
    }
}
