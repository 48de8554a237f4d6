//! Conditional requests (RFC 9110 §13). The entity tag of content is its digest, in quotes.
//!
//! No `Last-Modified` is sent, since content named by its digest has no other version; so `If-Modified-Since` and
//! `If-Unmodified-Since` have nothing to be compared with and are ignored, as RFC 9110 says.

use std::fmt::Write as _;

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderName};

use super::quoted;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::registry::Expect;

/// What `If-None-Match` lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: whatever is there.
    Any,
    /// These digests. Entity tags that are no digest match nothing here, and are left out.
    Of(Vec<Digest>),
}

impl EntityTags {
    /// Whether content of this digest is among them.
    pub fn contain(&self, digest: &Digest) -> bool {
        match self {
            EntityTags::Any => true,
            EntityTags::Of(digests) => digests.contains(digest),
        }
    }
}

/// The content's entity tag.
pub(super) fn entity_tag(digest: &Digest) -> String {
    let mut tag = String::with_capacity(160);
    tag.push('"');
    _ = write!(tag, "{digest}");
    tag.push('"');
    tag
}

fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split(',')
                .map(|tag| tag.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|tag| !tag.is_empty())
        .collect()
}

fn quoted_digest(tag: &str) -> Option<Digest> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// What a reader has already, and need not be sent again. Weak tags count, as RFC 9110 §13.1.2 says.
pub(super) fn already_there(headers: &HeaderMap) -> Option<EntityTags> {
    let tags = list(headers, &IF_NONE_MATCH);
    if tags.is_empty() {
        return None;
    }
    if tags.iter().any(|tag| tag == "*") {
        return Some(EntityTags::Any);
    }
    let strong = |tag: &String| quoted_digest(tag.strip_prefix("W/").unwrap_or(tag));
    Some(EntityTags::Of(tags.iter().filter_map(strong).collect()))
}

/// Whether a `Range` counts: `If-Range`, if given, must name the content asked for.
pub(super) fn range_counts(headers: &HeaderMap, digest: &Digest) -> bool {
    match headers.get(IF_RANGE) {
        None => true,
        Some(value) => value.to_str().ok().and_then(quoted_digest) == Some(*digest),
    }
}

/// What a writer says of the tag beforehand: `If-None-Match: *` that it is not there, `If-Match: "<digest>"` that it
/// points at this.
///
/// # Errors
/// `RequestInvalid` for any other condition: to ignore it would do what the writer forbade.
pub(super) fn expected(headers: &HeaderMap) -> Result<Expect> {
    let (absent, at) = (list(headers, &IF_NONE_MATCH), list(headers, &IF_MATCH));
    match (absent.as_slice(), at.as_slice()) {
        ([], []) => Ok(Expect::Any),
        ([any], []) if any == "*" => Ok(Expect::Absent),
        ([], [tag]) => quoted_digest(tag).map(Expect::At).ok_or_else(|| unsupported(tag)),
        ([], [_, second, ..]) => Err(unsupported(second)),
        ([tag, ..], _) => Err(unsupported(tag)),
    }
}

fn unsupported(tag: &str) -> Error {
    Error::new(
        ErrorKind::RequestInvalid,
        format!(
            "the condition {} is not understood; a manifest can be put with If-None-Match: * or with If-Match: and one digest in quotes",
            quoted(tag)
        ),
    )
}

/// Refuses a deletion under a condition, which the registry has no way to keep.
pub(super) fn unconditional(headers: &HeaderMap) -> Result<()> {
    match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
        (None, None) => Ok(()),
        (value, other) => {
            let text = value
                .or(other)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            Err(Error::new(
                ErrorKind::RequestInvalid,
                format!(
                    "a deletion takes no condition, and came with {}; delete by digest instead",
                    quoted(&text.unwrap_or_default())
                ),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, String)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_reader_may_list_what_it_has() {
        let (a, b) = (Digest::sha256(b"a"), Digest::sha256(b"b"));
        let listed = already_there(&headers(&[(IF_NONE_MATCH, format!("\"x\", W/\"{a}\", {b}"))])).unwrap();
        assert!(listed.contain(&a) && !listed.contain(&b));
        assert!(
            already_there(&headers(&[(IF_NONE_MATCH, "*".into())]))
                .unwrap()
                .contain(&b)
        );
        assert_eq!(already_there(&HeaderMap::new()), None);
    }

    #[test]
    fn a_writer_may_demand_absence_or_one_digest_and_nothing_else() {
        let a = Digest::sha256(b"a");
        let expect = |pairs: &[(HeaderName, String)]| expected(&headers(pairs)).map_err(|error| error.kind());
        assert_eq!(expect(&[]), Ok(Expect::Any));
        assert_eq!(expect(&[(IF_NONE_MATCH, "*".into())]), Ok(Expect::Absent));
        assert_eq!(expect(&[(IF_MATCH, format!("\"{a}\""))]), Ok(Expect::At(a)));
        for other in [
            vec![(IF_MATCH, "*".to_owned())],
            vec![(IF_MATCH, format!("W/\"{a}\""))],
            vec![(IF_MATCH, format!("\"{a}\", \"{a}\""))],
            vec![(IF_NONE_MATCH, format!("\"{a}\""))],
            vec![(IF_NONE_MATCH, "*".to_owned()), (IF_MATCH, format!("\"{a}\""))],
        ] {
            assert_eq!(expect(&other), Err(ErrorKind::RequestInvalid), "{other:?}");
        }
    }
}
