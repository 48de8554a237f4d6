//! Where a blob's bytes are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The place of a blob's bytes, as its record names it. Every publish gets a place of its own, which never had and
/// never gets another content; so a place can be given up without looking at what else was pushed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Location {
    /// Inside the records, beside the blob's own: a small blob is durable by the commit that publishes it.
    Inline,
    /// A file below the blob store's root; the name is the store's to read.
    File(String),
    /// An object of an object store, by key; or of memory.
    Object(String),
}

impl fmt::Display for Location {
    /// A readable, ordered text without spaces: the key under which a doomed location is kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Inline => f.write_str("inline"),
            Location::File(name) => write!(f, "file:{name}"),
            Location::Object(key) => write!(f, "object:{key}"),
        }
    }
}
