//! The model beside the code, for one digest: which slots stand for what, and what the code's records are in them.
//!
//! What is told apart, and what is not:
//!
//! - A **tick** is one bucket, and one bucket is also what the code adds to a hold (its slack), so every time in the
//!   records is a whole number of ticks from now; a trace in which one is not is refused.
//! - A **repository id** takes a slot when something of the digest is first recorded under it, and leaves it when nothing
//!   is, if another needs it. A slot without an id is a repository in which there is nothing: whoever makes a repository
//!   by a write might as well have found it there.
//! - A dropped id leaves when its list entry is gone *and* its last lease is over, as leases are not swept.
//! - The **image** of a repository is the manifest there that names the digest, the **index** the one that names the
//!   image. A trace with two at once does not fit.
//! - A repository's **lease** is its longest. Leases that have run out are nothing.
//! - An upload belongs to the digest that it is published as. One that never is has a world of its own.
//! - The chunks of an upload are one **write**, which lands when it is sealed. Bytes that an ended upload gives back
//!   early count as there until they are unlinked: nothing names them.
//! - A condemned record that is **suspect** has lost its bytes.

use std::collections::{BTreeMap, BTreeSet};

use registry_gc::model::state::{
    ABSENT, Bytes, DUE_NOW, Edge, Existence, LOCATIONS, Location, Naming, OVERDUE, Presence, REACHED,
    REPOSITORIES, State,
};
use registry_gc::model::state::{IMAGE, INDEX};
use registry_gc::model::{Action, Timing, replay};

use super::records::{OfManifest, Records};
use super::trace::{Happened, Lasting};

/// The one digest of a world.
const BLOB: usize = 0;

/// More ticks than anything lasts.
const LONG: u64 = 64;

/// A repository id that has a slot.
#[derive(Clone, Debug, Default)]
struct Here {
    slot: usize,
    image: Option<String>,
    index: Option<String>,
}

/// A location that has a slot.
#[derive(Clone, Copy, Debug)]
struct There {
    slot: usize,
    bytes: Bytes,
}

/// The model beside the code, for one digest.
#[derive(Clone, Debug)]
pub(super) struct World {
    digest: String,
    uploads: BTreeSet<String>,
    model: replay::Replay,
    bucket: u64,
    now: u64,
    repositories: BTreeMap<String, Here>,
    locations: BTreeMap<String, There>,
    /// Locations that were given up, unlinked and cleared.
    gone: BTreeSet<String>,
}

/// The code's durations in ticks; the code adds a tick to each hold.
pub(super) fn timing(lasting: &Lasting) -> Result<Timing, String> {
    let ticks = |what: &str, millis: u64| {
        let whole = millis.is_multiple_of(lasting.bucket) && millis / lasting.bucket < LONG / 4;
        whole
            .then_some((millis / lasting.bucket) as u8)
            .ok_or_else(|| format!("{what} is not a small number of buckets"))
    };
    Ok(Timing {
        lease: 1 + ticks("grace", lasting.grace)?,
        second_delay: 1 + ticks("second_delay", lasting.second_delay)?,
        longest_read: 1 + ticks("longest_read", lasting.longest_read)?,
        longest_write: 1 + ticks("longest_write", lasting.longest_write)?,
        claim: ticks("upload_idle", lasting.upload_idle)?,
    })
}

impl World {
    pub(super) fn new(
        digest: String,
        uploads: BTreeSet<String>,
        timing: Timing,
        bucket: u64,
        now: u64,
    ) -> Result<Self, String> {
        let mut world = World {
            digest,
            uploads,
            model: replay::Replay::new(timing),
            bucket,
            now,
            repositories: BTreeMap::new(),
            locations: BTreeMap::new(),
            gone: BTreeSet::new(),
        };
        for _ in 0..REPOSITORIES {
            world.take(Action::CreateRepository)?;
        }
        Ok(world)
    }

    pub(super) fn model(&self) -> &replay::Replay {
        &self.model
    }

    pub(super) fn has_repository(&self, id: &str) -> bool {
        self.repositories.contains_key(id)
    }

    /// Whether this manifest is the image or the index of that repository.
    pub(super) fn has_manifest(&self, id: &str, digest: &str) -> bool {
        self.repositories.get(id).is_some_and(|here| {
            [&here.image, &here.index]
                .into_iter()
                .flatten()
                .any(|known| known == digest)
        })
    }

    /// Follows what happened at `now`, after which the code's records are `records`.
    pub(super) fn follow(&mut self, records: &Records, happened: &Happened, now: u64) -> Result<(), String> {
        self.tick(now)?;
        self.give_up_ids(records)?;
        match happened {
            Happened::Commit { name, .. } => self.follow_commit(records, name),
            Happened::Sealed(location) => self.follow_bytes(records, "write", location, Bytes::Good),
            Happened::Unlinked(location) => self.follow_bytes(records, "unlink", location, Bytes::Unlinked),
            Happened::Lost(location) => self.lose(location),
            Happened::Crashed | Happened::Untold(_) => Ok(()),
        }
    }

    fn tick(&mut self, now: u64) -> Result<(), String> {
        if now < self.now || !(now - self.now).is_multiple_of(self.bucket) {
            return Err(format!("the clock went from {} to {now}", self.now));
        }
        for _ in 0..((now - self.now) / self.bucket).min(LONG) {
            self.take(Action::Tick)?;
        }
        self.now = now;
        Ok(())
    }

    fn take(&mut self, step: Action) -> Result<(), String> {
        if self.model.step(step) {
            return Ok(());
        }
        Err(format!("the model refuses: {step}"))
    }

    /// Ids of which nothing is left leave their slots.
    fn give_up_ids(&mut self, records: &Records) -> Result<(), String> {
        let over: Vec<String> = self
            .repositories
            .iter()
            .filter(|(id, here)| {
                self.model.state().repositories[here.slot].naming == Naming::Dropped
                    && !records.repositories.get(*id).is_some_and(|of| of.dropped)
                    && self.lease(records, id) == 0
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            let repository = self.repositories[&id].slot;
            self.take(Action::FinishSweep { repository })?;
            self.take(Action::CreateRepository)?;
            self.repositories.remove(&id);
        }
        Ok(())
    }

    fn follow_commit(&mut self, records: &Records, name: &str) -> Result<(), String> {
        self.take_ids(records)?;
        self.choose_manifests(records)?;
        self.take_locations(records)?;
        let condemned_and_suspect = records
            .digests
            .get(&self.digest)
            .and_then(|of| of.blob.as_ref())
            .is_some_and(|blob| blob.suspect && blob.remove_after().is_some());
        if name == "mark_suspect" && condemned_and_suspect {
            // Said of a condemned record: what the model keeps is that its bytes are lost.
            return self.lose_what_is_suspect(records);
        }
        let code = self.code(records)?;
        if !(may_change_nothing(name) && code == replay::records(self.model.state())) {
            self.model.follow(name, &code).map_err(|why| why.to_string())?;
        }
        if condemned_and_suspect {
            self.lose_what_is_suspect(records)?;
        }
        let in_use = self.in_use(records);
        let gone = self.locations.keys().filter(|at| !in_use.contains(*at));
        self.gone.extend(gone.cloned());
        self.locations.retain(|at, _| in_use.contains(at));
        Ok(())
    }

    fn lose_what_is_suspect(&mut self, records: &Records) -> Result<(), String> {
        let of = records.digests.get(&self.digest);
        match of.and_then(|of| of.blob.as_ref()) {
            Some(blob) => self.lose(&blob.location()),
            None => Ok(()),
        }
    }

    fn follow_bytes(
        &mut self,
        records: &Records,
        name: &str,
        location: &str,
        bytes: Bytes,
    ) -> Result<(), String> {
        match self.locations.get_mut(location) {
            Some(there) => there.bytes = bytes,
            // Another collector had read the same entry.
            None if bytes == Bytes::Unlinked && self.gone.contains(location) => return Ok(()),
            None => return Err(format!("{name} at {location}, which nothing names")),
        }
        let code = self.code(records)?;
        self.model.follow(name, &code).map_err(|why| why.to_string())
    }

    /// The fault action, which the model has only for bytes that a record names.
    fn lose(&mut self, location: &str) -> Result<(), String> {
        match self.locations.get_mut(location) {
            Some(there) if there.bytes == Bytes::Good && self.model.state().blobs[BLOB].names(there.slot) => {
                there.bytes = Bytes::Lost;
                let location = there.slot;
                self.take(Action::LoseBytes { location })
            }
            _ => Ok(()),
        }
    }

    /// Repository ids under which something of the digest is recorded now take a slot.
    fn take_ids(&mut self, records: &Records) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        if let Some(of) = records.digests.get(&self.digest) {
            let leased = of.leases.iter().filter(|(_, end)| *end > self.now);
            ids.extend(leased.map(|(id, _)| id));
            let edges = of.edges.iter().chain(&of.deferred).chain(&of.trashed);
            ids.extend(edges.map(|(id, _)| id));
        }
        let new: Vec<String> = ids
            .into_iter()
            .filter(|id| !self.repositories.contains_key(*id))
            .cloned()
            .collect();
        for id in new {
            let taken: BTreeSet<usize> = self.repositories.values().map(|here| here.slot).collect();
            let free = (0..REPOSITORIES).find(|slot| !taken.contains(slot));
            let slot = match free {
                Some(slot) => slot,
                None => self.bare_slot()?,
            };
            let here = Here {
                slot,
                ..Here::default()
            };
            self.repositories.insert(id, here);
        }
        Ok(())
    }

    /// Takes a slot from an id under which nothing is recorded any more.
    fn bare_slot(&mut self) -> Result<usize, String> {
        let state = self.model.state();
        let bare = |here: &Here| {
            let it = &state.repositories[here.slot];
            it.naming == Naming::Live && it.is_bare()
        };
        let id = self.repositories.iter().find(|(_, here)| bare(here));
        let id = id.map(|(id, _)| id.clone());
        let here = id.and_then(|id| self.repositories.remove(&id));
        here.map(|here| here.slot)
            .ok_or_else(|| "more repositories than the model has slots for".to_owned())
    }

    /// Which manifest of a repository is its image, and which its index.
    fn choose_manifests(&mut self, records: &Records) -> Result<(), String> {
        for (id, here) in &mut self.repositories {
            let Some(of) = records.repositories.get(id) else {
                continue;
            };
            let is_there = |digest: &Option<String>| {
                digest
                    .as_ref()
                    .and_then(|digest| of.manifests.get(digest))
                    .is_some_and(OfManifest::is_recorded)
            };
            let put = || of.manifests.iter().filter(|(_, it)| it.is_recorded());
            let mut images = put().filter(|(_, it)| it.blobs.contains(&self.digest));
            match (images.next(), images.next()) {
                (Some((digest, _)), None) => here.image = Some(digest.clone()),
                (None, _) => {}
                (Some(_), Some(_)) => {
                    return Err(format!("two manifests of repository {id} name the digest"));
                }
            }
            let image = here.image.clone().unwrap_or_default();
            let mut indexes = put().filter(|(_, it)| it.manifests.contains(&image));
            match (indexes.next(), indexes.next()) {
                (Some((digest, _)), None) => here.index = Some(digest.clone()),
                (None, _) if !is_there(&here.index) => here.index = None,
                (None, _) => {}
                (Some(_), Some(_)) => return Err(format!("two indexes of repository {id} name the image")),
            }
        }
        Ok(())
    }

    fn in_use(&self, records: &Records) -> BTreeSet<String> {
        let claimed = self
            .uploads
            .iter()
            .filter_map(|id| records.uploads.get(id))
            .map(super::records::Upload::location);
        let blob = records.digests.get(&self.digest).and_then(|of| of.blob.as_ref());
        let doomed = self
            .locations
            .keys()
            .filter(|at| records.doomed.contains_key(*at));
        claimed
            .chain(blob.map(super::records::Blob::location))
            .chain(doomed.cloned())
            .collect()
    }

    /// Locations that are claimed now take the slot that the model's claim takes.
    fn take_locations(&mut self, records: &Records) -> Result<(), String> {
        for location in self.in_use(records) {
            if self.locations.contains_key(&location) {
                continue;
            }
            if location == "inline" {
                return Err("blobs inside the records have no place in the model".to_owned());
            }
            let slot = self
                .model
                .state()
                .free_location(LOCATIONS)
                .ok_or("more locations than the model has slots for")?;
            let there = There {
                slot,
                bytes: Bytes::Unwritten,
            };
            self.locations.insert(location, there);
        }
        Ok(())
    }

    /// How many ticks it is until a time; 0 if it has come.
    fn until(&self, time: u64) -> Result<u8, String> {
        let left = time.saturating_sub(self.now);
        if !left.is_multiple_of(self.bucket) {
            return Err(format!("{time} is no whole number of ticks from {}", self.now));
        }
        u8::try_from(left / self.bucket).map_err(|_| format!("{time} is too far from {}", self.now))
    }

    /// The end of a repository's longest lease that has not run out.
    fn lease(&self, records: &Records, id: &str) -> u64 {
        let of = records.digests.get(&self.digest);
        of.into_iter()
            .flat_map(|of| &of.leases)
            .filter(|(of, end)| of == id && *end > self.now)
            .map(|(_, end)| *end)
            .max()
            .unwrap_or(0)
    }

    /// The code's records, as the model would have them.
    fn code(&self, records: &Records) -> Result<State, String> {
        let mut state = State::default();
        if let Some(of) = records.digests.get(&self.digest) {
            let blob = &mut state.blobs[BLOB];
            if let Some(record) = &of.blob {
                let there = self.locations.get(&record.location());
                blob.location = there
                    .ok_or("the record names a location that nobody claimed")?
                    .slot as u8;
                blob.existence = match record.remove_after() {
                    Some(remove_after) => {
                        blob.remove_after = self.until(remove_after)?;
                        Existence::Condemned
                    }
                    None if record.suspect => Existence::Suspect,
                    None => Existence::Live,
                };
            }
            if of.pending.len() > blob.pending.len() {
                return Err("more entries in the queue than the model has slots for".to_owned());
            }
            for (entry, due) in blob.pending.iter_mut().zip(&of.pending) {
                entry.due = if *due < self.now {
                    OVERDUE
                } else {
                    DUE_NOW + self.until(*due)?
                };
            }
        }
        for (at, there) in &self.locations {
            let mut location = Location {
                used: true,
                bytes: there.bytes,
                ..Location::default()
            };
            let claim = self
                .uploads
                .iter()
                .filter_map(|id| records.uploads.get(id))
                .find(|upload| upload.location() == *at);
            location.claim = match claim {
                Some(upload) => REACHED + self.until(upload.expires)?,
                None => ABSENT,
            };
            location.doomed = match records.doomed.get(at) {
                Some(not_before) => REACHED + self.until(*not_before)?,
                None => ABSENT,
            };
            state.locations[there.slot] = location;
        }
        for it in &mut state.repositories {
            it.naming = Naming::Live;
        }
        for (id, here) in &self.repositories {
            self.repository(records, id, here, &mut state)?;
        }
        Ok(replay::records(&state))
    }

    fn repository(&self, records: &Records, id: &str, here: &Here, state: &mut State) -> Result<(), String> {
        let it = &mut state.repositories[here.slot];
        let of = records.repositories.get(id);
        let swept = self.model.state().repositories[here.slot].naming == Naming::Dropped;
        it.naming = if swept || of.is_some_and(|of| of.dropped) {
            Naming::Dropped
        } else {
            Naming::Live
        };
        it.leases[BLOB] = self.until(self.lease(records, id))?;
        let manifest = |digest: &Option<String>| {
            let found = digest.as_ref().and_then(|digest| of?.manifests.get(digest))?;
            let live = found.put.as_ref().map(|put| (put, Presence::Live));
            live.or_else(|| found.trashed.as_ref().map(|put| (put, Presence::Trash)))
        };
        let image = manifest(&here.image);
        it.manifests[IMAGE].presence = image.map_or(Presence::Absent, |(_, presence)| presence);
        it.manifests[INDEX].presence =
            manifest(&here.index).map_or(Presence::Absent, |(_, presence)| presence);
        let Some(of) = records.digests.get(&self.digest) else {
            return Ok(());
        };
        // In the trash an edge opens nothing until it comes back, which is when the model asks what it was.
        let edges = of.edges.iter().chain(&of.trashed).map(|edge| (edge, Edge::Opens));
        for ((repository, put), edge) in edges.chain(of.deferred.iter().map(|edge| (edge, Edge::Holds))) {
            if repository != id {
                continue;
            }
            let record = &mut it.manifests[IMAGE];
            let place = if image.is_some_and(|(of, _)| of == put) {
                &mut record.edges[BLOB]
            } else {
                record.swept_later = true;
                &mut record.old_edges[BLOB]
            };
            if *place != Edge::None {
                return Err(format!("two edges of repository {id} where the model has one"));
            }
            *place = edge;
        }
        Ok(())
    }
}

/// Transitions that may leave a digest's records as they are: a manifest that is there already is put again; what is
/// left of a dropped repository has nothing to do with the digest.
fn may_change_nothing(name: &str) -> bool {
    matches!(
        name,
        "" | "put_manifest" | "sweep_repository" | "delete_tag" | "purge_tag" | "undelete_tag"
    )
}
