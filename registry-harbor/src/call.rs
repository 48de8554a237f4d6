//! One request to an operation, taken apart.

use bytes::Bytes;
use http::request::Parts as Head;
use registry_auth::Project;
use registry_core::store::collection::Row;
use serde::de::DeserializeOwned;

use crate::asker::Asker;
use crate::query::Parameters;
use crate::refusal::Refusal;

/// A request to an operation.
pub(crate) struct Call<'a> {
    /// Who asks.
    pub(crate) asker: Asker,
    /// The request's head.
    pub(crate) head: &'a Head,
    /// What the braces of the path stand for, decoded.
    parameters: Vec<(String, String)>,
    /// What is behind the `?`.
    pub(crate) query: Parameters,
    /// The body; empty until the caller is known to be allowed to send one.
    pub(crate) body: Bytes,
    /// The project that the path names, for operations that need a right there.
    pub(crate) project: Option<Row<Project>>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(asker: Asker, head: &'a Head, parameters: Vec<(String, String)>) -> Self {
        Call {
            asker,
            head,
            parameters,
            query: Parameters::new(head.uri.query()),
            body: Bytes::new(),
            project: None,
        }
    }

    /// A part of the path.
    pub(crate) fn part(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// A part of the path that is a number.
    pub(crate) fn id(&self, name: &str) -> Result<u64, Refusal> {
        let text = self.part(name);
        let invalid = || Refusal::invalid(format!("{name} is a number, and {text:?} is not"));
        text.parse().map_err(|_| invalid())
    }

    /// What the body says.
    pub(crate) fn document<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        crate::body::parse(self.head, &self.body)
    }

    /// The project that the path names.
    pub(crate) fn project(&self) -> &Row<Project> {
        self.project
            .as_ref()
            .expect("the operation needs a right in a project")
    }

    /// Whether a header is `true`.
    pub(crate) fn flag(&self, header: &str) -> bool {
        let value = self.head.headers.get(header);
        value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
    }
}
