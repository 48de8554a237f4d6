//! What the policy for untagged manifests may take: nothing that has a tag, that an index lists, or that was put or lost its tag
//! less than the policy's time ago.

use std::collections::BTreeMap;
use std::time::Duration;

use registry_core::Timestamp;
use registry_core::store::{Txn, Write};

use super::super::view::{Place, View};
use super::{At, Broken, Oracle, Verdict};

/// Since when each manifest may have been without a tag.
#[derive(Default)]
pub(super) struct Loose {
    since: BTreeMap<Place, Timestamp>,
    /// How long the policy leaves them, if there is one.
    kept: Option<Duration>,
}

impl Oracle {
    pub(in crate::schedules) fn keeps_untagged(&mut self, kept: Option<Duration>) {
        self.loose.kept = kept;
    }

    /// What this transaction does to what may be without a tag, before `self.view`'s state comes to be known as such.
    pub(super) fn note_loose(&mut self, txn: &Txn, before: &View, now: Timestamp) {
        let is_put = |(id, digest): &Place| {
            let key = format!("manifest/{id}/{digest}");
            let puts = |write: &Write| matches!(write, Write::Put(put, _) if *put == key);
            txn.name == "put_manifest" && txn.writes.iter().any(puts)
        };
        let lost_a_tag = |(id, digest): &Place| {
            let mut of_it = before
                .tags
                .iter()
                .filter(|((there, _), to)| there == id && *to == digest);
            of_it.any(|(tag, to)| self.view.tags.get(tag) != Some(to))
        };
        let since = self.view.manifests.iter().map(|(place, manifest)| {
            let same = before
                .manifests
                .get(place)
                .is_some_and(|it| it.put == manifest.put);
            let known = self
                .loose
                .since
                .get(place)
                .filter(|_| same && !is_put(place) && !lost_a_tag(place));
            (place.clone(), known.copied().unwrap_or(now))
        });
        let since: BTreeMap<Place, Timestamp> = since.collect();
        self.loose.since = since;
    }

    /// A collector deletes no manifest but for the policy.
    pub(super) fn policy(&self, txn: &Txn, before: &View, at: At) -> Verdict {
        if txn.name != "delete_manifest" || !self.is_collector(at.task) {
            return Ok(());
        }
        for place in before
            .manifests
            .keys()
            .filter(|place| !self.view.manifests.contains_key(place))
        {
            let since = self.loose.since.get(place).copied().unwrap_or(at.now);
            let why = if before.is_tagged(place) {
                "has a tag".to_owned()
            } else if before.is_listed(place) {
                "is listed by an index".to_owned()
            } else if self.loose.kept.is_none_or(|kept| at.now < since + kept) {
                let seconds = at.now.since(since).as_secs_f64();
                format!("was put, or lost a tag, {seconds} s ago")
            } else {
                continue;
            };
            return Err(Broken {
                promise: "the policy takes what has had no tag for long enough, and nothing else",
                found: format!("it deletes manifest {}, which {why}", place.1),
            });
        }
        Ok(())
    }

    /// When the policy is over, nothing is left of what it is for.
    pub(super) fn untagged_left(&self) -> Option<&Place> {
        self.loose.kept?;
        let view = &self.view;
        let live = view.live();
        view.manifests
            .keys()
            .find(|place| live.contains(place.0.as_str()) && !view.is_tagged(place) && !view.is_listed(place))
    }
}
