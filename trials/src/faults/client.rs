//! A client that remembers what it was promised.

use std::io::Write as _;
use std::net::SocketAddr;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Result, failed};
use crate::server::{Client, Reply};

/// Some bytes and their digest.
#[derive(Clone)]
pub(super) struct Content {
    /// The bytes.
    pub(super) bytes: Vec<u8>,
    /// `sha256:…`.
    pub(super) digest: String,
}

impl Content {
    /// Bytes that are different for each seed.
    pub(super) fn new(seed: u64, length: usize) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        Content::of(bytes)
    }

    /// These bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let hash = Sha256::digest(&bytes);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}");
        Content { bytes, digest }
    }
}

/// What became of a push.
#[derive(Debug)]
pub(super) enum Pushed {
    /// Acknowledged.
    Yes,
    /// Refused, with this status.
    Refused(u16),
}

/// Everything that one registry has acknowledged, and how to ask for it.
pub(super) struct Ledger {
    /// Where the registry listens now.
    pub(super) address: SocketAddr,
    blobs: Vec<(String, Content)>,
    manifests: Vec<(String, String, Content)>,
}

/// Whether an answer is a refusal as the protocol has them, by the registry's own fault.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn proper(reply: &Reply) -> Result<u16> {
    let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let code = document["errors"][0]["code"].as_str().unwrap_or_default();
    let expected = match reply.status {
        500 => "UNKNOWN",
        503 => "UNAVAILABLE",
        _ => "",
    };
    if code.is_empty() || code != expected {
        let body = String::from_utf8_lossy(&reply.body);
        return Err(failed(format!("no proper refusal: {} {body}", reply.status)));
    }
    Ok(reply.status)
}

/// The status of a read; 0 if it was cut off before its end, for then no client takes it for the whole.
fn judged(reply: Reply, content: &Content) -> Result<u16> {
    if reply.status == 200 && reply.body.len() as u64 == reply.length && reply.body != content.bytes {
        return Err(failed(format!("wrong bytes for {}", content.digest)));
    }
    let whole = reply.body.len() as u64 == reply.length;
    Ok(if reply.status == 200 && !whole {
        0
    } else {
        reply.status
    })
}

impl Ledger {
    /// Nothing is promised yet.
    pub(super) fn new(address: SocketAddr) -> Self {
        Ledger {
            address,
            blobs: Vec::new(),
            manifests: Vec::new(),
        }
    }

    /// How many things are promised.
    pub(super) fn promises(&self) -> u64 {
        (self.blobs.len() + self.manifests.len()) as u64
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// If there is no answer.
    pub(super) fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Result<Reply> {
        let mut client = Client::connect(self.address)?;
        let reply = client.send(method, path, headers, body.len() as u64, |stream| {
            stream.write_all(body)
        });
        reply.map_err(|error| failed(format!("{method} {path}: no answer: {error}")))
    }

    /// Begins an upload; gives its path.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn begin(&self, repository: &str) -> Result<String> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let reply = self.ask("POST", &path, "", b"")?.expect(202)?;
        reply.location.ok_or_else(|| failed("no Location"))
    }

    /// Notes that a blob was acknowledged.
    pub(super) fn note_blob(&mut self, repository: &str, content: &Content) {
        self.blobs.push((repository.to_owned(), content.clone()));
    }

    /// Pushes a blob in one request. A refusal must be a proper one.
    ///
    /// # Errors
    /// If it is not.
    pub(super) fn push(&mut self, repository: &str, content: &Content) -> Result<Pushed> {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", content.digest);
        let reply = self.ask(
            "POST",
            &path,
            "Content-Type: application/octet-stream\r\n",
            &content.bytes,
        )?;
        if reply.status == 201 {
            self.note_blob(repository, content);
            return Ok(Pushed::Yes);
        }
        proper(&reply).map(Pushed::Refused)
    }

    /// Pushes a blob that must be taken.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn must_push(&mut self, repository: &str, content: &Content) -> Result<()> {
        match self.push(repository, content)? {
            Pushed::Yes => Ok(()),
            Pushed::Refused(status) => Err(failed(format!("a push was refused: {status}"))),
        }
    }

    /// Puts the manifest of an image of one blob, which is there.
    ///
    /// # Errors
    /// If it is refused improperly.
    pub(super) fn put(&mut self, repository: &str, tag: &str, layer: &Content) -> Result<Pushed> {
        const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
        let (digest, size) = (&layer.digest, layer.bytes.len());
        let manifest = Content::of(
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{TYPE}","config":{{"mediaType":"application/x","digest":"{digest}","size":{size}}},"layers":[],"annotations":{{"tag":"{tag}"}}}}"#
            )
            .into_bytes(),
        );
        let path = format!("/v2/{repository}/manifests/{tag}");
        let reply = self.ask(
            "PUT",
            &path,
            &format!("Content-Type: {TYPE}\r\n"),
            &manifest.bytes,
        )?;
        if reply.status == 201 {
            self.manifests
                .push((repository.to_owned(), tag.to_owned(), manifest));
            return Ok(Pushed::Yes);
        }
        proper(&reply).map(Pushed::Refused)
    }

    /// The status of a read of a blob. Bytes that came whole must be the right ones.
    ///
    /// # Errors
    /// If they are not.
    pub(super) fn read(&self, repository: &str, content: &Content) -> Result<u16> {
        let path = format!("/v2/{repository}/blobs/{}", content.digest);
        judged(self.ask("GET", &path, "", b"")?, content)
    }

    /// The same of a read that the server may cut off at any point, before the status too.
    ///
    /// # Errors
    /// If the bytes are wrong.
    pub(super) fn read_or_cut_off(&self, repository: &str, content: &Content) -> Result<u16> {
        let path = format!("/v2/{repository}/blobs/{}", content.digest);
        match self.ask("GET", &path, "", b"") {
            Ok(reply) => judged(reply, content),
            Err(_) => Ok(0),
        }
    }

    /// The status of a HEAD of a blob.
    ///
    /// # Errors
    /// If there is no answer.
    pub(super) fn head(&self, repository: &str, content: &Content) -> Result<u16> {
        let path = format!("/v2/{repository}/blobs/{}", content.digest);
        Ok(self.ask("HEAD", &path, "", b"")?.status)
    }

    /// Whether all that was promised is there: by its digest, and by its tag.
    ///
    /// # Errors
    /// Names what is lost.
    pub(super) fn verify(&self) -> Result<()> {
        for (repository, content) in &self.blobs {
            let status = self.read(repository, content)?;
            if status != 200 {
                return Err(failed(format!(
                    "LOST: blob {} was acknowledged, and is answered {status}",
                    content.digest
                )));
            }
        }
        for (repository, tag, manifest) in &self.manifests {
            for reference in [tag, &manifest.digest] {
                let path = format!("/v2/{repository}/manifests/{reference}");
                let reply = self.ask("GET", &path, "", b"")?;
                if reply.status != 200 || reply.body != manifest.bytes {
                    return Err(failed(format!(
                        "LOST: manifest {repository}:{reference} was acknowledged, and is answered {}",
                        reply.status
                    )));
                }
            }
        }
        Ok(())
    }
}
