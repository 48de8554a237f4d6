//! What repositories hold, added up from the records as they are walked.

use std::mem::take;

use registry_core::Result;
use registry_core::store::Entry;

use super::super::values;
use super::look::Look;
use super::table::Table;
use super::walk::rest;
use super::{Checker, Told, Usage, digest, keys, parts};

/// What one repository holds, so far.
#[derive(Default)]
pub(super) struct Held {
    manifests: u64,
    manifest_bytes: u64,
    blobs: u64,
    blob_bytes: u64,
}

impl Checker<'_> {
    /// Adds up a record that was looked at: once, however often that took.
    pub(super) fn count(&mut self, table: Table, key: &str, entry: &Entry) {
        match table {
            Table::Manifests => {
                let manifest = values::decode::<values::Manifest>(key, entry);
                if let (Some([id, _]), Ok(manifest)) = (parts(key), manifest) {
                    let held = self.held(id);
                    held.manifests += 1;
                    held.manifest_bytes += manifest.size;
                }
            }
            Table::Blobs => {
                self.report.blobs += 1;
                if let Ok(blob) = values::decode::<values::Blob>(key, entry) {
                    self.report.bytes += blob.size;
                }
            }
            // Several manifests of a repository that name one blob come one after the other.
            Table::Edges => {
                let parsed = parts(key).and_then(|[blob, id, _]| Some((digest(blob)?, id)));
                if let (Some((blob, id)), Some((sized, size))) = (parsed, self.sized)
                    && blob == sized
                    && self
                        .counted
                        .as_ref()
                        .is_none_or(|last| *last != (blob, id.to_owned()))
                {
                    let held = self.held(id);
                    held.blobs += 1;
                    held.blob_bytes += size;
                    self.counted = Some((blob, id.to_owned()));
                }
            }
            _ => {}
        }
    }

    fn held(&mut self, id: &str) -> &mut Held {
        self.usage.entry(id.to_owned()).or_default()
    }

    /// Tells what each repository holds that still has a name.
    pub(super) async fn tell_usage(&mut self) -> Result<()> {
        for (id, held) in take(&mut self.usage) {
            if let Look::Found(named, _) = self.look::<values::Named>(&keys::named(&id)).await? {
                self.say(Told::Usage(&Usage {
                    repository: named.name,
                    manifests: held.manifests,
                    manifest_bytes: held.manifest_bytes,
                    blobs: held.blobs,
                    blob_bytes: held.blob_bytes,
                }));
                rest().await;
            }
        }
        Ok(())
    }
}
