//! Records, bytes and a clock that do as a test says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use registry_core::store::{
    Backlog, Begin, BlobStore, Cause, Collected, Counts, Doomed, Expired, Explanation, Lead, Location, Lone,
    Outlook, Pending, Reclaim, Release, Run, RunEnd, Stamp, Step, StoreError, Terms, Untagged, Whose, Why,
};
use registry_core::{BlobRead, Digest, Error, ErrorKind, Result, Runtime, Timestamp, UploadId};

/// A clock that moves only when somebody sleeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Paused(Arc<AtomicU64>);

impl Paused {
    pub(super) fn time(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

impl Runtime for Paused {
    fn now(&self) -> Timestamp {
        self.time()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            turn().await;
            clock.0.fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
        })
    }

    fn spawn(&self, _task: BoxFuture<'static, ()>) {
        unreachable!("the collector spawns nothing");
    }

    fn spawn_blocking(&self, _work: Box<dyn FnOnce() + Send>) {
        unreachable!("the collector blocks nothing");
    }
}

/// Lets the others that are polled together with this have their turn.
pub(super) async fn turn() {
    let mut polled = false;
    std::future::poll_fn(|cx| {
        cx.waker().wake_by_ref();
        match std::mem::replace(&mut polled, true) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
}

/// What happens to an entry that is collected.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// It is dropped, after so many conflicts.
    Dropped(usize),
    /// Its record is damaged.
    Bad,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queue: BTreeMap<u64, Fate>,
    pub(super) uploads: BTreeSet<u64>,
    /// When manifests lost their tags.
    pub(super) untagged: BTreeSet<u64>,
    pub(super) doomed: BTreeSet<u64>,
    /// Pieces of a deleted repository.
    pub(super) pieces: u64,
    /// What [`Reclaim::foresee_deleted`] tells, one at a time.
    pub(super) deleted: Vec<Release>,
    /// Whether runs cannot be recorded.
    pub(super) refuses_runs: bool,
    pub(super) lead: Option<Lead>,
    pub(super) runs: Vec<(String, Counts, Option<RunEnd>)>,
    /// Everything that was written, by what it is.
    pub(super) writes: Vec<&'static str>,
    /// When anybody looked at what waits.
    pub(super) looks: Vec<Timestamp>,
}

/// Entries are due at the time that is their number. Uploads and doomed locations below `bad` cannot be dealt with.
pub(super) struct Fake {
    pub(super) clock: Paused,
    pub(super) state: Mutex<State>,
    pub(super) bad: u64,
    pub(super) under_way: AtomicUsize,
    pub(super) most_under_way: AtomicUsize,
    /// How long a step takes.
    pub(super) step: Duration,
}

impl Fake {
    pub(super) fn new(queue: u64, uploads: u64, doomed: u64, bad: u64) -> Arc<Fake> {
        let fate = |number| if number < bad { Fate::Bad } else { Fate::Dropped(0) };
        let state = State {
            queue: (0..queue).map(|number| (number, fate(number))).collect(),
            uploads: (0..uploads).collect(),
            doomed: (0..doomed).collect(),
            ..State::default()
        };
        let clock = Paused::default();
        clock.0.store(1_000_000_000, Ordering::SeqCst);
        Arc::new(Fake {
            clock,
            state: Mutex::new(state),
            bad,
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            step: Duration::ZERO,
        })
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn entries(&self, after: Option<&Pending>, limit: usize, until: u64) -> Vec<Pending> {
        let from = after.map_or(0, |entry| entry.due.0 + 1);
        let state = self.state();
        let found = state
            .queue
            .keys()
            .filter(|number| (from..=until).contains(number));
        found.take(limit).map(|number| entry(*number)).collect()
    }
}

fn entry(number: u64) -> Pending {
    Pending {
        due: Timestamp(number),
        digest: Digest::sha256(&number.to_be_bytes()),
        stamp: Stamp(number),
    }
}

fn damaged() -> Error {
    Error::internal("a record is damaged")
}

/// A manifest that goes, and the one blob of ten bytes that it alone holds.
pub(super) fn release(cause: Cause, manifest: Digest) -> Release {
    Release {
        cause,
        repository: Whose {
            id: "1".to_owned(),
            name: Some("team/app".parse().unwrap()),
        },
        manifest: Some(manifest),
        tag: None,
        blobs: vec![Lone {
            digest: Digest::sha256(manifest.to_string().as_bytes()),
            size: 10,
        }],
    }
}

fn location(number: u64) -> Location {
    Location::File(format!("{number:08}"))
}

#[async_trait]
impl Reclaim for Fake {
    fn reading(self: Arc<Self>) -> Arc<dyn Reclaim> {
        self
    }

    async fn time(&self) -> Result<Timestamp> {
        Ok(self.clock.time())
    }

    async fn due(&self, after: Option<&Pending>, limit: usize) -> Result<Vec<Pending>> {
        Ok(self.entries(after, limit, self.clock.time().0))
    }

    async fn queued(&self, after: Option<&Pending>, limit: usize) -> Result<Vec<Pending>> {
        Ok(self.entries(after, limit, u64::MAX))
    }

    async fn collect_on(&self, entry: &Pending, _terms: &Terms) -> Result<Step> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        if !self.step.is_zero() {
            self.clock.sleep(self.step).await;
        }
        // Once more through the executor, so that steps overlap as they do with a store that waits.
        turn().await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let mut state = self.state();
        let done = match state.queue.get_mut(&entry.due.0) {
            Some(Fate::Bad) => return Err(damaged()),
            Some(Fate::Dropped(conflicts)) if *conflicts > 0 => {
                *conflicts -= 1;
                Collected::Conflict
            }
            _ => {
                state.queue.remove(&entry.due.0);
                state.writes.push("drop_pending");
                Collected::Dropped
            }
        };
        Ok(Step { done, freed: 0 })
    }

    async fn foresee(&self, entry: &Pending, _terms: &Terms) -> Result<Outlook> {
        Ok(Outlook {
            digest: entry.digest,
            due: entry.due,
            size: Some(10),
            step: Collected::Condemned,
            why: Why::Unheld,
            last_held_by: Vec::new(),
        })
    }

    async fn explain(&self, _digest: &Digest) -> Result<Explanation> {
        Err(damaged())
    }

    async fn doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>> {
        let state = self.state();
        let all = state
            .doomed
            .iter()
            .filter(|number| after.is_none_or(|after| **number > after.stamp.0));
        let waiting = all.map(|number| Doomed {
            location: location(*number),
            not_before: Timestamp(0),
            stamp: Stamp(*number),
        });
        Ok(waiting.take(limit).collect())
    }

    async fn all_doomed(&self, after: Option<&Doomed>, limit: usize) -> Result<Vec<Doomed>> {
        self.doomed(after, limit).await
    }

    async fn is_doomed(&self, doomed: &Doomed) -> Result<bool> {
        Ok(self.state().doomed.contains(&doomed.stamp.0))
    }

    async fn is_followed(&self) -> Result<bool> {
        Ok(true)
    }

    async fn foresee_untagged(&self, untagged: &Untagged) -> Result<Option<Release>> {
        let cause = Cause::Untagged {
            since: untagged.since,
        };
        Ok(Some(release(cause, untagged.digest)))
    }

    async fn foresee_deleted(
        &self,
        after: Option<&str>,
        _limit: usize,
    ) -> Result<(Vec<Release>, Option<String>)> {
        let at = after.map_or(0, |after| after.parse().unwrap());
        let found = self.state().deleted.get(at).cloned();
        let next = found.is_some().then(|| (at + 1).to_string());
        Ok((found.into_iter().collect(), next))
    }

    async fn clear_doomed(&self, doomed: &Doomed) -> Result<()> {
        if doomed.stamp.0 < self.bad {
            return Err(damaged());
        }
        self.state().writes.push("clear_doomed");
        self.state().doomed.remove(&doomed.stamp.0);
        Ok(())
    }

    async fn expired_uploads(&self, after: Option<&Expired>, limit: usize) -> Result<Vec<Expired>> {
        let state = self.state();
        let all = state
            .uploads
            .iter()
            .filter(|number| after.is_none_or(|after| **number > after.at.0));
        let expired = all.map(|number| Expired {
            at: Timestamp(*number),
            id: UploadId::new((*number).into()),
        });
        Ok(expired.take(limit).collect())
    }

    async fn abandon(&self, id: &UploadId) -> Result<bool> {
        let id = u64::from_str_radix(id.as_str(), 16).unwrap();
        if id < self.bad {
            return Err(damaged());
        }
        self.state().writes.push("abandon");
        Ok(self.state().uploads.remove(&id))
    }

    async fn sweep_repositories(&self, _limit: usize) -> Result<bool> {
        let mut state = self.state();
        if state.pieces > 0 {
            state.pieces -= 1;
            state.writes.push("sweep_repository");
            return Ok(state.pieces > 0);
        }
        match self.bad {
            0 => Ok(false),
            _ => Err(damaged()),
        }
    }

    async fn sweep_manifests(&self, _limit: usize) -> Result<bool> {
        Ok(false)
    }

    async fn purge_trash(&self, _limit: usize) -> Result<bool> {
        Ok(false)
    }

    async fn follow(&self, _limit: usize) -> Result<bool> {
        Ok(false)
    }

    async fn untagged(
        &self,
        until: Timestamp,
        after: Option<&Untagged>,
        limit: usize,
    ) -> Result<Vec<Untagged>> {
        let state = self.state();
        let from = after.map_or(0, |after| after.since.0 + 1);
        let found = state
            .untagged
            .iter()
            .filter(|since| (from..=until.0).contains(since));
        let untagged = found.map(|since| Untagged {
            since: Timestamp(*since),
            repository: "a".to_owned(),
            digest: Digest::sha256(&since.to_be_bytes()),
            stamp: Stamp(*since),
        });
        Ok(untagged.take(limit).collect())
    }

    async fn delete_untagged(&self, untagged: &Untagged) -> Result<bool> {
        Ok(self.state().untagged.remove(&untagged.since.0))
    }

    async fn backlog(&self) -> Result<Backlog> {
        let now = self.clock.time();
        let mut state = self.state();
        state.looks.push(now);
        assert!(state.looks.len() < 10_000, "it looks and looks");
        let due = state.queue.range(..=now.0).count() as u64;
        Ok(Backlog {
            now,
            due,
            next: state.queue.keys().next().map(|number| Timestamp(*number)),
            doomed: state.doomed.len() as u64,
            unlinkable: state.doomed.len() as u64,
            expired: state.uploads.len() as u64,
            trash: 0,
            deleted: u64::from(self.bad > 0 || state.pieces > 0),
            marked: 0,
        })
    }

    async fn lead(&self, node: &str, run: &str, lasting: Duration) -> Result<Option<Lead>> {
        let now = self.clock.time();
        let mut state = self.state();
        if state
            .lead
            .as_ref()
            .is_some_and(|lead| lead.node != node && now < lead.until)
        {
            return Ok(None);
        }
        state.writes.push("lead");
        state.lead = Some(Lead {
            node: node.to_owned(),
            run: run.to_owned(),
            until: now + lasting,
            stamp: Stamp(state.writes.len() as u64),
        });
        Ok(state.lead.clone())
    }

    async fn renew(&self, lead: &Lead, lasting: Duration) -> Result<Option<Lead>> {
        let until = self.clock.time() + lasting;
        let mut state = self.state();
        if state.lead.as_ref() != Some(lead) {
            return Ok(None);
        }
        state.writes.push("lead");
        let stamp = Stamp(state.writes.len() as u64);
        state.lead = Some(Lead {
            until,
            stamp,
            ..lead.clone()
        });
        Ok(state.lead.clone())
    }

    async fn resign(&self, lead: &Lead) -> Result<()> {
        let mut state = self.state();
        if state.lead.as_ref() == Some(lead) {
            state.lead = None;
        }
        Ok(())
    }

    async fn leader(&self) -> Result<Option<Lead>> {
        Ok(self.state().lead.clone())
    }

    async fn begin_run(&self, run: &str, _begin: &Begin, _keep: usize) -> Result<()> {
        if self.state().refuses_runs {
            return Err(Error::new(ErrorKind::Unavailable, "the disk is full"));
        }
        self.state().runs.push((run.to_owned(), Counts::default(), None));
        Ok(())
    }

    async fn note_run(&self, run: &str, counts: &Counts, end: Option<&RunEnd>) -> Result<()> {
        let mut state = self.state();
        let noted = state
            .runs
            .iter_mut()
            .find(|(id, ..)| id == run)
            .expect("it was begun");
        (noted.1, noted.2) = (*counts, end.cloned());
        Ok(())
    }

    async fn runs(&self, _limit: usize) -> Result<Vec<Run>> {
        Ok(Vec::new())
    }
}

/// Ten bytes at every location.
pub(super) struct TenBytes;

#[async_trait]
impl BlobStore for TenBytes {
    async fn read(&self, location: &Location, _range: Range<u64>) -> Result<BlobRead, StoreError> {
        Err(StoreError::Missing(location.clone()))
    }

    async fn size(&self, _location: &Location) -> Result<Option<u64>, StoreError> {
        Ok(Some(10))
    }

    async fn unlink(&self, _location: &Location) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, _after: Option<&Location>, _limit: usize) -> Result<Vec<Location>, StoreError> {
        Ok(Vec::new())
    }
}
