//! The OCI protocol over HTTP, for any registry and under any web framework.
//!
//! A request's head is read by the pure [`Operation::parse`]; [`Service`] carries the operation out on a
//! [`Registry`](crate::Registry) and answers with a [`Body`] that any server can poll. A web framework converts a
//! head, passes a body on, and inserts a [`RemoteAddr`], and [`Encrypted`] where it is; that is all a
//! shell is.
//!
//! Rules: distribution-spec `spec.md`; what Docker's clients expect beyond it; RFC 9110 for ranges and conditions.

mod blobs;
mod body;
mod condition;
mod content_range;
mod file_part;
mod intake;
mod lists;
mod manifests;
mod operation;
mod operation_name;
mod path;
mod query;
mod range;
mod respond;
mod service;
mod small_body;
mod tower;
mod uploads;

pub use body::Body;
pub use condition::EntityTags;
pub use content_range::Chunk;
pub use operation::{Operation, Paging, TAGS_MAX};
pub use operation_name::OperationName;
pub use path::routes;
pub use range::parse_range;
pub use service::{Encrypted, Limits, RemoteAddr, Service};
pub use small_body::{is_of_type, read_small};
#[doc(hidden)]
pub use tower::support;

use std::fmt::Write as _;

/// Longest part of a client's text that is repeated to it, in characters.
const QUOTE_MAX: usize = 160;

/// A client's text as it may stand in a message: in quotes, control characters escaped, cut if it is long.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().take(QUOTE_MAX) {
        let _writing_to_a_string_succeeds = write!(out, "{}", c.escape_debug());
    }
    out.push('"');
    if text.chars().nth(QUOTE_MAX).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_is_repeated_escaped_and_cut() {
        assert_eq!(quoted("a\r\n\0\"b"), "\"a\\r\\n\\0\\\"b\"");
        let long = quoted(&"x".repeat(10_000));
        assert!(long.len() < 200 && long.ends_with('…'));
    }
}
