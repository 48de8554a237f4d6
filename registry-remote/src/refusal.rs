//! What the far end's refusals mean here.

use http::StatusCode;
use registry_core::{Error, ErrorKind};
use serde::Deserialize;
use serde_json::Value;

/// Longest message that is passed on, in characters.
const MESSAGE_MAX: usize = 1000;

#[derive(Deserialize)]
struct Document {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    code: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    detail: Option<Value>,
}

/// The error that an answer of this status and body stands for. `absent` is what a bare 404 means to the operation.
pub(crate) fn error(status: StatusCode, body: &[u8], absent: impl FnOnce() -> Error) -> Error {
    let entry = serde_json::from_slice::<Document>(body)
        .ok()
        .and_then(|document| document.errors.into_iter().next());
    let Some(entry) = entry else {
        return match status {
            StatusCode::NOT_FOUND => absent(),
            _ => Error::new(
                by_status(status),
                format!("the remote registry answered {status}"),
            ),
        };
    };
    let message = entry.message.unwrap_or_default();
    let message: String = message
        .chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_MAX)
        .collect();
    let message = match message.is_empty() {
        true => format!(
            "the remote registry answered {status} {}",
            entry.code.escape_debug()
        ),
        false => message,
    };
    let kind = kind(status, &entry.code);
    // A kind that says no more than the status is less than what the operation knows.
    if status == StatusCode::NOT_FOUND && kind.is_none() {
        return absent();
    }
    let error = Error::new(kind.unwrap_or_else(|| by_status(status)), message);
    match entry.detail {
        Some(detail) if !detail.is_null() => error.with_detail(detail),
        _ => error,
    }
}

/// The kind that has this status and code; else, since registries differ in their statuses, the first with the code.
fn kind(status: StatusCode, code: &str) -> Option<ErrorKind> {
    if status.is_server_error() || matches!(status.as_u16(), 401 | 429) {
        return Some(by_status(status));
    }
    let coded = || ErrorKind::ALL.iter().copied().filter(|kind| kind.code() == code);
    coded()
        .find(|kind| kind.status() == status.as_u16())
        .or_else(|| coded().find(|kind| kind.status() < 500))
}

fn by_status(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Denied,
        405 | 501 => ErrorKind::Unsupported,
        408 => ErrorKind::Timeout,
        409 => ErrorKind::InUse,
        412 => ErrorKind::PreconditionFailed,
        413 => ErrorKind::TooLarge,
        414 => ErrorKind::UriTooLong,
        416 => ErrorKind::RangeInvalid,
        429 => ErrorKind::TooManyRequests,
        502..=504 => ErrorKind::Unavailable,
        400..=499 => ErrorKind::RequestInvalid,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(status: u16, body: &str) -> Error {
        let absent = || Error::new(ErrorKind::BlobUnknown, "absent");
        error(StatusCode::from_u16(status).unwrap(), body.as_bytes(), absent)
    }

    #[test]
    fn every_kind_comes_back_as_itself_or_as_its_twin_on_the_wire() {
        for kind in ErrorKind::ALL {
            let body = serde_json::json!({ "errors": [{ "code": kind.code(), "message": "m", "detail": {"a": 1} }] });
            let error = mapped(kind.status(), &body.to_string());
            assert_eq!(
                (error.kind().status(), error.kind().code()),
                (kind.status(), kind.code())
            );
            assert_eq!(
                (error.message(), error.detail().unwrap()["a"].as_i64()),
                ("m", Some(1))
            );
        }
    }

    #[test]
    fn another_registrys_status_for_a_code_does_not_matter() {
        let body = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#;
        assert_eq!(mapped(404, body).kind(), ErrorKind::ManifestBlobUnknown);
        assert_eq!(
            mapped(500, r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#).kind(),
            ErrorKind::Internal
        );
        assert_eq!(
            mapped(404, r#"{"errors":[{"code":"NOT_FOUND"}]}"#).kind(),
            ErrorKind::BlobUnknown
        );
    }

    #[test]
    fn without_a_body_the_status_speaks() {
        assert_eq!(mapped(404, "").kind(), ErrorKind::BlobUnknown);
        assert_eq!(mapped(404, "<html>").message(), "absent");
        assert_eq!(mapped(503, "").kind(), ErrorKind::Unavailable);
        assert_eq!(mapped(429, "nonsense").kind(), ErrorKind::TooManyRequests);
        assert_eq!(mapped(418, "").kind(), ErrorKind::RequestInvalid);
    }

    #[test]
    fn a_message_is_cut_and_cleaned() {
        let long = format!(
            r#"{{"errors":[{{"code":"DENIED","message":"a\u001b[31m\r\n{}"}}]}}"#,
            "x".repeat(5000)
        );
        let error = mapped(403, &long);
        assert_eq!(error.message().chars().count(), MESSAGE_MAX);
        assert!(!error.message().contains(['\u{1b}', '\n']));
    }
}
