//! What a request says of its body: `Content-Range` and `Content-Length`.

use http::{HeaderMap, header};

use super::quoted;
use super::range::number;
use crate::error::{Error, ErrorKind, Result};

/// The place and length of the bytes that a request adds to an upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The offset of the first byte; `None` means at the end of what is there.
    pub at: Option<u64>,
    /// How many bytes come; `None` if only the stream's end will tell.
    pub length: Option<u64>,
}

impl Chunk {
    /// Reads both headers. `Content-Range` has the specification's form, `first-last`; RFC 9110's
    /// (`bytes first-last/total`) is understood too.
    ///
    /// # Errors
    /// `RangeInvalid` for a range that cannot be meant; `SizeInvalid` if the two headers disagree.
    pub fn parse(headers: &HeaderMap) -> Result<Chunk> {
        let length = content_length(headers)?;
        let mut values = headers.get_all(header::CONTENT_RANGE).iter();
        let Some(value) = values.next() else {
            return Ok(Chunk { at: None, length });
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        let range = if values.next().is_none() {
            content_range(&text)
        } else {
            None
        };
        let Some((first, last)) = range else {
            return Err(Error::new(
                ErrorKind::RangeInvalid,
                format!(
                    "invalid Content-Range {}: it is first-last, both inclusive offsets into the blob",
                    quoted(&text)
                ),
            ));
        };
        let announced = last - first + 1;
        match length {
            Some(length) if length != announced => Err(Error::new(
                ErrorKind::SizeInvalid,
                format!("Content-Range {first}-{last} has {announced} bytes, but Content-Length is {length}"),
            )),
            _ => Ok(Chunk {
                at: Some(first),
                length: Some(announced),
            }),
        }
    }
}

fn content_range(text: &str) -> Option<(u64, u64)> {
    let text = text.trim();
    let (range, total) = match text.strip_prefix("bytes ") {
        Some(rest) => rest.split_once('/')?,
        None => (text, "*"),
    };
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let within = total == "*" || number(total)? > last;
    (first <= last && last < u64::MAX && within).then_some((first, last))
}

/// The length that the request announces for its body.
///
/// # Errors
/// `SizeInvalid` for what is no number, or several different ones.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let read = number(text.trim());
        if read.is_none() || (length.is_some() && length != read) {
            return Err(Error::new(
                ErrorKind::SizeInvalid,
                format!(
                    "invalid Content-Length {}: it is one number of bytes",
                    quoted(&text)
                ),
            ));
        }
        length = read;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(range: Option<&str>, length: Option<&str>) -> Result<Chunk, ErrorKind> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(header::CONTENT_RANGE, range.parse().unwrap());
        }
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length.parse().unwrap());
        }
        Chunk::parse(&headers).map_err(|error| error.kind())
    }

    #[test]
    fn both_forms_of_content_range_mean_the_same() {
        let expected = Ok(Chunk {
            at: Some(5),
            length: Some(5),
        });
        for range in ["5-9", "bytes 5-9/*", "bytes 5-9/10", " 5-9 "] {
            assert_eq!(chunk(Some(range), None), expected, "{range}");
            assert_eq!(chunk(Some(range), Some("5")), expected, "{range}");
        }
    }

    #[test]
    fn a_content_range_that_cannot_be_meant_is_refused() {
        for range in [
            "",
            "-",
            "5",
            "5-",
            "-5",
            "9-5",
            "a-b",
            "bytes=5-9",
            "bytes 5-9",
            "bytes 5-9/9",
            "5-9/10",
            "5-9,11-12",
            "0-18446744073709551615",
            "99999999999999999999-99999999999999999999",
            "+1-2",
            "1--2",
        ] {
            assert_eq!(chunk(Some(range), None), Err(ErrorKind::RangeInvalid), "{range}");
        }
    }

    #[test]
    fn lengths_that_disagree_are_refused() {
        assert_eq!(chunk(Some("0-9"), Some("9")), Err(ErrorKind::SizeInvalid));
        assert_eq!(chunk(None, Some("-1")), Err(ErrorKind::SizeInvalid));
        assert_eq!(chunk(None, Some("1, 2")), Err(ErrorKind::SizeInvalid));
        assert_eq!(chunk(None, Some("7")).map(|chunk| chunk.length), Ok(Some(7)));
    }
}
