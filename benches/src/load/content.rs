//! Bytes, blobs and images that no server has yet.

use std::fmt::Write;

use bytes::Bytes;
use registry_storage::testkit::content;
use sha2::{Digest, Sha256};

/// The media type of an image's manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The digest of bytes that come in parts.
pub fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut text = "sha256:".to_owned();
    for byte in hash.finalize() {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

/// Many blobs of one length that differ in their first bytes and share the rest, so that gigabytes of them take little memory.
#[derive(Clone)]
pub struct Blobs {
    shared: Bytes,
    salt: u64,
}

/// One of them.
#[derive(Clone)]
pub struct Blob {
    first: [u8; 16],
    rest: Bytes,
    /// Its digest.
    pub digest: String,
}

impl Blobs {
    /// Of `length` bytes, at least 16. With another salt all are others.
    pub fn new(length: usize, salt: u64) -> Self {
        Blobs {
            shared: content(salt, length.saturating_sub(16)),
            salt,
        }
    }

    /// The one of this number.
    pub fn get(&self, number: u64) -> Blob {
        let mut first = [0; 16];
        first[..8].copy_from_slice(&self.salt.to_le_bytes());
        first[8..].copy_from_slice(&number.to_le_bytes());
        Blob {
            digest: digest(&[&first, &self.shared]),
            first,
            rest: self.shared.clone(),
        }
    }
}

impl Blob {
    /// Its bytes, in two parts.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.first, &self.rest]
    }

    /// How many there are.
    pub fn length(&self) -> u64 {
        (self.first.len() + self.rest.len()) as u64
    }

    /// What a part of it has, in two parts.
    pub fn range(&self, from: usize, to: usize) -> [&[u8]; 2] {
        let split = self.first.len();
        let first = &self.first[from.min(split)..to.min(split)];
        [first, &self.rest[from.max(split) - split..to.max(split) - split]]
    }
}

/// A manifest of a config and layers.
pub fn manifest(config: &Blob, layers: &[Blob]) -> String {
    let descriptor = |kind: &str, blob: &Blob| {
        let (digest, size) = (&blob.digest, blob.length());
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
    };
    let layers: Vec<String> = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        descriptor(CONFIG, config),
        layers.join(",")
    )
}
