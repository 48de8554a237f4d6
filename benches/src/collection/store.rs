//! Records written in bulk, as many pushes would have left them, and garbage with its files.

use std::fs;
use std::io;
use std::path::Path;

use registry_core::store::{Kv, Txn};
use registry_core::{Digest, Timestamp};

use super::failed;

/// Writes in one transaction, when there are many.
const BATCH: usize = 20_000;

/// Blobs of each live manifest.
const BLOBS: usize = 5;

/// Manifests of each repository.
const MANIFESTS: usize = 50;

/// Bytes in each file of garbage.
const FILE: usize = 4096;

/// Puts records, a batch in each transaction.
pub(crate) struct Bulk<'k> {
    kv: &'k dyn Kv,
    txn: Txn,
    /// How many were put.
    pub(crate) put: u64,
}

impl<'k> Bulk<'k> {
    pub(crate) fn new(kv: &'k dyn Kv) -> Self {
        Bulk {
            kv,
            txn: Txn::new(),
            put: 0,
        }
    }

    pub(crate) async fn put(&mut self, key: String, value: impl Into<Vec<u8>>) -> io::Result<()> {
        self.txn = std::mem::take(&mut self.txn).put(key, value.into());
        self.put += 1;
        match self.txn.writes.len() >= BATCH {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        let txn = std::mem::take(&mut self.txn);
        self.kv.commit(txn).await.map_err(failed)?;
        Ok(())
    }
}

/// A name that the blob store gives to files: made of 32 hex digits, here those of a digest.
fn file(digest: &Digest) -> String {
    let text = digest.to_string();
    let hex = &text["sha256:".len()..][..32];
    format!("{}/{hex}", &hex[..2])
}

fn blob(digest: &Digest, state: &str) -> String {
    format!(
        r#"{{"v":1,"size":{FILE},"location":{{"file":"{}"}},"state":{state}}}"#,
        file(digest)
    )
}

/// The `n`th of a kind of digests.
pub(super) fn digest(kind: &str, n: usize) -> Digest {
    Digest::sha256(format!("{kind} {n}").as_bytes())
}

/// Writes the records of `live` blobs, all needed by tagged manifests, without files: nothing of a collector looks at the files
/// of what it does not collect. One in twenty was pushed of late, and has a lease and a queue entry that are not due.
/// Gives the number of records.
pub(super) async fn live(kv: &dyn Kv, live: usize, now: Timestamp) -> io::Result<u64> {
    let mut digests: Vec<Digest> = (0..live).map(|n| digest("live", n)).collect();
    digests.sort();
    let mut bulk = Bulk::new(kv);
    // Table after table and in order, which is how an ordered map is filled fast.
    for digest in &digests {
        bulk.put(format!("blob/{digest}"), blob(digest, r#""live""#))
            .await?;
    }
    let manifest = |n: usize| digest("manifest", n / BLOBS);
    let repository = |n: usize| format!("{:032x}", n / BLOBS / MANIFESTS);
    let put = |n: usize| format!("{:032x}", n / BLOBS);
    for (n, digest) in digests.iter().enumerate() {
        let key = format!("edge/{digest}/{}/{}", repository(n), put(n));
        bulk.put(key, format!(r#"{{"v":1,"manifest":"{}"}}"#, manifest(n)))
            .await?;
    }
    // Beyond the end of what is measured, on a clock that is moved on.
    let soon = now.0 + 1000 * 3_600_000;
    for (n, digest) in digests.iter().enumerate().step_by(20) {
        bulk.put(
            format!("lease/{digest}/{soon:016}/{}", repository(n)),
            r#"{"v":1}"#,
        )
        .await?;
        bulk.put(format!("pending/{soon:016}/{digest}"), r#"{"v":1}"#)
            .await?;
    }
    for n in (0..live).step_by(BLOBS) {
        let (digest, id) = (manifest(n), repository(n));
        let names: Vec<String> = digests[n..(n + BLOBS).min(live)]
            .iter()
            .map(|digest| format!(r#""{digest}""#))
            .collect();
        let record = format!(
            r#"{{"v":1,"media_type":"application/vnd.oci.image.manifest.v1+json","size":400,"put":"{}"}}"#,
            put(n)
        );
        bulk.put(format!("manifest/{id}/{digest}"), record).await?;
        bulk.put(format!("content/{id}/{digest}"), vec![b' '; 400])
            .await?;
        let children = format!(r#"{{"blobs":[{}],"manifests":[]}}"#, names.join(","));
        bulk.put(format!("children/{id}/{digest}"), children).await?;
        let tag = n / BLOBS;
        bulk.put(
            format!("tag/{id}/t{tag}"),
            format!(r#"{{"v":1,"digest":"{digest}","at":1}}"#),
        )
        .await?;
        bulk.put(format!("tagged/{id}/{digest}/t{tag}"), r#"{"v":1}"#)
            .await?;
        if tag.is_multiple_of(MANIFESTS) {
            let name = format!("synthetic/{}", tag / MANIFESTS);
            bulk.put(
                format!("repository/{name}"),
                format!(r#"{{"v":1,"id":"{id}","created":1}}"#),
            )
            .await?;
            bulk.put(format!("named/{id}"), format!(r#"{{"v":1,"name":"{name}"}}"#))
                .await?;
        }
    }
    bulk.flush().await?;
    Ok(bulk.put)
}

/// Which step of the collector garbage waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Condemn,
    Remove,
    Unlink,
}

/// Writes garbage with its files: blobs that nothing needs, with a lease that is over, each due for the same step.
pub(super) async fn garbage(
    kv: &dyn Kv,
    blobs: &Path,
    kind: &str,
    count: usize,
    next: Next,
    now: Timestamp,
) -> io::Result<()> {
    let over = now.0 - 3_600_000;
    let id = "f".repeat(32);
    let mut bulk = Bulk::new(kv);
    for n in 0..count {
        let digest = digest(kind, n);
        let name = file(&digest);
        let path = blobs.join(&name);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&path, [0; FILE])?;
        match next {
            Next::Condemn => {
                bulk.put(format!("blob/{digest}"), blob(&digest, r#""live""#))
                    .await?;
                bulk.put(format!("lease/{digest}/{over:016}/{id}"), r#"{"v":1}"#)
                    .await?;
            }
            Next::Remove => {
                let state = format!(r#"{{"condemned":{{"remove_after":{over}}}}}"#);
                bulk.put(format!("blob/{digest}"), blob(&digest, &state)).await?;
            }
            Next::Unlink => {
                let record = format!(r#"{{"v":1,"location":{{"file":"{name}"}},"not_before":{over}}}"#);
                bulk.put(format!("doomed/file:{name}"), record).await?;
                bulk.put(format!("unlink/{over:016}/file:{name}"), r#"{"v":1}"#)
                    .await?;
                continue;
            }
        }
        // Spread over a second, so that those of different kinds are looked at in turn.
        let due = over + (n % 1000) as u64;
        bulk.put(format!("pending/{due:016}/{digest}"), r#"{"v":1}"#)
            .await?;
    }
    bulk.flush().await
}
