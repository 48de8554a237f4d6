//! What an operation answers if it is done.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK, LOCATION};
use http::{HeaderMap, Response, StatusCode};
use registry_core::http::Body;
use serde::Serialize;

use crate::refusal::Refusal;

/// How many there are on all pages.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

pub(crate) type Answer = Result<Reply, Refusal>;

/// A response that says that something was done.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    /// 200 and nothing more, as Harbor answers a change.
    pub(crate) fn done() -> Self {
        Reply {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Vec::new(),
        }
    }

    /// 200 with a document.
    pub(crate) fn json(document: &impl Serialize) -> Self {
        let body = serde_json::to_vec(document).expect("what is answered becomes JSON");
        Reply::bytes("application/json; charset=utf-8", body)
    }

    /// 200 with these bytes.
    pub(crate) fn bytes(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Reply {
            headers,
            body: body.into(),
            ..Reply::done()
        }
    }

    /// The same as 201, with the address of what was made.
    pub(crate) fn created(self, location: &str) -> Self {
        let status = StatusCode::CREATED;
        Reply { status, ..self }.header(LOCATION, location)
    }

    /// The same with how many there are on all pages, and where the pages beside this one are.
    pub(crate) fn listed(self, total: u64, link: Option<&str>) -> Self {
        let mut reply = self;
        reply.headers.insert(TOTAL, total.into());
        match link {
            Some(link) => reply.header(LINK, link),
            None => reply,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Sets a header, unless no header can hold the value.
    fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::bytes(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
