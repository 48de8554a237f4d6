//! Reading from outside what a server has after it was ended and started again.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use super::client::{Client, Step, Upload};
use super::content::{BLOBS, MANIFESTS, SLOTS, TAGS};
use super::history::{Record, SHELVES};
use super::shelf::{Action, Outcome, State};

/// How long an upload may go without progress, as the server is told.
pub const UPLOAD_IDLE: Duration = Duration::from_secs(6);

/// Whether the upload cannot have expired yet. A claim that is younger than a quarter of its time is not renewed by
/// progress, and a request takes a while.
pub fn upload_is_fresh(upload: &Upload) -> bool {
    upload.progress.elapsed() < UPLOAD_IDLE / 2
}

/// What of each shelf is to be read whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Anything at all.
    pub any: bool,
    /// Blobs whose bytes are to be hashed, one bit each.
    pub blobs: u16,
}

/// What these requests were about.
pub fn touched(records: &[Record], layouts: impl Fn(usize) -> super::shelf::Layout) -> [Touched; SHELVES] {
    let mut touched = [Touched::default(); SHELVES];
    for record in records {
        let shelf = &mut touched[record.shelf];
        shelf.any = true;
        shelf.blobs |= match record.action {
            Action::PutManifest { manifest, .. }
            | Action::DeleteManifest { manifest }
            | Action::ReadManifest { manifest } => layouts(record.shelf % SLOTS).blobs[manifest as usize],
            Action::PushBlob { blob } | Action::DeleteBlob { blob } | Action::ReadBlob { blob } => 1 << blob,
            _ => 0,
        };
    }
    touched
}

/// Everything, with every byte.
pub fn everything() -> [Touched; SHELVES] {
    [Touched {
        any: true,
        blobs: u16::MAX,
    }; SHELVES]
}

/// Reads a shelf whole and writes down what it was; `None` if the server went away.
pub fn read_shelf(client: &mut Client<'_>, shelf: usize, touched: Touched) -> Option<State> {
    let invoked = client.clock();
    let mut state = State::default();
    for tag in 0..TAGS as u8 {
        state.tags[tag as usize] = match client.get_tag(shelf, tag) {
            Outcome::At(manifest) => Some(manifest),
            Outcome::Absent => None,
            _ => return None,
        };
    }
    for manifest in 0..MANIFESTS as u8 {
        match client.get_manifest(shelf, manifest, false) {
            Outcome::Done => state.manifests |= 1 << manifest,
            Outcome::Absent => {}
            _ => return None,
        }
    }
    for blob in 0..BLOBS as u8 {
        let outcome = match touched.blobs & 1 << blob {
            0 => client.head_blob(shelf, blob),
            _ => client.get_blob(shelf, blob, None),
        };
        match outcome {
            Outcome::Done => state.blobs |= 1 << blob,
            Outcome::Absent => {}
            _ => return None,
        }
    }
    client.observed(shelf, state, invoked);
    Some(state)
}

/// Asks for every unfinished upload how far it is. What the server tells is what counts from now on.
///
/// After a power cut (`power`) an upload may be longer than what was acknowledged, and only that is promised: ext4 may
/// have kept the length of bytes that it had not written. So the digest may not match in the end.
pub fn read_uploads(client: &mut Client<'_>, unfinished: &Mutex<VecDeque<Upload>>, power: bool) {
    let mut kept = VecDeque::new();
    let uploads = std::mem::take(&mut *unfinished.lock().expect("nobody panics with it"));
    for mut upload in uploads.into_iter().filter(upload_is_fresh) {
        match client.offset(&upload) {
            Outcome::Offset(at) if at > 0 || upload.sent == 0 => {
                upload.unpromised |= power && at > upload.acknowledged;
                upload.acknowledged = at;
                upload.sent = at;
                upload.may_be_gone = false;
                upload.steps = vec![Step {
                    invoked: 0,
                    ended: 0,
                    received: at,
                }];
                kept.push_back(upload);
            }
            _ => {}
        }
    }
    *unfinished.lock().expect("nobody panics with it") = kept;
}
