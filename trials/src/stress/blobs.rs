//! Blobs: asking for them, reading, pushing, mounting and deleting them.

use std::time::Duration;

use super::client::{Asked, Client};
use super::content::repository;
use super::ledger::{Subject, Time};
use super::register::End;
use crate::crash::content::digest;
use crate::crash::random::Random;
use crate::crash::wire::Framing;

/// Whether something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// The server was killed before it answered.
    Unknown,
}

/// An upload that was left unfinished.
#[derive(Clone, Debug)]
pub struct Unfinished {
    at: usize,
    blob: usize,
    location: String,
    acknowledged: u64,
    /// When it last made progress.
    progress: Time,
}

/// How a blob is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AtOnce,
    TwoRequests,
    Streamed,
    Chunks,
}

impl Client<'_> {
    fn blob_path(&self, at: usize, blob: usize) -> String {
        let name = &self.shared.universe.blobs[blob].digest;
        format!("/v2/{}/blobs/{name}", repository(at))
    }

    /// What a no means: a broken promise if the blob had to be found.
    fn missed(&self, at: usize, blob: usize, asked: &Asked, how: &str) {
        let why = self
            .shared
            .ledger()
            .must_find(at, blob, asked.invoked, asked.ended);
        if let Some(why) = why {
            self.broken(at, Subject::Blob(blob), &format!("{how}, but {why}"));
        }
    }

    /// Asks as a pusher whether a blob is there.
    pub fn head_blob(&mut self, at: usize, blob: usize) -> Found {
        let path = self.blob_path(at, blob);
        let asked = self.ask(self.shared.now(), "HEAD", &path, &[], None);
        let size = self.shared.universe.blobs[blob].size.to_string();
        let Some(reply) = &asked.reply else {
            return Found::Unknown;
        };
        let length = reply.header("content-length").map(str::to_owned);
        self.note(
            at,
            "blob HEAD",
            Subject::Blob(blob),
            &asked,
            reply.status.to_string(),
        );
        match reply.status {
            200 if length.as_deref() == Some(&size) => {
                self.shared
                    .ledger()
                    .promised(at, blob, asked.invoked, asked.ended);
                self.shared.count("HEAD said yes", 1);
                Found::Yes
            }
            404 => {
                self.missed(at, blob, &asked, "HEAD said no");
                self.shared.count("HEAD said no", 1);
                Found::No
            }
            status => {
                let what = format!("HEAD was answered {status}, length {length:?}");
                self.broken(at, Subject::Blob(blob), &what);
                Found::Unknown
            }
        }
    }

    /// Reads a blob and hashes it. Whether it was found. `needed` says why it has to be, if the caller knows.
    pub fn get_blob(
        &mut self,
        at: usize,
        blob: usize,
        needed: impl Fn(&Self, &Asked) -> Option<String>,
    ) -> Found {
        let path = self.blob_path(at, blob);
        let asked = self.ask(self.shared.now(), "GET", &path, &[], None);
        let name = &self.shared.universe.blobs[blob].digest;
        let Some(reply) = &asked.reply else {
            return Found::Unknown;
        };
        self.note(
            at,
            "blob GET",
            Subject::Blob(blob),
            &asked,
            reply.status.to_string(),
        );
        match reply.status {
            200 if digest(&reply.body) == *name => {
                self.shared
                    .count("bytes read and hashed", reply.body.len() as u64);
                Found::Yes
            }
            200 => {
                self.broken(at, Subject::Blob(blob), "GET gave other bytes");
                Found::Yes
            }
            404 => {
                match needed(self, &asked) {
                    Some(why) => {
                        self.broken(at, Subject::Blob(blob), &format!("GET found nothing, but {why}"));
                    }
                    None => self.missed(at, blob, &asked, "GET found nothing"),
                }
                Found::No
            }
            _ => {
                let what = format!("GET was answered {}", reply.shown());
                self.broken(at, Subject::Blob(blob), &what);
                Found::Unknown
            }
        }
    }

    /// Pushes a blob in one of the ways in which clients do. Whether it was acknowledged.
    pub fn push_blob(&mut self, at: usize, blob: usize, random: &mut Random) -> bool {
        let way = random.pick(&[
            Way::AtOnce,
            Way::AtOnce,
            Way::TwoRequests,
            Way::Streamed,
            Way::Chunks,
        ]);
        if way == Way::AtOnce {
            let blob_of = &self.shared.universe.blobs[blob];
            let path = format!("/v2/{}/blobs/uploads/?digest={}", repository(at), blob_of.digest);
            let bytes = blob_of.bytes(0..blob_of.size);
            let asked = self.ask(
                self.shared.now(),
                "POST",
                &path,
                &octets(),
                Some((Framing::Length, &bytes)),
            );
            return self.pushed(at, blob, "blob push at once", &asked);
        }
        let Some(mut upload) = self.begin(at, blob) else {
            return false;
        };
        let size = self.shared.universe.blobs[blob].size;
        let sent = match way {
            Way::Streamed => self.append(&mut upload, size, Framing::Chunked),
            Way::Chunks => loop {
                let piece = 1 + random.below((size - upload.acknowledged).max(1));
                let until = (upload.acknowledged + piece).min(size);
                if !self.append(&mut upload, until, Framing::Length) {
                    break false;
                }
                if upload.acknowledged == size || random.chance(30) {
                    break true;
                }
            },
            Way::AtOnce | Way::TwoRequests => true,
        };
        sent && self.finish(upload)
    }

    /// Begins an upload.
    pub fn begin(&mut self, at: usize, blob: usize) -> Option<Unfinished> {
        let path = format!("/v2/{}/blobs/uploads/", repository(at));
        let asked = self.ask(self.shared.now(), "POST", &path, &[], None);
        let reply = asked.reply.as_ref()?;
        match (reply.status, reply.header("location")) {
            (202, Some(location)) => Some(Unfinished {
                at,
                blob,
                location: location.to_owned(),
                acknowledged: 0,
                progress: asked.invoked,
            }),
            (503, _) => None,
            _ => {
                let what = format!("an upload was not begun: {}", reply.shown());
                self.broken(at, Subject::Blob(blob), &what);
                None
            }
        }
    }

    /// Sends an upload's bytes up to `until`; whether that was acknowledged.
    pub fn append(&mut self, upload: &mut Unfinished, until: u64, framing: Framing) -> bool {
        let bytes = self.shared.universe.blobs[upload.blob].bytes(upload.acknowledged..until);
        let mut headers = octets().to_vec();
        if framing == Framing::Length && until > upload.acknowledged {
            let range = format!("{}-{}", upload.acknowledged, until - 1);
            headers.push(("Content-Range", range));
        }
        let asked = self.ask(
            self.shared.now(),
            "PATCH",
            &upload.location,
            &headers,
            Some((framing, &bytes)),
        );
        if asked.status() == Some(202) {
            upload.acknowledged = until;
            upload.progress = asked.invoked;
            return true;
        }
        self.lost(upload, &asked, "PATCH");
        false
    }

    /// Ends an upload with the bytes that are left; whether that was acknowledged.
    pub fn finish(&mut self, upload: Unfinished) -> bool {
        let blob = &self.shared.universe.blobs[upload.blob];
        let joint = if upload.location.contains('?') { '&' } else { '?' };
        let path = format!("{}{joint}digest={}", upload.location, blob.digest);
        let bytes = blob.bytes(upload.acknowledged..blob.size);
        let asked = self.ask(
            self.shared.now(),
            "PUT",
            &path,
            &octets(),
            Some((Framing::Length, &bytes)),
        );
        match asked.status() {
            Some(404) => {
                self.lost(&upload, &asked, "PUT");
                false
            }
            _ => self.pushed(upload.at, upload.blob, "blob push", &asked),
        }
    }

    /// What the end of an upload means: it may only have been given up if it rested for too long.
    fn lost(&self, upload: &Unfinished, asked: &Asked, what: &str) {
        let Some(reply) = &asked.reply else { return };
        let rested = Duration::from_nanos(asked.ended - upload.progress);
        let about = Subject::Blob(upload.blob);
        self.note(
            upload.at,
            "upload",
            about,
            asked,
            format!("{} after {rested:?}", reply.shown()),
        );
        // Progress renews a claim once a quarter of its time has passed.
        let fresh = rested < self.shared.lifetimes.upload_idle / 2;
        match reply.status {
            404 if !fresh => self.shared.count("uploads given up", 1),
            503 => {}
            _ => self.broken(
                upload.at,
                about,
                &format!(
                    "{what} of an upload that rested for {rested:?}: {}",
                    reply.shown()
                ),
            ),
        }
    }

    /// What the answer to a push means.
    fn pushed(&self, at: usize, blob: usize, how: &'static str, asked: &Asked) -> bool {
        let Some(reply) = &asked.reply else { return false };
        self.note(at, how, Subject::Blob(blob), asked, reply.status.to_string());
        match reply.status {
            201 => {
                self.shared
                    .ledger()
                    .promised(at, blob, asked.invoked, asked.ended);
                self.shared.count("blobs pushed", 1);
                true
            }
            503 => false,
            _ => {
                let what = format!("a push was answered {}", reply.shown());
                self.broken(at, Subject::Blob(blob), &what);
                false
            }
        }
    }

    /// Mounts a blob from another repository; if it is not there, pushes it in the upload that was begun instead.
    pub fn mount_blob(&mut self, at: usize, blob: usize, from: usize) -> bool {
        let name = &self.shared.universe.blobs[blob].digest;
        let path = format!(
            "/v2/{}/blobs/uploads/?mount={name}&from={}",
            repository(at),
            repository(from)
        );
        let asked = self.ask(self.shared.now(), "POST", &path, &[], None);
        let Some(reply) = &asked.reply else { return false };
        let location = reply.header("location").map(str::to_owned);
        self.note(
            at,
            "blob mount",
            Subject::Blob(blob),
            &asked,
            reply.status.to_string(),
        );
        match (reply.status, location) {
            (201, _) => {
                self.shared
                    .ledger()
                    .promised(at, blob, asked.invoked, asked.ended);
                self.shared.count("blobs mounted", 1);
                true
            }
            (202, Some(location)) => {
                let how = format!("{} did not mount it from here", repository(at));
                self.missed(from, blob, &asked, &how);
                self.finish(Unfinished {
                    at,
                    blob,
                    location,
                    acknowledged: 0,
                    progress: asked.invoked,
                })
            }
            (503, _) => false,
            _ => {
                let what = format!("a mount was answered {}", reply.shown());
                self.broken(at, Subject::Blob(blob), &what);
                false
            }
        }
    }

    /// Deletes a blob.
    pub fn delete_blob(&mut self, at: usize, blob: usize) {
        let path = self.blob_path(at, blob);
        let invoked = self.shared.now();
        let begun = self.shared.ledger().deleting_blob(at, blob, invoked);
        let asked = self.ask(invoked, "DELETE", &path, &[], None);
        let end = match asked.status() {
            None => End::Unknown,
            Some(202) => End::Done,
            Some(_) => End::Refused,
        };
        self.shared.ledger().ended(begun, asked.ended, end);
        let Some(reply) = &asked.reply else { return };
        self.note(
            at,
            "blob DELETE",
            Subject::Blob(blob),
            &asked,
            reply.status.to_string(),
        );
        match reply.status {
            202 => self.shared.count("blobs deleted", 1),
            404 => self.missed(at, blob, &asked, "DELETE found nothing"),
            409 | 503 => {}
            _ => {
                let what = format!("DELETE was answered {}", reply.shown());
                self.broken(at, Subject::Blob(blob), &what);
            }
        }
    }
}

fn octets() -> [(&'static str, String); 1] {
    [("Content-Type", "application/octet-stream".to_owned())]
}
