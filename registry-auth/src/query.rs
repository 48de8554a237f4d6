//! Filters and orders as Harbor's API writes them: `q=name=~web,public=true` and `sort=-creation_time`.
//!
//! | text | means |
//! |---|---|
//! | `k=v` | one is `v` |
//! | `k=~v` | one has `v` in it |
//! | `k=[a~b]`, `k=[a~]`, `k=[~b]` | one is from `a` to `b` |
//! | `k={a b}` | one is among these |
//! | `k=(a b)` | each of these is one |
//!
//! Conditions are separated by commas, and all must hold. A backslash takes its meaning from the character that follows.

use registry_core::store::collection::{Condition, Filter, Match, Sort};

/// Longest text that is read, in bytes.
pub const LONGEST: usize = 4096;
/// Most conditions of a filter, and most fields of an order.
pub const MOST: usize = 20;

/// Why a text is no filter or order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// It is too long.
    #[error("a filter or order has at most {LONGEST} bytes and {MOST} parts")]
    TooLong,
    /// A condition has no `=`, or nothing before or behind it.
    #[error("condition {0} of the filter is not a field, `=` and a value")]
    NotACondition(usize),
    /// A value begins as one of a kind and does not end as one.
    #[error(
        "condition {0} of the filter has a value that is not closed, or empty: write ~v, [a~b], {{a b}} or (a b)"
    )]
    NotAValue(usize),
    /// An order names no field.
    #[error("part {0} of the order names no field")]
    NotAField(usize),
}

/// A character, and whether a backslash was before it.
type Letter = (char, bool);

/// The filter that a text is. An empty one is about everything.
///
/// # Errors
/// [`InvalidQuery`].
///
/// ```
/// use registry_auth::query::parse_filter;
/// use registry_core::store::collection::Match;
/// let filter = parse_filter("name=~web,id=[3~]").unwrap();
/// assert_eq!(filter.0[0].test, Match::Like("web".into()));
/// assert_eq!(filter.0[1].test, Match::Range(Some("3".into()), None));
/// ```
pub fn parse_filter(text: &str) -> Result<Filter, InvalidQuery> {
    if text.len() > LONGEST {
        return Err(InvalidQuery::TooLong);
    }
    let letters = letters(text);
    if letters.is_empty() {
        return Ok(Filter::default());
    }
    let parts: Vec<&[Letter]> = letters.split(|letter| *letter == (',', false)).collect();
    if parts.len() > MOST {
        return Err(InvalidQuery::TooLong);
    }
    let conditions = parts.iter().enumerate().map(|(index, part)| {
        let number = index + 1;
        let equals = part.iter().position(|letter| *letter == ('=', false));
        let (field, value) = equals
            .map(|at| (plain(&part[..at]), &part[at + 1..]))
            .filter(|(field, value)| !field.is_empty() && !value.is_empty())
            .ok_or(InvalidQuery::NotACondition(number))?;
        let test = test(value).ok_or(InvalidQuery::NotAValue(number))?;
        Ok(Condition { field, test })
    });
    Ok(Filter(conditions.collect::<Result<_, _>>()?))
}

fn test(value: &[Letter]) -> Option<Match> {
    let last = *value.last()?;
    Some(match value[0] {
        ('~', false) => Match::Like(Some(plain(&value[1..])).filter(|text| !text.is_empty())?),
        ('[', false) => {
            let inner = between(value, last, ']')?;
            let ends: Vec<&[Letter]> = inner.split(|letter| *letter == ('~', false)).collect();
            let [min, max] = ends[..] else { return None };
            let end = |letters| Some(plain(trimmed(letters, &[' ']))).filter(|text| !text.is_empty());
            match (end(min), end(max)) {
                (None, None) => return None,
                (min, max) => Match::Range(min, max),
            }
        }
        ('{', false) => Match::Any(list(between(value, last, '}')?)),
        ('(', false) => Match::All(list(between(value, last, ')')?)),
        _ => Match::Is(plain(value)),
    })
}

/// What is between the first letter and the last, which must close it.
fn between(value: &[Letter], last: Letter, close: char) -> Option<&[Letter]> {
    (value.len() >= 2 && last == (close, false)).then(|| &value[1..value.len() - 1])
}

fn list(inner: &[Letter]) -> Vec<String> {
    let words = inner.split(|letter| *letter == (' ', false));
    let words = words.map(|word| plain(trimmed(word, &['"', '\''])));
    words.filter(|word| !word.is_empty()).collect()
}

fn trimmed<'l>(mut letters: &'l [Letter], what: &[char]) -> &'l [Letter] {
    let is_it = |letter: &Letter| !letter.1 && what.contains(&letter.0);
    while let Some((first, rest)) = letters.split_first().filter(|(first, _)| is_it(first)) {
        debug_assert!(is_it(first));
        letters = rest;
    }
    while let Some((_, rest)) = letters.split_last().filter(|(last, _)| is_it(last)) {
        letters = rest;
    }
    letters
}

fn letters(text: &str) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        letters.push(match c {
            // One at the end stands for itself.
            '\\' => chars.next().map_or(('\\', true), |c| (c, true)),
            c => (c, false),
        });
    }
    letters
}

fn plain(letters: &[Letter]) -> String {
    letters.iter().map(|(c, _)| *c).collect()
}

/// The order that a text is: fields, separated by commas, those after a `-` with the greatest first.
///
/// # Errors
/// [`InvalidQuery`].
pub fn parse_sort(text: &str) -> Result<Vec<Sort>, InvalidQuery> {
    if text.len() > LONGEST || text.split(',').count() > MOST {
        return Err(InvalidQuery::TooLong);
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let parts = text.split(',').enumerate().map(|(index, part)| {
        let part = part.trim();
        let (field, descending) = part
            .strip_prefix('-')
            .map_or((part, false), |field| (field, true));
        match field.is_empty() || field.starts_with('-') {
            true => Err(InvalidQuery::NotAField(index + 1)),
            false => Ok(Sort {
                field: field.to_owned(),
                descending,
            }),
        }
    });
    parts.collect()
}

/// A filter as a text that [`parse_filter`] reads as the same. A list of nothing, or of an empty text, has none.
pub fn write_filter(filter: &Filter) -> String {
    let escaped = |text: &str| -> String {
        let special = |c: char| "\\,=~[]{}() \"'".contains(c);
        text.chars()
            .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
            .collect()
    };
    let list = |texts: &[String]| {
        texts
            .iter()
            .map(|text| escaped(text))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let end = |text: &Option<String>| text.as_deref().map(escaped).unwrap_or_default();
    let conditions = filter.0.iter().map(|Condition { field, test }| {
        let test = match test {
            Match::Is(text) => escaped(text),
            Match::Like(text) => format!("~{}", escaped(text)),
            Match::Range(min, max) => format!("[{}~{}]", end(min), end(max)),
            Match::Any(texts) => format!("{{{}}}", list(texts)),
            Match::All(texts) => format!("({})", list(texts)),
        };
        format!("{}={test}", escaped(field))
    });
    conditions.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Match {
        let mut filter = parse_filter(text).unwrap();
        assert_eq!(filter.0.len(), 1, "{text}");
        filter.0.pop().unwrap().test
    }

    #[test]
    fn filters_are_read_as_harbor_reads_them() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(one("k=v"), Match::Is("v".into()));
        assert_eq!(one("k=a=b"), Match::Is("a=b".into()));
        assert_eq!(one("k=\\~v"), Match::Is("~v".into()));
        assert_eq!(one("k=~v"), Match::Like("v".into()));
        assert_eq!(one("k=[1~5]"), Match::Range(Some("1".into()), Some("5".into())));
        assert_eq!(one("k=[ ~ 5 ]"), Match::Range(None, Some("5".into())));
        assert_eq!(one("k={a \"b\"  'c'}"), Match::Any(texts(&["a", "b", "c"])));
        assert_eq!(one("k=(a b)"), Match::All(texts(&["a", "b"])));
        assert_eq!(parse_filter("Level=project,ProjectID=1").unwrap().0.len(), 2);
        assert_eq!(parse_filter(""), Ok(Filter::default()));
        for bad in [
            "k",
            "=v",
            "k=",
            "k=~",
            "k=[1~5",
            "k=[1]",
            "k=[~]",
            "k=[1~2~3]",
            "k={a",
            "k=(a}",
            "k=v,",
            ",",
            "k=[",
        ] {
            assert!(parse_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn orders_are_read_as_harbor_reads_them() {
        let sort = parse_sort("a,-b").unwrap();
        assert_eq!((sort[0].descending, sort[1].descending), (false, true));
        assert_eq!((&*sort[0].field, &*sort[1].field), ("a", "b"));
        for bad in [",", "-", "a,", "--a", &"a,".repeat(30), &"a".repeat(5000)] {
            assert!(parse_sort(bad).is_err(), "{bad}");
        }
    }

    fn a_match() -> impl Strategy<Value = Match> {
        let text = || ".{1,6}";
        prop_oneof![
            text().prop_map(Match::Is),
            text().prop_map(Match::Like),
            (text(), prop::option::of(text())).prop_map(|(min, max)| Match::Range(Some(min), max)),
            text().prop_map(|max| Match::Range(None, Some(max))),
            prop::collection::vec(text(), 1..4).prop_map(Match::Any),
            prop::collection::vec(text(), 1..4).prop_map(Match::All),
        ]
    }

    proptest! {
        #[test]
        fn a_filter_that_is_written_is_read_as_the_same(parts in prop::collection::vec((".{1,5}", a_match()), 0..4)) {
            let filter = Filter(parts.into_iter().map(|(field, test)| Condition { field, test }).collect());
            prop_assert_eq!(parse_filter(&write_filter(&filter)), Ok(filter));
        }

        #[test]
        fn no_text_makes_the_parsers_fail(text in "[a,=~\\[\\]{}() \"'\\\\-]{0,20}|.{0,40}") {
            let _read = (parse_filter(&text), parse_sort(&text));
        }
    }
}
