//! Bodies of requests that are documents of their own, not content: small, and read whole.

use std::error::Error as StdError;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::{Error, ErrorKind, Result};
use crate::manifest::essence;
use crate::runtime::Runtime;

/// All of a body that has at most `limit` bytes, none of which takes longer than until `within` from now.
///
/// # Errors
/// [`TooLarge`](ErrorKind::TooLarge), as soon as it is; [`Timeout`](ErrorKind::Timeout); and
/// [`RequestInvalid`](ErrorKind::RequestInvalid) if it does not arrive whole.
pub async fn read_small<B>(body: B, limit: usize, within: Duration, runtime: &dyn Runtime) -> Result<Bytes>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let collected = pin!(Limited::new(body, limit).collect());
    match select(collected, runtime.sleep(within)).await {
        Either::Left((Ok(body), _)) => Ok(body.to_bytes()),
        Either::Left((Err(why), _)) if why.is::<LengthLimitError>() => Err(Error::new(
            ErrorKind::TooLarge,
            format!("the body is longer than {limit} bytes"),
        )),
        Either::Left((Err(why), _)) => {
            Err(Error::new(ErrorKind::RequestInvalid, "the body did not arrive whole").with_source(why))
        }
        Either::Right(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("the body did not arrive within {} seconds", within.as_secs()),
        )),
    }
}

/// Whether the body has this media type, whatever its parameters (RFC 9110, section 8.3.1).
pub fn is_of_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| essence(value).eq_ignore_ascii_case(media_type))
}
