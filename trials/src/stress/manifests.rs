//! Manifests and tags: pushing whole images, pulling them, deleting.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::blobs::Found;
use super::client::{Asked, Client};
use super::content::{MANIFESTS, REPOSITORIES, repository, tag};
use super::ledger::{Begun, Subject, Time};
use super::register::End;
use crate::crash::content::digest;
use crate::crash::random::Random;
use crate::crash::wire::Framing;

/// How often a push is tried whose blobs went away before its manifest came.
const TRIES: usize = 5;

/// A pull that has begun: from then on all that its manifest needs must be there, unless that is deleted.
#[derive(Clone, Copy, Debug)]
pub struct Pull {
    at: usize,
    group: usize,
    tag: usize,
    manifest: usize,
    since: Time,
    slowly: bool,
}

/// What became of a manifest that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Done,
    /// Something that it names was not there.
    Missing,
    Unknown,
}

impl Client<'_> {
    fn manifest_path(&self, at: usize, group: usize, manifest: usize) -> String {
        let name = &self.shared.universe.node(group, manifest).manifest.digest;
        format!("/v2/{}/manifests/{name}", repository(at))
    }

    /// Pushes a manifest and what it needs, as clients do: what the registry says that it has is not sent, and if the
    /// registry then says that something is missing, all is looked at again. Whether it was acknowledged.
    pub fn push(
        &mut self,
        at: usize,
        group: usize,
        manifest: usize,
        tag: Option<usize>,
        random: &mut Random,
    ) -> bool {
        let universe = Arc::clone(&self.shared.universe);
        let node = universe.node(group, manifest);
        for again in 0..TRIES {
            for child in &node.children {
                let there = self.head_manifest(at, group, *child);
                if there == Found::Unknown
                    || there == Found::No && !self.push(at, group, *child, None, random)
                {
                    return false;
                }
            }
            for blob in &node.blobs {
                if !self.ensure_blob(at, *blob, random) {
                    return false;
                }
            }
            match self.put_manifest(at, group, manifest, tag) {
                Put::Done => {
                    self.shared.count("manifests put", 1);
                    return true;
                }
                Put::Missing => self
                    .shared
                    .count("manifests refused after the grace or a delete", 1),
                Put::Unknown => return false,
            }
            if self.shared.over() || again + 1 == TRIES {
                return false;
            }
        }
        false
    }

    /// Makes sure that a blob is there: asks, and sends it only if it is not.
    fn ensure_blob(&mut self, at: usize, blob: usize, random: &mut Random) -> bool {
        if self.shared.over() {
            return false;
        }
        match self.head_blob(at, blob) {
            Found::Yes => {
                self.shared.count("blobs skipped because HEAD said yes", 1);
                true
            }
            Found::Unknown => false,
            Found::No if random.chance(25) => {
                let other = (at + 1 + random.below(REPOSITORIES as u64 - 1) as usize) % REPOSITORIES;
                self.mount_blob(at, blob, other)
            }
            Found::No => self.push_blob(at, blob, random),
        }
    }

    fn put_manifest(&mut self, at: usize, group: usize, manifest: usize, name: Option<usize>) -> Put {
        let universe = Arc::clone(&self.shared.universe);
        let node = universe.node(group, manifest);
        let (path, about) = match name {
            Some(name) => (
                format!("/v2/{}/manifests/{}", repository(at), tag(group, name)),
                Subject::Tag(group, name, Some(manifest)),
            ),
            None => (
                self.manifest_path(at, group, manifest),
                Subject::Manifest(group, manifest),
            ),
        };
        let headers = [("Content-Type", node.manifest.media_type.to_owned())];
        let invoked = self.shared.now();
        let begun = self.shared.ledger().putting(at, group, manifest, name, invoked);
        let body = Some((Framing::Length, node.manifest.bytes.as_slice()));
        let asked = self.ask(invoked, "PUT", &path, &headers, body);
        self.end(begun, &asked, 201);
        let Some(reply) = &asked.reply else {
            return Put::Unknown;
        };
        self.note(at, "manifest PUT", about, &asked, reply.shown());
        match reply.status {
            201 => Put::Done,
            400 if reply.shown().contains("MANIFEST_BLOB_UNKNOWN") => {
                for missing in missing(&reply.body) {
                    self.judge_missing(at, group, about, &asked, &missing);
                }
                Put::Missing
            }
            503 => Put::Unknown,
            _ => {
                self.broken(at, about, &format!("PUT was answered {}", reply.shown()));
                Put::Unknown
            }
        }
    }

    /// What it means that a manifest was refused because this was not there.
    fn judge_missing(&self, at: usize, group: usize, about: Subject, asked: &Asked, missing: &str) {
        let (from, until) = (asked.invoked, asked.ended);
        let ledger = self.shared.ledger();
        let why = match self.shared.universe.manifest_named(group, missing) {
            Some(child) => ledger
                .must_have(at, group, child, from, until)
                .then(|| "it is there".to_owned()),
            None => match self.shared.universe.blob_named(missing) {
                Some(blob) => ledger.must_find(at, blob, from, until),
                None => Some("nobody has sent it".to_owned()),
            },
        };
        drop(ledger);
        if let Some(why) = why {
            let what = format!("a manifest was refused because {missing} is missing, but {why}");
            self.broken(at, about, &what);
        }
    }

    /// Tells the ledger how a write has ended.
    fn end(&self, begun: Begun, asked: &Asked, done: u16) {
        let end = match asked.status() {
            None => End::Unknown,
            Some(status) if status == done => End::Done,
            Some(_) => End::Refused,
        };
        self.shared.ledger().ended(begun, asked.ended, end);
    }

    /// Asks whether a manifest is there.
    fn head_manifest(&mut self, at: usize, group: usize, manifest: usize) -> Found {
        let path = self.manifest_path(at, group, manifest);
        let asked = self.ask(self.shared.now(), "HEAD", &path, &[], None);
        let Some(status) = asked.status() else {
            return Found::Unknown;
        };
        let about = Subject::Manifest(group, manifest);
        self.note(at, "manifest HEAD", about, &asked, status.to_string());
        match status {
            200 => self.judge_there(at, group, manifest, &asked),
            404 => self.judge_absent(at, group, manifest, &asked, "HEAD found nothing"),
            _ => {
                self.broken(at, about, &format!("HEAD was answered {status}"));
                Found::Unknown
            }
        }
    }

    fn judge_there(&self, at: usize, group: usize, manifest: usize, asked: &Asked) -> Found {
        let when = (asked.invoked, asked.ended);
        if !self.shared.ledger().may_have(at, group, manifest, true, when) {
            self.broken(
                at,
                Subject::Manifest(group, manifest),
                "it was found after it was deleted",
            );
        }
        Found::Yes
    }

    fn judge_absent(&self, at: usize, group: usize, manifest: usize, asked: &Asked, what: &str) -> Found {
        if self
            .shared
            .ledger()
            .must_have(at, group, manifest, asked.invoked, asked.ended)
        {
            let what = format!("{what}, but it was put and nobody deleted it");
            self.broken(at, Subject::Manifest(group, manifest), &what);
        }
        Found::No
    }

    /// Pulls what a tag leads to, whole; `slowly`, so that a collection may come between. Whether there was anything.
    pub fn pull_tag(&mut self, at: usize, group: usize, name: usize, slowly: Option<&mut Random>) -> Found {
        let path = format!("/v2/{}/manifests/{}", repository(at), tag(group, name));
        let asked = self.ask(self.shared.now(), "GET", &path, &[], None);
        let Some(reply) = &asked.reply else {
            return Found::Unknown;
        };
        let when = (asked.invoked, asked.ended);
        let led = match reply.status {
            404 => None,
            200 => self.shared.universe.manifest_named(group, &digest(&reply.body)),
            _ => {
                let what = format!("a tag was answered {}", reply.shown());
                self.broken(at, Subject::Tag(group, name, None), &what);
                return Found::Unknown;
            }
        };
        let about = Subject::Tag(group, name, led);
        self.note(at, "tag GET", about, &asked, reply.status.to_string());
        if reply.status == 200 && led.is_none() {
            self.broken(at, about, "the tag leads to what nobody sent");
        }
        if !self.shared.ledger().may_lead(at, group, name, led, when) {
            self.broken(
                at,
                about,
                &format!("the tag was answered {}, and never led there", reply.status),
            );
        }
        let Some(manifest) = led else {
            return Found::No;
        };
        self.judge_there(at, group, manifest, &asked);
        let pull = Pull {
            at,
            group,
            tag: name,
            manifest,
            since: asked.invoked,
            slowly: slowly.is_some(),
        };
        let mut quick = Random::of(&[0]);
        let whole = self.pull_needed(&pull, manifest, slowly.unwrap_or(&mut quick));
        self.shared.count(
            match (whole, pull.slowly) {
                (true, true) => "tags pulled whole, slowly",
                (true, false) => "tags pulled whole",
                (false, _) => "pulls ended by a delete or a kill",
            },
            1,
        );
        Found::Yes
    }

    /// Reads all that a manifest of a pull needs; `false` if that ended for a good reason.
    fn pull_needed(&mut self, pull: &Pull, manifest: usize, random: &mut Random) -> bool {
        let universe = Arc::clone(&self.shared.universe);
        let node = universe.node(pull.group, manifest);
        for child in &node.children {
            let path = self.manifest_path(pull.at, pull.group, *child);
            let asked = self.ask(self.shared.now(), "GET", &path, &[], None);
            let Some(reply) = &asked.reply else { return false };
            let about = Subject::Manifest(pull.group, *child);
            self.note(pull.at, "manifest GET", about, &asked, reply.status.to_string());
            let there = reply.status == 200 && reply.body == universe.node(pull.group, *child).manifest.bytes;
            if !there {
                let why = self.needed(pull, &asked);
                if reply.status != 404 || why.is_some() {
                    let what = format!(
                        "a child was answered {}; {}",
                        reply.shown(),
                        why.unwrap_or_default()
                    );
                    self.broken(pull.at, pull.about(), &what);
                }
                return false;
            }
            if !self.pull_needed(pull, *child, random) {
                return false;
            }
        }
        for blob in &node.blobs {
            if pull.slowly && random.chance(60) {
                let longest = self.shared.lifetimes.second_delay.as_millis() as u64;
                // Half of the longest read, so that a busy machine does not take more.
                self.slowly(Duration::from_millis(random.below(longest / 2)));
            }
            let found = self.get_blob(pull.at, *blob, |client, asked| client.needed(pull, asked));
            if found != Found::Yes {
                return false;
            }
        }
        true
    }

    /// Why what a pull asks for must be there.
    fn needed(&self, pull: &Pull, asked: &Asked) -> Option<String> {
        let Pull {
            at,
            group,
            manifest,
            since,
            ..
        } = *pull;
        let needed = self
            .shared
            .ledger()
            .must_have(at, group, manifest, since, asked.ended);
        needed.then(|| format!("{} leads to a manifest that needs it", tag(group, pull.tag)))
    }

    /// Deletes a tag.
    pub fn delete_tag(&mut self, at: usize, group: usize, name: usize) {
        let path = format!("/v2/{}/manifests/{}", repository(at), tag(group, name));
        let invoked = self.shared.now();
        let begun = self.shared.ledger().deleting_tag(at, group, name, invoked);
        let asked = self.ask(invoked, "DELETE", &path, &[], None);
        self.end(begun, &asked, 202);
        let Some(reply) = &asked.reply else { return };
        let about = Subject::Tag(group, name, None);
        self.note(at, "tag DELETE", about, &asked, reply.status.to_string());
        let when = (asked.invoked, asked.ended);
        match reply.status {
            202 => self.shared.count("tags deleted", 1),
            404 if self.shared.ledger().may_lead(at, group, name, None, when) => {}
            503 => {}
            _ => self.broken(at, about, &format!("DELETE was answered {}", reply.shown())),
        }
    }

    /// Deletes a manifest. Whether it was there and is gone.
    pub fn delete_manifest(&mut self, at: usize, group: usize, manifest: usize) -> bool {
        let path = self.manifest_path(at, group, manifest);
        let invoked = self.shared.now();
        let begun = self
            .shared
            .ledger()
            .deleting_manifest(at, group, manifest, invoked);
        let asked = self.ask(invoked, "DELETE", &path, &[], None);
        self.end(begun, &asked, 202);
        let Some(reply) = &asked.reply else { return false };
        let about = Subject::Manifest(group, manifest);
        self.note(at, "manifest DELETE", about, &asked, reply.status.to_string());
        match reply.status {
            202 => self.shared.count("manifests deleted", 1),
            404 => drop(self.judge_absent(at, group, manifest, &asked, "DELETE found nothing")),
            409 if self.may_be_listed(at, group, manifest, &asked) => {}
            503 => {}
            _ => self.broken(at, about, &format!("DELETE was answered {}", reply.shown())),
        }
        reply.status == 202
    }

    /// Whether an index that may be there lists this manifest.
    fn may_be_listed(&self, at: usize, group: usize, manifest: usize, asked: &Asked) -> bool {
        let when = (asked.invoked, asked.ended);
        let ledger = self.shared.ledger();
        (0..MANIFESTS).any(|index| {
            let lists = self
                .shared
                .universe
                .node(group, index)
                .children
                .contains(&manifest);
            lists && ledger.may_have(at, group, index, true, when)
        })
    }

    /// Lists what is about a manifest: all that must be there, and nothing that cannot.
    pub fn list_referrers(&mut self, at: usize, group: usize, subject: usize) {
        let universe = Arc::clone(&self.shared.universe);
        let name = &universe.node(group, subject).manifest.digest;
        let path = format!("/v2/{}/referrers/{name}", repository(at));
        let asked = self.ask(self.shared.now(), "GET", &path, &[], None);
        let Some(reply) = &asked.reply else { return };
        let (from, until) = (asked.invoked, asked.ended);
        let listed: Vec<String> = match serde_json::from_slice::<Value>(&reply.body) {
            Ok(list) if reply.status == 200 => digests(&list["manifests"]),
            _ => Vec::new(),
        };
        for referrer in universe.referrers(group, subject) {
            let about = Subject::Manifest(group, referrer);
            let there = listed.contains(&universe.node(group, referrer).manifest.digest);
            self.note(
                at,
                "referrers",
                about,
                &asked,
                if there { "listed" } else { "not listed" },
            );
            if there {
                self.judge_there(at, group, referrer, &asked);
            } else if self.shared.ledger().must_have(at, group, referrer, from, until) {
                let what = format!("it is not among the referrers of {name}: {}", reply.shown());
                self.broken(at, about, &what);
            }
        }
        self.shared.count("referrers listed", 1);
    }
}

impl Pull {
    fn about(&self) -> Subject {
        Subject::Tag(self.group, self.tag, Some(self.manifest))
    }
}

/// What an answer says is missing.
fn missing(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let missing = &body["errors"][0]["detail"]["missing"];
    let names = missing.as_array().into_iter().flatten();
    names.filter_map(|name| Some(name.as_str()?.to_owned())).collect()
}

fn digests(descriptors: &Value) -> Vec<String> {
    let descriptors = descriptors.as_array().into_iter().flatten();
    descriptors
        .filter_map(|descriptor| Some(descriptor["digest"].as_str()?.to_owned()))
        .collect()
}
