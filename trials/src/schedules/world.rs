//! What all tasks of a schedule share, and who is told of what they do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use registry_core::store::{Kv, Location, Txn, Write};
use registry_core::{Digest, Error, ErrorKind, Timestamp};
use registry_gc::model::Promise;
use registry_storage::memory::{MemoryBytes, MemoryKv};
use registry_storage::testkit::disk::Dice;

use super::library::Library;
use super::lock;
use super::oracle::{At, Broken, Oracle, Verdict};
use super::scheduler::{Scheduler, pause};
use super::setting::{Faults, Setting};
use super::stores::{Fate, at_once};
use super::view::View;

/// When every schedule begins.
pub(super) const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

/// What all tasks of a schedule share.
pub(super) struct World {
    pub(super) scheduler: Arc<Scheduler>,
    pub(super) kv: MemoryKv,
    pub(super) bytes: MemoryBytes,
    pub(super) setting: Setting,
    pub(super) library: Library,
    pub(super) oracle: Mutex<Oracle>,
    pub(super) broken: Mutex<Option<Broken>>,
    pub(super) covered: Mutex<BTreeSet<&'static str>>,
    pub(super) faults: Mutex<(Faults, Dice)>,
    /// Tasks that a fault has hit: they may see errors.
    pub(super) hit: Mutex<BTreeSet<usize>>,
    pub(super) trace: Option<Mutex<Vec<String>>>,
}

impl World {
    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        lock(&self.oracle)
    }

    /// Who does something now.
    pub(super) fn at(&self) -> At {
        At {
            task: self.scheduler.current(),
            step: self.scheduler.step(),
            now: self.scheduler.clock.now(),
        }
    }

    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let at = self.at();
            let line = format!(
                "{:>5} {:>4} s  task {}: {}",
                at.step,
                at.now.since(BEGIN).as_secs(),
                at.task,
                what()
            );
            lock(trace).push(line);
        }
    }

    pub(super) fn cover(&self, what: &'static str) {
        lock(&self.covered).insert(what);
    }

    pub(super) fn judge(&self, verdict: Verdict) {
        if let Err(broken) = verdict {
            self.trace(|| format!("BROKEN {}: {}", broken.promise, broken.found));
            lock(&self.broken).get_or_insert(broken);
        }
    }

    fn look(&self) -> View {
        let entries = at_once(self.kv.scan("", None, usize::MAX)).unwrap_or_default();
        View::of(&entries).unwrap_or_else(|why| {
            self.judge(Err(Broken {
                promise: "records are as they are described",
                found: why,
            }));
            View::default()
        })
    }

    pub(super) fn committed(&self, txn: &Txn, unknown: bool) {
        let after = self.look();
        let mut oracle = self.oracle();
        self.cover_commit(txn, &oracle.view, unknown);
        let verdict = oracle.committed(txn, self.at(), after, &self.bytes);
        drop(oracle);
        self.judge(verdict);
    }

    fn cover_commit(&self, txn: &Txn, before: &View, unknown: bool) {
        let puts = |table: &str| {
            txn.writes
                .iter()
                .any(|write| matches!(write, Write::Put(key, _) if key.starts_with(table)))
        };
        if puts("repository/") {
            self.cover("create_repository");
        }
        match txn.name {
            "publish" => {
                let digest = txn.writes.iter().find_map(|write| match write {
                    Write::Put(key, _) => key
                        .strip_prefix("lease/")
                        .and_then(|rest| rest.split('/').next()?.parse::<Digest>().ok()),
                    _ => None,
                });
                self.cover(match digest.and_then(|digest| before.blobs.get(&digest)) {
                    None => "publish (fresh)",
                    Some(blob) if blob.suspect => "publish (swap)",
                    Some(blob) if blob.is_condemned() => "publish (revive)",
                    Some(_) => "publish (keep)",
                });
                if unknown {
                    self.cover("publish (outcome unknown)");
                }
            }
            "put_manifest" if puts("deferred/") => self.cover("put_manifest (deferred)"),
            "sweep_manifest" => self.cover("delete_manifest (in pieces)"),
            "" => {}
            name => self.cover(name),
        }
    }

    /// Looks at everything, since something happened that was no commit.
    pub(super) fn look_around(&self) {
        let verdict = self.oracle().state(self.at(), &self.bytes);
        self.judge(verdict);
    }

    /// Somebody wrote bytes.
    pub(super) fn wrote(&self) {
        self.look_around();
    }

    pub(super) fn unlinked(&self, location: &Location) {
        self.oracle().unlinks(location);
        self.look_around();
    }

    /// What is to become of a commit.
    pub(super) fn fate(&self) -> Fate {
        let (faults, dice) = &mut *lock(&self.faults);
        let mut strikes = |once_in: usize| once_in > 0 && dice.once_in(once_in);
        let fate = match (strikes(faults.unknown), strikes(faults.failed)) {
            (true, _) => Fate::Unknown,
            (_, true) => Fate::Failed,
            _ => return Fate::Told,
        };
        lock(&self.hit).insert(self.scheduler.current());
        fate
    }

    /// Nothing goes wrong any more.
    pub(super) fn calm(&self) {
        lock(&self.faults).0 = Faults::default();
        lock(&self.hit).clear();
    }

    /// Lets others go on, and once in so many times so long that the clock moves.
    pub(super) async fn take_time(&self, once_in: impl FnOnce(&Faults) -> usize) {
        pause().await;
        let moves = {
            let (faults, dice) = &mut *lock(&self.faults);
            let once_in = once_in(faults);
            match once_in > 0 && dice.once_in(once_in) {
                true => 1 + dice.below(3),
                false => 0,
            }
        };
        for _ in 0..moves {
            self.scheduler.moved_since(self.scheduler.ticks()).await;
        }
    }

    /// Whether bytes that are there are to be missed.
    pub(super) fn false_alarm(&self) -> bool {
        let (faults, dice) = &mut *lock(&self.faults);
        faults.alarms > 0 && dice.once_in(faults.alarms)
    }

    /// A client begins something new.
    pub(super) fn begins(&self, what: &str) {
        self.trace(|| format!("-- {what}"));
        self.oracle().begins(self.at());
    }

    /// A client was told that the blob exists.
    pub(super) fn told(&self, before: Option<&String>, name: &str, digest: &Digest) {
        let mut oracle = self.oracle();
        let after = oracle.view.names.get(name).cloned();
        let same = after.filter(|id| before == Some(id));
        oracle.told(
            self.scheduler.current(),
            same.as_deref(),
            digest,
            self.setting.lifetimes.grace,
        );
        drop(oracle);
        self.trace(|| format!("is told that {digest} exists"));
    }

    /// A client has opened the blob's bytes, or not.
    pub(super) fn opened(&self, before: Option<&String>, name: &str, digest: &Digest) {
        let oracle = self.oracle();
        let after = oracle.view.names.get(name);
        let verdict = oracle.opened_to(self.scheduler.current(), [before, after], digest);
        drop(oracle);
        self.judge(verdict);
    }

    /// What a pull has read.
    pub(super) fn read(&self, digest: &Digest, read: &std::io::Result<bytes::Bytes>) {
        if read.as_ref().is_ok_and(|bytes| Digest::sha256(bytes) == *digest) {
            return;
        }
        let found = format!("a pull of {digest} has read something else");
        self.judge(Err(Broken::of(Promise::Durability, found)));
    }

    /// What the name means now.
    pub(super) fn id_of(&self, name: &str) -> Option<String> {
        self.oracle().view.names.get(name).cloned()
    }

    /// The manifests under the name, or those in its trash.
    pub(super) fn manifests_of(&self, name: &str, in_trash: bool) -> Vec<Digest> {
        let view = &self.oracle().view;
        let Some(id) = view.names.get(name) else {
            return Vec::new();
        };
        let here = |(place, digest): &(String, Digest)| (place == id).then_some(*digest);
        match in_trash {
            true => view.trash.keys().filter_map(here).collect(),
            false => view.manifests.keys().filter_map(here).collect(),
        }
    }

    /// An operation did not do what was asked for. It may have its reasons, but it may not fail by itself.
    pub(super) fn refused(&self, what: &str, why: &Error) {
        self.trace(|| format!("{what}: {why}"));
        let hit = lock(&self.hit).remove(&self.scheduler.current());
        let by_itself = matches!(why.kind(), ErrorKind::Internal | ErrorKind::Unavailable);
        if by_itself && !hit {
            self.judge(Err(Broken {
                promise: "nothing fails by itself",
                found: format!("{what}: {why:?}"),
            }));
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        lock(&self.broken).is_some()
    }
}
