//! Names and ids, and what belongs to no other part.

use registry_core::store::Event;
use registry_core::{RepositoryName, Result};

use super::super::values;
use super::walk::{Look, Walk};
use super::{Checker, FindingKind, keys};

const PAGE: usize = 500;

/// Every table that is checked; what is in others is only read.
const KNOWN: [&str; 30] = [
    "blob",
    "children",
    "content",
    "counter",
    "deferred",
    "doomed",
    "dropped",
    "edge",
    "event",
    "expiry",
    "history",
    "inline",
    "lead",
    "lease",
    "manifest",
    "named",
    "parent",
    "pending",
    "piece",
    "purge",
    "referrer",
    "repository",
    "run",
    "tag",
    "tagged",
    "trash",
    "trashed",
    "trim",
    "untagged",
    "upload",
];

/// Whether a key is of a table that is checked.
pub(super) fn is_known(key: &str) -> bool {
    KNOWN.contains(&table(key))
}

fn table(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

impl Checker<'_> {
    pub(super) async fn repositories(&mut self) -> Result<()> {
        let mut walk = Walk::through(keys::REPOSITORY, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let name = &key[keys::REPOSITORY.len()..];
            if name.parse::<RepositoryName>().is_err() {
                self.not_a_key(&key);
                continue;
            }
            let Some(repository) = self.decode::<values::Repository>(&key, &entry) else {
                continue;
            };
            let named = self.look::<values::Named>(&keys::named(&repository.id)).await?;
            let agrees = match named {
                Look::Found(named) => named.name.as_str() == name,
                Look::Damaged => true,
                Look::Absent => false,
            };
            if !agrees {
                let message = format!("repository {name} has an id that does not lead back to its name");
                self.found(FindingKind::RepositoryDisagrees, &key, message);
            }
        }
        let mut walk = Walk::through("named/", PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some(named) = self.decode::<values::Named>(&key, &entry) else {
                continue;
            };
            let repository = self
                .look::<values::Repository>(&keys::repository(named.name.as_str()))
                .await?;
            let agrees = match repository {
                Look::Found(repository) => keys::named(&repository.id) == key,
                Look::Damaged => true,
                Look::Absent => false,
            };
            if !agrees {
                let message = format!("{key} says that it is repository {}, which is not so", named.name);
                self.found(FindingKind::RepositoryDisagrees, &key, message);
            }
        }
        let mut walk = Walk::through(keys::DROPPED, PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            let Some(dropped) = self.decode::<values::Named>(&key, &entry) else {
                continue;
            };
            if self.is_there(&keys::named(&key[keys::DROPPED.len()..])).await? {
                let message = format!("repository {} is deleted and there at once", dropped.name);
                self.found(FindingKind::RepositoryDisagrees, &key, message);
            }
        }
        Ok(())
    }

    /// Counters and events, which can only be read; and tables that are not known.
    pub(super) async fn the_rest(&mut self) -> Result<()> {
        let mut walk = Walk::through("counter/", PAGE);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            self.decode::<values::Counter>(&key, &entry);
        }
        let mut walk = Walk::through(keys::EVENT, PAGE / 10);
        while let Some((key, entry)) = self.next(&mut walk).await? {
            self.decode::<Event>(&key, &entry);
        }
        let mut walk = Walk::through("", 1);
        while let Some((key, _)) = self.next(&mut walk).await? {
            if is_known(&key) {
                // It was counted where it was checked. On behind the table: '0' follows '/'.
                self.report.records -= 1;
                walk = Walk::through("", 1).after(format!("{}0", table(&key)));
            }
        }
        Ok(())
    }
}
