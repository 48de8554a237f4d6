//! Names and ids, and what belongs to no other part.

use registry_core::store::{Entry, Event};
use registry_core::{RepositoryName, Result};

use super::super::values::{self, V1, encode};
use super::look::{Look, decode, not_a_key};
use super::suspicion::{Suspicion, as_seen, of};
use super::walk::Walk;
use super::{Checker, FindingKind, keys};

/// Every table that is checked; what is in others is only read.
pub(super) const KNOWN: [&str; 39] = [
    "blob",
    "changed",
    "children",
    "content",
    "counter",
    "cursor",
    "deferred",
    "doomed",
    "dropped",
    "edge",
    "event",
    "expiry",
    "history",
    "index",
    "inline",
    "lead",
    "lease",
    "loose",
    "loosened",
    "manifest",
    "named",
    "parent",
    "pending",
    "piece",
    "purge",
    "referrer",
    "repository",
    "row",
    "run",
    "sequence",
    "tag",
    "tagged",
    "trash",
    "trashed",
    "trim",
    "unique",
    "unlink",
    "untagged",
    "upload",
];

/// Whether a key is of a table that is checked.
pub(super) fn is_known(key: &str) -> bool {
    KNOWN.contains(&table_of(key))
}

/// The table of a key.
pub(super) fn table_of(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

/// An event, which can only be read.
pub(super) fn event(key: &str, entry: &Entry) -> Vec<Suspicion> {
    let unreadable = decode::<Event>(key, entry).err();
    let advised = unreadable.map(|told| told.advise("whoever reads the feed misses this event"));
    advised.into_iter().collect()
}

impl Checker<'_> {
    pub(super) async fn repository(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let text = &key[keys::REPOSITORY.len()..];
        let Ok(name) = text.parse::<RepositoryName>() else {
            return Ok(vec![not_a_key(key, entry)]);
        };
        let repository = match decode::<values::Repository>(key, entry) {
            Ok(repository) => repository,
            Err(told) => return Ok(vec![told]),
        };
        let back = keys::named(&repository.id);
        let named = self.look::<values::Named>(&back).await?;
        let agrees = match &named {
            Look::Found(named, _) => named.name == name,
            Look::Damaged | Look::Illegible(_) => true,
            Look::Absent => false,
        };
        if agrees {
            return Ok(Vec::new());
        }
        let message = format!("repository {name} has an id that does not lead back to its name");
        let proof = as_seen(of(key, entry), &back, &named);
        let told = Suspicion::new(FindingKind::RepositoryDisagrees, key, message, proof);
        let dropped = keys::dropped(&repository.id);
        let is_lost = matches!(named, Look::Absent) && !self.is_there(&dropped).await?;
        Ok(vec![match is_lost {
            true => told.repair("its id leads back to its name again", |txn| {
                txn.absent(dropped)
                    .put(back, encode(&values::Named { v: V1, name }))
            }),
            false => {
                told.advise("which of the two names is true is not for the check to say; push to either")
            }
        }])
    }

    pub(super) async fn name(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let named = match decode::<values::Named>(key, entry) {
            Ok(named) => named,
            Err(told) => return Ok(vec![told]),
        };
        let there = keys::repository(named.name.as_str());
        let repository = self.look::<values::Repository>(&there).await?;
        let agrees = match &repository {
            Look::Found(repository, _) => keys::named(&repository.id) == key,
            Look::Damaged | Look::Illegible(_) => true,
            Look::Absent => false,
        };
        if agrees {
            return Ok(Vec::new());
        }
        let message = format!("{key} says that it is repository {}, which is not so", named.name);
        let proof = as_seen(of(key, entry), &there, &repository);
        let told = Suspicion::new(FindingKind::RepositoryDisagrees, key, message, proof);
        let id = key["named/".len()..].to_owned();
        let dropped = keys::dropped(&id);
        let is_lost = matches!(repository, Look::Absent) && !self.is_there(&dropped).await?;
        let created = self.records.clock().await?;
        Ok(vec![match is_lost {
            // Deleting a repository takes both records at once, so that one alone was lost.
            true => told.repair("the name leads to the repository again", |txn| {
                txn.absent(dropped)
                    .put(there, encode(&values::Repository { v: V1, id, created }))
            }),
            false => {
                told.advise("the name is another repository's now; a backup knows what this one was called")
            }
        }])
    }

    pub(super) async fn dropped(&mut self, key: &str, entry: &Entry) -> Result<Vec<Suspicion>> {
        let dropped = match decode::<values::Named>(key, entry) {
            Ok(dropped) => dropped,
            Err(told) => return Ok(vec![told]),
        };
        let named = keys::named(&key[keys::DROPPED.len()..]);
        let look = self.bytes(&named).await?;
        if matches!(look, Look::Absent) {
            return Ok(Vec::new());
        }
        let message = format!("repository {} is deleted and there at once", dropped.name);
        let proof = as_seen(of(key, entry), &named, &look);
        Ok(vec![
            Suspicion::new(FindingKind::RepositoryDisagrees, key, message, proof)
                .advise("it is being cleaned up: pull what is to be kept and push it under another name"),
        ])
    }

    /// Tables that are not known.
    pub(super) async fn unknown_tables(&mut self) -> Result<()> {
        let mut walk = Walk::through("", 1);
        while let Some((key, _)) = self.next(&mut walk).await? {
            if is_known(&key) {
                // It was counted where it was checked. On behind the table: '0' follows '/'.
                self.report.records -= 1;
                walk = Walk::through("", 1).after(format!("{}0", table_of(&key)));
            }
        }
        Ok(())
    }
}
