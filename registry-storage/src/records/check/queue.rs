//! The collector's queue, claims, and the order in which they expire.

use registry_core::{Result, UploadId};

use super::super::values;
use super::locations::Portion;
use super::walk::{Look, Walk};
use super::{Checker, FindingKind, digest, keys};

const PAGE: usize = 500;

impl Checker<'_> {
    /// Every blob that no edge holds must be in the queue, or its room is never given back.
    pub(super) async fn queue(&mut self) -> Result<()> {
        let mut entries = 0;
        let mut walk = Walk::through(keys::PENDING, PAGE);
        while let Some((key, _)) = self.next(&mut walk).await? {
            entries += 1;
            if keys::parse_timed(keys::PENDING, &key)
                .and_then(|(_, blob)| digest(blob))
                .is_none()
            {
                self.not_a_key(&key);
            }
        }
        for mut queued in Portion::passes(entries) {
            let mut walk = Walk::again(keys::PENDING, PAGE);
            while let Some((key, _)) = self.next(&mut walk).await? {
                if let Some((_, blob)) = keys::parse_timed(keys::PENDING, &key) {
                    queued.insert(blob);
                }
            }
            let mut walk = Walk::again(keys::BLOB, PAGE);
            while let Some((key, _)) = self.next(&mut walk).await? {
                let name = &key[keys::BLOB.len()..];
                let Some(blob) = digest(name).filter(|_| queued.covers(name) && !queued.contains(name))
                else {
                    continue;
                };
                if !self.any_under(&keys::edges(&blob)).await?
                    && !self.any_under(&keys::deferrals(&blob)).await?
                    && !self.any_under(&keys::trashed_edges(&blob)).await?
                {
                    let message = format!("nothing needs blob {blob}, and the collector does not know of it");
                    self.found(FindingKind::Unqueued, &key, message);
                }
            }
        }
        Ok(())
    }

    pub(super) async fn uploads(&mut self) -> Result<()> {
        let mut walk = Walk::through(keys::UPLOAD, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Ok(id) = key[keys::UPLOAD.len()..].parse::<UploadId>() else {
                self.not_a_key(&key);
                continue;
            };
            let Some(upload) = self.decode::<values::Upload>(&key, &entry) else {
                continue;
            };
            let expiry = keys::expiry(upload.expires, &id);
            if !self.is_there(&expiry).await? {
                let message = format!(
                    "upload {id} is not among those that expire at {}, and never will",
                    upload.expires
                );
                self.found(FindingKind::IndexDisagrees, &expiry, message);
            }
            let doomed = keys::doomed(&upload.location);
            if self.is_there(&doomed).await? {
                let message = format!(
                    "upload {id} writes to {}, which is to be unlinked",
                    upload.location
                );
                self.found(FindingKind::DoomedButNamed, &doomed, message);
            }
        }
        let mut walk = Walk::through(keys::EXPIRY, PAGE);
        while let Some((key, _)) = self.next(&mut walk).await? {
            let parsed = keys::parse_timed(keys::EXPIRY, &key)
                .and_then(|(at, id)| Some((at, id.parse::<UploadId>().ok()?)));
            let Some((at, id)) = parsed else {
                self.not_a_key(&key);
                continue;
            };
            let agrees = match self.look::<values::Upload>(&keys::upload(&id)).await? {
                Look::Found(upload) => upload.expires == at,
                Look::Damaged => true,
                Look::Absent => false,
            };
            if !agrees {
                let message = format!("upload {id} is said to expire at {at}, which it does not");
                self.found(FindingKind::IndexDisagrees, &key, message);
            }
        }
        Ok(())
    }
}
