//! `{"scrub":…}`: how far the scrub is, and what it found.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use registry_core::store::{ManifestStore, Scrub, ScrubCount, ScrubCursor, ScrubFinding, ScrubPlace, Undo};
use registry_core::{Digest, ErrorKind, Reference, RepositoryName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Failure;
use super::line::{Lines, result};
use super::undo::{PAGE, operator};
use crate::stores::Stores;

/// How the scrub stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scrubbing {
    /// How whoever answers scrubs; none if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// What time it is for the records.
    pub now: Timestamp,
    /// When the pass began that is under way, or the last one; none if there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// Whether that pass is over.
    pub over: bool,
    /// How far it is through the blobs: 0 to 1.
    pub position: f64,
    /// What it has read.
    pub done: ScrubCount,
    /// When the last pass ended that read everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// Why the scrub cannot go on, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// How many findings are so still.
    pub standing: u64,
}

/// How fast, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Bytes per second at most.
    pub rate: u64,
    /// Milliseconds from the beginning of one pass to that of the next.
    pub interval_ms: u64,
}

/// What the scrub found. Whatever it found of the same bytes again is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// When it was found first.
    pub since: Timestamp,
    /// As it was found last.
    #[serde(flatten)]
    pub finding: ScrubFinding,
    /// What has become of it.
    pub standing: Standing,
}

/// What has become of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is so still, as far as is known.
    Damaged,
    /// It was pushed again.
    Mended,
    /// It was collected or deleted.
    Gone,
}

/// Tells each finding; the result is a [`Scrubbing`].
pub(super) async fn scrub(stores: &Stores, lines: &Lines) -> Result<Value, Failure> {
    let records = stores.records();
    let mut standing = 0;
    for (since, finding) in once_each(records.findings().await?) {
        let now = stands(&finding, stores).await?;
        standing += u64::from(now == Standing::Damaged);
        let told = Damaged {
            since,
            finding,
            standing: now,
        };
        lines.found(told).await?;
    }
    let cursor = records.cursor().await?.map(|(cursor, _)| cursor);
    result(how_far(cursor, records.now().await?, standing, stores))
}

fn how_far(cursor: Option<ScrubCursor>, now: Timestamp, standing: u64, stores: &Stores) -> Scrubbing {
    let scrubber = stores.scrubs();
    let pass = cursor.as_ref();
    Scrubbing {
        settings: scrubber.map(|scrubber| {
            let options = scrubber.options();
            Settings {
                rate: options.rate.get(),
                interval_ms: u64::try_from(options.interval.as_millis()).unwrap_or(u64::MAX),
            }
        }),
        now,
        began: pass.map(|pass| pass.began),
        over: pass.is_some_and(|pass| pass.place == ScrubPlace::End),
        position: pass.map_or(0.0, |pass| pass.place.position()),
        done: pass.map(|pass| pass.done).unwrap_or_default(),
        finished: pass.and_then(|pass| pass.finished),
        waits: scrubber.and_then(|scrubber| scrubber.status().waits),
        standing,
    }
}

/// The last finding about each of the same bytes, with the time of the first; in the order of the first.
fn once_each(findings: Vec<ScrubFinding>) -> Vec<(Timestamp, ScrubFinding)> {
    let mut places = BTreeMap::new();
    let mut each: Vec<(Timestamp, ScrubFinding)> = Vec::new();
    for finding in findings {
        let place = match &finding.location {
            Some(location) => location.to_string(),
            None => repository(&finding).map(ToString::to_string).unwrap_or_default(),
        };
        match places.entry((finding.digest, finding.location.is_some(), place)) {
            Entry::Occupied(at) => {
                let at: &usize = at.get();
                each[*at].1 = finding;
            }
            Entry::Vacant(new) => {
                new.insert(each.len());
                each.push((finding.at, finding));
            }
        }
    }
    each
}

/// Where a damaged manifest is.
fn repository(finding: &ScrubFinding) -> Option<&RepositoryName> {
    finding.needed_by.first().map(|needed| &needed.repository)
}

async fn stands(finding: &ScrubFinding, stores: &Stores) -> Result<Standing, Failure> {
    let digest = &finding.digest;
    let Some(location) = &finding.location else {
        return match repository(finding) {
            Some(repository) => manifest_stands(repository, digest, stores).await,
            None => Ok(Standing::Damaged),
        };
    };
    Ok(match stores.records().blob_record(digest).await? {
        None => Standing::Gone,
        Some(record) if record.location != *location => Standing::Mended,
        // What was marked, and is not any more, was pushed into the same place.
        Some(record) if finding.suspect && !record.suspect => Standing::Mended,
        Some(_) => Standing::Damaged,
    })
}

async fn manifest_stands(
    repository: &RepositoryName,
    digest: &Digest,
    stores: &Stores,
) -> Result<Standing, Failure> {
    let reference = Reference::Digest(*digest);
    match stores
        .registry
        .get_manifest(&operator(), repository, &reference)
        .await
    {
        Ok(_) => return Ok(Standing::Mended),
        Err(error) if error.kind() == ErrorKind::NameUnknown => return Ok(Standing::Gone),
        Err(error) if error.kind() == ErrorKind::ManifestUnknown => {}
        Err(_) => return Ok(Standing::Damaged),
    }
    let undo: &dyn Undo = &*stores.undo;
    let mut after = None;
    loop {
        let page = undo.list_trash(repository, after.as_ref(), PAGE).await?;
        if page.items.iter().any(|trashed| trashed.digest == *digest) {
            return Ok(Standing::Damaged);
        }
        after = page.items.last().map(|trashed| trashed.digest);
        if !page.more {
            return Ok(Standing::Gone);
        }
    }
}
