//! How much of an upload's file is known to be what was sent.
//!
//! A file's length says nothing after a power cut: the system may have made the file longer and not written its
//! bytes. So a file carries a mark beside its metadata: a length, and the hash of that many bytes. The mark proves
//! itself, so that it can be written at any time and be on the disk before the bytes or after them. It has two
//! points: the latest, and the last one that was acknowledged, which the next marks repeat until another is. Whichever
//! mark a power cut leaves, one of its points holds, and nothing acknowledged lies behind that one.

use registry_core::{Algorithm, Hasher};

/// Bytes of a hash that are kept: they guard against chance.
const HASH: usize = 16;

/// What a mark begins with.
const FORMAT: u8 = 1;

/// So many bytes, with this hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) length: u64,
    hash: [u8; HASH],
}

impl Point {
    /// All that was hashed.
    pub(super) fn of(hasher: &Hasher, length: u64) -> Point {
        let digest = hasher.clone().finish();
        let mut hash = [0; HASH];
        hash.copy_from_slice(&digest.hash()[..HASH]);
        Point { length, hash }
    }

    /// No bytes.
    pub(super) fn start(algorithm: Algorithm) -> Point {
        Point::of(&Hasher::new(algorithm), 0)
    }
}

/// A mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) algorithm: Algorithm,
    /// What was acknowledged before `latest`.
    pub(super) acknowledged: Point,
    pub(super) latest: Point,
    /// The latest is the whole.
    pub(super) whole: bool,
}

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let algorithm = match self.algorithm {
            Algorithm::Sha256 => 0,
            Algorithm::Sha512 => 1,
        };
        let mut encoded = vec![FORMAT, algorithm, u8::from(self.whole)];
        for point in [self.acknowledged, self.latest] {
            encoded.extend_from_slice(&point.length.to_be_bytes());
            encoded.extend_from_slice(&point.hash);
        }
        encoded
    }

    /// `None` if it is no mark.
    pub(super) fn decode(encoded: &[u8]) -> Option<Mark> {
        let (head, points) = encoded.split_at_checked(3)?;
        let (algorithm, whole) = match head {
            [FORMAT, 0, whole @ 0..=1] => (Algorithm::Sha256, *whole == 1),
            [FORMAT, 1, whole @ 0..=1] => (Algorithm::Sha512, *whole == 1),
            _ => return None,
        };
        let (acknowledged, latest) = points.split_at_checked(8 + HASH)?;
        Some(Mark {
            algorithm,
            acknowledged: point(acknowledged)?,
            latest: point(latest)?,
            whole,
        })
    }
}

fn point(encoded: &[u8]) -> Option<Point> {
    let (length, hash) = encoded.split_at_checked(8)?;
    Some(Point {
        length: u64::from_be_bytes(length.try_into().ok()?),
        hash: hash.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::disk::MARK_MAX;
    use super::*;

    #[test]
    fn a_mark_reads_back_and_nothing_else_is_one() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"bytes");
        let mark = Mark {
            algorithm: Algorithm::Sha512,
            acknowledged: Point::start(Algorithm::Sha512),
            latest: Point::of(&hasher, 5),
            whole: true,
        };
        let encoded = mark.encode();
        assert!(encoded.len() <= MARK_MAX);
        assert_eq!(Mark::decode(&encoded), Some(mark));
        for end in 0..encoded.len() {
            assert_eq!(Mark::decode(&encoded[..end]), None);
        }
        assert_eq!(Mark::decode(&[&[9], &encoded[1..]].concat()), None);
    }
}
