//! Query parameters.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::quoted;
use crate::error::{Error, ErrorKind, Result};

/// The parameters of a request.
///
/// A `+` is itself and not a space: no parameter of the protocol holds a space, while media types hold plus signs
/// that clients forget to encode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn new(raw: Option<&'a str>) -> Self {
        Query(raw.unwrap_or_default())
    }

    /// Every value given for `name`, in order. What was no text holds U+FFFD, which no value may.
    pub(super) fn all(self, name: &'static str) -> impl Iterator<Item = Cow<'a, str>> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &'a str| percent_decode_str(text).decode_utf8_lossy();
            (decode(key) == name).then(|| decode(value))
        })
    }

    /// The one value of `name`.
    ///
    /// # Errors
    /// `RequestInvalid` if it is given twice: two readers could take different ones.
    pub(super) fn one(self, name: &'static str) -> Result<Option<Cow<'a, str>>> {
        let mut values = self.all(name);
        let value = values.next();
        if let Some(second) = values.next() {
            return Err(Error::new(
                ErrorKind::RequestInvalid,
                format!(
                    "the parameter {name} is given again, as {}; give it once",
                    quoted(&second)
                ),
            ));
        }
        Ok(value)
    }

    /// How many entries of a list are asked for; a number beyond all bounds is a very large one.
    ///
    /// # Errors
    /// `PaginationInvalid` for what is no number.
    pub(super) fn limit(self) -> Result<Option<u64>> {
        let Some(text) = self.one("n")? else {
            return Ok(None);
        };
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::new(
                ErrorKind::PaginationInvalid,
                format!("invalid page size n={}: it is a number, 0 or more", quoted(&text)),
            ));
        }
        Ok(Some(text.parse().unwrap_or(u64::MAX)))
    }

    /// The entry after which a list goes on.
    ///
    /// # Errors
    /// `PaginationInvalid` for what can be no entry of any list.
    pub(super) fn last(self) -> Result<Option<String>> {
        const LAST_MAX: usize = 512;
        let Some(text) = self.one("last")?.filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if text.len() > LAST_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::new(
                ErrorKind::PaginationInvalid,
                format!(
                    "invalid starting point last={}: no list has such an entry",
                    quoted(&text)
                ),
            ));
        }
        Ok(Some(text.into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_once_and_a_plus_stays() {
        let query = Query::new(Some("a=1&artifactType=x/y+z%2Bw&tag=a&b&tag=%2562"));
        assert_eq!(query.one("artifactType").unwrap().unwrap(), "x/y+z+w");
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "%62"]);
        assert_eq!(query.one("b").unwrap().unwrap(), "");
        assert!(query.one("c").unwrap().is_none());
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        let error = Query::new(Some("digest=a&digest=b")).one("digest").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestInvalid);
        assert!(error.message().contains("digest"));
    }

    #[test]
    fn page_sizes_are_digits_however_many() {
        let limit = |text: &'static str| Query::new(Some(text)).limit();
        assert_eq!(limit("n=0").unwrap(), Some(0));
        assert_eq!(limit("n=2147483648").unwrap(), Some(1 << 31));
        assert_eq!(limit("n=99999999999999999999999").unwrap(), Some(u64::MAX));
        assert_eq!(limit("").unwrap(), None);
        for bad in ["n=", "n=-1", "n=+1", "n=1e3", "n=ten", "n=%31%00", "n=1&n=2"] {
            assert!(limit(bad).is_err(), "{bad}");
        }
    }
}
