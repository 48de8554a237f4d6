//! What a client does: whole pushes and pulls as real clients make them, and single requests in between, all by chance.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::client::{Client, Round, Upload};
use super::content::{BLOBS, IMAGES, MANIFESTS, NAMED_BLOBS, REPOSITORIES, SLOTS, TAGS};
use super::history::SHELVES;
use super::random::Random;
use super::shelf::{Expect, Outcome};
use super::wire::Framing;

/// Uploads that are kept unfinished at once; the oldest are forgotten, and left to the registry to give up.
const UNFINISHED_MAX: usize = 16;

/// Requests without an answer after which a client stops: each may have happened or not, and the search tries both.
const UNANSWERED_MAX: u64 = 2;

/// What a round's clients are told.
pub struct Load<'a> {
    /// The server, and what there is to push.
    pub round: Round<'a>,
    /// The shelves on which most of it happens.
    pub hot: Vec<usize>,
    /// Uploads that are unfinished.
    pub unfinished: &'a Mutex<VecDeque<Upload>>,
    /// Set when it is over.
    pub over: &'a AtomicBool,
}

/// A client at work.
struct Worker<'a, 'b> {
    client: Client<'a>,
    random: Random,
    load: &'b Load<'a>,
}

/// Works until the load is over; returns the client with what it wrote down.
pub fn work<'a>(load: &'a Load<'a>, thread: u64, random: Random) -> Client<'a> {
    let mut worker = Worker {
        client: Client::new(&load.round, thread),
        random,
        load,
    };
    while !worker.over() {
        worker.step();
    }
    worker.client
}

/// Enters an upload among the unfinished.
pub fn leave(unfinished: &Mutex<VecDeque<Upload>>, upload: Upload) {
    let mut unfinished = unfinished.lock().expect("nobody panics with it");
    unfinished.push_back(upload);
    while unfinished.len() > UNFINISHED_MAX {
        unfinished.pop_front();
    }
}

impl Worker<'_, '_> {
    fn step(&mut self) {
        let shelf = match self.random.chance(85) {
            true => self.random.pick(&self.load.hot),
            false => self.random.below(SHELVES as u64) as usize,
        };
        let tag = self.random.below(TAGS as u64) as u8;
        let manifest = self.random.below(MANIFESTS as u64) as u8;
        let blob = self.random.below(BLOBS as u64) as u8;
        match self.random.below(100) {
            0..30 => self.push_image(shelf, manifest),
            30..42 => self.pull(shelf, tag),
            42..48 => drop(self.client.delete_tag(shelf, tag)),
            48..57 => drop(self.client.delete_manifest(shelf, manifest)),
            57..66 => drop(self.client.delete_blob(shelf, blob)),
            66..72 => {
                let loose = self.random.below((BLOBS - NAMED_BLOBS) as u64) as usize + NAMED_BLOBS;
                self.push_blob(shelf, loose as u8);
            }
            72..76 => self.push_blob(shelf, blob),
            76..79 => drop(self.client.head_blob(shelf, blob)),
            79..82 => drop(self.client.get_blob(shelf, blob, None)),
            82..86 => self.read_part(shelf, blob),
            86..89 => drop(self.client.get_manifest(shelf, manifest, false)),
            89..92 => drop(self.client.list_tags(shelf / SLOTS)),
            92..95 => self.leave_unfinished(shelf, blob),
            95..97 => self.begin_and_cancel(shelf, blob),
            _ => self.resume(),
        }
    }

    /// As a container engine pushes: what the registry says that it has is not sent.
    fn push_image(&mut self, shelf: usize, manifest: u8) {
        let layout = *self.client.universe().layout(shelf % SLOTS);
        for child in 0..IMAGES as u8 {
            if layout.manifests[manifest as usize] & 1 << child == 0 {
                continue;
            }
            if self.client.get_manifest(shelf, child, true) == Outcome::Absent {
                self.push_image(shelf, child);
            }
        }
        let missing: Vec<u8> = (0..BLOBS as u8)
            .filter(|blob| layout.blobs[manifest as usize] & 1 << blob != 0)
            .filter(|blob| self.client.head_blob(shelf, *blob) == Outcome::Absent)
            .collect();
        for blob in missing {
            if self.over() {
                return;
            }
            self.push_blob(shelf, blob);
        }
        let some = 1 << self.random.below(TAGS as u64);
        let tag = self.random.below(TAGS as u64) as u8;
        match self.random.below(10) {
            0..4 => drop(
                self.client
                    .put_manifest(shelf, manifest, 1 << tag, Expect::Any, true),
            ),
            4..6 => drop(
                self.client
                    .put_manifest(shelf, manifest, 1 << tag, Expect::Absent, true),
            ),
            6..8 => {
                let expect = match self.client.get_tag(shelf, tag) {
                    Outcome::At(there) => Expect::At(there),
                    _ => Expect::Absent,
                };
                self.client.put_manifest(shelf, manifest, 1 << tag, expect, true);
            }
            8 => drop(
                self.client
                    .put_manifest(shelf, manifest, 1 << tag | some, Expect::Any, false),
            ),
            _ => drop(self.client.put_manifest(shelf, manifest, 0, Expect::Any, false)),
        }
    }

    fn push_blob(&mut self, shelf: usize, blob: u8) {
        let kind = self.random.below(10);
        if kind < 2 {
            let other = self.random.below(REPOSITORIES as u64) as usize;
            if other != shelf / SLOTS {
                let from = other * SLOTS + shelf % SLOTS;
                if let (Outcome::Absent, Some(location)) = self.client.mount(shelf, blob, from) {
                    let mut upload = Upload::new(shelf, blob, location);
                    let outcome = self.client.finish("blob push after mount", &mut upload);
                    self.keep_if_unanswered(upload, &outcome);
                }
                return;
            }
        }
        if kind < 4 {
            self.client.push_at_once(shelf, blob);
            return;
        }
        let Some(mut upload) = self.client.begin(shelf, blob) else {
            return;
        };
        let size = self.client.universe().blob(shelf % SLOTS, blob as usize).size;
        let (sent, kind) = match kind {
            4..6 => (true, "blob push with POST and PUT"),
            6..8 => (
                self.client.append(&mut upload, size, Framing::Chunked),
                "blob push streamed",
            ),
            _ => (self.append_chunks(&mut upload, size), "blob push in chunks"),
        };
        if !sent {
            leave(self.load.unfinished, upload);
            return;
        }
        let outcome = self.client.finish(kind, &mut upload);
        self.keep_if_unanswered(upload, &outcome);
    }

    /// Sends up to `until` in a few chunks.
    fn append_chunks(&mut self, upload: &mut Upload, until: u64) -> bool {
        while upload.acknowledged < until {
            let longest = (until - upload.acknowledged).max(2);
            let length = 2 + self.random.below(longest);
            if !self
                .client
                .append(upload, length.min(until - upload.acknowledged), Framing::Length)
            {
                return false;
            }
            if self.over() {
                return false;
            }
        }
        true
    }

    fn keep_if_unanswered(&mut self, upload: Upload, outcome: &Outcome) {
        if *outcome == Outcome::Unknown {
            leave(self.load.unfinished, upload);
        }
    }

    fn pull(&mut self, shelf: usize, tag: u8) {
        let Outcome::At(manifest) = self.client.get_tag(shelf, tag) else {
            return;
        };
        self.pull_manifest(shelf, manifest);
    }

    fn pull_manifest(&mut self, shelf: usize, manifest: u8) {
        let layout = *self.client.universe().layout(shelf % SLOTS);
        for child in 0..IMAGES as u8 {
            if layout.manifests[manifest as usize] & 1 << child != 0
                && self.client.get_manifest(shelf, child, false) == Outcome::Done
            {
                self.pull_manifest(shelf, child);
            }
        }
        for blob in 0..BLOBS as u8 {
            if layout.blobs[manifest as usize] & 1 << blob != 0 && !self.over() {
                self.client.get_blob(shelf, blob, None);
            }
        }
    }

    fn read_part(&mut self, shelf: usize, blob: u8) {
        let size = self.client.universe().blob(shelf % SLOTS, blob as usize).size;
        let start = self.random.below(size);
        let end = start + 1 + self.random.below(size - start.min(size));
        self.client.get_blob(shelf, blob, Some(start..end.min(size)));
    }

    fn leave_unfinished(&mut self, shelf: usize, blob: u8) {
        let Some(mut upload) = self.client.begin(shelf, blob) else {
            return;
        };
        let size = self.client.universe().blob(shelf % SLOTS, blob as usize).size;
        let until = self.random.below(size.min(300 << 10));
        self.append_chunks(&mut upload, until);
        leave(self.load.unfinished, upload);
    }

    fn begin_and_cancel(&mut self, shelf: usize, blob: u8) {
        let Some(mut upload) = self.client.begin(shelf, blob) else {
            return;
        };
        let size = self.client.universe().blob(shelf % SLOTS, blob as usize).size;
        if self
            .client
            .append(&mut upload, size.min(100 << 10) / 2, Framing::Chunked)
        {
            self.client.cancel(&mut upload);
        }
        if self.over() {
            leave(self.load.unfinished, upload);
        }
    }

    /// Goes on with an upload at the offset that the server tells.
    fn resume(&mut self) {
        let taken = {
            let mut unfinished = self.load.unfinished.lock().expect("nobody panics with it");
            unfinished.pop_back()
        };
        let Some(mut upload) = taken else {
            return;
        };
        if !super::verify::upload_is_fresh(&upload) {
            return;
        }
        match self.client.offset(&upload) {
            Outcome::Offset(at) if at > 0 || upload.sent == 0 => {
                upload.acknowledged = at;
                upload.may_be_gone = false;
                if self.random.chance(50) {
                    let size = self
                        .client
                        .universe()
                        .blob(upload.shelf % SLOTS, upload.blob as usize)
                        .size;
                    let half = (size - at) / 2;
                    if !self.client.append(&mut upload, half, Framing::Chunked) {
                        leave(self.load.unfinished, upload);
                        return;
                    }
                }
                let outcome = self.client.finish("blob push resumed", &mut upload);
                self.keep_if_unanswered(upload, &outcome);
            }
            Outcome::Unknown => leave(self.load.unfinished, upload),
            _ => {}
        }
    }

    fn over(&self) -> bool {
        self.load.over.load(Ordering::SeqCst) || self.client.unanswered > UNANSWERED_MAX
    }
}
