//! The readers of what strangers send, each as a function that any bytes may be given to.
//!
//! A function panics if the reader does, or if the reader breaks its promise. The targets in `targets/` call these
//! functions from libFuzzer; `tests/corpus.rs` calls them from stable Rust with the committed corpus and with
//! mutations of it.
#![forbid(unsafe_code)]

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use registry_core::http::{Chunk, Operation, parse_range};
use registry_core::manifest::{CHILDREN_MAX, ParsedManifest};
use registry_core::{Digest, Error, NAME_MAX, RepositoryName, TAG_MAX, Tag};

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
