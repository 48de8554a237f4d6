//! Going through records in their order, past those that are damaged, and knowing what may have been missed.
//!
//! The engine's checksum covers a record's key. So a damaged record may have been any that belongs between its neighbours; and
//! one whose key was changed so much that it belongs elsewhere stands in the way of every search that meets it: what is behind
//! it may not be found, though it is there. A walk never goes on from a damaged key, only from sound ones; it ends where the
//! next sound record is of another table; and each of its searches begins before what was read last, and must come to that
//! again. Tables of which a record may have been missed are [gaps](Gaps).

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::task::Poll;

use registry_core::Result;
use registry_core::store::{Entry, KvError, Txn};

use super::super::failed;
use super::super::past::is_whole;
use super::repositories::{KNOWN, is_known, table_of};
use super::suspicion::Suspicion;
use super::{Checker, Finding, FindingKind, Repair, keys, parts};

/// What stands for all tables.
const EVERYTHING: &str = "everything";

/// Of which tables not every record may have been seen, or understood, each with why.
#[derive(Default)]
pub(super) struct Gaps {
    walked: BTreeMap<String, String>,
    /// By records that were seen and cannot be understood.
    read: BTreeMap<String, String>,
}

impl Gaps {
    fn walked(&mut self, table: &str, why: &str) {
        self.walked
            .entry(table.to_owned())
            .or_insert_with(|| why.to_owned());
    }

    /// A record was seen and says nothing.
    pub(super) fn unread(&mut self, key: &str) {
        self.read
            .entry(table_of(key).to_owned())
            .or_insert_with(|| format!("record {key} cannot be understood"));
    }

    /// Before everything is gone through again.
    pub(super) fn forget_walks(&mut self) {
        self.walked.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.walked.is_empty() && self.read.is_empty()
    }

    /// The table of a key or prefix, if not all of it may have been seen.
    pub(super) fn about<'a>(&self, key: &'a str) -> Option<&'a str> {
        let table = table_of(key);
        let is_gap = [table, EVERYTHING]
            .iter()
            .any(|table| self.walked.contains_key(*table) || self.read.contains_key(*table));
        is_gap.then_some(table)
    }

    /// All of them, with why.
    pub(super) fn all(&self) -> BTreeMap<String, String> {
        let mut all = self.read.clone();
        all.extend(self.walked.clone());
        all
    }
}

/// A walk through the records under a prefix.
pub(super) struct Walk {
    prefix: String,
    /// The last sound key that was read, or where the walk was to begin.
    after: Option<String>,
    /// The sound key before that, from where a search must come to `after` again.
    before: Option<String>,
    /// How many damaged records lie between those two.
    between: usize,
    /// From where the search began that came to `after` first.
    origin: Option<String>,
    limit: usize,
    page: VecDeque<(String, Entry)>,
    /// So many records are gone through one by one, since one of them is damaged, or the table seems to end.
    slowly: usize,
    ended: bool,
    /// Whether somebody else tells what is damaged here.
    silent: bool,
}

impl Walk {
    /// Through a table, with at most `limit` records in memory.
    pub(super) fn through(prefix: impl Into<String>, limit: usize) -> Self {
        Walk {
            prefix: prefix.into(),
            after: None,
            before: None,
            between: 0,
            origin: None,
            limit,
            page: VecDeque::new(),
            slowly: 0,
            ended: false,
            silent: false,
        }
    }

    /// The same again, telling nothing twice.
    pub(super) fn again(prefix: impl Into<String>, limit: usize) -> Self {
        Walk {
            silent: true,
            ..Walk::through(prefix, limit)
        }
    }

    /// From behind a key on.
    pub(super) fn after(self, key: String) -> Self {
        Walk {
            after: Some(key),
            ..self
        }
    }

    /// Where a scan begins that goes on with this walk: before what was read last, so that it shows whether the search was
    /// led to where it was.
    fn from(&self) -> Option<String> {
        let start = (!self.prefix.is_empty()).then(|| self.prefix.clone());
        let after = self.after.clone().or(start);
        self.before.clone().or(after)
    }

    /// How many records of such a scan were read already.
    fn overlap(&self) -> usize {
        self.before.as_ref().map_or(0, |_| self.between + 1)
    }

    /// Goes on to sound records, behind so many damaged ones.
    fn reach(&mut self, page: Vec<(String, Entry)>, between: usize) {
        match &page[..] {
            [] => return,
            [(only, _)] => {
                self.before = self.after.replace(only.clone());
                self.between = between;
            }
            [.., (before, _), (last, _)] => {
                (self.before, self.after) = (Some(before.clone()), Some(last.clone()));
                self.between = 0;
            }
        }
        self.page = page.into();
    }
}

/// Lets others run, among them whoever wants to stop this.
pub(super) async fn rest() {
    let mut rested = false;
    poll_fn(|context| match std::mem::replace(&mut rested, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

impl Checker<'_> {
    /// The next record of a walk that is not damaged. Those that are, are told, and stepped over.
    pub(super) async fn next(&mut self, walk: &mut Walk) -> Result<Option<(String, Entry)>> {
        while walk.page.is_empty() && !walk.ended {
            rest().await;
            match walk.slowly == 0 && walk.between == 0 {
                true => self.page(walk).await?,
                false => self.step(walk).await?,
            }
        }
        let next = walk.page.pop_front();
        if next.is_some() && !walk.silent {
            self.seen();
        }
        Ok(next)
    }

    /// A page, if all of it can be read.
    async fn page(&mut self, walk: &mut Walk) -> Result<()> {
        let (from, limit) = (walk.from(), walk.overlap() + walk.limit);
        match self.records.kv.scan(&walk.prefix, from.as_deref(), limit).await {
            Ok(page) => {
                let is_full = page.len() == limit;
                let page = self.forward(walk, page).await?;
                if !is_full || page.is_empty() {
                    // Something else's key is in the way, or so much was written before what was read last.
                    walk.slowly = 1;
                }
                walk.origin = from;
                walk.reach(page, 0);
                Ok(())
            }
            Err(KvError::Damaged { .. }) => {
                walk.slowly = walk.limit;
                Ok(())
            }
            Err(other) => Err(failed(other)),
        }
    }

    /// One sound record, past those before it that are damaged, whatever table they say they are of.
    async fn step(&mut self, walk: &mut Walk) -> Result<()> {
        walk.slowly = walk.slowly.saturating_sub(1);
        let (from, known) = (walk.from(), walk.overlap());
        let mut limit = known + 1;
        let (damaged, page) = loop {
            let (damaged, page) = match self.records.kv.scan("", from.as_deref(), limit).await {
                Ok(page) => (Vec::new(), page),
                Err(KvError::Damaged { key, more, page }) => ([key].into_iter().chain(more).collect(), page),
                Err(other) => return Err(failed(other)),
            };
            // Until there is a sound one behind those that are not, or nothing.
            let is_new = |(key, _): &(String, Entry)| walk.after.as_ref().is_none_or(|after| key > after);
            if page.iter().any(is_new) || damaged.len() + page.len() < limit {
                break (damaged, page);
            }
            limit += 1;
        };
        let mut page = self.forward(walk, page).await?;
        page.truncate(1);
        let behind = page.first().map(|(key, _)| key.clone());
        let holes = damaged.get(walk.between..).unwrap_or_default();
        for hole in holes {
            let before = walk.after.clone().or_else(|| from.clone());
            self.hole(walk, before.as_deref(), hole, behind.as_deref())
                .await?;
        }
        match behind.is_some_and(|key| key.starts_with(&walk.prefix)) {
            true => {
                walk.origin = from;
                walk.reach(page, holes.len());
            }
            false => walk.ended = true,
        }
        Ok(())
    }

    /// What of a scan is behind what was read last, from which it must go on unless that was deleted meanwhile.
    async fn forward(
        &mut self,
        walk: &mut Walk,
        mut page: Vec<(String, Entry)>,
    ) -> Result<Vec<(String, Entry)>> {
        let Some(after) = walk.after.clone() else {
            return Ok(page);
        };
        let goes_on = page.iter().any(|(key, _)| *key == after);
        if walk.before.is_some() && !goes_on && self.is_still_there(walk, &after).await? {
            let why =
                format!("a search for what is behind another record does not come to {after}, which is");
            self.gaps.walked(EVERYTHING, &why);
        }
        if !goes_on {
            // Nothing to come to the next time.
            walk.before = None;
            walk.between = 0;
        }
        page.retain(|(key, _)| *key > after);
        Ok(page)
    }

    /// Whether a key is there to which a search did not come, and was not deleted meanwhile, as is mostly so.
    async fn is_still_there(&self, walk: &Walk, key: &str) -> Result<bool> {
        if self.is_there(key).await? {
            return Ok(true);
        }
        // As it was found the first time.
        let mut from = walk.origin.clone();
        loop {
            let past = self.records.look_past("", from.as_deref(), walk.limit).await?;
            if let Some((found, _)) = past.entries.iter().find(|(found, _)| found.as_str() >= key) {
                return Ok(found == key);
            }
            match past.entries.into_iter().next_back() {
                Some((last, _)) => from = Some(last),
                None => return Ok(false),
            }
        }
    }

    /// A damaged record between two sound ones: it was of any table that has keys between theirs.
    async fn hole(
        &mut self,
        walk: &Walk,
        before: Option<&str>,
        key: &str,
        behind: Option<&str>,
    ) -> Result<()> {
        let is_behind = |key: &str| before.is_none_or(|before| key > before);
        let is_before = |key: &str| behind.is_none_or(|behind| key < behind);
        if is_whole(key) && is_behind(key) && is_before(key) {
            let why = format!("record {key} is damaged, and so may be its key");
            for table in KNOWN.iter().copied().chain([table_of(key)]) {
                // '0' follows '/'.
                if is_behind(&format!("{table}0")) && is_before(&format!("{table}/")) {
                    self.gaps.walked(table, &why);
                }
            }
        } else {
            let why = format!("the key of record {key} was changed, and is in the way of what it lies among");
            self.gaps.walked(EVERYTHING, &why);
        }
        let is_its = match walk.prefix.is_empty() {
            // Only what no walk of a table has told.
            true => !is_known(key),
            false => key.starts_with(&walk.prefix),
        };
        match is_its && !walk.silent {
            true => self.damaged_entry(key).await,
            false => Ok(()),
        }
    }

    async fn damaged_entry(&mut self, key: &str) -> Result<()> {
        if !is_whole(key) {
            let message = format!("record {key} is damaged, and so is its key");
            let advice = "nothing can read or write it; what it said must come back from a backup";
            self.tell(FindingKind::DamagedRecord, key, message, advice).await;
            return Ok(());
        }
        let message = format!("record {key} is damaged: its checksum does not match");
        let proof = Txn::new().damaged(key);
        if key.starts_with(keys::BLOB)
            && let Some(blob) = parts(key).and_then(|[name]| super::digest(name))
        {
            self.wanted.add(&blob);
        }
        self.confirm(&Suspicion::new(FindingKind::DamagedRecord, key, message, proof).mend())
            .await?;
        Ok(())
    }

    /// Tells of each table of which something may have been missed.
    pub(super) async fn tell_gaps(&mut self) {
        for (table, why) in self.gaps.all() {
            let message = match table.as_str() {
                EVERYTHING => format!("the walk through the records was incomplete: {why}"),
                table => format!("the walk through {table}/ was incomplete: {why}"),
            };
            let advice = "what would follow from what is not there was told and not done; mend or delete that record, \
                          and check again";
            self.tell(FindingKind::WalkIncomplete, &table, message, advice)
                .await;
        }
    }

    /// Tells what is so, and cannot be repaired.
    async fn tell(&mut self, kind: FindingKind, key: &str, message: String, advice: &str) {
        self.found(Finding {
            kind,
            key: key.to_owned(),
            message,
            repair: Repair::No,
            advice: advice.to_owned(),
        })
        .await;
    }
}
