//! One request to the management API, and lists page by page.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use registry_auth::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Where the API is on a server.
const BASE: &str = "/api/v2.0";
/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer in bytes.
const LONGEST: u64 = 16 << 20;
/// Entries of a page; the most that the API gives.
const PAGE: usize = 100;
/// What stands for itself in an address.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why a request has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no server, or its answer did not come whole.
    Unreachable(String),
    /// The API says no, for this reason.
    Refused(String),
    /// What answers is not this API.
    Odd(String),
}

impl Failure {
    /// What is told of it, with the thing that the request was about unless the API names that itself.
    pub(crate) fn about(self, kind: &str, name: &str) -> String {
        match self {
            Failure::Refused(why) if !why.contains(name) => format!("{kind} {name}: {why}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(why) | Failure::Refused(why) | Failure::Odd(why) => f.write_str(why),
        }
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.to_string()
    }
}

/// What the API answered.
struct Answer {
    /// How many there are, of a list.
    total: Option<usize>,
    /// The body; null if there is none.
    body: Value,
}

/// A path below the API's base, of parts that are encoded.
pub(crate) fn path(parts: &[&str]) -> String {
    let encoded = parts.iter().map(|part| format!("/{}", encoded(part)));
    encoded.collect()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A way to the management API of a server, for one account.
pub(crate) struct Client {
    agent: ureq::Agent,
    server: String,
    username: String,
    password: Secret,
}

impl Client {
    /// Asks through `agent` the server at `server`, an address without a slash at its end.
    pub(crate) fn new(agent: ureq::Agent, server: String, username: String, password: Secret) -> Self {
        Client {
            agent,
            server,
            username,
            password,
        }
    }

    /// The address of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Who asks.
    pub(crate) fn username(&self) -> &str {
        &self.username
    }

    /// What they prove it with.
    pub(crate) fn password(&self) -> &Secret {
        &self.password
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send::<()>("GET", path, None).map(|answer| answer.body)
    }

    pub(crate) fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        self.send("POST", path, Some(body)).map(|answer| answer.body)
    }

    pub(crate) fn put(&self, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.send("PUT", path, Some(body)).map(drop)
    }

    pub(crate) fn patch(&self, path: &str, body: &impl Serialize) -> Result<Value, Failure> {
        self.send("PATCH", path, Some(body)).map(|answer| answer.body)
    }

    pub(crate) fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send::<()>("DELETE", path, None).map(drop)
    }

    /// All entries of a list, with these parameters.
    pub(crate) fn list(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
        let mut entries = Vec::new();
        for page in 1.. {
            let mut asked = format!("{path}?page={page}&page_size={PAGE}");
            for (name, value) in parameters {
                asked.push_str(&format!("&{name}={}", encoded(value)));
            }
            let answer = self.send::<()>("GET", &asked, None)?;
            let Value::Array(found) = answer.body else {
                return Err(self.odd("it is no list"));
            };
            let count = found.len();
            entries.extend(found);
            let is_last = match answer.total {
                Some(total) => count == 0 || entries.len() >= total,
                None => count < PAGE,
            };
            if is_last {
                break;
            }
        }
        Ok(entries)
    }

    fn send<B: Serialize>(&self, method: &str, path: &str, body: Option<&B>) -> Result<Answer, Failure> {
        let shown = format!("{}:{}", self.username, self.password.reveal());
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{BASE}{path}", self.server))
            .header("authorization", format!("Basic {}", STANDARD.encode(shown)))
            .header("accept", "application/json")
            // Else a project that is called 7 would be the seventh.
            .header("x-is-resource-name", "true");
        let odd = |why: &dyn fmt::Display| Failure::Odd(why.to_string());
        let answered = match body {
            Some(body) => {
                let body = serde_json::to_vec(body).map_err(|why| odd(&why))?;
                let request = request.header("content-type", "application/json").body(body);
                self.run(request.map_err(|why| odd(&why))?)
            }
            None => self.run(request.body(()).map_err(|why| odd(&why))?),
        };
        self.read(answered.map_err(|why| self.unreachable(&why))?)
    }

    fn run(
        &self,
        request: http::Request<impl ureq::AsSendBody>,
    ) -> Result<http::Response<ureq::Body>, ureq::Error> {
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(PATIENCE))
            .build();
        self.agent.run(request)
    }

    fn read(&self, mut response: http::Response<ureq::Body>) -> Result<Answer, Failure> {
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (total, wait) = (header("x-total-count"), header("retry-after"));
        let text = response.body_mut().with_config().limit(LONGEST).read_to_string();
        let text = text.map_err(|why| self.unreachable(&why))?;
        let body = match text.trim() {
            "" => Ok(Value::Null),
            text => serde_json::from_str(text),
        };
        if !status.is_success() {
            let why = body.ok().as_ref().and_then(said);
            return Err(self.refused(status.as_u16(), why, wait));
        }
        Ok(Answer {
            total: total.and_then(|total| total.parse().ok()),
            body: body.map_err(|why| self.odd(&why.to_string()))?,
        })
    }

    fn unreachable(&self, why: &ureq::Error) -> Failure {
        let why = why.to_string();
        let hint = match why.contains("UnknownIssuer") || why.contains("certificate") {
            true => "; if its certificate is its own authority's, name that with --ca",
            false => "",
        };
        Failure::Unreachable(format!("{} cannot be asked: {why}{hint}", self.server))
    }

    fn odd(&self, why: &str) -> Failure {
        Failure::Odd(format!(
            "{} answers something else than the management API: {why}; is that berth's address?",
            self.server
        ))
    }

    fn refused(&self, status: u16, why: Option<String>, wait: Option<String>) -> Failure {
        let Some(why) = why else {
            return self.odd(&format!("status {status} without a reason"));
        };
        Failure::Refused(match (status, wait) {
            (401, _) => format!(
                "{} does not take this password of {}: {why}; see --username and --password-file",
                self.server, self.username
            ),
            (429, Some(wait)) => format!("{why}; try again in {wait} s"),
            _ => why,
        })
    }
}

/// The messages in the body of a refusal.
fn said(body: &Value) -> Option<String> {
    let errors = body.get("errors")?.as_array()?;
    let messages = errors.iter().filter_map(|error| error.get("message")?.as_str());
    let messages: Vec<&str> = messages.filter(|message| !message.is_empty()).collect();
    match messages.is_empty() {
        true => None,
        false => Some(messages.join("; ")),
    }
}

/// Reads what the API said of a thing.
pub(crate) fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(value)
        .map_err(|why| Failure::Odd(format!("the server says something else than was asked: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_an_address() {
        assert_eq!(
            path(&["projects", "a/b?c#d e", "members"]),
            "/projects/a%2Fb%3Fc%23d%20e/members"
        );
        assert_eq!(path(&["robots", "7"]), "/robots/7");
    }

    #[test]
    fn a_refusal_names_what_it_is_about() {
        let refused = |why: &str| Failure::Refused(why.to_owned()).about("user", "alice");
        assert_eq!(refused("not found"), "user alice: not found");
        assert_eq!(
            refused("there is no user \"alice\""),
            "there is no user \"alice\""
        );
    }

    #[test]
    fn what_a_refusal_says_is_found() {
        let body = json!({ "errors": [{ "code": "CONFLICT", "message": "a" }, { "message": "b" }] });
        assert_eq!(said(&body).unwrap(), "a; b");
        for nothing in [
            json!(null),
            json!({}),
            json!({ "errors": [] }),
            json!([1]),
            json!({ "errors": [{}] }),
        ] {
            assert_eq!(said(&nothing), None);
        }
    }
}
