//! How records lie in the engine.
//!
//! | key | value |
//! |---|---|
//! | `0x00 "format"` | the layout's version, 4 bytes |
//! | `0x00 "store"` | the store's identity, 16 random bytes, as in the file `STORE` beside its blobs; since format 2 |
//! | `0x00 "last"` | the last commit's stamp and the clock at it, 8 bytes each; a CRC-32, 4 bytes, since format 2 |
//! | `0x01` and the record's key | a CRC-32, 4 bytes; the stamp of the record's last write, 8 bytes; its value |
//!
//! All numbers are big-endian. The checksum of a record is over the engine's key, the stamp and the value, that of
//! `last` over its key and what comes before it: the engine has none of its own, and a record with a flipped bit must
//! be an error, never another record, nor may the clock jump or a stamp come again. `format` and `store` need none: a
//! format, which is a power of two, with a flipped bit is one that is newer or that there is not, and an identity with one is not that of the
//! blobs, and both are refused.
//!
//! | format | since then |
//! |---|---|
//! | 1 | |
//! | 2 | the checksum of `last`, and the store's identity |
//! | 4 | records of the trash: a version that does not know them would collect what they hold |

use bytes::{Buf, Bytes};
use registry_core::Timestamp;
use registry_core::store::{Entry, KEY_MAX, KvError, Stamp};

use crate::identity::StoreId;

/// The layout that this version writes; it brings older ones forward. Formats are powers of two, so that one with a
/// flipped bit is none that there is.
pub(super) const FORMAT: u32 = 4;

pub(super) const FORMAT_KEY: &[u8] = b"\x00format";
pub(super) const LAST_KEY: &[u8] = b"\x00last";
pub(super) const STORE_KEY: &[u8] = b"\x00store";

const STORE: u8 = 0;
const RECORDS: u8 = 1;

/// The first bytes of the keys that are used here, in order. An engine has others for itself.
pub(super) const KINDS: [u8; 2] = [STORE, RECORDS];
const CHECKSUM: usize = size_of::<u32>();
const STAMP: usize = size_of::<u64>();

/// An entry that this store cannot have written, named as the record that it was.
#[derive(Debug, thiserror::Error)]
#[error("the entry {0:?} is damaged")]
pub(super) struct Damaged(String);

impl Damaged {
    fn entry(key: &[u8]) -> Damaged {
        let name = key.strip_prefix(&[RECORDS]).unwrap_or(key);
        Damaged(String::from_utf8_lossy(name).into_owned())
    }
}

impl From<Damaged> for KvError {
    fn from(damaged: Damaged) -> Self {
        KvError::Damaged {
            key: damaged.0,
            more: Vec::new(),
            page: Vec::new(),
        }
    }
}

/// The engine's key for a record.
pub(super) fn record_key(key: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(RECORDS);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

/// The engine's key after which a scan begins. No record is longer than the limit, so cutting what is longer right
/// behind it leaves the order the same.
pub(super) fn after_key(after: &str) -> Vec<u8> {
    let mut bytes = record_key(after);
    bytes.truncate(1 + KEY_MAX + 1);
    bytes
}

/// Whether an engine's key is one of this layout.
pub(super) fn is_known(key: &[u8]) -> bool {
    key.first().is_some_and(|kind| KINDS.contains(kind))
}

/// Whether an engine's key is a record's.
pub(super) fn is_record(key: &[u8]) -> bool {
    key.first() == Some(&RECORDS)
}

/// The record that an engine's key is for.
pub(super) fn record_name(key: &[u8]) -> Result<String, Damaged> {
    let name = match key {
        [RECORDS, name @ ..] => std::str::from_utf8(name).ok(),
        _ => None,
    };
    name.map(str::to_owned).ok_or_else(|| Damaged::entry(key))
}

fn checksum(key: &[u8], stamp: &[u8; STAMP], value: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(stamp);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

/// The stamp of what is stored under an engine's key, and the value.
pub(super) fn split<'a>(key: &[u8], stored: &'a [u8]) -> Result<(Stamp, &'a [u8]), Damaged> {
    let parts = stored.split_first_chunk::<CHECKSUM>().and_then(|(sum, rest)| {
        let (stamp, value) = rest.split_first_chunk::<STAMP>()?;
        (checksum(key, stamp, value) == *sum).then_some((stamp, value))
    });
    let (stamp, value) = parts.ok_or_else(|| Damaged::entry(key))?;
    Ok((Stamp(u64::from_be_bytes(*stamp)), value))
}

/// The entry that is stored under an engine's key.
pub(super) fn entry(key: &[u8], stored: &[u8]) -> Result<Entry, KvError> {
    let (stamp, value) = split(key, stored)?;
    Ok(Entry {
        value: Bytes::copy_from_slice(value),
        stamp,
    })
}

/// The same of what was copied already.
pub(super) fn entry_of(key: &[u8], stored: Vec<u8>) -> Result<Entry, KvError> {
    let (stamp, _) = split(key, &stored)?;
    let mut value = Bytes::from(stored);
    value.advance(CHECKSUM + STAMP);
    Ok(Entry { value, stamp })
}

/// What is stored under an engine's key for a value.
pub(super) fn stored(key: &[u8], stamp: Stamp, value: &[u8]) -> Vec<u8> {
    let stamp = stamp.0.to_be_bytes();
    let mut stored = Vec::with_capacity(CHECKSUM + STAMP + value.len());
    stored.extend_from_slice(&checksum(key, &stamp, value));
    stored.extend_from_slice(&stamp);
    stored.extend_from_slice(value);
    stored
}

/// What is stored about the last commit.
pub(super) fn last(stamp: Stamp, now: Timestamp) -> Vec<u8> {
    let mut stored = stamp.0.to_be_bytes().to_vec();
    stored.extend_from_slice(&now.0.to_be_bytes());
    stored.extend_from_slice(&last_checksum(&stored));
    stored
}

fn last_checksum(both: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(LAST_KEY);
    hasher.update(both);
    hasher.finalize().to_be_bytes()
}

/// What [`last`] stored, or a version did that knew format 1 alone: without the checksum, which it gets at the next
/// commit.
pub(super) fn read_last(stored: &[u8]) -> Result<(Stamp, Timestamp), Damaged> {
    let bad = || Damaged("last".into());
    let (stamp, rest) = stored.split_first_chunk().ok_or_else(bad)?;
    let (now, sum) = rest.split_first_chunk().ok_or_else(bad)?;
    if !sum.is_empty() && *sum != last_checksum(&stored[..stored.len() - sum.len()]) {
        return Err(bad());
    }
    Ok((
        Stamp(u64::from_be_bytes(*stamp)),
        Timestamp(u64::from_be_bytes(*now)),
    ))
}

/// What is stored as the format.
pub(super) fn read_format(stored: &[u8]) -> Result<u32, Damaged> {
    let stored = stored.try_into().map_err(|_| Damaged("format".into()))?;
    Ok(u32::from_be_bytes(stored))
}

/// What is stored as the store's identity.
pub(super) fn read_store(stored: &[u8]) -> Result<StoreId, Damaged> {
    let stored = stored.try_into().map_err(|_| Damaged("store".into()))?;
    Ok(StoreId(stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_entry_is_an_error_and_no_panic() {
        assert!(entry(b"\x01k", b"short").is_err());
        assert!(entry(b"\x01k", b"").is_err());
        assert!(record_name(b"\x01\xff\xfe").is_err());
        assert!(record_name(b"\x02k").is_err());
        assert!(record_name(b"").is_err());
        assert!(read_last(b"12345").is_err());
        assert!(read_format(b"12345").is_err());
    }

    #[test]
    fn no_flipped_bit_makes_another_record() {
        let good = stored(b"\x01k", Stamp(7), b"value");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(split(b"\x01k", &bad).is_err(), "bit {bit}");
        }
        let last = last(Stamp(7), Timestamp(9));
        for bit in 0..last.len() * 8 {
            let mut bad = last.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read_last(&bad).is_err(), "bit {bit}");
        }
        for bit in 0..32 {
            let flipped: u32 = FORMAT ^ (1 << bit);
            assert!(flipped > FORMAT || !flipped.is_power_of_two(), "bit {bit}");
        }
        assert!(split(b"\x01l", &good).is_err(), "under another key");
        assert!(split(b"\x01k", &good[..good.len() - 1]).is_err(), "cut short");
    }

    #[test]
    fn what_is_stored_reads_back() {
        let (stamp, now) = (Stamp(u64::MAX - 1), Timestamp(77));
        assert_eq!(read_last(&last(stamp, now)).unwrap(), (stamp, now));
        let of_format_1 = &last(stamp, now)[..16];
        assert_eq!(read_last(of_format_1).unwrap(), (stamp, now));
        assert_eq!(
            split(b"k", &stored(b"k", stamp, b"v")).unwrap(),
            (stamp, &b"v"[..])
        );
        assert_eq!(record_name(&record_key("tag/x y")).unwrap(), "tag/x y");
    }
}
