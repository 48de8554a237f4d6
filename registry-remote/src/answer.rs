//! Reading an answer: its status first, then the headers and the body that the status promises.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LINK};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use registry_core::{Digest, Error, Result, manifest};
use serde::de::DeserializeOwned;

use crate::refusal;
use crate::wire::{Wire, misbehaved, text, unreachable};

/// Longest list or error document that is read, in bytes.
const DOCUMENT_MAX: usize = 16 << 20;

/// `Docker-Content-Digest`.
pub(crate) const CONTENT_DIGEST: &str = "docker-content-digest";

impl Wire {
    /// Lets an answer pass that has one of the statuses; any other is the error it stands for.
    pub(crate) async fn expect(
        &self,
        answer: Response<Incoming>,
        statuses: &[u16],
        absent: impl FnOnce() -> Error,
    ) -> Result<Response<Incoming>> {
        let status = answer.status();
        if statuses.contains(&status.as_u16()) {
            return Ok(answer);
        }
        if status.is_client_error() || status.is_server_error() {
            return Err(self.refused(answer, absent).await);
        }
        Err(misbehaved(format_args!("it answered {status}")))
    }

    async fn refused(&self, answer: Response<Incoming>, absent: impl FnOnce() -> Error) -> Error {
        let status = answer.status();
        // A refusal whose reason cannot be read is a refusal still.
        let body = crate::body::collect(answer.into_body(), DOCUMENT_MAX, self.idle)
            .await
            .unwrap_or_default();
        refusal::error(status, &body, absent)
    }

    /// The JSON document that an answer carries.
    pub(crate) async fn document<T: DeserializeOwned>(&self, answer: Response<Incoming>) -> Result<T> {
        let body = self.whole(answer, DOCUMENT_MAX).await?;
        serde_json::from_slice(&body).map_err(|why| misbehaved("its list cannot be read").with_source(why))
    }

    /// A body of at most `limit` bytes.
    pub(crate) async fn whole(&self, answer: Response<Incoming>, limit: usize) -> Result<bytes::Bytes> {
        let body = crate::body::collect(answer.into_body(), limit, self.idle).await;
        body.map_err(|why| match why.kind() {
            std::io::ErrorKind::InvalidData => misbehaved("its answer is too large").with_source(why),
            _ => unreachable("broke its answer off", why),
        })
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// The digest that the far end says its content has.
pub(crate) fn content_digest(headers: &HeaderMap) -> Result<Option<Digest>> {
    text(headers, CONTENT_DIGEST)
        .map(|digest| {
            digest
                .parse()
                .map_err(|why| misbehaved("its digest is none").with_source(why))
        })
        .transpose()
}

/// The media type, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let essence = manifest::essence(text(headers, CONTENT_TYPE)?);
    (!essence.is_empty()).then(|| essence.to_owned())
}

/// Whether a list goes on: a `Link` with `rel="next"` (RFC 8288).
pub(crate) fn has_next(headers: &HeaderMap) -> bool {
    let links = headers.get_all(LINK).iter().filter_map(|link| link.to_str().ok());
    links.flat_map(|links| links.split(',')).any(|link| {
        let mut parameters = link
            .split(';')
            .skip(1)
            .filter_map(|parameter| parameter.split_once('='));
        parameters.any(|(name, value)| {
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|rel| rel.eq_ignore_ascii_case("next"))
        })
    })
}

/// The size of a whole, of which a 206 answer is a part: `bytes 5-9/100` is `(5..10, 100)`.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(std::ops::Range<u64>, u64)> {
    let (range, size) = text(headers, http::header::CONTENT_RANGE)?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let (first, last, size) = (
        first.parse().ok()?,
        last.parse::<u64>().ok()?,
        size.trim().parse().ok()?,
    );
    (first <= last && last < size).then(|| (first..last + 1, size))
}

pub(crate) fn is(answer: &Response<Incoming>, status: StatusCode) -> bool {
    answer.status() == status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_list_goes_on_if_a_link_says_next() {
        let goes_on = |value| has_next(&headers(LINK, value));
        assert!(goes_on(r#"</v2/a/tags/list?n=1&last=b>; rel="next""#));
        assert!(goes_on(r#"</x>; rel=prev, </y>; title="t"; REL="first Next""#));
        assert!(!goes_on(r#"</x?rel=next>; rel="prev""#));
        assert!(!has_next(&HeaderMap::new()));
    }

    #[test]
    fn a_part_says_of_what_it_is_a_part() {
        let part = |value| content_range(&headers(http::header::CONTENT_RANGE, value));
        assert_eq!(part("bytes 5-9/100"), Some((5..10, 100)));
        for bad in [
            "bytes 9-5/100",
            "bytes 5-9/*",
            "bytes 5-9/9",
            "items 5-9/100",
            "bytes */100",
            "bytes 5-9",
        ] {
            assert_eq!(part(bad), None, "{bad}");
        }
    }
}
