//! Edges, those that are deferred or of the trash, and leases: what holds blobs, and that it holds something for somebody.

use bytes::Bytes;
use registry_core::Result;
use registry_core::store::Entry;

use super::super::values;
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Suspicion, as_seen, of};
use super::table::Table;
use super::{Checker, FindingKind, digest, keys, parts};

impl Checker<'_> {
    pub(super) async fn edge(&mut self, table: Table, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let parsed = parts(key).and_then(|[blob, id, put]| Some((digest(blob)?, id, put)));
        let Some((blob, id, put)) = parsed else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let edge = match decode::<values::Edge>(key, entry) {
            Ok(edge) => edge,
            Err(told) => return Ok(vec![told.advise("push the manifest that needs the blob again")]),
        };
        let mut told = Vec::new();
        let of_blob = keys::blob(&blob);
        let look = self.look::<values::Blob>(&of_blob).await?;
        if let Look::Found(found, _) = &look {
            self.sized = Some((blob, found.size));
        }
        let shown = self.status(id).await?.shown(id);
        let manifest = &edge.manifest;
        let unnamed = self
            .unnamed(table, id, manifest, put, |children| {
                children.blobs.contains(&blob)
            })
            .await?;
        if let Some(proof) = unnamed {
            let message =
                format!("blob {blob} is kept for manifest {manifest} in {shown}, which does not need it");
            let proof = as_seen(proof.at(key, entry.stamp), &of_blob, &look);
            let suspicion = Suspicion::new(FindingKind::EdgeSurplus, key, message, proof);
            let now = self.records.clock().await?;
            let records = self.records;
            // As every edge that goes: what it opened keeps a lease, and the collector has something to look at.
            told.push(match look {
                Look::Found(found, stamp) if table == Table::Edges => suspicion.repair(
                    "a lease holds it for the grace, and then the collector looks at it",
                    |txn| {
                        let read = Entry {
                            value: Bytes::new(),
                            stamp,
                        };
                        let live = records.assert_live(txn.delete(key), &blob, &found, &read);
                        records.add_lease(live, id, &blob, now)
                    },
                ),
                _ => suspicion.repair("the collector looks at it", |txn| {
                    records.add_pending(txn.delete(key), &blob, now)
                }),
            });
        } else if table != Table::Deferred && matches!(look, Look::Absent) {
            self.wanted.add(&blob);
            let trash = if table == Table::Trashed {
                "in the trash of"
            } else {
                "in"
            };
            let message =
                format!("manifest {manifest} {trash} {shown} needs blob {blob}, which has no record");
            let proof = of(key, entry).absent(of_blob);
            told.push(
                Suspicion::new(FindingKind::EdgeWithoutBlob, key, message, proof)
                    .advise(format!("push blob {blob} to {shown} again")),
            );
        }
        Ok(told)
    }

    pub(super) async fn lease(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let parsed = parts(key).and_then(|[blob, _, _]| digest(blob));
        let Some((blob, end)) = parsed.and_then(|blob| Some((blob, keys::parse_lease(&blob, key)?.0))) else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let of_blob = keys::blob(&blob);
        if self.is_there(&of_blob).await? {
            return Ok(Vec::new());
        }
        let message = format!("a lease holds blob {blob}, which has no record");
        let proof = of(key, entry).absent(of_blob);
        let suspicion = Suspicion::new(FindingKind::LeaseWithoutBlob, key, message, proof);
        let now = self.records.clock().await?;
        Ok(vec![match end <= now {
            true => suspicion.repair("the lease, which has expired, is gone", |txn| {
                txn.not_before(end).delete(key)
            }),
            false => {
                self.wanted.add(&blob);
                suspicion.advise(format!(
                    "push blob {blob} again; whoever relies on the lease does so"
                ))
            }
        }])
    }
}
