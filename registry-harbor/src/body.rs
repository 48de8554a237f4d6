//! The body of a request: bounded in size and time, and JSON.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts as Head;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use registry_core::Runtime;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// Longest body, in bytes.
const BODY_MAX: usize = 1 << 20;
/// How long a client may take to send it.
const BODY_TIME: Duration = Duration::from_secs(30);

/// All of a body.
pub(crate) async fn read<B>(body: B, runtime: &dyn Runtime) -> Result<Bytes, Refusal>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = std::pin::pin!(Limited::new(body, BODY_MAX).collect());
    match select(collected, runtime.sleep(BODY_TIME)).await {
        Either::Left((Ok(body), _)) => Ok(body.to_bytes()),
        Either::Left((Err(why), _)) if why.is::<LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {BODY_MAX} bytes"),
        )),
        Either::Left((Err(_), _)) => Err(Refusal::invalid("the body did not arrive whole")),
        Either::Right(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} seconds", BODY_TIME.as_secs()),
        )),
    }
}

/// What a body says. A refusal says where it went wrong and repeats nothing, since it may be a secret.
pub(crate) fn parse<T: DeserializeOwned>(head: &Head, body: &[u8]) -> Result<T, Refusal> {
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body is JSON: send it with Content-Type: application/json",
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut reader);
    let document = read.map_err(|why| {
        let (path, why) = (why.path().to_string(), why.into_inner());
        let place = format!("line {}, column {}", why.line(), why.column());
        Refusal::invalid(match why.is_data() {
            true if path != "." => format!("{path} in the body is not what it should be, at {place}"),
            true => format!("the body is not the document that it should be, at {place}"),
            false => format!("the body is no JSON, at {place}"),
        })
    })?;
    reader.end().map_err(|why| {
        Refusal::invalid(format!(
            "the body goes on behind its document, at column {}",
            why.column()
        ))
    })?;
    Ok(document)
}
