//! The body of a request: bounded in size and time, and JSON.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::request::Parts as Head;
use registry_core::Runtime;
use registry_core::http::{is_of_type, read_small};
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
    Ok(read_small(body, BODY_MAX, BODY_TIME, runtime).await?)
}

/// What a body says. A refusal says where it went wrong and repeats nothing, since it may be a secret.
pub(crate) fn parse<T: DeserializeOwned>(head: &Head, body: &[u8]) -> Result<T, Refusal> {
    if !is_of_type(&head.headers, "application/json") {
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
