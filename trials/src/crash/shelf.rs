//! What a slot of a repository may be, and how each operation changes it: the specification that a server's answers are
//! held against.

use serde::{Deserialize, Serialize};

use super::content::{MANIFESTS, TAGS};

/// What is on a shelf, which is one slot of one repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// The manifest that each tag points at.
    pub tags: [Option<u8>; TAGS],
    /// The manifests that are there, one bit each.
    pub manifests: u8,
    /// The blobs that belong here, one bit each.
    pub blobs: u16,
}

/// What each manifest of a slot names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Blobs, one bit each.
    pub blobs: [u16; MANIFESTS],
    /// Manifests, one bit each.
    pub manifests: [u8; MANIFESTS],
}

/// What a writer of a manifest says of the tags beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// Nothing.
    Any,
    /// That they are not there.
    Absent,
    /// That they point at this manifest.
    At(u8),
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// To keep a manifest, and point tags (one bit each) at it.
    PutManifest {
        /// The manifest.
        manifest: u8,
        /// Its tags.
        tags: u8,
        /// The condition.
        expect: Expect,
    },
    /// To forget a tag.
    DeleteTag {
        /// The tag.
        tag: u8,
    },
    /// To forget a manifest and the tags that point at it.
    DeleteManifest {
        /// The manifest.
        manifest: u8,
    },
    /// To keep a blob: pushed, or mounted from elsewhere.
    PushBlob {
        /// The blob.
        blob: u8,
    },
    /// To forget a blob.
    DeleteBlob {
        /// The blob.
        blob: u8,
    },
    /// What a tag points at.
    ReadTag {
        /// The tag.
        tag: u8,
    },
    /// Whether a manifest is there.
    ReadManifest {
        /// The manifest.
        manifest: u8,
    },
    /// Whether a blob is there.
    ReadBlob {
        /// The blob.
        blob: u8,
    },
    /// Everything, with nobody writing.
    Observe,
    /// How far an upload has come.
    ReadUpload {
        /// The bytes that were acknowledged.
        acknowledged: u64,
        /// The bytes that were sent.
        sent: u64,
        /// It may have ended, by a request without an answer or because nobody went on with it.
        may_be_gone: bool,
    },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done; of something read: it is there.
    Done,
    /// It is not there.
    Absent,
    /// The tag points at this manifest.
    At(u8),
    /// Refused: the condition does not hold.
    Precondition,
    /// Refused: something else needs it.
    InUse,
    /// Refused: something that it names is not there.
    Missing,
    /// Refused, with nothing done: an upload had bytes that nobody had promised to keep, and they were not kept.
    Mismatch,
    /// Refused, with nothing done: others were always faster.
    Busy,
    /// The upload is at this byte.
    Offset(u64),
    /// All of it.
    State(State),
    /// The answer did not come: it happened before the server's end, or never.
    Unknown,
    /// An answer that no state explains.
    Wrong(String),
}

impl Action {
    /// Whether it can change anything.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Action::PutManifest { .. }
                | Action::DeleteTag { .. }
                | Action::DeleteManifest { .. }
                | Action::PushBlob { .. }
                | Action::DeleteBlob { .. }
        )
    }
}

impl State {
    /// What is on the shelf after this action had this outcome; `None` if it cannot have had it.
    pub fn step(&self, layout: &Layout, action: &Action, outcome: &Outcome) -> Option<State> {
        let allowed = |holds: bool| holds.then_some(*self);
        match (*action, outcome) {
            (_, Outcome::Busy | Outcome::Mismatch) => Some(*self),
            (
                Action::PutManifest {
                    manifest,
                    tags,
                    expect,
                },
                outcome,
            ) => self.put_manifest(layout, manifest, tags, expect, outcome),
            (Action::DeleteTag { tag }, Outcome::Done) => self.tags[tag as usize].map(|_| {
                let mut next = *self;
                next.tags[tag as usize] = None;
                next
            }),
            (Action::DeleteTag { tag }, Outcome::Absent) => allowed(self.tags[tag as usize].is_none()),
            (Action::DeleteManifest { manifest }, outcome) => {
                let (there, listed) = (self.has_manifest(manifest), self.is_listed(layout, manifest));
                match outcome {
                    Outcome::Done if there && !listed => Some(self.without_manifest(manifest)),
                    Outcome::Absent => allowed(!there),
                    Outcome::InUse => allowed(there && listed),
                    _ => None,
                }
            }
            (Action::PushBlob { blob }, Outcome::Done) => Some(State {
                blobs: self.blobs | 1 << blob,
                ..*self
            }),
            (Action::DeleteBlob { blob }, outcome) => {
                let (there, named) = (self.has_blob(blob), self.is_named(layout, blob));
                match outcome {
                    Outcome::Done if there && !named => Some(State {
                        blobs: self.blobs & !(1 << blob),
                        ..*self
                    }),
                    Outcome::Absent => allowed(!there),
                    Outcome::InUse => allowed(there && named),
                    _ => None,
                }
            }
            (Action::ReadTag { tag }, Outcome::At(manifest)) => {
                allowed(self.tags[tag as usize] == Some(*manifest))
            }
            (Action::ReadTag { tag }, Outcome::Done) => allowed(self.tags[tag as usize].is_some()),
            (Action::ReadTag { tag }, Outcome::Absent) => allowed(self.tags[tag as usize].is_none()),
            (Action::ReadManifest { manifest }, Outcome::Done) => allowed(self.has_manifest(manifest)),
            (Action::ReadManifest { manifest }, Outcome::Absent) => allowed(!self.has_manifest(manifest)),
            (Action::ReadBlob { blob }, Outcome::Done) => allowed(self.has_blob(blob)),
            (Action::ReadBlob { blob }, Outcome::Absent) => allowed(!self.has_blob(blob)),
            (Action::Observe, Outcome::State(seen)) => allowed(self == seen),
            _ => None,
        }
    }

    fn put_manifest(
        &self,
        layout: &Layout,
        manifest: u8,
        tags: u8,
        expect: Expect,
        outcome: &Outcome,
    ) -> Option<State> {
        let tagged = || (0..TAGS).filter(move |tag| tags & 1 << tag != 0);
        let expected = tagged().all(|tag| match expect {
            Expect::Any => true,
            Expect::Absent => self.tags[tag].is_none(),
            Expect::At(there) => self.tags[tag] == Some(there),
        });
        let whole = self.has_what_it_names(layout, manifest);
        match outcome {
            Outcome::Done if whole && expected => {
                let mut next = *self;
                next.manifests |= 1 << manifest;
                for tag in tagged() {
                    next.tags[tag] = Some(manifest);
                }
                Some(next)
            }
            Outcome::Precondition if !expected => Some(*self),
            Outcome::Missing if !whole => Some(*self),
            _ => None,
        }
    }

    fn has_manifest(&self, manifest: u8) -> bool {
        self.manifests & 1 << manifest != 0
    }

    fn has_blob(&self, blob: u8) -> bool {
        self.blobs & 1 << blob != 0
    }

    fn has_what_it_names(&self, layout: &Layout, manifest: u8) -> bool {
        let at = manifest as usize;
        layout.blobs[at] & !self.blobs == 0 && layout.manifests[at] & !self.manifests == 0
    }

    fn there(&self) -> impl Iterator<Item = u8> {
        let manifests = self.manifests;
        (0..MANIFESTS as u8).filter(move |manifest| manifests & 1 << manifest != 0)
    }

    fn is_listed(&self, layout: &Layout, manifest: u8) -> bool {
        self.there()
            .any(|index| layout.manifests[index as usize] & 1 << manifest != 0)
    }

    fn is_named(&self, layout: &Layout, blob: u8) -> bool {
        self.there()
            .any(|image| layout.blobs[image as usize] & 1 << blob != 0)
    }

    fn without_manifest(&self, manifest: u8) -> State {
        let mut next = *self;
        next.manifests &= !(1 << manifest);
        for tag in &mut next.tags {
            *tag = tag.filter(|at| *at != manifest);
        }
        next
    }

    /// What is not closed: a tag that leads nowhere, a manifest with something missing.
    pub fn holes(&self, layout: &Layout) -> Vec<String> {
        let tags = self.tags.iter().enumerate().filter_map(|(tag, at)| {
            let at = at.filter(|at| !self.has_manifest(*at))?;
            Some(format!("tag t{tag} points at manifest m{at}, which is not there"))
        });
        let manifests = self
            .there()
            .filter(|manifest| !self.has_what_it_names(layout, *manifest))
            .map(|manifest| {
                format!("manifest m{manifest} is there, and something that it names is not: {self:?}")
            });
        tags.chain(manifests).collect()
    }
}
