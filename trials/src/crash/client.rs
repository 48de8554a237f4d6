//! A client: one connection, the requests of the protocol, and what it wrote down of each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::content::{self, Blob, SLOTS, TAGS, Universe};
use super::history::Record;
use super::shelf::{Action, Expect, Outcome};
use super::wire::{Framing, Reply, Wire};

/// What the clients of a round share.
pub struct Round<'a> {
    /// What there is to push.
    pub universe: &'a Universe,
    /// The server.
    pub address: SocketAddr,
    /// When the round began.
    pub began: Instant,
    /// The server is being killed, or its disks are gone: answers may be missing or of the 500s.
    pub excused: &'a AtomicBool,
}

/// A client.
pub struct Client<'a> {
    round: &'a Round<'a>,
    thread: u64,
    wire: Wire,
    /// What it asked and was answered.
    pub records: Vec<Record>,
    /// Bytes that it read and whose hash was right.
    pub hashed: u64,
    /// Requests that the end of the server left without an answer.
    pub unanswered: u64,
}

/// An upload as its client knows it.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The shelf for which it was begun.
    pub shelf: usize,
    /// The blob that it is to become.
    pub blob: u8,
    /// Where it is.
    pub location: String,
    /// The bytes that were acknowledged.
    pub acknowledged: u64,
    /// The bytes that were sent.
    pub sent: u64,
    /// It may have been ended by a request without an answer.
    pub may_be_gone: bool,
    /// When it last made progress for certain.
    pub progress: Instant,
    /// This round's acknowledged steps.
    pub steps: Vec<Step>,
}

/// A step of an upload that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When it was sent, in nanoseconds since the round began.
    pub invoked: u64,
    /// When its answer had come.
    pub ended: u64,
    /// How far the upload was then.
    pub received: u64,
}

/// A request that was sent, and what came back.
struct Asked {
    invoked: u64,
    reply: Result<Reply, Outcome>,
}

impl<'a> Client<'a> {
    /// The client of this number.
    pub fn new(round: &'a Round<'a>, thread: u64) -> Self {
        Client {
            round,
            thread,
            wire: Wire::new(round.address),
            records: Vec::new(),
            hashed: 0,
            unanswered: 0,
        }
    }

    /// What there is to push.
    pub fn universe(&self) -> &'a Universe {
        self.round.universe
    }

    fn now(&self) -> u64 {
        self.round.began.elapsed().as_nanos() as u64
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Option<(Framing, &[u8])>,
    ) -> Asked {
        let invoked = self.now();
        let answer = self.wire.ask(method, path, headers, body);
        let excused = self.round.excused.load(Ordering::SeqCst);
        let reply = match answer {
            Ok(reply) if reply.status < 500 => Ok(reply),
            Ok(_) | Err(_) if excused => {
                self.unanswered += 1;
                Err(Outcome::Unknown)
            }
            // Every attempt to commit found that others had been faster: nothing was written, and it says so.
            Ok(reply) if reply.status == 503 && reply.shown().contains("too many others") => {
                Err(Outcome::Busy)
            }
            Ok(reply) => Err(Outcome::Wrong(format!(
                "a living server answered {method} {path} with {}",
                reply.shown()
            ))),
            Err(error) => Err(Outcome::Wrong(format!(
                "a living server did not answer {method} {path}: {error}"
            ))),
        };
        Asked { invoked, reply }
    }

    /// Writes down what a request was about and what its answer means.
    fn note(
        &mut self,
        kind: &str,
        shelf: usize,
        action: Action,
        asked: &Asked,
        meaning: impl FnOnce(&Reply) -> Outcome,
    ) -> Outcome {
        let outcome = match &asked.reply {
            Ok(reply) => meaning(reply),
            Err(outcome) => outcome.clone(),
        };
        self.records.push(Record {
            thread: self.thread,
            kind: kind.to_owned(),
            shelf,
            action,
            outcome: outcome.clone(),
            invoked: asked.invoked,
            ended: self.now(),
        });
        outcome
    }

    fn blob(&self, shelf: usize, blob: u8) -> &'a Blob {
        self.round.universe.blob(shelf % SLOTS, blob as usize)
    }

    /// Asks whether a blob is there.
    pub fn head_blob(&mut self, shelf: usize, blob: u8) -> Outcome {
        let known = self.blob(shelf, blob);
        let asked = self.ask("HEAD", &blob_path(shelf, known), &[], None);
        self.note(
            "blob HEAD",
            shelf,
            Action::ReadBlob { blob },
            &asked,
            |reply| match reply.status {
                200 if reply.header("content-length") == Some(&known.size.to_string()) => Outcome::Done,
                404 => Outcome::Absent,
                _ => Outcome::Wrong(format!("HEAD of a blob: {} {:?}", reply.status, reply.headers)),
            },
        )
    }

    /// Reads a blob, or a part of it, and compares every byte.
    pub fn get_blob(&mut self, shelf: usize, blob: u8, part: Option<std::ops::Range<u64>>) -> Outcome {
        let known = self.blob(shelf, blob);
        let part = part.filter(|part| !part.is_empty());
        let headers: Vec<_> = part
            .iter()
            .map(|part| ("Range", format!("bytes={}-{}", part.start, part.end - 1)))
            .collect();
        let asked = self.ask("GET", &blob_path(shelf, known), &headers, None);
        let (kind, status) = match part {
            Some(_) => ("blob GET range", 206),
            None => ("blob GET", 200),
        };
        let mut hashed = 0;
        let outcome = self.note(kind, shelf, Action::ReadBlob { blob }, &asked, |reply| {
            let right = || match &part {
                Some(part) => reply.body == known.bytes(part.clone()),
                None => content::digest(&reply.body) == known.digest,
            };
            match reply.status {
                got if got == status && right() => {
                    hashed = reply.body.len() as u64;
                    Outcome::Done
                }
                got if got == status => Outcome::Wrong(format!(
                    "blob {} was read with wrong bytes ({} of them, {part:?} of {})",
                    known.digest,
                    reply.body.len(),
                    known.size
                )),
                404 => Outcome::Absent,
                _ => Outcome::Wrong(format!("GET of a blob: {}", reply.shown())),
            }
        });
        self.hashed += hashed;
        outcome
    }

    /// Deletes a blob.
    pub fn delete_blob(&mut self, shelf: usize, blob: u8) -> Outcome {
        let known = self.blob(shelf, blob);
        let asked = self.ask("DELETE", &blob_path(shelf, known), &[], None);
        self.note("blob DELETE", shelf, Action::DeleteBlob { blob }, &asked, deleted)
    }

    /// Mounts a blob from another repository; what that told about the other one is written down too. If it is not
    /// there an upload has begun, where the answer says.
    pub fn mount(&mut self, shelf: usize, blob: u8, from: usize) -> (Outcome, Option<String>) {
        let known = self.blob(shelf, blob);
        let path = format!(
            "{}?mount={}&from={}",
            uploads_path(shelf),
            known.digest,
            content::repository(from / SLOTS)
        );
        let asked = self.ask("POST", &path, &[], None);
        let mut begun = None;
        let outcome = self.note(
            "blob mount",
            shelf,
            Action::PushBlob { blob },
            &asked,
            |reply| match reply.status {
                201 => Outcome::Done,
                202 => {
                    begun = reply.header("location").map(str::to_owned);
                    Outcome::Absent
                }
                _ => Outcome::Wrong(format!("mount: {}", reply.shown())),
            },
        );
        if outcome == Outcome::Absent {
            // Nothing was done here: the answer was about the other repository.
            self.records.pop();
        }
        if matches!(outcome, Outcome::Done | Outcome::Absent) {
            self.note("blob mount from", from, Action::ReadBlob { blob }, &asked, |_| {
                outcome.clone()
            });
        }
        (outcome, begun)
    }

    /// Pushes a blob with a single request.
    pub fn push_at_once(&mut self, shelf: usize, blob: u8) -> Outcome {
        let known = self.blob(shelf, blob);
        let path = format!("{}?digest={}", uploads_path(shelf), known.digest);
        let bytes = known.bytes(0..known.size);
        let asked = self.ask("POST", &path, &octets(), Some((Framing::Length, &bytes)));
        self.note(
            "blob push at once",
            shelf,
            Action::PushBlob { blob },
            &asked,
            created,
        )
    }

    /// Begins an upload.
    pub fn begin(&mut self, shelf: usize, blob: u8) -> Option<Upload> {
        let asked = self.ask("POST", &uploads_path(shelf), &[], None);
        match &asked.reply {
            Ok(reply) if reply.status == 202 => {
                let location = reply.header("location")?.to_owned();
                self.note(
                    "upload POST",
                    shelf,
                    Action::ReadUpload {
                        acknowledged: 0,
                        sent: 0,
                        may_be_gone: false,
                    },
                    &asked,
                    |_| Outcome::Offset(0),
                );
                let mut upload = Upload::new(shelf, blob, location);
                upload.steps.push(Step {
                    invoked: asked.invoked,
                    ended: self.now(),
                    received: 0,
                });
                Some(upload)
            }
            _ => {
                self.odd("upload POST", shelf, blob, &asked, 0);
                None
            }
        }
    }

    /// Sends what comes next of an upload; `false` if that was not acknowledged.
    pub fn append(&mut self, upload: &mut Upload, length: u64, framing: Framing) -> bool {
        let known = self.blob(upload.shelf, upload.blob);
        let start = upload.acknowledged;
        let end = (start + length).min(known.size);
        if start == end {
            return true;
        }
        let bytes = known.bytes(start..end);
        let mut headers = octets().to_vec();
        if framing == Framing::Length {
            headers.push(("Content-Range", format!("{start}-{}", end - 1)));
        }
        upload.sent = upload.sent.max(end);
        let asked = self.ask("PATCH", &upload.location, &headers, Some((framing, &bytes)));
        match &asked.reply {
            Ok(reply) if reply.status == 202 => {
                upload.acknowledged = end;
                upload.progress = Instant::now();
                upload.steps.push(Step {
                    invoked: asked.invoked,
                    ended: self.now(),
                    received: end,
                });
                let at = Outcome::Offset(end);
                self.note("upload PATCH", upload.shelf, upload.as_action(), &asked, |_| at);
                let told = reply.header("range").map(str::to_owned);
                if told != Some(format!("0-{}", end.saturating_sub(1))) {
                    let why = format!("an upload with {end} bytes was acknowledged as {told:?}");
                    self.note("upload PATCH", upload.shelf, upload.as_action(), &asked, |_| {
                        Outcome::Wrong(why)
                    });
                    return false;
                }
                true
            }
            _ => {
                self.odd("upload PATCH", upload.shelf, upload.blob, &asked, start);
                false
            }
        }
    }

    /// Ends an upload with the bytes that are left.
    pub fn finish(&mut self, kind: &str, upload: &mut Upload) -> Outcome {
        let known = self.blob(upload.shelf, upload.blob);
        let joint = if upload.location.contains('?') { '&' } else { '?' };
        let path = format!("{}{joint}digest={}", upload.location, known.digest);
        let bytes = known.bytes(upload.acknowledged..known.size);
        upload.sent = known.size;
        upload.may_be_gone = true;
        let asked = self.ask("PUT", &path, &octets(), Some((Framing::Length, &bytes)));
        self.note(
            kind,
            upload.shelf,
            Action::PushBlob { blob: upload.blob },
            &asked,
            created,
        )
    }

    /// Cancels an upload.
    pub fn cancel(&mut self, upload: &mut Upload) {
        upload.may_be_gone = true;
        let asked = self.ask("DELETE", &upload.location, &[], None);
        match &asked.reply {
            Ok(reply) if reply.status == 204 => {
                self.note("upload DELETE", upload.shelf, upload.as_action(), &asked, |_| {
                    Outcome::Absent
                });
            }
            _ => self.odd("upload DELETE", upload.shelf, upload.blob, &asked, 0),
        }
    }

    /// Asks how far an upload is; `may_be_gone` if it has also had the time to expire.
    pub fn offset(&mut self, upload: &Upload) -> Outcome {
        let asked = self.ask("GET", &upload.location, &[], None);
        self.note(
            "upload GET",
            upload.shelf,
            upload.as_action(),
            &asked,
            |reply| match (reply.status, reply.header("range")) {
                // One byte and none look the same.
                (204, Some("0-0")) => Outcome::Offset(upload.acknowledged.min(1)),
                (204, Some(range)) => {
                    match range.strip_prefix("0-").and_then(|last| last.parse::<u64>().ok()) {
                        Some(last) => Outcome::Offset(last + 1),
                        None => Outcome::Wrong(format!("an upload is at {range:?}")),
                    }
                }
                (404, _) => Outcome::Absent,
                _ => Outcome::Wrong(format!("upload status: {}", reply.shown())),
            },
        )
    }

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

    /// Writes down that this is what the whole shelf was, read from `invoked` on by requests of its own.
    pub fn observed(&mut self, shelf: usize, state: super::shelf::State, invoked: u64) {
        self.records.push(Record {
            thread: self.thread,
            kind: "read of everything".to_owned(),
            shelf,
            action: Action::Observe,
            outcome: Outcome::State(state),
            invoked,
            ended: self.now(),
        });
    }

    /// The time on the round's clock.
    pub fn clock(&self) -> u64 {
        self.now()
    }

    /// Writes down a refusal of a step of an upload, which no state of the registry explains.
    fn odd(&mut self, kind: &str, shelf: usize, blob: u8, asked: &Asked, at: u64) {
        self.note(kind, shelf, Action::ReadBlob { blob }, asked, |reply| {
            Outcome::Wrong(format!("{kind} at byte {at}: {}", reply.shown()))
        });
    }
}

impl Upload {
    /// One that has just begun.
    pub fn new(shelf: usize, blob: u8, location: String) -> Self {
        Upload {
            shelf,
            blob,
            location,
            acknowledged: 0,
            sent: 0,
            may_be_gone: false,
            progress: Instant::now(),
            steps: Vec::new(),
        }
    }

    fn as_action(&self) -> Action {
        Action::ReadUpload {
            acknowledged: self.acknowledged,
            sent: self.sent,
            may_be_gone: self.may_be_gone,
        }
    }
}

#[derive(serde::Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

fn octets() -> [(&'static str, String); 1] {
    [("Content-Type", "application/octet-stream".to_owned())]
}

fn created(reply: &Reply) -> Outcome {
    match reply.status {
        201 => Outcome::Done,
        _ => Outcome::Wrong(format!("push of a blob: {}", reply.shown())),
    }
}

fn deleted(reply: &Reply) -> Outcome {
    match reply.status {
        202 => Outcome::Done,
        404 => Outcome::Absent,
        409 => Outcome::InUse,
        _ => Outcome::Wrong(format!("DELETE: {}", reply.shown())),
    }
}

fn blob_path(shelf: usize, blob: &Blob) -> String {
    format!("/v2/{}/blobs/{}", content::repository(shelf / SLOTS), blob.digest)
}

fn uploads_path(shelf: usize) -> String {
    format!("/v2/{}/blobs/uploads/", content::repository(shelf / SLOTS))
}

fn manifest_path(shelf: usize, reference: &str) -> String {
    format!("/v2/{}/manifests/{reference}", content::repository(shelf / SLOTS))
}
