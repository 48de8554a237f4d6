//! Small content that was read and found right, kept in memory under its digest.
//!
//! Content that is named by its digest has no other version, so nothing here grows old. Whether it is there, and who may
//! have it, the records say at every request; this spares only reading the same bytes again and hashing them.

use std::fmt;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::digest::Digest;

/// The largest content that is kept, as a part of all that is: one of many children must not drive out the others.
const LARGEST: usize = 16;

/// Most digests that room is made for at the beginning; there may be more.
const EXPECTED: usize = 1024;

/// What each piece of content takes beside its bytes, in bytes, about.
const BESIDE: usize = 256;

/// Content by its digest, as much of it as there is room for.
pub(super) struct Kept {
    cache: Option<Cache<Digest, Bytes, Weight>>,
    largest: usize,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Bytes> for Weight {
    fn weight(&self, _: &Digest, bytes: &Bytes) -> u64 {
        (bytes.len() + BESIDE) as u64
    }
}

impl Kept {
    /// Room for so many bytes; without any, nothing is kept.
    pub(super) fn new(room: usize) -> Self {
        Kept {
            cache: (room > 0).then(|| Cache::with_weighter(EXPECTED, room as u64, Weight)),
            largest: room / LARGEST,
        }
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.cache.as_ref()?.get(digest)
    }

    /// Keeps bytes whose digest was found to be this one.
    pub(super) fn keep(&self, digest: Digest, bytes: &Bytes) {
        if let Some(cache) = &self.cache
            && bytes.len() <= self.largest
        {
            cache.insert(digest, bytes.clone());
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    fn content(number: usize, length: usize) -> (Digest, Bytes) {
        let bytes = Bytes::from(vec![number as u8; length]);
        (Digest::sha256(&number.to_be_bytes()), bytes)
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let kept = Kept::new(ROOM);
        for number in 0..1000 {
            let (digest, bytes) = content(number, 10_000);
            kept.keep(digest, &bytes);
        }
        let held = (0..1000).filter_map(|number| kept.get(&content(number, 0).0));
        let held: Vec<usize> = held.map(|bytes| bytes.len()).collect();
        assert!(
            held.len() > 50 && held.iter().sum::<usize>() <= ROOM,
            "{}",
            held.len()
        );
    }

    #[test]
    fn large_content_is_not_kept_and_without_room_none_is() {
        let (digest, bytes) = content(1, ROOM / LARGEST + 1);
        let kept = Kept::new(ROOM);
        kept.keep(digest, &bytes);
        assert_eq!(kept.get(&digest), None);
        let none = Kept::new(0);
        none.keep(digest, &bytes.slice(..1));
        assert_eq!(none.get(&digest), None);
    }
}
