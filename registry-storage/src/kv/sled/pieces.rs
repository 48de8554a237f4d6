//! Values in pieces.
//!
//! sled writes a whole node of its tree as one message, and a message that is longer than a quarter of a segment
//! into a file of its own, which its log then only names. It syncs no such file, and an opening after a power cut
//! leaves out what is named and not found, also in the middle of a batch. So no node may ever become so long: a
//! leaf is split beyond 16 entries, and merged with one of less than 4, so that it has at most 20; with entries of
//! at most one [`PIECE`] it stays below half of what makes a file. An index node has at most 320 keys.

use std::collections::BTreeMap;

use sled::{Batch, IVec};

use super::Failure;

/// Longest part of a value in one entry of the tree, in bytes.
const PIECE: usize = 8 << 10;

/// First byte of an entry that has its value, and of one whose value is in pieces; their number follows.
const WHOLE: u8 = 0;
const CUT: u8 = 1;

/// First byte of the keys of pieces. The key that they belong to follows, and their number in it; no key of the
/// records' layout begins so.
const PIECES: u8 = 2;

/// An entry that was not written here.
#[derive(Debug, thiserror::Error)]
#[error("the entry {0:?} is damaged")]
struct Damaged(String);

/// What a key is to be: a value, or nothing.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn piece_key(key: &[u8], index: u32) -> Vec<u8> {
    [&[PIECES], key, &index.to_be_bytes()].concat()
}

/// How many pieces an entry says that its value has.
fn pieces_of(key: &[u8], entry: &[u8]) -> Result<u32, Failure> {
    let pieces = match entry {
        [WHOLE, ..] => Some(0),
        [CUT, number @ ..] => number.try_into().ok().map(u32::from_be_bytes),
        _ => None,
    };
    pieces.ok_or_else(|| Damaged(key.escape_ascii().to_string()).into())
}

/// The value of an entry.
pub(super) fn value(tree: &sled::Tree, key: &[u8], entry: &IVec) -> Result<Vec<u8>, Failure> {
    let pieces = pieces_of(key, entry)?;
    if pieces == 0 {
        return Ok(entry[1..].to_vec());
    }
    let mut value = Vec::new();
    for index in 0..pieces {
        let piece = tree.get(piece_key(key, index))?;
        value.extend_from_slice(&piece.ok_or_else(|| Damaged(key.escape_ascii().to_string()))?);
    }
    Ok(value)
}

/// The value of a key.
pub(super) fn get(tree: &sled::Tree, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    tree.get(key)?.map(|entry| value(tree, key, &entry)).transpose()
}

/// What makes the tree have these changes, from what it has now.
pub(super) fn batch(tree: &sled::Tree, changes: &Changes) -> Result<Batch, Failure> {
    let mut batch = Batch::default();
    for (key, change) in changes {
        let had = match tree.get(key)? {
            Some(entry) => pieces_of(key, &entry)?,
            None => 0,
        };
        let has = match change {
            None => {
                batch.remove(key.as_slice());
                0
            }
            Some(value) if value.len() <= PIECE => {
                batch.insert(key.as_slice(), [&[WHOLE], value.as_slice()].concat());
                0
            }
            Some(value) => {
                let mut pieces = 0_u32;
                for piece in value.chunks(PIECE) {
                    batch.insert(piece_key(key, pieces), piece);
                    pieces += 1;
                }
                batch.insert(key.as_slice(), [&[CUT][..], &pieces.to_be_bytes()].concat());
                pieces
            }
        };
        for index in has..had {
            batch.remove(piece_key(key, index));
        }
    }
    Ok(batch)
}
