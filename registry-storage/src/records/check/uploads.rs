//! Claims of uploads, and the order in which they expire.

use registry_core::store::Entry;
use registry_core::{Result, UploadId};

use super::super::values::{self, MARK};
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Suspicion, as_seen, of};
use super::{Checker, FindingKind, keys};

impl Checker<'_> {
    pub(super) async fn upload(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let Ok(id) = key[keys::UPLOAD.len()..].parse::<UploadId>() else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let upload = match decode::<values::Upload>(key, entry) {
            Ok(upload) => upload,
            Err(told) => {
                return Ok(vec![told.advise(
                    "begin the upload again; its file is nobody's once this record is deleted",
                )]);
            }
        };
        let mut told = Vec::new();
        let expiry = keys::expiry(upload.expires, &id);
        if !self.is_there(&expiry).await? {
            let message = format!(
                "upload {id} is not among those that expire at {}, and never will",
                upload.expires
            );
            let proof = of(key, entry).absent(&expiry);
            told.push(
                Suspicion::new(FindingKind::IndexDisagrees, &expiry, message, proof)
                    .repair("it expires when its claim says", |txn| txn.put(&expiry, MARK)),
            );
        }
        let doomed = keys::doomed(&upload.location);
        let look = self.bytes(&doomed).await?;
        if !matches!(look, Look::Absent) {
            let message = format!(
                "upload {id} writes to {}, which is to be unlinked",
                upload.location
            );
            let proof = as_seen(of(key, entry), &doomed, &look);
            told.push(
                Suspicion::new(FindingKind::DoomedButNamed, &doomed, message, proof)
                    .repair("it is not unlinked while the upload goes on", |txn| {
                        txn.delete(&doomed)
                    }),
            );
        }
        let now = self.records.clock().await?;
        if let Some(overdue) = self.options.overdue.map(|after| upload.expires + after)
            && now >= overdue
        {
            let message = format!(
                "upload {id} expired at {}, and nothing has ended it",
                upload.expires
            );
            let proof = of(key, entry).not_before(overdue);
            let records = self.records;
            told.push(
                Suspicion::new(FindingKind::ClaimStale, key, message, proof).repair(
                    "it is ended, and its bytes are given back",
                    |txn| {
                        let txn = txn.delete(key).delete(&expiry);
                        records.doom(txn, &upload.location, now, records.lifetimes.longest_write)
                    },
                ),
            );
        }
        Ok(told)
    }

    pub(super) async fn expiry(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let parsed = keys::parse_timed(keys::EXPIRY, key)
            .and_then(|(at, id)| Some((at, id.parse::<UploadId>().ok()?)));
        let Some((at, id)) = parsed else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let claim = keys::upload(&id);
        let look = self.look::<values::Upload>(&claim).await?;
        let agrees = match &look {
            Look::Found(upload, _) => upload.expires == at,
            Look::Damaged | Look::Illegible(_) => true,
            Look::Absent => false,
        };
        if agrees {
            return Ok(Vec::new());
        }
        let message = format!("upload {id} is said to expire at {at}, which it does not");
        let proof = as_seen(of(key, entry), &claim, &look);
        Ok(vec![
            Suspicion::new(FindingKind::IndexDisagrees, key, message, proof)
                .repair("nobody waits for that any more", |txn| txn.delete(key)),
        ])
    }
}
