//! Pushing blobs: mounts, single requests, and uploads in several steps.

use std::time::Instant;

use super::{Asked, Client};
use crate::crash::content::{self, SLOTS};
use crate::crash::shelf::{Action, Outcome};
use crate::crash::wire::{Framing, Reply};

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
    /// It has bytes that were not acknowledged before the power went.
    pub unpromised: bool,
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

impl Client<'_> {
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
            |reply| match upload.unpromised && reply.shown().contains("DIGEST_INVALID") {
                true => Outcome::Mismatch,
                false => created(reply),
            },
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
            unpromised: false,
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

fn octets() -> [(&'static str, String); 1] {
    [("Content-Type", "application/octet-stream".to_owned())]
}

fn created(reply: &Reply) -> Outcome {
    match reply.status {
        201 => Outcome::Done,
        _ => Outcome::Wrong(format!("push of a blob: {}", reply.shown())),
    }
}

fn uploads_path(shelf: usize) -> String {
    format!("/v2/{}/blobs/uploads/", content::repository(shelf / SLOTS))
}
