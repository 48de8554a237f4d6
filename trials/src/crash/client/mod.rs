//! A client: one connection, the requests of the protocol, and what it wrote down of each.

mod manifests;
mod uploads;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::crash::content::{self, Blob, SLOTS, Universe};
use crate::crash::history::Record;
use crate::crash::shelf::{Action, Outcome, State};
use crate::crash::wire::{Framing, Reply, Wire};
pub use uploads::{Step, Upload};

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

    /// Writes down that this is what the whole shelf was, read from `invoked` on by requests of its own.
    pub fn observed(&mut self, shelf: usize, state: State, invoked: u64) {
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
