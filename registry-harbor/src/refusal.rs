//! Why an operation was not done, in Harbor's words.

use std::error::Error as StdError;

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts as Head;
use http::{Response, StatusCode};
use registry_auth::AccountError;
use registry_core::http::Body;
use registry_core::{Error, ErrorKind};

use crate::model::{ErrorItem, Errors};

/// A refusal: a status, which has its code, and a message that names the offending thing.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<u64>,
    allow: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Refusal {
            status,
            message: message.into(),
            retry_after: None,
            allow: None,
            source: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::FORBIDDEN, message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn not_allowed(allow: String) -> Self {
        let message = format!("this path is asked for by {allow}");
        Refusal {
            allow: Some(allow),
            ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
        }
    }

    /// Harbor's code for the status.
    fn code(&self) -> &'static str {
        match self.status.as_u16() {
            400 => "BAD_REQUEST",
            401 => "UNAUTHORIZED",
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            405 => "METHOD_NOT_ALLOWED",
            408 => "REQUEST_TIMEOUT",
            409 => "CONFLICT",
            412 => "PRECONDITION",
            413 => "REQUEST_ENTITY_TOO_LARGE",
            415 => "UNSUPPORTED_MEDIA_TYPE",
            429 => "TOO_MANY_REQUEST",
            _ => "UNKNOWN",
        }
    }

    pub(crate) fn log(&self, head: &Head, request_id: &str) {
        let (method, path, status) = (head.method.as_str(), head.uri.path(), self.status.as_u16());
        if self.status.is_server_error() {
            let (source, message) = (&self.source, &self.message);
            tracing::error!(
                method,
                path,
                status,
                request_id,
                message,
                ?source,
                "request failed"
            );
        } else {
            tracing::debug!(
                method,
                path,
                status,
                request_id,
                message = self.message,
                "request refused"
            );
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let code = self.code().to_owned();
        let errors = vec![ErrorItem {
            code,
            message: self.message,
        }];
        let bytes = serde_json::to_vec(&Errors { errors }).expect("texts become JSON");
        let mut response = Response::new(Body::bytes(bytes));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"harbor\""),
            );
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(Ok(allow)) = self.allow.map(HeaderValue::try_from) {
            headers.insert(ALLOW, allow);
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let kind = error.kind();
        let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let asked = error.detail().and_then(|detail| detail["retryAfter"].as_u64());
        let retry_after = match kind {
            ErrorKind::TooManyRequests | ErrorKind::Unavailable => Some(asked.unwrap_or(1)),
            _ => None,
        };
        let message = match status.is_server_error() && kind != ErrorKind::Unavailable {
            true => "the registry failed; its log has the cause under this request's id".to_owned(),
            false => error.message().to_owned(),
        };
        Refusal {
            retry_after,
            source: Some(Box::new(error)),
            ..Refusal::new(status, message)
        }
    }
}

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        let status = match &error {
            AccountError::Invalid(_) => StatusCode::BAD_REQUEST,
            AccountError::Conflict(_) => StatusCode::CONFLICT,
            AccountError::Missing(_) => StatusCode::NOT_FOUND,
            AccountError::Forbidden(_) => StatusCode::FORBIDDEN,
            _ => return Error::from(error).into(),
        };
        Refusal::new(status, error.to_string())
    }
}
