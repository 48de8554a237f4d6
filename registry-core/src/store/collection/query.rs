//! What may be asked of a collection: which records, in which order, which page. Plain data, so that another back end can
//! answer it in its own language.

use std::cmp::Ordering;

use super::field::{Field, Get, Value};
use super::{Record, Row};

/// Which records, in which order, and which page of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Which records.
    pub filter: Filter,
    /// In which order; by id if it does not say. What is equal in all of these is in the order of ids, in the direction of
    /// the first.
    pub sort: Vec<Sort>,
    /// How many records to leave out at the beginning.
    pub offset: usize,
    /// How many records at most.
    pub limit: usize,
}

impl Query {
    /// All records, by id.
    pub fn all() -> Self {
        Query {
            limit: usize::MAX,
            ..Query::default()
        }
    }

    /// The same with one more condition.
    #[must_use]
    pub fn and(mut self, field: impl Into<String>, test: Match) -> Self {
        let field = field.into();
        self.filter.0.push(Condition { field, test });
        self
    }

    /// The same in another order.
    #[must_use]
    pub fn by(mut self, field: impl Into<String>, descending: bool) -> Self {
        let field = field.into();
        self.sort.push(Sort { field, descending });
        self
    }

    /// One page of it, beginning behind `offset` records.
    #[must_use]
    pub fn page(self, offset: usize, limit: usize) -> Self {
        Query {
            offset,
            limit,
            ..self
        }
    }
}

/// Conditions that must all hold. Without any, every record is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(pub Vec<Condition>);

/// What must hold of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The field.
    pub field: String,
    /// What must hold of its values.
    pub test: Match,
}

/// What must hold of a field's values, as texts that the field's type reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// One is this.
    Is(String),
    /// One has this in it, whatever its case.
    Like(String),
    /// One is not less than the first and not greater than the second.
    Range(Option<String>, Option<String>),
    /// One is among these.
    Any(Vec<String>),
    /// Each of these is among them.
    All(Vec<String>),
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The field.
    pub field: String,
    /// Whether the greatest comes first.
    pub descending: bool,
}

/// Why a collection cannot be asked that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The type of record declares no such field.
    #[error("{field:?} is nothing to filter or sort by; there is {known}")]
    UnknownField {
        /// What was asked for.
        field: String,
        /// The fields that there are.
        known: String,
    },
    /// A value is none of the field's.
    #[error("{field} is {kind}, and {value:?} is not")]
    NotAValue {
        /// The field.
        field: String,
        /// What was given.
        value: String,
        /// What its values are.
        kind: &'static str,
    },
    /// Records have several values there.
    #[error("records cannot be sorted by {field}, of which they have several")]
    NotAnOrder {
        /// The field.
        field: String,
    },
}

/// A field of a record, its id among them.
pub(super) enum FieldOf<T: 'static> {
    Id,
    Declared(&'static Field<T>),
}

impl<T> Clone for FieldOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for FieldOf<T> {}

/// The name of the id among the fields.
pub(super) const ID: &str = "id";

/// How an id is read where it is a field.
const ID_FIELD: Field<u64> = Field::new(ID, Get::Number(|id| *id as i64));

impl<T: Record> FieldOf<T> {
    fn named(name: &str) -> Result<Self, QueryError> {
        if is_same(name, ID) {
            return Ok(FieldOf::Id);
        }
        let found = T::FIELDS.iter().find(|field| is_same(name, field.name));
        found.map(FieldOf::Declared).ok_or_else(|| {
            let known: Vec<&str> = T::FIELDS.iter().map(|field| field.name).collect();
            QueryError::UnknownField {
                field: name.to_owned(),
                known: [ID].into_iter().chain(known).collect::<Vec<_>>().join(", "),
            }
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            FieldOf::Id => ID,
            FieldOf::Declared(field) => field.name,
        }
    }

    /// Whether an index has it. Ids have one.
    pub(super) fn is_indexed(self) -> bool {
        match self {
            FieldOf::Id => true,
            FieldOf::Declared(field) => field.indexed,
        }
    }

    pub(super) fn is_many(self) -> bool {
        match self {
            FieldOf::Id => false,
            FieldOf::Declared(field) => field.is_many(),
        }
    }

    pub(super) fn values<'a>(self, id: u64, record: &'a T) -> Vec<Value<'a>> {
        match self {
            FieldOf::Id => vec![Value::Number(id as i64)],
            FieldOf::Declared(field) => field.values(record),
        }
    }

    /// The values of the record that an entry of this field's index is of.
    pub(super) fn decode(self, entry: &str, id: u64) -> Option<Vec<Value<'static>>> {
        match self {
            FieldOf::Id => Some(vec![Value::Number(id as i64)]),
            FieldOf::Declared(field) => field.decode(entry),
        }
    }

    fn parse(self, text: &str) -> Result<Value<'static>, QueryError> {
        let (value, kind) = match self {
            FieldOf::Id => (ID_FIELD.parse(text), ID_FIELD.kind()),
            FieldOf::Declared(field) => (field.parse(text), field.kind()),
        };
        value.ok_or_else(|| QueryError::NotAValue {
            field: self.name().to_owned(),
            value: text.to_owned(),
            kind,
        })
    }

    pub(super) fn is(self, other: Self) -> bool {
        self.name() == other.name()
    }
}

fn is_same(asked: &str, name: &str) -> bool {
    let letters = |text: &str| -> Vec<u8> {
        let bytes = text.bytes().filter(|byte| *byte != b'_');
        bytes.map(|byte| byte.to_ascii_lowercase()).collect()
    };
    letters(asked) == letters(name)
}

/// A test with values of its field's type.
pub(super) enum Test {
    Any(Vec<Value<'static>>),
    All(Vec<Value<'static>>),
    Like(String),
    Range(Option<Value<'static>>, Option<Value<'static>>),
}

impl Test {
    fn holds(&self, values: &[Value<'_>]) -> bool {
        match self {
            Test::Any(wanted) => values.iter().any(|value| wanted.contains(value)),
            Test::All(wanted) => wanted.iter().all(|wanted| values.contains(wanted)),
            Test::Like(part) => values.iter().any(|value| value.is_like(part)),
            Test::Range(min, max) => values.iter().any(|value| {
                min.as_ref().is_none_or(|min| value >= min) && max.as_ref().is_none_or(|max| value <= max)
            }),
        }
    }
}

/// A query of which every field is one of the type's, and every value one of its field's.
pub(super) struct Bound<T: 'static> {
    pub(super) conditions: Vec<(FieldOf<T>, Test)>,
    /// Never empty.
    pub(super) sort: Vec<(FieldOf<T>, bool)>,
    pub(super) offset: usize,
    pub(super) limit: usize,
}

impl<T: Record> Bound<T> {
    pub(super) fn new(query: &Query) -> Result<Self, QueryError> {
        let conditions = query.filter.0.iter().map(|Condition { field, test }| {
            let field = FieldOf::named(field)?;
            let all = |texts: &[String]| {
                let values = texts.iter().map(|text| field.parse(text));
                values.collect::<Result<Vec<_>, QueryError>>()
            };
            let end = |text: &Option<String>| text.as_ref().map(|text| field.parse(text)).transpose();
            let test = match test {
                Match::Is(text) => Test::Any(vec![field.parse(text)?]),
                Match::Like(text) => Test::Like(text.to_lowercase()),
                Match::Range(min, max) => Test::Range(end(min)?, end(max)?),
                Match::Any(texts) => Test::Any(all(texts)?),
                Match::All(texts) => Test::All(all(texts)?),
            };
            Ok((field, test))
        });
        let sort = query.sort.iter().map(|Sort { field, descending }| {
            let field = FieldOf::<T>::named(field)?;
            match field.is_many() {
                true => Err(QueryError::NotAnOrder {
                    field: field.name().to_owned(),
                }),
                false => Ok((field, *descending)),
            }
        });
        let mut sort: Vec<_> = sort.collect::<Result<_, _>>()?;
        if sort.is_empty() {
            sort.push((FieldOf::Id, false));
        }
        Ok(Bound {
            conditions: conditions.collect::<Result<_, _>>()?,
            sort,
            offset: query.offset,
            limit: query.limit,
        })
    }

    /// Whether every condition holds of a record.
    pub(super) fn admits(&self, row: &Row<T>) -> bool {
        let mut conditions = self.conditions.iter();
        conditions.all(|(field, test)| test.holds(&field.values(row.id, &row.value)))
    }

    /// The same where all conditions are about one field, whose values these are.
    pub(super) fn admits_values(&self, values: &[Value<'_>]) -> bool {
        self.conditions.iter().all(|(_, test)| test.holds(values))
    }

    /// Where a record stands in the order.
    pub(super) fn place(&self, row: &Row<T>) -> Place {
        let keys = self.sort.iter().map(|(field, descending)| {
            let first = field.values(row.id, &row.value).into_iter().next();
            (first.map(Value::into_owned), *descending)
        });
        Place {
            keys: keys.collect(),
            id: row.id,
        }
    }
}

/// Where a record stands in an order.
pub(super) struct Place {
    keys: Vec<(Option<Value<'static>>, bool)>,
    pub(super) id: u64,
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let turned = |order: Ordering, descending: bool| if descending { order.reverse() } else { order };
        let pairs = self.keys.iter().zip(&other.keys);
        let by_keys = pairs.map(|((a, descending), (b, _))| turned(a.cmp(b), *descending));
        let first_descends = self.keys.first().is_some_and(|(_, descending)| *descending);
        by_keys
            .fold(Ordering::Equal, Ordering::then)
            .then_with(|| turned(self.id.cmp(&other.id), first_descends))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}
