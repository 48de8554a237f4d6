//! `Range`, as RFC 9110 §14 has it, for one range of bytes.

use crate::registry::ByteRange;

/// Reads a `Range` header. `None` for what RFC 9110 tells a server to ignore: another unit, several ranges, or no
/// range at all; the whole is then sent. Numbers beyond 64 bits are beyond all content. A range that ends before it
/// begins is kept, as one that no content has: a client that asks for it is better told (416) than given everything.
///
/// ```
/// use registry_core::{ByteRange, http::parse_range};
/// assert_eq!(parse_range("bytes=5-9"), Some(ByteRange::From(5, Some(9))));
/// assert_eq!(parse_range("bytes=-9"), Some(ByteRange::Suffix(9)));
/// assert_eq!(parse_range("bytes=9-5"), Some(ByteRange::From(9, Some(5))));
/// assert_eq!(parse_range("lines=5-9"), None);
/// ```
pub fn parse_range(header: &str) -> Option<ByteRange> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(ByteRange::Suffix(number(last)?)),
        (false, true) => Some(ByteRange::From(number(first)?, None)),
        (false, false) => Some(ByteRange::From(number(first)?, Some(number(last)?))),
    }
}

/// Digits and nothing else; what does not fit is the largest number.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_range_is_read_in_each_of_its_forms() {
        for (text, expected) in [
            ("bytes=0-0", ByteRange::From(0, Some(0))),
            ("bytes=7-", ByteRange::From(7, None)),
            ("Bytes = 1-2", ByteRange::From(1, Some(2))),
            ("bytes=-0", ByteRange::Suffix(0)),
            (
                "bytes=0-99999999999999999999999",
                ByteRange::From(0, Some(u64::MAX)),
            ),
        ] {
            assert_eq!(parse_range(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=+1-2",
            "bytes=0x1-2",
            "bytes=--1",
            "bytes=1--2",
            "0-1",
        ] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_range_that_is_read_stays_inside_the_content(text in "(bytes=)?[0-9]{0,21}-?[0-9]{0,21}", size: u64) {
            if let Some(range) = parse_range(&text).and_then(|range| range.resolve(size)) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
