//! Records of TLS 1.3 (RFC 8446, section 5.2), sealed and opened where they lie.

use std::io::{self, Read};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use rustls::crypto::cipher;

/// What stands before what is sealed: type, version, length.
pub const HEAD: usize = 5;

/// What stands behind the content: its type and the tag.
pub const TAIL: usize = 1 + TAG;

const TAG: usize = 16;

/// The most that a record holds.
pub const CONTENT: usize = 16 << 10;

/// The most bytes of a record on the wire, as this side makes them; a peer may pad its own by as much as RFC 8446 allows.
pub const RECORD: usize = HEAD + CONTENT + TAIL;

/// The longest that a peer may send.
const LONGEST: usize = HEAD + CONTENT + 256;

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const KEY_UPDATE: u8 = 24;

/// One direction's key, and how many records went.
pub struct Keys {
    key: LessSafeKey,
    iv: cipher::Iv,
    next: u64,
}

/// What a record held.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// So many bytes behind the record's head.
    Data(usize),
    /// A ticket, which is not used.
    Nothing,
    /// The peer has ended.
    End,
}

/// Length of the record that begins here, once its head is there.
pub fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(head) = bytes.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let length = HEAD + usize::from(u16::from_be_bytes([head[3], head[4]]));
    match length {
        ..=LONGEST => Ok(Some(length)),
        _ => Err(io::Error::other("a record is too long")),
    }
}

/// Takes exactly one record from a stream.
///
/// # Errors
/// If the stream ends, or the record is too long.
pub fn take(stream: &mut impl Read, record: &mut Vec<u8>) -> io::Result<()> {
    record.resize(HEAD, 0);
    stream.read_exact(record)?;
    let length = length(record)?.expect("the head is whole");
    record.resize(length, 0);
    stream.read_exact(&mut record[HEAD..])
}

impl Keys {
    /// Those that a handshake came to.
    ///
    /// # Errors
    /// If they are of another cipher suite than [`CIPHER_SUITE`](super::CIPHER_SUITE).
    pub fn new((next, secrets): (u64, ConnectionTrafficSecrets)) -> io::Result<Self> {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            return Err(io::Error::other("the cipher suite is another"));
        };
        Self::of(key.as_ref(), iv, next)
    }

    /// Any that are as good as others, to see what sealing costs.
    pub(super) fn of(key: &[u8], iv: cipher::Iv, next: u64) -> io::Result<Self> {
        let key = UnboundKey::new(&AES_128_GCM, key).map_err(|_| io::Error::other("not a key"))?;
        let key = LessSafeKey::new(key);
        Ok(Keys { key, iv, next })
    }

    fn nonce(&mut self) -> Nonce {
        let nonce = cipher::Nonce::new(&self.iv, self.next);
        self.next += 1;
        Nonce::assume_unique_for_key(nonce.0)
    }

    /// Makes a record of the `content` bytes that lie behind room for its head, with room for its tail behind them.
    ///
    /// # Panics
    /// If there is no such room.
    pub fn seal(&mut self, record: &mut [u8], content: usize) {
        let aad = cipher::make_tls13_aad(content + TAIL);
        let (head, rest) = record.split_at_mut(HEAD);
        head.copy_from_slice(&aad);
        rest[content] = APPLICATION_DATA;
        let (sealed, tag) = rest.split_at_mut(content + 1);
        let nonce = self.nonce();
        let made = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), sealed);
        tag[..TAG].copy_from_slice(made.expect("a record is not too long").as_ref());
    }

    /// Opens a whole record.
    ///
    /// # Errors
    /// If it is not what the peer sealed, or asks for something that is not done here.
    pub fn open(&mut self, record: &mut [u8]) -> io::Result<Opened> {
        let (head, sealed) = record.split_at_mut(HEAD);
        let nonce = self.nonce();
        let opened = self.key.open_in_place(nonce, Aad::from(&*head), sealed);
        let opened = opened.map_err(|_| io::Error::other("a record is not what was sealed"))?;
        // Zeros behind the type are padding.
        let kind = opened.iter().rposition(|byte| *byte != 0);
        match kind.map(|at| (opened[at], at)) {
            Some((APPLICATION_DATA, length)) => Ok(Opened::Data(length)),
            Some((HANDSHAKE, length)) if opened[..length].first() != Some(&KEY_UPDATE) => Ok(Opened::Nothing),
            Some((HANDSHAKE, _)) => Err(io::Error::other("the peer wants other keys")),
            _ => Ok(Opened::End),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::of(&[7; 16], cipher::Iv::new([3; 12]), 5).unwrap()
    }

    #[test]
    fn a_record_opens_to_what_was_sealed() {
        let (mut here, mut there) = (keys(), keys());
        for content in [0, 1, CONTENT] {
            let mut record = vec![9; HEAD + content + TAIL];
            here.seal(&mut record, content);
            assert_eq!(length(&record).unwrap(), Some(record.len()));
            assert_eq!(there.open(&mut record).unwrap(), Opened::Data(content));
            assert!(record[HEAD..HEAD + content].iter().all(|byte| *byte == 9));
        }
    }

    #[test]
    fn a_changed_record_does_not_open() {
        let mut record = vec![9; HEAD + 100 + TAIL];
        keys().seal(&mut record, 100);
        record[HEAD + 50] ^= 1;
        assert!(keys().open(&mut record).is_err());
    }

    #[test]
    fn a_record_longer_than_any_is_refused() {
        assert!(length(&[23, 3, 3, 0x41, 0x01]).is_err());
        assert_eq!(length(&[23, 3, 3, 0x41]).unwrap(), None);
    }
}
