//! Blobs: that their bytes are there, and what holds them.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use futures_util::StreamExt;
use registry_core::runtime::blocking;
use registry_core::store::{Location, StoreError};
use registry_core::{BlobRead, Digest, Hasher, Result};

use super::super::values;
use super::walk::{Look, Walk};
use super::{Checker, FindingKind, digest, keys, parts};

const PAGE: usize = 500;
/// Records that hold the bytes of a blob.
const LARGE: usize = 16;
/// Bytes hashed at once.
const PIECE: usize = 1 << 20;

impl Checker<'_> {
    pub(super) async fn blobs(&mut self) -> Result<()> {
        let mut walk = Walk::through(keys::BLOB, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some(digest) = digest(&key[keys::BLOB.len()..]) else {
                self.not_a_key(&key);
                continue;
            };
            let Some(blob) = self.decode::<values::Blob>(&key, &entry) else {
                continue;
            };
            self.report.blobs += 1;
            let wrong = self.wrong(&digest, &blob).await?;
            if let Some((kind, what)) = wrong {
                self.found(kind, &key, format!("blob {digest} at {}: {what}", blob.location));
            } else if blob.suspect {
                let message = format!(
                    "blob {digest} is marked as having lost its bytes, and cannot be pulled until it is pushed again"
                );
                self.found(FindingKind::Suspect, &key, message);
            }
            let doomed = keys::doomed(&blob.location);
            if blob.location != Location::Inline && self.is_there(&doomed).await? {
                let message = format!("blob {digest} is at {}, which is to be unlinked", blob.location);
                self.found(FindingKind::DoomedButNamed, &doomed, message);
            }
            if self.deep {
                self.progress();
            }
        }
        let mut walk = Walk::through("inline/", LARGE);
        while let Some((key, _)) = self.next(&mut walk).await? {
            let Some(digest) = parts(&key).and_then(|[name]| digest(name)) else {
                self.not_a_key(&key);
                continue;
            };
            let is_inline = match self.look::<values::Blob>(&keys::blob(&digest)).await? {
                Look::Found(blob) => blob.location == Location::Inline,
                Look::Damaged => true,
                Look::Absent => false,
            };
            if !is_inline {
                let message = format!("the records hold bytes of blob {digest}, which are not kept there");
                self.found(FindingKind::InlineSurplus, &key, message);
            }
        }
        Ok(())
    }

    /// What is wrong with the bytes of a blob.
    async fn wrong(&mut self, digest: &Digest, blob: &values::Blob) -> Result<Option<(FindingKind, String)>> {
        let missing = || Some((FindingKind::BytesMissing, "its bytes are missing".to_owned()));
        let wrong_size = |length| {
            let what = format!("there are {length} bytes, and its record says {}", blob.size);
            Some((FindingKind::BytesWrongSize, what))
        };
        let unreadable = |why: &dyn std::error::Error| {
            let why = why.source().map_or_else(|| why.to_string(), ToString::to_string);
            Some((
                FindingKind::BytesUnreadable,
                format!("its bytes cannot be read: {why}"),
            ))
        };
        let read = if blob.location == Location::Inline {
            match self.bytes(&keys::inline(digest)).await? {
                Look::Found(bytes) if bytes.len() as u64 != blob.size => {
                    return Ok(wrong_size(bytes.len() as u64));
                }
                Look::Found(bytes) => BlobRead::Bytes(bytes),
                Look::Absent => return Ok(missing()),
                Look::Damaged => return Ok(None),
            }
        } else {
            match self.blobs.size(&blob.location).await {
                Ok(Some(length)) if length != blob.size => return Ok(wrong_size(length)),
                Ok(Some(_)) if !self.deep => return Ok(None),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(missing()),
                Err(why) => return Ok(unreadable(&why)),
            }
            match self.blobs.read(&blob.location, 0..blob.size).await {
                Ok(read) => read,
                Err(StoreError::Missing(_)) => return Ok(missing()),
                Err(why) => return Ok(unreadable(&why)),
            }
        };
        if !self.deep {
            return Ok(None);
        }
        self.report.hashed += blob.size;
        match self.hash(read, Hasher::new(digest.algorithm())).await {
            Ok(actual) if actual == *digest => Ok(None),
            Ok(actual) => {
                let what = format!("its bytes have the digest {actual}");
                Ok(Some((FindingKind::BytesWrongDigest, what)))
            }
            Err(why) => Ok(Some((
                FindingKind::BytesUnreadable,
                format!("its bytes cannot be read: {why}"),
            ))),
        }
    }

    async fn hash(&self, read: BlobRead, mut hasher: Hasher) -> std::io::Result<Digest> {
        match read {
            BlobRead::Bytes(bytes) => hasher.update(&bytes),
            BlobRead::File(file, range) => {
                let runtime = Arc::clone(&self.records.runtime);
                return blocking(&*runtime, move || {
                    let mut buffer = vec![0; PIECE];
                    let mut at = range.start;
                    while at < range.end {
                        let wanted = buffer.len().min((range.end - at) as usize);
                        file.read_exact_at(&mut buffer[..wanted], at)?;
                        hasher.update(&buffer[..wanted]);
                        at += wanted as u64;
                    }
                    Ok(hasher.finish())
                })
                .await;
            }
            BlobRead::Stream(mut stream) => {
                while let Some(chunk) = stream.next().await {
                    hasher.update(&chunk?);
                }
            }
            BlobRead::Redirect(_) => return Err(std::io::Error::other("they are elsewhere")),
        }
        Ok(hasher.finish())
    }

    /// Edges, deferred edges and leases.
    pub(super) async fn holders(&mut self) -> Result<()> {
        for table in ["edge/", "deferred/"] {
            let opens = table == "edge/";
            let mut walk = Walk::through(table, PAGE);
            while let Some((key, entry)) = self.next(&mut walk).await? {
                let parsed = parts(&key).and_then(|[blob, id, put]| Some((digest(blob)?, id, put)));
                let Some((blob, id, put)) = parsed else {
                    self.not_a_key(&key);
                    continue;
                };
                let Some(edge) = self.decode::<values::Edge>(&key, &entry) else {
                    continue;
                };
                let shown = self.status(id).await?.shown(id);
                let manifest = &edge.manifest;
                if opens && !self.is_there(&keys::blob(&blob)).await? {
                    let message =
                        format!("manifest {manifest} in {shown} needs blob {blob}, which has no record");
                    self.found(FindingKind::EdgeWithoutBlob, &key, message);
                }
                let named = self
                    .is_named_by(id, manifest, put, |children| children.blobs.contains(&blob))
                    .await?;
                if !named {
                    let message = format!(
                        "blob {blob} is kept for manifest {manifest} in {shown}, which does not need it"
                    );
                    self.found(FindingKind::EdgeSurplus, &key, message);
                }
            }
        }
        let mut walk = Walk::through("lease/", PAGE);
        while let Some((key, _)) = self.next(&mut walk).await? {
            let blob = parts(&key).and_then(|[blob, _, _]| digest(blob));
            let Some(blob) = blob.filter(|blob| keys::parse_lease(blob, &key).is_some()) else {
                self.not_a_key(&key);
                continue;
            };
            if !self.is_there(&keys::blob(&blob)).await? {
                let message = format!("a lease holds blob {blob}, which has no record");
                self.found(FindingKind::LeaseWithoutBlob, &key, message);
            }
        }
        Ok(())
    }
}
