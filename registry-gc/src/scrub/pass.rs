//! One pass over everything.

use std::time::Duration;

use registry_core::runtime::blocking;
use registry_core::store::{
    BlobRecord, Damage, Location, NeededBy, ScrubCount, ScrubCursor, ScrubFinding, ScrubManifest, ScrubPlace,
    Stamp, Volume,
};
use registry_core::{Digest, Error, ErrorKind};

use super::pace::{Pace, SEEK};
use super::read::{Verdict, is_of_this_process};
use super::{DOUBTS, HOLD, Scrubber};

/// How many records are read at once.
const PAGE: usize = 100;

/// After how long the cursor is saved, and the hold on it renewed: often enough for the hold, and a commit for every
/// half minute's reading.
const SAVE: Duration = Duration::from_secs(30);

/// How many of the manifests that need a damaged blob are named.
const NAMED: usize = 20;

/// How many places all over the store are tried for a blob that is whole.
const TRIED: usize = 32;

/// Why a pass stops before its end.
pub(super) enum Stop {
    /// Another node has gone on with it.
    Taken,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(why: Error) -> Self {
        Stop::Failed(why)
    }
}

impl Stop {
    /// What is no blob's fault; the pass is to go on when it is over.
    fn until(why: String) -> Self {
        Stop::Failed(Error::new(ErrorKind::Unavailable, why))
    }
}

/// A blob that is not there or cannot be read, as long as it may be the fault of a volume of which nothing tells.
struct Doubt {
    record: BlobRecord,
    damage: Damage,
    /// Whether it is damage to the blob, if the volume is there.
    mark: bool,
}

pub(super) struct Pass<'s> {
    pub(super) scrubber: &'s Scrubber,
    pub(super) pace: Pace,
    cursor: ScrubCursor,
    stamp: Stamp,
    /// How far the pass is; the cursor stays before the first doubt.
    place: ScrubPlace,
    doubts: Vec<Doubt>,
    /// A file that was read whole.
    whole: Option<BlobRecord>,
    since_saved: Duration,
}

impl<'s> Pass<'s> {
    pub(super) fn new(scrubber: &'s Scrubber, cursor: ScrubCursor, stamp: Stamp) -> Self {
        Pass {
            scrubber,
            pace: Pace::new(scrubber.options.rate),
            place: cursor.place.clone(),
            cursor,
            stamp,
            doubts: Vec::new(),
            whole: None,
            since_saved: Duration::ZERO,
        }
    }

    /// Goes on to the end. What the pass has done. If it fails, what it has done is saved.
    pub(super) async fn run(mut self) -> Result<ScrubCount, Stop> {
        match self.go_on().await {
            Err(Stop::Failed(why)) => {
                // The records may be what failed.
                let _again_from_where_it_was_saved = self.save().await;
                Err(Stop::Failed(why))
            }
            ended => ended,
        }
    }

    async fn go_on(&mut self) -> Result<ScrubCount, Stop> {
        self.tell_untold().await?;
        loop {
            match self.place.clone() {
                ScrubPlace::Blobs(after) => {
                    let page = self.scrubber.records.blobs(after.as_ref(), PAGE).await?;
                    for record in &page.items {
                        self.blob(record).await?;
                        self.reached(ScrubPlace::Blobs(Some(record.info.digest)));
                    }
                    // How many there are on a page says nothing.
                    if !page.more || page.items.is_empty() {
                        self.last_doubts().await?;
                        self.reached(ScrubPlace::Manifests(None));
                    }
                }
                ScrubPlace::Manifests(after) => {
                    let page = self.scrubber.records.manifests(after.as_deref(), PAGE).await?;
                    for manifest in &page.items {
                        self.manifest(manifest).await?;
                        self.reached(ScrubPlace::Manifests(Some(manifest.position.clone())));
                    }
                    if !page.more || page.items.is_empty() {
                        self.reached(ScrubPlace::End);
                    }
                }
                ScrubPlace::End => {
                    self.cursor.finished = Some(self.scrubber.manifests.now().await?);
                    self.save().await?;
                    return Ok(self.cursor.done);
                }
            }
        }
    }

    fn reached(&mut self, place: ScrubPlace) {
        self.scrubber.tell(|status| status.position = place.position());
        self.place = place;
    }

    fn count(&mut self, change: impl Fn(&mut ScrubCount)) {
        change(&mut self.cursor.done);
        self.scrubber.tell(|status| change(&mut status.count));
    }

    /// `bytes` were read: waits as the pace says, and saves the cursor now and then.
    pub(super) async fn charge(&mut self, bytes: u64) -> Result<(), Stop> {
        self.count(|count| count.bytes += bytes);
        self.wait(bytes).await
    }

    async fn wait(&mut self, bytes: u64) -> Result<(), Stop> {
        self.since_saved += self.pace.charge(&*self.scrubber.runtime, bytes).await;
        match self.since_saved >= SAVE {
            true => self.save().await,
            false => Ok(()),
        }
    }

    async fn save(&mut self) -> Result<(), Stop> {
        if self.doubts.is_empty() {
            self.cursor.place = self.place.clone();
        }
        self.cursor.held_until = self.scrubber.manifests.now().await? + HOLD;
        self.since_saved = Duration::ZERO;
        // Whoever goes on from there comes to the doubts again.
        let mut cursor = self.cursor.clone();
        cursor.done.blobs = cursor.done.blobs.saturating_sub(self.doubts.len() as u64);
        let saved = self
            .scrubber
            .records
            .save_cursor(&cursor, Some(self.stamp))
            .await?;
        self.stamp = saved.ok_or(Stop::Taken)?;
        Ok(())
    }

    async fn blob(&mut self, record: &BlobRecord) -> Result<(), Stop> {
        if record.suspect {
            return Ok(());
        }
        let mut verdict = self.read(record).await?;
        if let Verdict::Bad(_) | Verdict::Failed(_) = verdict
            && self.is_current(record).await?
        {
            verdict = self.read(record).await?;
        }
        if let Verdict::Failed(why) = &verdict
            && is_of_this_process(why)
        {
            return Err(Stop::until(format!(
                "blob {} cannot be read now: {why}",
                record.info.digest
            )));
        }
        self.wait(SEEK).await?;
        let (damage, mark) = match verdict {
            Verdict::Elsewhere => {
                self.was_read();
                return Ok(());
            }
            Verdict::Whole if record.location == Location::Inline => {
                self.was_read();
                return Ok(());
            }
            Verdict::Whole => {
                self.whole = Some(record.clone());
                self.was_read();
                return self.resolve_doubts(true).await;
            }
            Verdict::Bad(damage) => (damage, true),
            Verdict::Failed(why) => (Damage::Unreadable(why.to_string()), false),
        };
        if !self.is_current(record).await? {
            self.was_read(); // Collected or pushed anew meanwhile.
            return Ok(());
        }
        if damage == Damage::Wrong || record.location == Location::Inline {
            self.was_read();
            return self.found(record, damage, mark).await;
        }
        match self.scrubber.blobs.volume().await {
            Volume::There => {
                self.was_read();
                self.found(record, damage, mark).await
            }
            Volume::Gone(why) => Err(Stop::until(format!(
                "the volume of the blobs is not there, or cannot be read; nothing was marked: {why}"
            ))),
            Volume::Unknown => self.doubt(record, damage, mark).await,
        }
    }

    fn was_read(&mut self) {
        self.count(|count| count.blobs += 1);
    }

    async fn doubt(&mut self, record: &BlobRecord, damage: Damage, mark: bool) -> Result<(), Stop> {
        self.was_read();
        self.doubts.push(Doubt {
            record: record.clone(),
            damage,
            mark,
        });
        if self.doubts.len() < DOUBTS {
            return Ok(());
        }
        if self.another_is_whole().await? {
            return self.resolve_doubts(true).await;
        }
        let first = &self.doubts[0];
        Err(Stop::until(format!(
            "the last {DOUBTS} blobs cannot be read, from {} on ({}), nor any of others; is their volume mounted? \
             Nothing was marked",
            first.record.info.digest, first.damage
        )))
    }

    /// Whether anything on the volume can be read: the last that could, or one of some all over it.
    async fn another_is_whole(&mut self) -> Result<bool, Stop> {
        if let Some(record) = self.whole.take()
            && let Verdict::Whole = self.read(&record).await?
        {
            self.whole = Some(record);
            return Ok(true);
        }
        for _ in 0..TRIED {
            let anywhere = Digest::sha256(&self.scrubber.runtime.random().to_le_bytes());
            let page = self.scrubber.records.blobs(Some(&anywhere), 1).await?;
            for record in page.items {
                if !record.suspect
                    && record.location != Location::Inline
                    && let Verdict::Whole = self.read(&record).await?
                {
                    self.whole = Some(record);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn is_current(&self, record: &BlobRecord) -> Result<bool, Stop> {
        let now = self.scrubber.manifests.blob_record(&record.info.digest).await?;
        Ok(now.is_some_and(|now| now.stamp == record.stamp))
    }

    /// What could not be read, now that it is known whether anything can.
    async fn resolve_doubts(&mut self, volume_is_there: bool) -> Result<(), Stop> {
        for doubt in std::mem::take(&mut self.doubts) {
            self.found(&doubt.record, doubt.damage, doubt.mark && volume_is_there)
                .await?;
        }
        Ok(())
    }

    /// At the end no blob comes any more that could tell whether the volume is there.
    async fn last_doubts(&mut self) -> Result<(), Stop> {
        if self.doubts.is_empty() {
            return Ok(());
        }
        let is_there = self.another_is_whole().await?;
        self.resolve_doubts(is_there).await
    }

    async fn found(&mut self, record: &BlobRecord, damage: Damage, mark: bool) -> Result<(), Stop> {
        let digest = record.info.digest;
        let stores = self.scrubber;
        if mark {
            stores.manifests.mark_suspect(record).await?;
            let now = stores.manifests.blob_record(&digest).await?;
            if now.is_none_or(|now| !now.suspect) {
                return Ok(()); // Collected or pushed anew meanwhile.
            }
        } else if !self.is_current(record).await? {
            return Ok(());
        }
        // What is marked must be told, whoever needs it.
        let (needed_by, unlisted) = match stores.records.needed_by(&digest, NAMED).await {
            Ok(needed_by) => (needed_by, None),
            Err(why) => (Vec::new(), Some(why.to_string())),
        };
        let finding = ScrubFinding {
            at: stores.manifests.now().await?,
            digest,
            location: Some(record.location.clone()),
            damage,
            suspect: mark,
            needed_by,
            unlisted,
        };
        let needed = match &finding.unlisted {
            Some(why) => format!("not known: {why}"),
            None => {
                let needed: Vec<String> = finding.needed_by.iter().map(ToString::to_string).collect();
                needed.join(", ")
            }
        };
        tracing::error!(
            %digest,
            location = %record.location,
            needed_by = needed,
            "the scrub found a damaged blob: {}; {}",
            finding.damage,
            match mark {
                true => "the next push of it replaces them",
                false => "it is not marked, since this may not be the blob's own fault",
            }
        );
        self.report(finding).await
    }

    /// What cannot be recorded now is kept for when it can: what is marked is not found again.
    async fn report(&mut self, finding: ScrubFinding) -> Result<(), Stop> {
        self.count(|count| count.damaged += 1);
        self.scrubber.untold().push(finding);
        self.tell_untold().await
    }

    async fn tell_untold(&mut self) -> Result<(), Stop> {
        loop {
            let Some(finding) = self.scrubber.untold().first().cloned() else {
                return Ok(());
            };
            self.scrubber.records.add_finding(&finding).await?;
            self.scrubber.untold().remove(0);
        }
    }

    async fn manifest(&mut self, manifest: &ScrubManifest) -> Result<(), Stop> {
        let stores = self.scrubber;
        let digest = manifest.digest;
        let mut damage = self.read_manifest(manifest).await?;
        if damage.is_some() && stores.records.is_manifest(manifest).await? {
            damage = self.read_manifest(manifest).await?;
        }
        self.wait(SEEK).await?;
        self.count(|count| count.manifests += 1);
        let Some(damage) = damage else { return Ok(()) };
        if !stores.records.is_manifest(manifest).await? {
            return Ok(()); // Deleted, undeleted or put again meanwhile.
        }
        tracing::error!(
            %digest,
            repository = %manifest.repository,
            trashed = manifest.trashed,
            "the scrub found a damaged manifest: {damage}; the next put of it replaces them"
        );
        self.report(ScrubFinding {
            at: stores.manifests.now().await?,
            digest,
            location: None,
            damage,
            suspect: false,
            needed_by: vec![NeededBy {
                repository: manifest.repository.clone(),
                manifest: digest,
                trashed: manifest.trashed,
            }],
            unlisted: None,
        })
        .await
    }

    async fn read_manifest(&mut self, manifest: &ScrubManifest) -> Result<Option<Damage>, Stop> {
        let (stores, digest) = (self.scrubber, manifest.digest);
        let Some(bytes) = stores.records.manifest_content(manifest).await? else {
            return Ok(Some(Damage::Missing));
        };
        self.charge(bytes.len() as u64).await?;
        let is_right = move || Digest::of(digest.algorithm(), &bytes) == digest;
        Ok((!blocking(&*stores.runtime, is_right).await).then_some(Damage::Wrong))
    }
}
