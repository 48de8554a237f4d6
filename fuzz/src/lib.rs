//! The readers of what strangers send, each as a function that any bytes may be given to.
//!
//! A function panics if the reader does, or if the reader breaks its promise. The targets in `targets/` call these
//! functions from libFuzzer; `tests/corpus.rs` calls them from stable Rust with the committed corpus and with
//! mutations of it.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use registry_auth::credentials::Credentials;
use registry_auth::origin::{Origin, Trust, parse_forwarded};
use registry_auth::query::{MOST, parse_filter, write_filter};
use registry_auth::tokens::{Claims, TOKEN_MAX, key_id, parse_form};
use registry_core::auth::{Access, Action, CHALLENGE_MAX, Challenge, SCOPE_ENTRIES_MAX, Scope};
use registry_core::http::{Chunk, Operation, RemoteAddr, parse_range};
use registry_core::manifest::{CHILDREN_MAX, ParsedManifest};
use registry_core::store::collection::{Condition, Match};
use registry_core::{Digest, Error, ErrorKind, NAME_MAX, RepositoryName, TAG_MAX, Tag};

/// The body of one fuzz target.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus directory.
pub const TARGETS: &[(&str, Target)] = &[
    ("operation", operation),
    ("digest", digest),
    ("name", name),
    ("manifest", manifest),
    ("range", range),
    ("content_range", content_range),
    ("scope", scope),
    ("token", token),
    ("basic", basic),
    ("form", form),
    ("forwarded", forwarded),
    ("query", query),
    ("challenge", challenge),
];

/// A refusal is short, and can be written to a terminal or a log as it is.
fn check_refusal(error: &Error) {
    let message = error.message();
    assert!(
        !message.is_empty() && message.len() < 2000,
        "{} bytes",
        message.len()
    );
    assert!(!message.chars().any(char::is_control), "{message:?}");
}

/// The head of a request: `METHOD target`, then `name: value` lines.
pub fn operation(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let mut words = first.splitn(2, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return;
    };
    let (Ok(method), Ok(target)) = (Method::from_bytes(method), Uri::try_from(target)) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(halves.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(halves.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    match Operation::parse(&method, &target, &headers) {
        Ok(operation) => {
            for access in operation.needs() {
                let scope = access.to_string();
                assert!(!scope.contains("..") && !scope.contains("//"), "{scope}");
            }
        }
        Err(error) => check_refusal(&error),
    }
}

/// A digest: one content has one name, so what is read prints as it was written.
pub fn digest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.hash().len(), digest.algorithm().hash_len());
    }
}

/// A repository's name and a tag: what is accepted means nothing to a file system or a URL.
pub fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b))
    };
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text);
        assert!(plain(text) && text.len() <= NAME_MAX);
        assert!(
            text.split('/')
                .all(|segment| !segment.is_empty() && !segment.contains(".."))
        );
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        assert!(plain(text) && !text.contains('/') && !text.starts_with('.') && text.len() <= TAG_MAX);
    }
}

/// A manifest: its `Content-Type` in the first line, then its bytes.
pub fn manifest(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (content_type, bytes) = data.split_at(end);
    let content_type = std::str::from_utf8(content_type)
        .ok()
        .filter(|text| !text.is_empty());
    match ParsedManifest::parse(content_type, bytes) {
        Ok(parsed) => {
            assert!(parsed.children.len() <= CHILDREN_MAX);
            let referrer = parsed.referrer(Digest::sha256(bytes), bytes.len() as u64);
            assert_eq!(referrer.media_type, parsed.media_type);
            assert!(HeaderValue::from_str(&parsed.media_type).is_ok());
        }
        Err(error) => assert!(!error.message().is_empty()),
    }
}

/// A `Range`: what it means lies inside the content.
pub fn range(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Some(range) = parse_range(text) else {
        return;
    };
    for size in [0, 1, 2, 1000, u64::MAX] {
        if let Some(bytes) = range.resolve(size) {
            assert!(bytes.start < bytes.end && bytes.end <= size);
        }
    }
}

/// A `Content-Range`, and in the second line a `Content-Length`: where the bytes belong is a place that exists.
pub fn content_range(data: &[u8]) {
    let mut headers = HeaderMap::new();
    let names = [header::CONTENT_RANGE, header::CONTENT_LENGTH];
    for (name, line) in names.into_iter().zip(data.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.insert(name, value);
        }
    }
    match Chunk::parse(&headers) {
        Ok(Chunk {
            at: Some(at),
            length: Some(length),
        }) => assert!(length > 0 && at.checked_add(length).is_some()),
        Ok(chunk) => assert_eq!(chunk.at, None),
        Err(error) => check_refusal(&error),
    }
}

/// The scope of a token: what is read prints as something that is read as the same, and opens only what it names.
pub fn scope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match text.parse::<Scope>() {
        Ok(scope) => {
            let printed = scope.to_string();
            assert_eq!(printed.parse::<Scope>().ok().as_ref(), Some(&scope));
            assert!(scope.repositories().count() <= SCOPE_ENTRIES_MAX);
            let stranger = Access::Repository("stranger/of/all".parse().expect("a name"), Action::Pull);
            assert!(!scope.permits(&stranger) || text.contains("stranger/of/all"));
        }
        Err(error) => check_refusal(&error),
    }
}

/// A token in the first line, of which nothing is to be believed; then what its claims could be.
pub fn token(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (token, claims) = data.split_at(end);
    if let Ok(token) = std::str::from_utf8(token) {
        match key_id(token) {
            Ok(_) => assert!(token.len() <= TOKEN_MAX && token.split('.').count() == 3),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unauthorized),
        }
    }
    if let Ok(claims) = serde_json::from_slice::<Claims>(claims) {
        match claims.scope() {
            Ok(scope) => assert!(scope.repositories().count() <= claims.access.len()),
            Err(error) => check_refusal(&error),
        }
    }
}

/// What follows `Basic` in a header: a name that ends at the first colon, and a secret that is never shown.
pub fn basic(data: &[u8]) {
    match Credentials::from_basic(data) {
        Ok(credentials) => {
            assert!(!credentials.name.contains(':'));
            assert!(!credentials.secret.chars().any(char::is_control));
        }
        Err(error) => {
            check_refusal(&error);
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
        }
    }
}

/// What a client asks of the token endpoint.
pub fn form(data: &[u8]) {
    if let Err(error) = parse_form(data) {
        check_refusal(&error);
    }
}

/// `Forwarded` in the first line, a host in the second: what is told back to the client is an origin and nothing else.
pub fn forwarded(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (list, host) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if let Ok(text) = std::str::from_utf8(list) {
        let _hops_or_none = parse_forwarded(text);
    }
    let mut head = http::Request::new(()).into_parts().0;
    for (name, line) in [(header::FORWARDED, list), (header::HOST, host)] {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            head.headers.insert(name, value);
        }
    }
    head.extensions
        .insert(RemoteAddr(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let trusting = Trust {
        proxies: vec!["127.0.0.0/8".parse().expect("a network")],
        ..Trust::default()
    };
    if let Some(origin) = trusting.origin(&head) {
        let text = origin.to_string();
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_graphic() && !b"\"\\,<>@".contains(&b)),
            "{text}"
        );
        assert_eq!(text.parse::<Origin>().ok(), Some(origin));
    }
}

/// `q` in the first line and `sort` in the second, of a list of the management API: what is read can be written and read again,
/// and a refusal is short.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (q, sort) = text.split_once('\n').unwrap_or((text, ""));
    let aliases = [("user_id", "id"), ("ProjectID", "project_id")];
    let check = |message: &str| {
        assert!(message.len() < 300, "{message}");
        assert!(!message.chars().any(char::is_control), "{message:?}");
    };
    match registry_harbor::filter(q, &aliases) {
        Ok(filter) => {
            assert!(filter.0.len() <= MOST);
            let has_words = |condition: &Condition| match &condition.test {
                Match::Any(words) | Match::All(words) => !words.is_empty(),
                _ => true,
            };
            // A list of nothing has no text.
            if filter.0.iter().all(has_words) {
                assert_eq!(parse_filter(&write_filter(&filter)), Ok(filter));
            }
        }
        Err(message) => check(&message),
    }
    match registry_harbor::order(sort, &aliases) {
        Ok(order) => assert!(order.len() <= MOST && order.iter().all(|part| !part.field.is_empty())),
        Err(message) => check(&message),
    }
}

/// The value of a `WWW-Authenticate`: what is read of it is not longer than it, and holds nothing that would end a line.
pub fn challenge(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else {
        return;
    };
    let Some((challenge, scope)) = Challenge::parse(header) else {
        return;
    };
    assert!(header.len() <= CHALLENGE_MAX);
    let texts = match challenge {
        Challenge::Basic { realm } => [realm, String::new(), scope],
        Challenge::Bearer { realm, service } => [realm, service, scope],
    };
    let length: usize = texts.iter().map(String::len).sum();
    assert!(length <= header.len(), "{length} bytes of {}", header.len());
    assert!(
        !texts.iter().any(|text| text.contains(['\r', '\n', '\0'])),
        "{texts:?}"
    );
}
