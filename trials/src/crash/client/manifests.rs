//! Manifests and tags.

use super::{Client, deleted};
use crate::crash::content::{self, SLOTS, TAGS};
use crate::crash::shelf::{Action, Expect, Outcome};
use crate::crash::wire::Framing;

#[derive(serde::Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

impl Client<'_> {
    /// Puts a manifest, by a tag if it gets just one and `by_tag`, else by its digest.
    pub fn put_manifest(
        &mut self,
        shelf: usize,
        manifest: u8,
        tags: u8,
        expect: Expect,
        by_tag: bool,
    ) -> Outcome {
        let slot = shelf % SLOTS;
        let known = self.round.universe.manifest(slot, manifest as usize);
        let names: Vec<String> = (0..TAGS)
            .filter(|tag| tags & 1 << tag != 0)
            .map(|tag| content::tag(slot, tag))
            .collect();
        let (kind, path) = match names.as_slice() {
            [tag] if by_tag => ("manifest PUT by tag", manifest_path(shelf, tag)),
            tags => {
                let parameters: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
                let joint = if tags.is_empty() { "" } else { "?" };
                let path = manifest_path(shelf, &known.digest);
                (
                    "manifest PUT by digest",
                    format!("{path}{joint}{}", parameters.join("&")),
                )
            }
        };
        let mut headers = vec![("Content-Type", known.media_type.to_owned())];
        let kind = match expect {
            Expect::Any => kind,
            Expect::Absent => {
                headers.push(("If-None-Match", "*".to_owned()));
                "manifest PUT if absent"
            }
            Expect::At(there) => {
                let there = &self.round.universe.manifest(slot, there as usize).digest;
                headers.push(("If-Match", format!("\"{there}\"")));
                "manifest PUT if at"
            }
        };
        let asked = self.ask("PUT", &path, &headers, Some((Framing::Length, &known.bytes)));
        let action = Action::PutManifest {
            manifest,
            tags,
            expect,
        };
        self.note(kind, shelf, action, &asked, |reply| match reply.status {
            201 if reply.header("docker-content-digest") == Some(&known.digest) => Outcome::Done,
            412 => Outcome::Precondition,
            400 if reply.shown().contains("MANIFEST_BLOB_UNKNOWN") => Outcome::Missing,
            _ => Outcome::Wrong(format!("PUT of a manifest: {}", reply.shown())),
        })
    }

    /// Reads a manifest by its digest, its bytes too unless `head`.
    pub fn get_manifest(&mut self, shelf: usize, manifest: u8, head: bool) -> Outcome {
        let known = self.round.universe.manifest(shelf % SLOTS, manifest as usize);
        let (method, kind) = match head {
            true => ("HEAD", "manifest HEAD"),
            false => ("GET", "manifest GET"),
        };
        let asked = self.ask(method, &manifest_path(shelf, &known.digest), &[], None);
        let mut hashed = 0;
        let outcome = self.note(
            kind,
            shelf,
            Action::ReadManifest { manifest },
            &asked,
            |reply| match reply.status {
                200 if reply.header("content-type") != Some(known.media_type) => {
                    Outcome::Wrong(format!("a manifest came as {:?}", reply.header("content-type")))
                }
                200 if head || reply.body == known.bytes => {
                    hashed = reply.body.len() as u64;
                    Outcome::Done
                }
                200 => Outcome::Wrong(format!("manifest {} was read with wrong bytes", known.digest)),
                404 => Outcome::Absent,
                _ => Outcome::Wrong(format!("GET of a manifest: {}", reply.shown())),
            },
        );
        self.hashed += hashed;
        outcome
    }

    /// Reads what a tag points at, and compares the bytes.
    pub fn get_tag(&mut self, shelf: usize, tag: u8) -> Outcome {
        let slot = shelf % SLOTS;
        let name = content::tag(slot, tag as usize);
        let asked = self.ask("GET", &manifest_path(shelf, &name), &[], None);
        let universe = self.round.universe;
        let mut hashed = 0;
        let outcome = self.note("tag GET", shelf, Action::ReadTag { tag }, &asked, |reply| {
            if reply.status == 404 {
                return Outcome::Absent;
            }
            let digest = content::digest(&reply.body);
            let known = universe.manifest_named(slot, &digest);
            match known {
                Some(manifest)
                    if reply.status == 200 && reply.header("docker-content-digest") == Some(&digest) =>
                {
                    hashed = reply.body.len() as u64;
                    Outcome::At(manifest)
                }
                _ => Outcome::Wrong(format!("tag {name} leads to what nobody sent: {}", reply.shown())),
            }
        });
        self.hashed += hashed;
        outcome
    }

    /// Deletes a tag.
    pub fn delete_tag(&mut self, shelf: usize, tag: u8) -> Outcome {
        let name = content::tag(shelf % SLOTS, tag as usize);
        let asked = self.ask("DELETE", &manifest_path(shelf, &name), &[], None);
        self.note("tag DELETE", shelf, Action::DeleteTag { tag }, &asked, deleted)
    }

    /// Deletes a manifest.
    pub fn delete_manifest(&mut self, shelf: usize, manifest: u8) -> Outcome {
        let known = self.round.universe.manifest(shelf % SLOTS, manifest as usize);
        let asked = self.ask("DELETE", &manifest_path(shelf, &known.digest), &[], None);
        self.note(
            "manifest DELETE",
            shelf,
            Action::DeleteManifest { manifest },
            &asked,
            deleted,
        )
    }

    /// Lists a repository's tags; each name that is there or not is one thing learnt.
    pub fn list_tags(&mut self, repository: usize) -> Option<Vec<String>> {
        let path = format!("/v2/{}/tags/list", content::repository(repository));
        let asked = self.ask("GET", &path, &[], None);
        let listed: Result<Vec<String>, Outcome> = match &asked.reply {
            Ok(reply) if reply.status == 404 => Ok(Vec::new()),
            Ok(reply) if reply.status == 200 => serde_json::from_slice::<TagList>(&reply.body)
                .map(|list| list.tags.unwrap_or_default())
                .map_err(|error| Outcome::Wrong(format!("a list of tags: {error}: {}", reply.shown()))),
            Ok(reply) => Err(Outcome::Wrong(format!("a list of tags: {}", reply.shown()))),
            Err(outcome) => Err(outcome.clone()),
        };
        let known: Vec<String> = (0..SLOTS * TAGS)
            .map(|at| content::tag(at / TAGS, at % TAGS))
            .collect();
        let listed = listed.and_then(|tags| match tags.iter().find(|tag| !known.contains(tag)) {
            Some(stranger) => Err(Outcome::Wrong(format!("a tag that nobody sent: {stranger}"))),
            None => Ok(tags),
        });
        for (at, name) in known.iter().enumerate() {
            let shelf = repository * SLOTS + at / TAGS;
            let tag = (at % TAGS) as u8;
            let outcome = match &listed {
                Ok(tags) if tags.contains(name) => Outcome::Done,
                Ok(_) => Outcome::Absent,
                Err(outcome) => outcome.clone(),
            };
            self.note("tag list", shelf, Action::ReadTag { tag }, &asked, |_| outcome);
        }
        listed.ok()
    }
}

fn manifest_path(shelf: usize, reference: &str) -> String {
    format!("/v2/{}/manifests/{reference}", content::repository(shelf / SLOTS))
}
