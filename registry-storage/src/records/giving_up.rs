//! Giving up a blob: what needs it, and deleting it from a repository.

use registry_core::store::Txn;
use registry_core::{Digest, Error, ErrorKind, RepositoryName, Result, error};

use super::values::decode;
use super::{Attempt, Records, keys, values};

/// Most manifests that are named where a blob is needed by them.
const NEEDED_BY: usize = 10;

/// Whether a blob can be given up by a repository.
#[derive(Default)]
struct Needed {
    /// The first manifests that need it.
    by: Vec<Digest>,
    /// Whether there is any deferred edge, be it from the trash.
    is_deferred: bool,
}

impl Records {
    /// Which manifests of the repository, that are there, need a blob. What was deleted needs nothing; if its edges are
    /// still to be taken, they are taken first.
    async fn needed(&self, repository: &str, digest: &Digest) -> Result<Attempt<Needed>> {
        let mut needed = Needed::default();
        let edges = keys::edges_of(digest, repository);
        let deferrals = keys::deferrals_of(digest, repository);
        for (table, opens) in [(edges, true), (deferrals, false)] {
            let mut after: Option<String> = None;
            while needed.by.len() < NEEDED_BY {
                let page = self.scan(&table, after.as_deref(), NEEDED_BY).await?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                needed.is_deferred |= !opens;
                for (key, entry) in &page {
                    let (manifest, put) = (decode::<values::Edge>(key, entry)?.manifest, &key[table.len()..]);
                    let found: Option<(values::Manifest, _)> =
                        self.get(&keys::manifest(repository, &manifest)).await?;
                    if found.is_some_and(|(manifest, _)| manifest.put == put) {
                        needed.by.push(manifest);
                    } else if self.sweep_put(repository, put).await? {
                        return Ok(Attempt::Again);
                    } else if opens {
                        // Taken by somebody else just now; or nobody knows whose it is.
                        match self.entry(key).await? {
                            None => return Ok(Attempt::Again),
                            Some(_) => needed.by.push(manifest),
                        }
                    }
                }
            }
        }
        Ok(Attempt::Done(needed))
    }

    pub(super) async fn try_delete_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Attempt<()>> {
        let repository = self.known(name).await?;
        let now = self.clock().await?;
        let Attempt::Done(Needed { by, is_deferred }) = self.needed(&repository.id, digest).await? else {
            return Ok(Attempt::Again);
        };
        if let Some(first) = by.first() {
            let message = format!("blob {digest} is needed by manifest {first}; delete that first");
            return Err(Error::new(ErrorKind::InUse, message)
                .with_detail(serde_json::json!({ "digest": digest, "manifests": by })));
        }
        let leases = self.unexpired_leases(&repository.id, digest, now).await?;
        if leases.is_empty() || self.find_blob(digest).await?.is_none() {
            return Err(error::blob_unknown(digest));
        }
        let mut txn = self
            .assert_name(Txn::new().named("delete_blob"), name, &repository, now)
            .nothing_under(keys::edges_of(digest, &repository.id));
        // Where the trash has some, one that is put meanwhile was put after: it opens nothing, and what it names need not
        // be here.
        if !is_deferred {
            txn = txn.nothing_under(keys::deferrals_of(digest, &repository.id));
        }
        // Nor may a lease be taken meanwhile: not in this bucket, and the next has not begun.
        let (bucket_end, lease_end) = self.bucket(now);
        txn = txn.before(bucket_end);
        let current = keys::lease(digest, lease_end, &repository.id);
        if !leases.iter().any(|lease| lease.key == current) {
            txn = txn.absent(current);
        }
        for lease in &leases {
            txn = txn.at(&lease.key, lease.entry.stamp).delete(&lease.key);
        }
        Ok(self.commit(txn).await?.map(|_| ()))
    }
}
