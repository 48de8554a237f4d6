//! What manifests and blobs were found to be, for as long as the records that say so are not written.
//!
//! A pull asks the same three records again and again: what the repository's name means, where the tag points, and what the
//! manifest is; or that a blob is there and which manifest it belongs to. Where the [`Kv`](registry_core::store::Kv)
//! tells by [marks](registry_core::store::Marks) that none of the three can have been written since, reading them would find
//! the same, so they are not read. What is missing or damaged is never kept; what is true only for a time says for how long.

use std::hash::Hash;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use registry_core::store::{BlobRecord, Kv, ManifestRecord, Mark};
use registry_core::{Digest, Reference, RepositoryName, Timestamp};

/// Most manifests, and most blobs, that are kept. Each takes some hundred bytes.
const KEPT: usize = 4096;

/// The marks of the records that an answer was read from, each taken before its record was read.
pub(super) type Marks = [Mark; 3];

/// All of them, if each record has one.
pub(super) fn all(marks: [Option<Mark>; 3]) -> Option<Marks> {
    let [Some(one), Some(two), Some(three)] = marks else {
        return None;
    };
    Some([one, two, three])
}

/// What was asked: where, and by what.
#[derive(Hash)]
struct Asked<'a, T>(&'a RepositoryName, &'a T);

impl<T: Eq> Equivalent<(RepositoryName, T)> for Asked<'_, T>
where
    Self: Hash,
{
    fn equivalent(&self, key: &(RepositoryName, T)) -> bool {
        *self.0 == key.0 && *self.1 == key.1
    }
}

/// Answers of one kind.
struct Answers<T, A>(Cache<(RepositoryName, T), (Marks, A)>);

impl<T: Eq + Hash + Clone, A: Clone> Answers<T, A> {
    fn new() -> Self {
        Answers(Cache::new(KEPT))
    }

    fn get(&self, kv: &dyn Kv, name: &RepositoryName, by: &T) -> Option<A> {
        let (marks, answer) = self.0.get(&Asked(name, by))?;
        marks.iter().all(|mark| kv.is_current(*mark)).then_some(answer)
    }

    fn keep(&self, name: &RepositoryName, by: &T, marks: Option<Marks>, answer: &A) {
        if let Some(marks) = marks {
            self.0.insert((name.clone(), by.clone()), (marks, answer.clone()));
        }
    }
}

/// A blob that can be read somewhere.
#[derive(Clone)]
pub(super) struct Readable {
    pub(super) record: BlobRecord,
    /// When the lease ends by which it is there; an edge has no end.
    pub(super) until: Option<Timestamp>,
}

/// Answers that may be given again.
pub(super) struct Known {
    manifests: Answers<Reference, ManifestRecord>,
    blobs: Answers<Digest, Readable>,
}

impl Known {
    pub(super) fn new() -> Self {
        Known {
            manifests: Answers::new(),
            blobs: Answers::new(),
        }
    }

    /// What the manifest is, if that is known.
    pub(super) fn manifest(
        &self,
        kv: &dyn Kv,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Option<ManifestRecord> {
        self.manifests.get(kv, name, reference)
    }

    pub(super) fn keep_manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
        marks: Option<Marks>,
        found: &ManifestRecord,
    ) {
        self.manifests.keep(name, reference, marks, found);
    }

    /// What is recorded of a blob that could be read here, if that is known. The caller looks at the clock if it has an end.
    pub(super) fn blob(&self, kv: &dyn Kv, name: &RepositoryName, digest: &Digest) -> Option<Readable> {
        self.blobs.get(kv, name, digest)
    }

    pub(super) fn keep_blob(&self, name: &RepositoryName, marks: Option<Marks>, found: &Readable) {
        self.blobs.keep(name, &found.record.info.digest, marks, found);
    }
}
