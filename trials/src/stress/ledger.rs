//! What the registry has promised: every answer is written down here, and every later one held against it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use super::content::{GROUPS, MANIFESTS, REPOSITORIES, TAGS, Universe, repository, tag};
use super::register::{End, Register, WriteId};

/// Nanoseconds since the trial began.
pub type Time = u64;

/// Longest that anybody asks about times gone by: longer than any request.
const HORIZON: Time = 120_000_000_000;
/// Promises of one blob that are remembered.
const PROMISES: usize = 8;
/// Requests that are remembered, to be shown with what contradicts them.
const REMEMBERED: usize = 400_000;
/// Requests that are shown.
const SHOWN: usize = 150;

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A tag of a group, and what it led to or was to lead to.
    Tag(usize, usize, Option<usize>),
    /// A manifest of a group.
    Manifest(usize, usize),
    /// A blob.
    Blob(usize),
}

/// A request and its answer.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was sent.
    pub invoked: Time,
    /// When its answer had come.
    pub ended: Time,
    /// By which client.
    pub client: u64,
    /// In which repository.
    pub repository: usize,
    /// What was asked.
    pub asked: &'static str,
    /// What about.
    pub subject: Subject,
    /// What was answered.
    pub answer: Arc<str>,
}

/// A blob of a repository.
#[derive(Clone, Debug, Default)]
struct Held {
    /// Requests that were told that it is there: when they were sent, and answered.
    promises: VecDeque<(Time, Time)>,
    /// Requests to delete it: when they were sent, and answered or could take effect no more.
    deletes: VecDeque<(Time, Time)>,
}

/// What is known of every tag, manifest and blob.
#[derive(Debug)]
pub struct Ledger {
    universe: Arc<Universe>,
    grace: Time,
    manifests: Vec<Register<bool>>,
    tags: Vec<Register<Option<usize>>>,
    blobs: Vec<Held>,
    history: VecDeque<Event>,
}

/// Writes that were begun together and end together.
#[derive(Debug, Default)]
pub struct Begun {
    manifest: Option<(usize, WriteId)>,
    tags: Vec<(usize, WriteId, bool)>,
    blob: Option<(usize, Time)>,
}

impl Ledger {
    /// Of a registry in which there is nothing, and whose promises last for `grace` at least.
    pub fn new(universe: Arc<Universe>, grace: Time) -> Self {
        let shelves = REPOSITORIES * GROUPS;
        Ledger {
            grace,
            manifests: vec![Register::new(false); shelves * MANIFESTS],
            tags: vec![Register::new(None); shelves * TAGS],
            blobs: vec![Held::default(); REPOSITORIES * universe.blobs.len()],
            history: VecDeque::new(),
            universe,
        }
    }

    fn manifest(&self, repository: usize, group: usize, manifest: usize) -> usize {
        (repository * GROUPS + group) * MANIFESTS + manifest
    }

    fn tag(&self, repository: usize, group: usize, tag: usize) -> usize {
        (repository * GROUPS + group) * TAGS + tag
    }

    fn blob(&self, repository: usize, blob: usize) -> usize {
        repository * self.universe.blobs.len() + blob
    }

    /// A manifest is about to be put, perhaps by a tag.
    pub fn putting(
        &mut self,
        repository: usize,
        group: usize,
        manifest: usize,
        tag: Option<usize>,
        now: Time,
    ) -> Begun {
        let at = self.manifest(repository, group, manifest);
        let mut begun = Begun {
            manifest: Some((at, self.manifests[at].begin(true, now))),
            ..Begun::default()
        };
        if let Some(tag) = tag {
            let at = self.tag(repository, group, tag);
            begun
                .tags
                .push((at, self.tags[at].begin(Some(manifest), now), true));
        }
        begun
    }

    /// A manifest is about to be deleted. Its tags go with it, but which those will be nobody knows here.
    pub fn deleting_manifest(
        &mut self,
        repository: usize,
        group: usize,
        manifest: usize,
        now: Time,
    ) -> Begun {
        let at = self.manifest(repository, group, manifest);
        let mut begun = Begun {
            manifest: Some((at, self.manifests[at].begin(false, now))),
            ..Begun::default()
        };
        for tag in 0..TAGS {
            let at = self.tag(repository, group, tag);
            begun.tags.push((at, self.tags[at].begin(None, now), false));
        }
        begun
    }

    /// A tag is about to be deleted.
    pub fn deleting_tag(&mut self, repository: usize, group: usize, tag: usize, now: Time) -> Begun {
        let at = self.tag(repository, group, tag);
        Begun {
            tags: vec![(at, self.tags[at].begin(None, now), true)],
            ..Begun::default()
        }
    }

    /// A blob is about to be deleted.
    pub fn deleting_blob(&mut self, repository: usize, blob: usize, now: Time) -> Begun {
        let at = self.blob(repository, blob);
        self.blobs[at].deletes.push_back((now, Time::MAX));
        Begun {
            blob: Some((at, now)),
            ..Begun::default()
        }
    }

    /// What was begun has ended.
    pub fn ended(&mut self, begun: Begun, now: Time, end: End) {
        let horizon = now.saturating_sub(HORIZON);
        if let Some((at, id)) = begun.manifest {
            self.manifests[at].end(id, now, end, horizon);
        }
        for (at, id, alone) in begun.tags {
            let end = match end {
                // Whether the tag was at that manifest is not known.
                End::Done if !alone => End::Unknown,
                end => end,
            };
            self.tags[at].end(id, now, end, horizon);
        }
        if let Some((at, invoked)) = begun.blob {
            let deletes = &mut self.blobs[at].deletes;
            let this = deletes.iter().position(|delete| *delete == (invoked, Time::MAX));
            match (this, end) {
                (Some(this), End::Refused) => drop(deletes.remove(this)),
                (Some(this), _) => deletes[this].1 = now,
                (None, _) => {}
            }
            deletes.retain(|(_, ended)| *ended >= horizon);
        }
    }

    /// A client that may push was told that a blob is there.
    pub fn promised(&mut self, repository: usize, blob: usize, invoked: Time, ended: Time) {
        let at = self.blob(repository, blob);
        let promises = &mut self.blobs[at].promises;
        promises.push_back((invoked, ended));
        if promises.len() > PROMISES {
            promises.pop_front();
        }
    }

    /// Whether a manifest is there from `from` until `until`, whatever else happens.
    pub fn must_have(
        &self,
        repository: usize,
        group: usize,
        manifest: usize,
        from: Time,
        until: Time,
    ) -> bool {
        self.manifests[self.manifest(repository, group, manifest)].must_be(&true, from, until)
    }

    /// Whether a manifest may have been seen, or missed, between these times.
    pub fn may_have(
        &self,
        repository: usize,
        group: usize,
        manifest: usize,
        there: bool,
        (from, until): (Time, Time),
    ) -> bool {
        self.manifests[self.manifest(repository, group, manifest)].may_be(&there, from, until)
    }

    /// Whether a tag may have led to this between these times.
    pub fn may_lead(
        &self,
        repository: usize,
        group: usize,
        tag: usize,
        to: Option<usize>,
        (from, until): (Time, Time),
    ) -> bool {
        self.tags[self.tag(repository, group, tag)].may_be(&to, from, until)
    }

    /// Why a request from `from` until `until` must find a blob: a manifest that names it, or a promise.
    pub fn must_find(&self, repository: usize, blob: usize, from: Time, until: Time) -> Option<String> {
        for &(group, manifest) in self.universe.holders(blob) {
            if self.must_have(repository, group, manifest, from, until) {
                let name = &self.universe.node(group, manifest).manifest.digest;
                return Some(format!("manifest {name} of group {group} names it"));
            }
        }
        let held = &self.blobs[self.blob(repository, blob)];
        let kept = |&&(invoked, ended): &&(Time, Time)| {
            let undone = |(began, over): &(Time, Time)| *began <= until && *over >= invoked;
            ended <= from && until <= invoked + self.grace && !held.deletes.iter().any(undone)
        };
        let (invoked, _) = held.promises.iter().find(kept)?;
        Some(format!(
            "it was told to be there {} ms earlier",
            (until - invoked) / 1_000_000
        ))
    }

    /// Remembers a request.
    pub fn remember(&mut self, event: Event) {
        if self.history.len() == REMEMBERED {
            self.history.pop_front();
        }
        self.history.push_back(event);
    }

    /// The last requests about these things in a repository, and those about what they name.
    pub fn history(&self, at: usize, subject: Subject) -> String {
        let (group, manifests) = match subject {
            Subject::Tag(group, _, None) => (group, Vec::new()),
            Subject::Tag(group, _, Some(manifest)) | Subject::Manifest(group, manifest) => {
                (group, self.needed(group, manifest))
            }
            Subject::Blob(_) => (0, Vec::new()),
        };
        let blobs: Vec<usize> = manifests
            .iter()
            .flat_map(|manifest| self.universe.node(group, *manifest).blobs.iter().copied())
            .collect();
        let concerned = |event: &&Event| match (event.subject, subject) {
            (Subject::Blob(blob), Subject::Blob(this)) => blob == this,
            // In every repository: a blob is the same one everywhere.
            (Subject::Blob(blob), _) => blobs.contains(&blob),
            (Subject::Manifest(its, manifest), Subject::Blob(blob)) => {
                event.repository == at && self.universe.holders(blob).contains(&(its, manifest))
            }
            (Subject::Tag(its, _, Some(manifest)), Subject::Blob(blob)) => {
                event.repository == at && self.universe.holders(blob).contains(&(its, manifest))
            }
            (Subject::Manifest(its, manifest), _) => {
                event.repository == at && its == group && manifests.contains(&manifest)
            }
            (Subject::Tag(its, name, to), _) => {
                let same = matches!(subject, Subject::Tag(_, this, _) if this == name);
                event.repository == at
                    && its == group
                    && (same || to.is_some_and(|to| manifests.contains(&to)))
            }
        };
        let mut events: Vec<&Event> = self.history.iter().rev().filter(concerned).take(SHOWN).collect();
        events.sort_by_key(|event| event.invoked);
        let mut shown = String::new();
        for event in events {
            let _infallible = writeln!(shown, "{}", self.shown(event));
        }
        shown
    }

    /// A manifest and all that it lists.
    fn needed(&self, group: usize, manifest: usize) -> Vec<usize> {
        let mut needed = vec![manifest];
        let mut at = 0;
        while let Some(next) = needed.get(at).copied() {
            needed.extend(&self.universe.node(group, next).children);
            at += 1;
        }
        needed
    }

    fn shown(&self, event: &Event) -> String {
        let about = match event.subject {
            Subject::Tag(group, name, to) => {
                let to = to.map(|to| format!(" -> manifest {to}")).unwrap_or_default();
                format!("{}{to}", tag(group, name))
            }
            Subject::Manifest(group, manifest) => {
                let name = &self.universe.node(group, manifest).manifest.digest;
                format!("manifest {manifest} of group {group} {}", &name[..19])
            }
            Subject::Blob(blob) => format!("blob {blob} {}", &self.universe.blobs[blob].digest[..19]),
        };
        format!(
            "  {:>12.3} .. {:>12.3} ms  client {:<2} {} {:<22} {about}: {}",
            event.invoked as f64 / 1e6,
            event.ended as f64 / 1e6,
            event.client,
            repository(event.repository),
            event.asked,
            event.answer
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(Arc::new(Universe::new(1)), 1000)
    }

    #[test]
    fn a_promise_holds_for_the_grace_and_until_somebody_deletes() {
        let mut ledger = ledger();
        ledger.promised(0, 3, 100, 110);
        assert!(
            ledger.must_find(0, 3, 105, 120).is_none(),
            "not told yet when this was asked"
        );
        assert!(ledger.must_find(0, 3, 110, 1100).is_some());
        assert!(ledger.must_find(0, 3, 110, 1101).is_none(), "the grace is over");
        assert!(ledger.must_find(1, 3, 110, 200).is_none(), "another repository");
        let begun = ledger.deleting_blob(0, 3, 300);
        assert!(ledger.must_find(0, 3, 200, 250).is_some());
        assert!(ledger.must_find(0, 3, 200, 310).is_none());
        ledger.ended(begun, 400, End::Refused);
        assert!(ledger.must_find(0, 3, 200, 310).is_some());
    }

    #[test]
    fn what_a_manifest_names_must_be_found_until_its_delete_is_sent() {
        let mut ledger = ledger();
        let put = ledger.putting(0, 2, 0, Some(1), 100);
        let layer = ledger.universe.node(2, 0).blobs[1];
        assert!(ledger.must_find(0, layer, 110, 120).is_none());
        ledger.ended(put, 150, End::Done);
        assert!(ledger.must_find(0, layer, 150, 1 << 40).is_some());
        assert!(ledger.may_lead(0, 2, 1, Some(0), (150, 160)) && !ledger.may_lead(0, 2, 1, None, (150, 160)));
        let delete = ledger.deleting_manifest(0, 2, 0, 5000);
        assert!(ledger.must_find(0, layer, 4000, 5000).is_none());
        assert!(ledger.must_find(0, layer, 4000, 4999).is_some());
        ledger.ended(delete, 6000, End::Done);
        assert!(ledger.may_lead(0, 2, 1, None, (6000, 6001)));
        assert!(!ledger.may_have(0, 2, 0, true, (6000, 6001)));
    }
}
