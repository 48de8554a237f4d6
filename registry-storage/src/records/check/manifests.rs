//! Manifests: their bytes, what they name, and that it is held for them.

use bytes::Bytes;
use registry_core::manifest::ParsedManifest;
use registry_core::store::{Entry, Txn};
use registry_core::{Descriptor, Digest, Result};

use super::super::values::{self, V1, encode};
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Suspicion, as_seen, of};
use super::table::Status;
use super::{Checker, FindingKind, digest, keys, parts};

/// Most edges of a blob in one repository among which those of a manifest are looked for.
const EDGES: usize = 1000;

/// A manifest whose bytes are those that were pushed.
struct Whole<'a> {
    id: &'a str,
    digest: &'a Digest,
    /// As it is spoken of.
    shown: String,
    key: &'a str,
    record: &'a values::Manifest,
    status: &'a Status,
    parsed: ParsedManifest,
    size: u64,
    /// Asserts the record and the bytes.
    proof: Txn,
}

impl Checker<'_> {
    /// A manifest's bytes: those of no manifest bring its record back, if they are whole and say what they are.
    pub(super) async fn content(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((id, digest)) = parts(key).and_then(|[id, name]| Some((id, digest(name)?))) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let (record, trash) = (keys::manifest(id, &digest), keys::trash(id, &digest));
        if self.is_there(&record).await? || self.is_there(&trash).await? || !status.is_named() {
            return Ok(told);
        }
        let message = format!(
            "there are bytes of manifest {digest} in {}, and no manifest",
            status.shown(id)
        );
        let proof = status.assert(of(key, entry), id).absent(&record).absent(trash);
        let suspicion = Suspicion::new(FindingKind::ContentWithoutManifest, key, message, proof);
        // What deletes a manifest moves the record to the trash or takes its bytes too, so that a record was lost; its edges
        // say which.
        let size = entry.value.len() as u64;
        let again = match self_named(&digest, &entry.value) {
            Some(parsed) if self.has_edge(&["edge", "parent"], id, &digest, &parsed).await? => Some((
                "the manifest is back; tags that pointed at it do so again",
                self.records.manifest_again(id, &digest, &parsed, size).await?,
            )),
            Some(parsed) if self.has_edge(&["trashed"], id, &digest, &parsed).await? => Some((
                "it is in the trash, where its edges are",
                self.records.trash_again(id, &digest, &parsed, size).await?,
            )),
            _ => None,
        };
        told.push(match again {
            Some((does, again)) => suspicion.repair(does, |txn| and(txn, again)),
            None => suspicion.advise("push the manifest again"),
        });
        Ok(told)
    }

    /// Whether there is an edge of a manifest in one of these tables.
    async fn has_edge(
        &self,
        tables: &[&str],
        id: &str,
        manifest: &Digest,
        parsed: &ParsedManifest,
    ) -> Result<bool> {
        let named = values::Children::of(&parsed.children);
        for table in tables {
            let prefixes: Vec<String> = match *table {
                "parent" => named
                    .manifests
                    .iter()
                    .map(|child| keys::parents(id, child))
                    .collect(),
                table => {
                    let of = |blob| format!("{table}/{blob}/{id}/");
                    named.blobs.iter().map(of).collect()
                }
            };
            for prefix in prefixes {
                let found = self.records.look_past(&prefix, None, EDGES).await?;
                let is_its = |(key, entry): &(String, Entry)| {
                    values::decode::<values::Edge>(key, entry).is_ok_and(|edge| edge.manifest == *manifest)
                };
                if found.entries.iter().any(is_its) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(super) async fn manifest(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Some((id, digest)) = parts(key).and_then(|[id, name]| Some((id, digest(name)?))) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let mut told = Vec::new();
        let status = self.status_for(id, key, entry, &mut told).await?;
        let shown = format!("manifest {digest} in {}", status.shown(id));
        let record = match decode::<values::Manifest>(key, entry) {
            Ok(record) => record,
            Err(suspicion) => {
                told.push(suspicion.advise("push the manifest again"));
                return Ok(told);
            }
        };
        let content = keys::content(id, &digest);
        let look = self.bytes(&content).await?;
        let proof = as_seen(of(key, entry), &content, &look);
        let suspect = |kind, what: &str| Suspicion::new(kind, key, format!("{shown} {what}"), proof.clone());
        let bytes = match look {
            Look::Found(bytes, _) => bytes,
            Look::Absent => {
                told.push(
                    suspect(FindingKind::ManifestWithoutContent, "has no bytes")
                        .advise("push it again, or delete it"),
                );
                return Ok(told);
            }
            _ => return Ok(told),
        };
        let actual = Digest::of(digest.algorithm(), &bytes);
        if actual != digest {
            let what = format!("has bytes of the digest {actual}");
            told.push(suspect(FindingKind::ManifestWrongDigest, &what).advise("push it again, or delete it"));
            return Ok(told);
        }
        let size = bytes.len() as u64;
        if size != record.size {
            let what = format!("has {size} bytes, and its record says {}", record.size);
            let right = values::Manifest {
                size,
                ..record.clone()
            };
            told.push(suspect(FindingKind::ManifestWrongSize, &what).repair(
                "its record says how many bytes it has, which are those of its digest",
                |txn| txn.put(key, encode(&right)),
            ));
        }
        let parsed = match ParsedManifest::parse(Some(&record.media_type), &bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                let what = format!("cannot be read as a {}: {}", record.media_type, error.message());
                told.push(
                    suspect(FindingKind::ManifestDisagrees, &what).advise("push it again with its type"),
                );
                return Ok(told);
            }
        };
        let whole = Whole {
            id,
            digest: &digest,
            shown,
            key,
            record: &record,
            status: &status,
            parsed,
            size,
            proof,
        };
        self.noted(&whole, &mut told).await?;
        self.held_blobs(&whole, &mut told).await?;
        self.held_children(&whole, &mut told).await?;
        self.subject(&whole, &mut told).await?;
        Ok(told)
    }

    /// The list of children beside a manifest.
    async fn noted(&mut self, whole: &Whole<'_>, told: &mut Vec<Suspicion>) -> Result<()> {
        let key = keys::children(whole.id, whole.digest);
        let named = values::Children::of(&whole.parsed.children);
        let look = self.look::<values::Children>(&key).await?;
        let what = match &look {
            Look::Found(noted, _) if noted.blobs == named.blobs && noted.manifests == named.manifests => {
                return Ok(());
            }
            Look::Damaged => return Ok(()),
            Look::Absent => "has no record of its children, and so cannot be deleted",
            _ => "names other things than its record of children",
        };
        let proof = as_seen(whole.proof.clone(), &key, &look);
        let message = format!("{} {what}", whole.shown);
        told.push(
            Suspicion::new(FindingKind::ManifestDisagrees, whole.key, message, proof)
                .repair("its record of children is written again from its bytes", |txn| {
                    txn.put(&key, encode(&named))
                }),
        );
        Ok(())
    }

    async fn held_blobs(&mut self, whole: &Whole<'_>, told: &mut Vec<Suspicion>) -> Result<()> {
        let Whole {
            id, record, shown, ..
        } = whole;
        for blob in &values::Children::of(&whole.parsed.children).blobs {
            let edge = keys::edge(blob, id, &record.put);
            let deferred = keys::deferred(blob, id, &record.put);
            if self.is_there(&edge).await? || (record.deferred && self.is_there(&deferred).await?) {
                continue;
            }
            let mut proof = whole.proof.clone().absent(&edge);
            if record.deferred {
                proof = proof.absent(&deferred);
            }
            let message = format!("{shown} names blob {blob}, which is not kept for it");
            let suspicion = Suspicion::new(FindingKind::EdgeMissing, &edge, message, proof);
            let value = encode(&values::Edge {
                v: V1,
                manifest: *whole.digest,
            });
            let of_blob = keys::blob(blob);
            let look = self.look::<values::Blob>(&of_blob).await?;
            let records = self.records;
            told.push(match look {
                // Holds the blob and opens nothing, as when the manifest was put before it.
                Look::Found(..) | Look::Absent if record.deferred => suspicion
                    .repair("it is kept for it again", |txn| {
                        as_seen(txn, &of_blob, &look).put(deferred, value)
                    }),
                Look::Found(found, stamp) => suspicion.repair("it is kept for it again", |txn| {
                    let entry = Entry {
                        value: Bytes::new(),
                        stamp,
                    };
                    records.assert_live(txn, blob, &found, &entry).put(edge, value)
                }),
                _ => {
                    self.wanted.add(blob);
                    suspicion.advise(format!(
                        "push blob {blob} to {} again, and then the manifest",
                        whole.status.shown(id)
                    ))
                }
            });
        }
        Ok(())
    }

    async fn held_children(&mut self, whole: &Whole<'_>, told: &mut Vec<Suspicion>) -> Result<()> {
        let Whole {
            id, record, shown, ..
        } = whole;
        for child in &values::Children::of(&whole.parsed.children).manifests {
            let of_child = keys::manifest(id, child);
            let look = self.bytes(&of_child).await?;
            let parent = keys::parent(id, child, &record.put);
            if !self.is_there(&parent).await? {
                let message =
                    format!("{shown} lists manifest {child}, which does not know of it and could be deleted");
                let proof = whole.proof.clone().absent(&parent);
                let value = encode(&values::Edge {
                    v: V1,
                    manifest: *whole.digest,
                });
                told.push(
                    Suspicion::new(FindingKind::EdgeMissing, &parent, message, proof)
                        .repair("the child knows of it again", |txn| txn.put(&parent, value)),
                );
            }
            if !record.deferred && whole.status.is_named() && matches!(look, Look::Absent) {
                let message = format!("{shown} lists manifest {child}, which is not there");
                let proof = whole.status.assert(whole.proof.clone(), id).absent(of_child);
                told.push(
                    Suspicion::new(FindingKind::ChildMissing, whole.key, message, proof)
                        .advise(format!("push manifest {child} again")),
                );
            }
        }
        Ok(())
    }

    /// What a manifest refers to, and that its subject knows of it.
    async fn subject(&mut self, whole: &Whole<'_>, told: &mut Vec<Suspicion>) -> Result<()> {
        let Whole {
            id, record, shown, ..
        } = whole;
        let subject = whole.parsed.subject;
        if subject != record.subject {
            let message = format!("{shown} has another subject than its record says");
            let right = values::Manifest {
                subject,
                ..(*record).clone()
            };
            told.push(
                Suspicion::new(
                    FindingKind::ManifestDisagrees,
                    whole.key,
                    message,
                    whole.proof.clone(),
                )
                .repair("its record has the subject that its bytes name", |txn| {
                    txn.put(whole.key, encode(&right))
                }),
            );
        }
        let Some(subject) = &subject else { return Ok(()) };
        let referrer = keys::referrer(id, subject, whole.digest);
        let expected = whole.parsed.referrer(*whole.digest, whole.size);
        let look = self.look::<Descriptor>(&referrer).await?;
        let agrees = match &look {
            Look::Found(found, _) => *found == expected,
            Look::Damaged => true,
            Look::Illegible(_) | Look::Absent => false,
        };
        if !agrees {
            let message = format!("{shown} is not among the referrers of {subject} as it should be");
            let proof = as_seen(whole.proof.clone(), &referrer, &look);
            told.push(
                Suspicion::new(FindingKind::IndexDisagrees, &referrer, message, proof)
                    .repair("it is listed there as its bytes say", |txn| {
                        txn.put(&referrer, encode(&expected))
                    }),
            );
        }
        Ok(())
    }
}

/// What a manifest's bytes say of themselves, if they are whole and say of what type they are.
fn self_named(digest: &Digest, bytes: &[u8]) -> Option<ParsedManifest> {
    #[derive(serde::Deserialize)]
    struct SelfNamed {
        #[serde(rename = "mediaType")]
        media_type: String,
    }
    if Digest::of(digest.algorithm(), bytes) != *digest {
        return None;
    }
    let SelfNamed { media_type } = serde_json::from_slice(bytes).ok()?;
    ParsedManifest::parse(Some(&media_type), bytes).ok()
}

/// Both transactions in one.
fn and(mut txn: Txn, other: Txn) -> Txn {
    txn.preconditions.extend(other.preconditions);
    txn.writes.extend(other.writes);
    txn
}
