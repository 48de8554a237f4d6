//! A trace, followed in the model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::records::{Records, Subject, subject};
use super::trace::{Event, Happened, Trace, Wrote};
use super::world::{World, timing};

/// How many events before a failure it shows, and how many of the model's transitions.
const SHOWN: usize = 12;

/// How many events were followed, by name; a transition that concerns several digests counts once for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events, by the name of the transition.
    pub events: BTreeMap<String, u64>,
    /// Transitions followed, one for each digest that is concerned.
    pub followed: u64,
    /// Digests, and uploads that were never published.
    pub worlds: usize,
    /// Which of the model's [`COVERED`](registry_gc::model::COVERED) occurred.
    pub covered: BTreeSet<&'static str>,
}

impl Totals {
    /// Adds those of another trace.
    pub fn add(&mut self, other: &Totals) {
        for (name, times) in &other.events {
            *self.events.entry(name.clone()).or_default() += times;
        }
        self.followed += other.followed;
        self.worlds += other.worlds;
        self.covered.extend(&other.covered);
    }
}

/// The code left the model.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The event's place in the trace.
    pub event: usize,
    /// The transition's name.
    pub name: String,
    /// What it is about: a digest, or an upload.
    pub about: String,
    /// How it went: what the model would have done, and what the code did.
    pub why: String,
    /// The events about the same up to there.
    pub events: Vec<Event>,
    /// The model's steps up to there.
    pub steps: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "event {} ({}), about {}:", self.event, self.name, self.about)?;
        writeln!(f, "{}", self.why)?;
        writeln!(f, "the model so far:")?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        writeln!(f, "the code so far:")?;
        for event in &self.events {
            let line = serde_json::to_string(event).map_err(|_| fmt::Error)?;
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Which digest an upload becomes, as the trace says later; one that is never published stands for itself.
struct Uploads {
    digests: BTreeMap<String, String>,
    locations: BTreeMap<String, String>,
}

impl Uploads {
    fn of(trace: &Trace) -> Uploads {
        let (mut digests, mut locations) = (BTreeMap::new(), BTreeMap::new());
        let mut records = Records::default();
        for event in &trace.events {
            let Happened::Commit { name, wrote, .. } = &event.happened else {
                continue;
            };
            let subjects: Vec<Subject> = wrote.iter().filter_map(subject).collect();
            let digest = subjects.iter().find_map(|it| match it {
                Subject::Digest(digest) => Some(digest),
                _ => None,
            });
            for write in wrote {
                // What is no record is told when it is followed.
                let _odd = records.write(write);
            }
            for it in &subjects {
                if let Subject::Upload(id) = it {
                    if let (true, Some(digest)) = (name == "publish", digest) {
                        digests.insert(id.clone(), digest.clone());
                    }
                    if let Some(upload) = records.uploads.get(id) {
                        locations.insert(upload.location(), id.clone());
                    }
                }
            }
        }
        Uploads { digests, locations }
    }

    fn world(&self, id: &str) -> String {
        self.digests.get(id).cloned().unwrap_or_else(|| id.to_owned())
    }

    fn world_of_location(&self, location: &str) -> Option<String> {
        self.locations.get(location).map(|id| self.world(id))
    }

    fn in_world(&self, world: &str) -> BTreeSet<String> {
        let ids = self.locations.values().filter(|id| self.world(id) == world);
        ids.cloned().collect()
    }
}

/// Follows a trace in the model, digest by digest.
///
/// # Errors
/// [`Failure`] at the first event that the model does not allow.
pub fn follow(trace: &Trace) -> Result<Totals, Box<Failure>> {
    let mut following = Following {
        uploads: Uploads::of(trace),
        records: Records::default(),
        worlds: BTreeMap::new(),
        about: BTreeMap::new(),
        totals: Totals::default(),
    };
    for at in 0..trace.events.len() {
        following.event(trace, at)?;
    }
    let totals = &mut following.totals;
    totals.worlds = following.worlds.len();
    for world in following.worlds.values() {
        totals.covered.extend(world.model().covered());
    }
    Ok(following.totals)
}

struct Following {
    uploads: Uploads,
    records: Records,
    worlds: BTreeMap<String, World>,
    /// The events about each world.
    about: BTreeMap<String, Vec<usize>>,
    totals: Totals,
}

impl Following {
    fn event(&mut self, trace: &Trace, at: usize) -> Result<(), Box<Failure>> {
        let event = &trace.events[at];
        let concerned = match self.concerned(&event.happened) {
            Ok(concerned) => concerned,
            Err(why) => return Err(self.failure(trace, at, "", why)),
        };
        for digest in concerned {
            self.about.entry(digest.clone()).or_default().push(at);
            let followed = self.world(trace, &digest).and_then(|mut world| {
                let followed = world.follow(&self.records, &event.happened, event.now);
                self.worlds.insert(digest.clone(), world);
                followed
            });
            if let Err(why) = followed {
                return Err(self.failure(trace, at, &digest, why));
            }
            self.totals.followed += 1;
        }
        *self.totals.events.entry(event.name().to_owned()).or_default() += 1;
        Ok(())
    }

    fn world(&mut self, trace: &Trace, digest: &str) -> Result<World, String> {
        if let Some(world) = self.worlds.remove(digest) {
            return Ok(world);
        }
        let begin = trace.events.first().map_or(0, |event| event.now);
        World::new(
            digest.to_owned(),
            self.uploads.in_world(digest),
            timing(&trace.lasting)?,
            trace.lasting.bucket,
            begin,
        )
    }

    /// Makes the event happen in the code's records, and tells which digests it concerns.
    fn concerned(&mut self, happened: &Happened) -> Result<BTreeSet<String>, String> {
        let mut concerned = BTreeSet::new();
        match happened {
            Happened::Commit { wrote, .. } => {
                let subjects: BTreeSet<Subject> = wrote.iter().filter_map(subject).collect();
                // What a manifest names is told by its children before they go and after they came.
                for it in &subjects {
                    self.add(it, &mut concerned);
                }
                for write in wrote {
                    self.records.write(write)?;
                    if matches!(write, Wrote::Put(key, _) if key.starts_with("named/")) {
                        self.totals.covered.insert("create_repository");
                    }
                }
                for it in &subjects {
                    self.add(it, &mut concerned);
                }
            }
            Happened::Sealed(location) | Happened::Unlinked(location) | Happened::Lost(location) => {
                let world = self.uploads.world_of_location(location);
                concerned.insert(world.ok_or_else(|| format!("no upload ever claimed {location}"))?);
            }
            // Not seen in any record: a crash wipes what a process remembers, and the commit is recorded by itself.
            Happened::Crashed => {
                self.totals.covered.insert("crash");
            }
            Happened::Untold(name) if name == "publish" => {
                self.totals.covered.insert("publish (outcome unknown)");
            }
            Happened::Untold(_) => {}
        }
        Ok(concerned)
    }

    fn add(&self, subject: &Subject, concerned: &mut BTreeSet<String>) {
        match subject {
            Subject::Digest(digest) => {
                concerned.insert(digest.clone());
            }
            Subject::Upload(id) => {
                concerned.insert(self.uploads.world(id));
            }
            Subject::Location(location) => concerned.extend(self.uploads.world_of_location(location)),
            Subject::Repository(id) => {
                let inside = self.worlds.iter().filter(|(_, world)| world.has_repository(id));
                concerned.extend(inside.map(|(digest, _)| digest.clone()));
            }
            Subject::Manifest(repository, digest) => {
                let known = self
                    .worlds
                    .iter()
                    .filter(|(_, world)| world.has_manifest(repository, digest));
                concerned.extend(known.map(|(digest, _)| digest.clone()));
                let Some(of) = self.records.repositories.get(repository) else {
                    return;
                };
                let Some(manifest) = of.manifests.get(digest) else {
                    return;
                };
                concerned.extend(manifest.blobs.iter().cloned());
                for child in &manifest.manifests {
                    if let Some(child) = of.manifests.get(child) {
                        concerned.extend(child.blobs.iter().cloned());
                    }
                }
            }
        }
    }

    fn failure(&self, trace: &Trace, at: usize, digest: &str, why: String) -> Box<Failure> {
        let about = self.about.get(digest).cloned().unwrap_or_default();
        let from = about.len().saturating_sub(SHOWN);
        let world = self.worlds.get(digest);
        let steps = world.map(|world| world.model().steps(SHOWN)).unwrap_or_default();
        Box::new(Failure {
            event: at,
            name: trace.events[at].name().to_owned(),
            about: digest.to_owned(),
            why,
            events: about[from..].iter().map(|&at| trace.events[at].clone()).collect(),
            steps: steps
                .into_iter()
                .map(|(step, state)| format!("{step}\n      {state}"))
                .collect(),
        })
    }
}
